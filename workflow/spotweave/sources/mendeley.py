"""Mendeley Data: `svw96g68dv/5` (dataset and version), or its DOI or address; files with size and sha256 (public API).

The version is part of the accession: without it the files change under the row. Folders are listed one by one, by
their parents; a file's name is its path.

A location is `<dataset>/<version>/<path>`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from tqdm import tqdm

from spotweave.errors import Refusal
from spotweave.transfer.api import (
    DOI,
    Located,
    checksum_of,
    entries,
    expect,
    fetch_located,
    find,
    get_about,
    get_json,
    safe_name,
    said,
    spelled,
)
from spotweave.transfer.files import Fetched, FetchSettings, Listed, Listing, Wanted

ACCESSION = r"[a-z0-9]{8,12}/\d+"
EXAMPLE = "29ntw7sh4r/5"
ADDRESS = (
    r"10\.17632/([a-z0-9]{8,12})(?:\.(\d+))?|data\.mendeley\.com/datasets/([a-z0-9]{8,12})(?:/(\d+))?",
    "{}/{}",
)
INCOMPLETE = "add the version of the dataset, as in 10.17632/svw96g68dv.5"
WEB_PAGE = "https://data.mendeley.com/datasets/{}"
SPELLING = (
    rf"(?:{DOI}10\.17632/(?P<doi>[a-z0-9]{{8,12}})\.(?P<doi_version>\d+)"
    r"|(?:(?:https?://)?data\.mendeley\.com/datasets/)?(?P<id>[a-z0-9]{8,12})/(?P<version>\d+))(?![^/?#])"
)
API = "https://data.mendeley.com/public-api/datasets"
DENIED = "it is not public: ask its authors, or download by hand and use the source 'file'"
ROOT = "root"
PAGE = 1000


class _Dataset(NamedTuple):
    """The files of one version of a dataset, and the address of each by its name."""

    listing: Listing
    urls: dict[str, str]


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of one version of a dataset, with their folders."""
    dataset, version, name = _split(accession)
    if name or not dataset:
        raise Refusal(f"{accession}: not a version of a Mendeley dataset such as svw96g68dv/5; add the version")
    return _dataset(dataset, version, settings).listing


def locate(location: str, settings: FetchSettings) -> Located:
    """Address, size and sha256 of `<dataset>/<version>/<path>`."""
    dataset, version, name = _split(location)
    if not name:
        raise Refusal(
            f"{location}: not a file of a Mendeley dataset such as svw96g68dv/5/folder/name.jpg; the version is needed"
        )
    found = _dataset(dataset, version, settings)
    file = find(found.listing, name)
    return Located(found.urls[file.name], safe_name(file.name), {}, file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of a dataset, held against the sha256 and the size that Mendeley Data states."""
    return fetch_located(wanted, folder, settings, locate, "mendeley", DENIED)


def _split(text: str) -> tuple[str, str, str]:
    """Dataset and version, in whichever spelling, and path of a file; empty where there is none."""
    found = spelled(text, SPELLING)
    if not found:
        return "", "", ""
    match, name = found
    return (match["doi"] or match["id"]).lower(), match["doi_version"] or match["version"], name


@functools.cache
def _dataset(dataset: str, version: str, settings: FetchSettings) -> _Dataset:
    accession = f"{dataset}/{version}"
    label = f"Mendeley dataset {accession}"
    url = f"{API}/{dataset}"
    folders = get_json(f"{url}/folders/{version}", settings, label=label, denied=DENIED)
    paths = {ROOT: "", **_paths(entries(folders, label=label), label)}
    files, urls = [], {}
    for folder, path in tqdm(paths.items(), desc=label, unit="folder", disable=None):
        for entry in _files(f"{url}/files?folder_id={quote(folder)}&version={version}", settings, label):
            name = path + expect(entry, "filename", label=label)
            details = expect(entry, "content_details", label=label)
            urls[name] = expect(details, "download_url", label=label)
            checksum = checksum_of(entry.get("size") or details.get("size"), sha256=details.get("sha256_hash"))
            files.append(Listed(name, f"{accession}/{name}", checksum))
    files.sort(key=lambda file: file.name)
    about = get_about(f"{url}/snapshot/{version}", settings, label=label, denied=DENIED)
    return _Dataset(Listing(accession, tuple(files), said(about, "licence", "short_name"), said(about, "name")), urls)


def _files(url: str, settings: FetchSettings, label: str) -> list[dict[str, Any]]:
    """All files of one folder, page after page; a page that is not full is the last."""
    found: dict[str, dict[str, Any]] = {}
    start = 0
    while True:
        answer = get_json(f"{url}&%24start={start}&%24limit={PAGE}", settings, label=label, denied=DENIED)
        new = {str(expect(entry, "id", label=label)): entry for entry in entries(answer, label=label)}
        is_last = len(new) < PAGE or new.keys() <= found.keys()
        found |= new
        if is_last:
            return list(found.values())
        start += PAGE


def _paths(folders: list[dict[str, Any]], label: str) -> dict[str, str]:
    """Path of each folder, ending in `/`, by its id; sorted by path."""
    by_id: dict[Any, dict[str, Any]] = {expect(entry, "id", label=label): entry for entry in folders}

    def path(folder: Any, below: tuple[Any, ...] = ()) -> str:
        if folder in below:
            raise Refusal(
                f"{label}: its folders lie in each other in a circle; download by hand and use the source 'file'"
            )
        parent = by_id[folder].get("parent_id")
        above = path(parent, (*below, folder)) if parent in by_id else ""
        return f"{above}{expect(by_id[folder], 'name', label=label)}/"

    return dict(sorted(((folder, path(folder)) for folder in by_id), key=lambda pair: pair[1]))
