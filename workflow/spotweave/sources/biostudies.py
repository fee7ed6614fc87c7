"""BioStudies and ArrayExpress: `S-BSST1184`, `E-MTAB-11114`; files with size, no checksum (REST API v1).

The listing is trusted, not the links inside a study's own tables, which may point to hosts that are no more.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from urllib.parse import quote

from spotweave.errors import Refusal
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Listing, Wanted
from spotweave.sources._api import Located, expect, fetch_located, find, get_json, safe_name, size_of

ACCESSION = r"(S-[A-Z]+\d+|E-[A-Z]{4}-\d+)"
HOST = "https://www.ebi.ac.uk/biostudies"
PAGE = 500


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of a study, with their folders."""
    if not re.fullmatch(ACCESSION, accession):
        raise Refusal(f"{accession}: not a study such as S-BSST1184 or E-MTAB-11114")
    return _study(accession, settings)


def locate(location: str, settings: FetchSettings) -> Located:
    """Address and size of `<study>/<path>`."""
    accession, _, name = location.partition("/")
    file = find(list_files(accession, settings), name)
    return Located(f"{HOST}/files/{accession}/{quote(file.name)}", safe_name(file.name), {}, file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of a study, held against the size that BioStudies states."""
    return fetch_located(wanted, folder, settings, locate, "biostudies")


@functools.cache
def _study(accession: str, settings: FetchSettings) -> Listing:
    label = f"study {accession}"
    files: list[Listed] = []
    total = 1
    while len(files) < total:
        url = f"{HOST}/api/v1/files/{accession}?limit={PAGE}&offset={len(files)}"
        content = get_json(url, settings, label=label, denied="it is not public")
        entries = expect(content, "data", label=label)
        total = int(content.get("recordsTotal") or len(files) + len(entries))
        if not entries:
            break
        for entry in entries:
            name = entry.get("path") or expect(entry, "Name", label=label)
            size = size_of(entry.get("size", entry.get("Size")))
            files.append(Listed(name, f"{accession}/{name}", Checksum(size=size)))
    if len(files) < total:
        raise Refusal(f"{label}: {len(files)} of {total} files listed", measured=len(files), threshold=total)
    return Listing(accession, tuple(files))
