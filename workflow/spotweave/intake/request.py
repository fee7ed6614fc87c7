"""What a row asks of the fetch, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spotweave.transfer.files import Checksum, Fetched, parse_checksum


@dataclass(frozen=True)
class Request:
    """What a row asks for.

    Parameters
    ----------
    sample
        Its id.
    reader
        Reader of its technology: says which roles there are.
    source, accession, files
        Where its files are listed; `files` are shell patterns separated by blanks, that narrow the listing.
    unit
        Which unit of a deposit that has several.
    given
        Role (or `spatial`, `bundle`) -> the row's location and checksum.
    """

    sample: str
    reader: str
    source: str
    accession: str | None = None
    files: str | None = None
    unit: str | None = None
    given: Mapping[str, tuple[str, Checksum]] = field(default_factory=dict)


@dataclass(frozen=True)
class Brought:
    """A file that is here: `why` says how it was found, `location` names it as a row would."""

    role: str
    location: str
    why: str
    file: Fetched


@dataclass(frozen=True)
class Ingested:
    """A sample's raw files, in the order of their roles, and JSON-ready measures."""

    files: list[Brought]
    report: dict[str, Any]


def parse_request(content: Mapping[str, Any]) -> Request:
    """A request from its JSON form, in which `given` maps roles to `{"location": …, "checksum": …}`."""
    given = {role: (cell["location"], parse_checksum(cell.get("checksum"))) for role, cell in content["given"].items()}
    rest = {name: content.get(name) for name in ("accession", "files", "unit")}
    return Request(content["sample"], content["reader"], content["source"], given=given, **rest)
