"""Whose an accession, a DOI, an address or a folder is; each source says how it writes them (`spotweave.sources`)."""

from __future__ import annotations

import os
import re

from spotweave.errors import Refusal
from spotweave.sources import SOURCES

SHOWN_CHARACTERS = 80
LONGEST_ASKED = 2000
ANYTHING = ("file", "https")  # any text is one of theirs


def detect_source(text: str) -> tuple[str, str]:
    """The source of an accession, a DOI, an address or a folder, and the accession as that source writes it.

    Raises
    ------
    Refusal
        It looks like none, or like several; the reason says how to write it.
    """
    text = text.strip()
    if len(text) > LONGEST_ASKED:
        raise Refusal(f"{text[:SHOWN_CHARACTERS]}…: {len(text):,} characters are no accession, address or folder")
    if os.path.isdir(os.path.expanduser(text)):  # noqa: PTH111, PTH112 (any text is asked, and no text is an error)
        return "file", text
    if re.match("https?://|(https?://)?(dx\\.)?doi\\.org/|10\\.\\d{4,9}/", text, re.IGNORECASE):
        return _from_address(text)
    named = [name for name in SOURCES.names() if name not in ANYTHING]
    fitting = [name for name in named if re.fullmatch(SOURCES.constant(name, "ACCESSION"), text)]
    # A dataset of the hub and its files at a commit look alike; the longer form is the repository's.
    fitting = [name for name in fitting if name != "huggingface"] or fitting
    if len(fitting) == 1:
        return fitting[0], text
    if fitting:
        raise Refusal(f"{text}: could be of {' or '.join(fitting)}; say which with --source")
    examples = ", ".join(f"{SOURCES.constant(name, 'EXAMPLE')} ({name})" for name in named)
    raise Refusal(f"{text}: neither a folder that is here nor an accession, such as {examples}")


def _from_address(text: str) -> tuple[str, str]:
    """The source whose own way of writing an address takes up most of this one, and the accession in it."""
    found: list[tuple[int, str, str, list[str]]] = []
    for source in SOURCES.names():
        pattern, form = SOURCES.constant(source, "ADDRESS", ("", ""))
        match = re.search(pattern, text, re.IGNORECASE) if pattern else None
        if match:
            found.append((len(match[0]), source, form, [part for part in match.groups() if part]))
    if not found:
        listing = ", ".join(name for name in SOURCES.names() if SOURCES.constant(name, "ADDRESS"))
        raise Refusal(f"{text}: not the address of a deposit that can be listed; known are those of {listing}")
    _, source, form, parts = max(found)
    if len(parts) == form.count("{"):
        return source, form.format(*parts)
    incomplete = SOURCES.constant(source, "INCOMPLETE")
    if incomplete or not parts:
        raise Refusal(f"{text}: {incomplete or 'the address names no accession'}")
    return source, parts[0]


def page_of(source: str, accession: str) -> str:
    """Address of the page that shows an accession to people; empty where its source has none."""
    plain = accession.partition("/versions")[0].replace("@", "/tree/")
    return str(SOURCES.constant(source, "WEB_PAGE", "")).format(plain)


def where_to_look(source: str, accession: str) -> str:
    """Where a person finds what the names of files do not tell."""
    return page_of(source, accession) or str(SOURCES.constant(source, "LOOK_AT", "the publication"))


def cohort_name(source: str, accession: str) -> str:
    """A name for the cohort of an accession, fit for a file."""
    if source in ("geo", "biostudies", "synapse"):
        text = accession
    elif source in ("tenx", "file"):
        text = accession.rstrip("/").rpartition("/")[2]
    elif source in ("github", "huggingface"):
        text = accession.partition("@")[0].rpartition("/")[2]
    else:
        text = f"{source}-{accession}"
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower() or source
