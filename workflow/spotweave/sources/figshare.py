"""figshare: `17087765` or `17087765/versions/2`, or the article's DOI; files with size and md5 (REST API v2).

Only the API's own host hands out files to programs: the addresses on the web pages answer robots with 202 and no
bytes.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from spotweave.errors import Refusal
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Listing, Wanted
from spotweave.sources._api import Located, expect, fetch_located, find, get_json, safe_name, size_of

ACCESSION = r"\d+(/versions/\d+)?"
API = "https://api.figshare.com/v2"


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of an article, or of one version of it."""
    return _article(normalised(accession), settings)[0]


def locate(location: str, settings: FetchSettings) -> Located:
    """Address, size and md5 of `<article>/<file>`."""
    match = re.match(rf"({ACCESSION})/(.+)$", location)
    if not match:
        raise Refusal(f"{location}: not a file of a figshare article such as 17087765/name.zip")
    listing, ids = _article(match[1], settings)
    file = find(listing, match[3])
    return Located(f"{API}/file/download/{ids[file.name]}", safe_name(file.name), {}, file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of an article, held against the md5 and the size that figshare states."""
    return fetch_located(wanted, folder, settings, locate, "figshare")


def normalised(accession: str) -> str:
    """The article's number, and its version where one is named (`…figshare.17087765.v2`)."""
    match = re.search(r"figshare\.(\d+)(?:\.v(\d+))?$", accession)
    if match:
        return f"{match[1]}/versions/{match[2]}" if match[2] else match[1]
    if not re.fullmatch(ACCESSION, accession):
        raise Refusal(f"{accession}: not a figshare article such as 17087765 or 17087765/versions/2")
    return accession


@functools.cache
def _article(accession: str, settings: FetchSettings) -> tuple[Listing, dict[str, str]]:
    """The listing, and the number of each file."""
    label = f"figshare article {accession}"
    content = get_json(f"{API}/articles/{accession}", settings, label=label, denied="it is not public")
    files, ids = [], {}
    for entry in expect(content, "files", label=label):
        name = expect(entry, "name", label=label)
        md5 = entry.get("computed_md5") or entry.get("supplied_md5") or None
        files.append(Listed(name, f"{accession}/{name}", Checksum(md5=md5, size=size_of(entry.get("size")))))
        ids[name] = str(expect(entry, "id", label=label))
    licence = (content.get("license") or {}).get("name")
    return Listing(accession, tuple(files), licence, content.get("title")), ids
