"""Mendeley Data: `svw96g68dv/5` (dataset and version); files with size and sha256 (public API).

The version is part of the accession: without it the files change under the row. Folders are listed one by one, by
their parents; a file's name is its path.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from spotweave.errors import Refusal
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Listing, Wanted
from spotweave.sources._api import Located, expect, fetch_located, find, get_json, safe_name, size_of

ACCESSION = r"[a-z0-9]{8,12}/\d+"
API = "https://data.mendeley.com/public-api/datasets"


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of one version of a dataset, with their folders."""
    return _dataset(normalised(accession), settings)[0]


def locate(location: str, settings: FetchSettings) -> Located:
    """Address, size and sha256 of `<dataset>/<version>/<path>`."""
    match = re.match(rf"({ACCESSION})/(.+)$", location)
    if not match:
        raise Refusal(f"{location}: not a file of a Mendeley dataset such as svw96g68dv/5/folder/name.jpg")
    listing, urls = _dataset(match[1], settings)
    file = find(listing, match[2])
    return Located(urls[file.name], safe_name(file.name), {}, file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of a dataset, held against the sha256 and the size that Mendeley Data states."""
    return fetch_located(wanted, folder, settings, locate, "mendeley")


def normalised(accession: str) -> str:
    """`<dataset>/<version>` of a DOI (`10.17632/svw96g68dv.5`), an address or the plain form."""
    match = re.search(r"(?:10\.17632/|datasets/)?([a-z0-9]{8,12})[./](\d+)/?$", accession)
    if not match:
        raise Refusal(f"{accession}: not a version of a Mendeley dataset such as svw96g68dv/5; add the version")
    return f"{match[1]}/{match[2]}"


@functools.cache
def _dataset(accession: str, settings: FetchSettings) -> tuple[Listing, dict[str, str]]:
    """The listing, and the address of each file."""
    dataset, version = accession.split("/")
    label = f"Mendeley dataset {accession}"

    def ask(path: str) -> Any:
        return get_json(f"{API}/{dataset}{path}", settings, label=label, denied="it is not public")

    folders = _paths(ask(f"/folders/{version}"), label)
    files, urls = [], {}
    for folder, path in {"root": "", **folders}.items():
        for entry in ask(f"/files?folder_id={folder}&version={version}"):
            name = path + expect(entry, "filename", label=label)
            details = expect(entry, "content_details", label=label)
            size = size_of(entry.get("size") or details.get("size"))
            files.append(Listed(name, f"{accession}/{name}", Checksum(sha256=details.get("sha256_hash"), size=size)))
            urls[name] = expect(details, "download_url", label=label)
    files.sort(key=lambda file: file.name)
    about = ask(f"?version={version}")
    licence = (about.get("data_licence") or {}).get("short_name") if isinstance(about, dict) else None
    return Listing(accession, tuple(files), licence, about.get("name") if isinstance(about, dict) else None), urls


def _paths(folders: Any, label: str) -> dict[str, str]:
    """Path of each folder, ending in `/`, by its id."""
    by_id = {expect(entry, "id", label=label): entry for entry in folders}

    def path(folder: str, depth: int = 0) -> str:
        if depth > 50:
            raise Refusal(f"{label}: its folders lie in each other in a circle")
        entry = by_id[folder]
        parent = entry.get("parent_id")
        above = path(parent, depth + 1) if parent in by_id else ""
        return f"{above}{expect(entry, 'name', label=label)}/"

    return {folder: path(folder) for folder in sorted(by_id)}
