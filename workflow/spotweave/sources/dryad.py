"""Dryad: a DOI such as `10.5061/dryad.x0k6djhmx`; files with size and digest (REST API v2).

What there is can be listed by everyone; the bytes need a bearer token (a free account), in DRYAD_TOKEN.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from spotweave.errors import Refusal
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Listing, Wanted
from spotweave.sources._api import Located, expect, fetch_located, find, get_json, safe_name, size_of

ACCESSION = r"10\.\d{4,9}/dryad\.[\w.]+"
HOST = "https://datadryad.org"
DENIED = (
    "the token in DRYAD_TOKEN is missing or has expired: get a new one (account page of datadryad.org, API), set"
    " DRYAD_TOKEN, or download by hand and use the source 'file'"
)


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of the newest version of a dataset."""
    return _dataset(_doi(accession), settings)[0]


def locate(location: str, settings: FetchSettings) -> Located:
    """Address, size and digest of `<doi>/<file>`."""
    match = re.match(rf"({ACCESSION})/(.+)$", location)
    if not match:
        raise Refusal(f"{location}: not a file of a Dryad dataset such as 10.5061/dryad.x0k6djhmx/name.zip")
    if not os.environ.get("DRYAD_TOKEN"):
        raise Refusal(f"{location}: {DENIED}")
    listing, urls = _dataset(match[1], settings)
    file = find(listing, match[2])
    return Located(urls[file.name], safe_name(file.name), _token(), file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of a dataset, held against the digest and the size that Dryad states."""
    return fetch_located(wanted, folder, settings, locate, "dryad")


def _doi(accession: str) -> str:
    match = re.search(ACCESSION, accession)
    if not match:
        raise Refusal(f"{accession}: not a Dryad DOI such as 10.5061/dryad.x0k6djhmx")
    return match[0]


def _token() -> dict[str, str]:
    token = os.environ.get("DRYAD_TOKEN", "")
    return {"Authorization": f"Bearer {token}"} if token else {}


@functools.cache
def _dataset(doi: str, settings: FetchSettings) -> tuple[Listing, dict[str, str]]:
    """The listing, and the address of each file."""
    label = f"Dryad dataset {doi}"

    def ask(path: str) -> Any:
        # A token that has expired is refused even where none is needed: what is public is asked for without.
        return get_json(HOST + path, settings, label=label, denied=DENIED)

    about = ask(f"/api/v2/datasets/{quote('doi:' + doi, safe='')}")
    page: str | None = expect(about, "_links", "stash:version", "href", label=label) + "/files"
    files, urls = [], {}
    while page:
        content = ask(page)
        for entry in expect(content, "_embedded", "stash:files", label=label):
            name = expect(entry, "path", label=label)
            kind, digest = str(entry.get("digestType", "")).lower().replace("-", ""), entry.get("digest")
            checksum = Checksum(
                sha256=digest if kind == "sha256" else None,
                md5=digest if kind == "md5" else None,
                size=size_of(entry.get("size")),
            )
            files.append(Listed(name, f"{doi}/{name}", checksum))
            urls[name] = HOST + expect(entry, "_links", "stash:download", "href", label=label)
        page = content.get("_links", {}).get("next", {}).get("href")
    return Listing(doi, tuple(files), about.get("license"), about.get("title")), urls
