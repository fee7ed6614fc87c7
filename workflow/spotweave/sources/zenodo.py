"""Zenodo: `4751624`, `10.5281/zenodo.4751624` or the record's address; files with size and md5 (InvenioRDM REST API).

A record number names one version. The number of a concept leads to its newest version, which changes: it is refused
with the number to write instead. A token in ZENODO_TOKEN raises the number of requests allowed, and opens closed
records to those who may read them.

A location is `<record>/<file>`: all behind the record's first slash is the name of the file.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from urllib.parse import quote

from spotweave.errors import Refusal
from spotweave.transfer.api import (
    DOI,
    Located,
    bearer,
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

ACCESSION = r"(10\.5281/zenodo\.)?\d+"
EXAMPLE = "7760264"
ADDRESS = (r"10\.5281/zenodo\.(\d+)|zenodo\.org/(?:api/)?records?/(\d+)", "{}")
WEB_PAGE = "https://zenodo.org/records/{}"
ACCOUNT = "ZENODO_TOKEN"
SPELLING = rf"(?:{DOI}10\.5281/zenodo\.|(?:https?://)?(?:www\.)?zenodo\.org/(?:api/)?records?/)?(?P<number>\d+)"
API = "https://zenodo.org/api/records"
DENIED = (
    "its files are closed, or ZENODO_TOKEN is not valid: ask for access on Zenodo and set ZENODO_TOKEN to a token that"
    " has it, or download by hand and use the source 'file'"
)


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of one record."""
    number, name = _split(accession)
    if name or not number:
        raise Refusal(f"{accession}: not a Zenodo record such as 4751624 or 10.5281/zenodo.4751624")
    return _record(number, settings)


def locate(location: str, settings: FetchSettings) -> Located:
    """Address, size and md5 of `<record>/<file>`."""
    number, name = _split(location)
    if not name:
        raise Refusal(f"{location}: not a file of a Zenodo record such as 4751624/name.zip")
    file = find(_record(number, settings), name)
    url = f"{API}/{number}/files/{quote(file.name, safe='')}/content"
    return Located(url, safe_name(file.name), _token(), file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of a record, held against the md5 and the size that Zenodo states."""
    return fetch_located(wanted, folder, settings, locate, "zenodo", DENIED)


def _split(text: str) -> tuple[str, str]:
    """Record number, in whichever spelling, and name of a file; both empty if there is no record."""
    found = spelled(text, SPELLING)
    return (found[0]["number"], found[1]) if found else ("", "")


def _token() -> dict[str, str]:
    return bearer(os.environ.get(ACCOUNT, ""))


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
    about = content.get("metadata")
    if said(about, "access_right") in ("closed", "embargoed", "restricted") and not content.get("files"):
        raise Refusal(f"{label}: {said(about, 'access_right')}: {DENIED}")
    files = []
    for entry in entries(content, "files", label=label):
        name = expect(entry, "key", label=label)
        kind, _, digest = str(entry.get("checksum", "")).partition(":")
        hashes = {kind: digest} if kind in ("md5", "sha256") else {}
        files.append(Listed(name, f"{number}/{name}", checksum_of(entry.get("size"), **hashes)))
    return Listing(number, tuple(files), said(about, "license", "id"), said(about, "title"))
