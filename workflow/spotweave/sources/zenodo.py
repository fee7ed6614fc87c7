"""Zenodo: `4751624`, `10.5281/zenodo.4751624` or the record's address; files with size and md5 (InvenioRDM REST API).

A record number names one version. The number of a concept leads to its newest version, which changes: it is refused
with the number to write instead. A token in ZENODO_TOKEN raises the number of requests allowed.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from urllib.parse import quote

from spotweave.errors import Refusal
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Listing, Wanted
from spotweave.sources._api import Located, expect, fetch_located, find, get_json, safe_name, size_of

ACCESSION = r"(10\.5281/zenodo\.)?\d+"
API = "https://zenodo.org/api/records"
DENIED = "its files are closed: ask for access on Zenodo, or set ZENODO_TOKEN to a token that has it"


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of one record."""
    return _record(_number(accession), settings)


def locate(location: str, settings: FetchSettings) -> Located:
    """Address, size and md5 of `<record>/<file>`."""
    accession, name = split(location)
    number = _number(accession)
    file = find(_record(number, settings), name)
    url = f"{API}/{number}/files/{quote(file.name, safe='')}/content"
    return Located(url, safe_name(file.name), _token(), file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of a record, held against the md5 and the size that Zenodo states."""
    return fetch_located(wanted, folder, settings, locate, "zenodo")


def split(location: str) -> tuple[str, str]:
    """Record and file of a location; the DOI form of a record holds a slash of its own."""
    match = re.match(rf"({ACCESSION})/(.+)$", location)
    if not match:
        raise Refusal(f"{location}: not a file of a Zenodo record such as 4751624/name.zip")
    return match[1], match[3]


def _number(accession: str) -> str:
    number = re.search(r"(\d+)/?$", accession)
    if not number:
        raise Refusal(f"{accession}: not a Zenodo record such as 4751624 or 10.5281/zenodo.4751624")
    return number[1]


def _token() -> dict[str, str]:
    token = os.environ.get("ZENODO_TOKEN", "")
    return {"Authorization": f"Bearer {token}"} if token else {}


@functools.cache
def _record(number: str, settings: FetchSettings) -> Listing:
    label = f"Zenodo record {number}"
    content = get_json(f"{API}/{number}", settings, label=label, headers=_token(), denied=DENIED)
    found = str(expect(content, "id", label=label))
    if found != number:
        raise Refusal(
            f"{label}: names all versions of a record and now leads to {found}; write {found}, so that the files stay"
            " the same",
            measured=found,
            threshold=number,
        )
    files = []
    for entry in expect(content, "files", label=label):
        name = expect(entry, "key", label=label)
        kind, _, digest = str(entry.get("checksum", "")).partition(":")
        checksum = Checksum(md5=digest if kind == "md5" and digest else None, size=size_of(entry.get("size")))
        files.append(Listed(name, f"{number}/{name}", checksum))
    about = content.get("metadata", {})
    licence = (about.get("license") or {}).get("id")
    return Listing(number, tuple(files), licence, about.get("title"))
