"""figshare: `17087765/versions/2`, or the article's DOI or address; files with size and md5 (REST API v2).

Without a version (`17087765`) the newest is taken, and its number logged: it changes, so a row should name one. Of
files in folders the name is the path. Only the API's own host hands out files to programs: the addresses on the web
pages answer robots with 202 and no bytes.

A location is `<article>/versions/<version>/<path>` or `<article>/<path>`.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from spotweave.errors import Refusal
from spotweave.transfer.api import (
    DOI,
    Located,
    checksum_of,
    entries,
    expect,
    fetch_located,
    find,
    get_json,
    safe_name,
    said,
    spelled,
)
from spotweave.transfer.files import Fetched, FetchSettings, Listed, Listing, Wanted

log = logging.getLogger("spotweave")

ACCESSION = r"\d+(/versions/\d+)?"
EXAMPLE = "17087765/versions/2"
ADDRESS = (
    r"10\.6084/m9\.figshare\.(\d+)(?:\.v(\d+))?|figshare\.com/articles/(?:[^/]+/){0,2}(\d+)(?:/(\d+))?",
    "{}/versions/{}",
)
WEB_PAGE = "https://figshare.com/articles/dataset/_/{}"
SPELLING = (
    r"(?P<plain>\d+)(?:(?:/versions/|\.v)(?P<plain_version>\d+)(?![^/?#]))?"
    # Institutions have DOIs and addresses of their own: 10.25377/sussex.17087765.v2, sussex.figshare.com/…
    rf"|{DOI}10\.\d{{4,9}}/(?:[\w-]+\.)+(?P<doi>\d+)(?:\.v(?P<doi_version>\d+))?"
    r"|(?:https?://)?(?:[\w-]+\.)?figshare\.com/articles/[\w-]+/[^/?#]+/(?P<page>\d+)(?:/(?P<page_version>\d+)(?![^/?#]))?"
)
API = "https://api.figshare.com/v2"
DENIED = "it is not public: ask its authors, or download by hand and use the source 'file'"
INLINE = 10  # as many files as an article's own description names at most
PAGE = 1000


class _Version(NamedTuple):
    """The files of one version of an article, and by name their numbers and, of links, their addresses."""

    listing: Listing
    ids: dict[str, str]
    links: dict[str, str]


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of one version of an article; the locations name the version."""
    number, version, name = _split(accession)
    if name or not number:
        raise Refusal(f"{accession}: not a figshare article such as 17087765/versions/2")
    return _version(number, version or _newest(number, settings), settings).listing


def locate(location: str, settings: FetchSettings) -> Located:
    """Address, size and md5 of `<article>/<path>`."""
    number, version, name = _split(location)
    if not name:
        raise Refusal(f"{location}: not a file of a figshare article such as 17087765/versions/2/name.zip")
    article = _version(number, version or _newest(number, settings), settings)
    file = find(article.listing, name)
    if file.name in article.links:
        raise Refusal(
            f"{location}: figshare only has a link to {article.links[file.name]}; give that address in the row, with a"
            " checksum"
        )
    return Located(f"{API}/file/download/{article.ids[file.name]}", safe_name(file.name), {}, file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of an article, held against the md5 and the size that figshare states."""
    return fetch_located(wanted, folder, settings, locate, "figshare", DENIED)


def _split(text: str) -> tuple[str, str, str]:
    """Number and version of an article, in whichever spelling, and name of a file; empty where there is none."""
    found = spelled(text, SPELLING)
    if not found:
        return "", "", ""
    match, name = found
    number, version = (
        (match["plain"] or match["doi"] or match["page"]),
        (match["plain_version"] or match["doi_version"] or match["page_version"]),
    )
    return number, version or "", name


@functools.cache
def _newest(number: str, settings: FetchSettings) -> str:
    label = f"figshare article {number}"
    content = get_json(f"{API}/articles/{number}", settings, label=label, denied=DENIED)
    version = str(expect(content, "version", label=label))
    log.warning("%s: write %s/versions/%s in the row, so that the files stay the same", label, number, version)
    return version


@functools.cache
def _version(number: str, version: str, settings: FetchSettings) -> _Version:
    accession = f"{number}/versions/{version}"
    label = f"figshare article {accession}"
    url = f"{API}/articles/{accession}"
    about = get_json(url, settings, label=label, denied=DENIED)
    found = entries(about, "files", label=label)
    if len(found) >= INLINE:
        found = _all_files(url, settings, label)
    if not found and about.get("is_embargoed"):
        raise Refusal(
            f"{label}: is under embargo until {said(about, 'embargo_date') or 'a later day'}; wait, or ask its authors"
        )
    names = _names(found, about.get("folder_structure"), label)
    files, ids, links = [], {}, {}
    for name, entry in zip(names, found, strict=True):
        md5 = entry.get("computed_md5") or entry.get("supplied_md5")
        files.append(Listed(name, f"{accession}/{name}", checksum_of(entry.get("size"), md5=md5)))
        ids[name] = str(entry["id"])
        if entry.get("is_link_only"):
            links[name] = said(entry, "download_url") or "another server"
    listing = Listing(accession, tuple(files), said(about, "license", "name"), said(about, "title"))
    return _Version(listing, ids, links)


def _all_files(url: str, settings: FetchSettings, label: str) -> list[dict[str, Any]]:
    """All files, page after page; a page that is not full is the last."""
    found: dict[str, dict[str, Any]] = {}
    page = 1
    while True:
        answer = get_json(f"{url}/files?page={page}&page_size={PAGE}", settings, label=label, denied=DENIED)
        new = {str(expect(entry, "id", label=label)): entry for entry in entries(answer, label=label)}
        if len(new) < PAGE or new.keys() <= found.keys():
            return list((found | new).values())
        found |= new
        page += 1


def _names(found: list[dict[str, Any]], folders: Any, label: str) -> list[str]:
    """Paths of the files; files that still have the same are told apart by a folder with their number."""
    folders = folders if isinstance(folders, dict) else {}
    ids = [str(expect(entry, "id", label=label)) for entry in found]
    paths = []
    for number, entry in zip(ids, found, strict=True):
        folder = (said(folders, number) or "").strip("/")
        name = expect(entry, "name", label=label)
        paths.append(f"{folder}/{name}" if folder else name)
    often = Counter(paths)
    return [path if often[path] == 1 else f"{number}/{path}" for number, path in zip(ids, paths, strict=True)]
