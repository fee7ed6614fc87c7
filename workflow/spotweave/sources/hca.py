"""Human Cell Atlas: the id of a project; files with size and sha256 (Azul service).

Addresses are signed and expire: each fetch asks for a new one. The service may answer that the file is being
prepared (301 with Retry-After), which the session follows.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from urllib.parse import quote

from spotweave.errors import Refusal
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Listing, Wanted
from spotweave.sources._api import Located, expect, fetch_located, find, get_json, safe_name, size_of

ACCESSION = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
HOST = "https://service.azul.data.humancellatlas.org"
PAGE = 500


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of a project."""
    if not re.fullmatch(ACCESSION, accession):
        raise Refusal(
            f"{accession}: not a project of the Human Cell Atlas such as 957261f7-2bd6-4358-a6ed-24ee080d5cfc"
        )
    return _project(accession, settings)[0]


def locate(location: str, settings: FetchSettings) -> Located:
    """Address, size and sha256 of `<project>/<file>`."""
    accession, _, name = location.partition("/")
    list_files(accession, settings)
    listing, urls = _project(accession, settings)
    file = find(listing, name)
    return Located(urls[file.name], safe_name(file.name), {}, file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of a project, held against the sha256 and the size that the service states."""
    return fetch_located(wanted, folder, settings, locate, "hca")


@functools.cache
def _project(accession: str, settings: FetchSettings) -> tuple[Listing, dict[str, str]]:
    """The listing, and the address of each file."""
    label = f"HCA project {accession}"
    filters = quote(json.dumps({"projectId": {"is": [accession]}}, separators=(",", ":")))
    page: str | None = f"{HOST}/index/files?filters={filters}&size={PAGE}"
    files, urls = [], {}
    while page:
        content = get_json(page, settings, label=label, denied="it is not public")
        for hit in expect(content, "hits", label=label):
            for entry in expect(hit, "files", label=label):
                name = expect(entry, "name", label=label)
                files.append(
                    Listed(
                        name,
                        f"{accession}/{name}",
                        Checksum(sha256=entry.get("sha256"), size=size_of(entry.get("size"))),
                    )
                )
                urls[name] = entry.get("azul_url") or expect(entry, "url", label=label)
        page = (content.get("pagination") or {}).get("next")
    if not files:
        raise Refusal(f"{label}: has no files, or does not exist", measured=0, threshold=1)
    return Listing(accession, tuple(files)), urls
