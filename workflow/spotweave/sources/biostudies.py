"""BioStudies and ArrayExpress: `S-BSST1184`, `E-MTAB-11114`, or the study's address; files with size (REST API v1).

No checksums are stated. The listing is trusted, not the links inside a study's own tables, which may point to hosts
that are no more. Folders that BioStudies lists as one entry hold no file that could be asked for; they are counted.

A location is `<study>/<path>`.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

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
    size_of,
    spelled,
)
from spotweave.transfer.files import Fetched, FetchSettings, Listed, Listing, Wanted

log = logging.getLogger("spotweave")

ACCESSION = r"(S-[A-Z]+\d+|E-[A-Z]{4}-\d+)"
EXAMPLE = "E-MTAB-11114"
ADDRESS = (r"\b(S-[A-Z]+\d+|E-[A-Z]{4}-\d+)\b", "{}")
WEB_PAGE = "https://www.ebi.ac.uk/biostudies/studies/{}"
SPELLING = (
    rf"(?:{DOI}10\.6019/|(?:https?://)?(?:www\.)?ebi\.ac\.uk/biostudies/(?:\w+/)?(?:studies|files)/)?"
    rf"(?P<study>{ACCESSION})(?![^/?#])"
)
HOST = "https://www.ebi.ac.uk/biostudies"
PAGE = 500
DENIED = "it is not public: wait for its release, or ask its authors"


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of a study, with their folders."""
    study, name = _split(accession)
    if name or not study:
        raise Refusal(f"{accession}: not a study such as S-BSST1184 or E-MTAB-11114")
    return _study(study, settings)


def locate(location: str, settings: FetchSettings) -> Located:
    """Address and size of `<study>/<path>`."""
    study, name = _split(location)
    if not name:
        raise Refusal(f"{location}: not a file of a study such as E-MTAB-11114/name.zip")
    file = find(_study(study, settings), name)
    return Located(f"{HOST}/files/{study}/{quote(file.name)}", safe_name(file.name), {}, file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of a study, held against the size that BioStudies states."""
    return fetch_located(wanted, folder, settings, locate, "biostudies", DENIED)


def _split(text: str) -> tuple[str, str]:
    """Study, in whichever spelling, and path of a file; empty where there is none."""
    found = spelled(text, SPELLING)
    return (found[0]["study"].upper(), found[1]) if found else ("", "")


@functools.cache
def _study(study: str, settings: FetchSettings) -> Listing:
    label = f"study {study}"
    found = _rows(study, settings, label)
    files = []
    for entry in found:
        if entry.get("type") != "directory":
            name = expect(entry, "path", label=label)
            size = size_of(entry.get("Size")) or size_of(entry.get("size"))
            files.append(Listed(name, f"{study}/{name}", checksum_of(size)))
    if len(files) < len(found):
        log.warning("%s: left out of the listing: %s folders that are one entry each", label, len(found) - len(files))
    about = get_about(f"{HOST}/api/v1/studies/{study}", settings, label=label, denied=DENIED)
    return Listing(study, tuple(files), _attribute(about, "license"), _attribute(about, "title"))


def _rows(study: str, settings: FetchSettings, label: str) -> list[dict[str, Any]]:
    """All entries of a study's table of files, page after page."""
    rows: dict[str, dict[str, Any]] = {}
    start, total = 0, 1
    while start < total:
        url = f"{HOST}/api/v1/files/{study}?start={start}&length={PAGE}"
        content = get_json(url, settings, label=label, denied=DENIED)
        page = {expect(row, "path", label=label): row for row in entries(content, "data", label=label)}
        total = size_of(expect(content, "recordsFiltered", label=label)) or 0
        if total and page.keys() <= rows.keys():  # pages that repeat themselves would never end
            raise Refusal(
                f"{label}: it lists {len(rows)} of {total} files; name those you need in the row",
                measured=len(rows),
                threshold=total,
            )
        rows |= page
        start += len(content["data"])
    return list(rows.values())


def _attribute(about: Any, name: str) -> str | None:
    """An attribute of the study's page-tab form, from the submission itself or its outermost section."""
    section = about.get("section") if isinstance(about, dict) else None
    for part in (about, section):
        attributes = part.get("attributes") if isinstance(part, dict) else None
        for attribute in attributes if isinstance(attributes, list) else []:
            if (said(attribute, "name") or "").lower() == name:
                return said(attribute, "value")
    return None
