"""What a source is asked for and what it answers: files, their checksums, listings, and how patient to be.

Nothing heavy is imported: the tables are validated with `parse_checksum` before anything is started.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

HEX_DIGITS = {"sha256": 64, "md5": 32}


@dataclass(frozen=True)
class Checksum:
    """What a cohort row asks of a file's bytes; None asks nothing.

    Parameters
    ----------
    sha256, md5
        Hex digests, lower case.
    size
        Number of bytes.
    """

    sha256: str | None = None
    md5: str | None = None
    size: int | None = None

    @property
    def has_hash(self) -> bool:
        """Whether the content itself is pinned, not only its size."""
        return bool(self.sha256 or self.md5)

    def __str__(self) -> str:
        parts = {"sha256": self.sha256, "md5": self.md5, "bytes": self.size}
        return ";".join(f"{key}:{value}" for key, value in parts.items() if value is not None)


def parse_checksum(text: str | None) -> Checksum:
    """Parse `sha256:<hex>;md5:<hex>;bytes:<n>`: any subset, in any order; None and empty text ask nothing.

    Raises
    ------
    ValueError
        Says which part is wrong and what is allowed.
    """
    found: dict[str, str] = {}
    for part in (text or "").split(";"):
        if not part.strip():
            continue
        key, colon, value = (piece.strip().lower() for piece in part.partition(":"))
        if not colon or key not in (*HEX_DIGITS, "bytes"):
            raise ValueError(f"'{part.strip()}' is not one of sha256:<hex>, md5:<hex>, bytes:<number>")
        if key in found:
            raise ValueError(f"'{key}' is given twice")
        if key in HEX_DIGITS and not re.fullmatch(rf"[0-9a-f]{{{HEX_DIGITS[key]}}}", value):
            raise ValueError(f"'{value}' is not a {key}: {HEX_DIGITS[key]} hexadecimal digits are needed")
        if key == "bytes" and not re.fullmatch(r"[1-9][0-9]*", value):
            raise ValueError(f"'{value}' is not a number of bytes: a whole number above 0 is needed")
        found[key] = value
    size = found.get("bytes")
    return Checksum(found.get("sha256"), found.get("md5"), int(size) if size else None)


@dataclass(frozen=True)
class Wanted:
    """One file of a cohort row.

    Parameters
    ----------
    role
        What the file is for: `counts`, `spots`, `image`, …
    location
        URL or path, as in the row.
    checksum
        What the row asks of its bytes.
    """

    role: str
    location: str
    checksum: Checksum = field(default_factory=Checksum)


@dataclass(frozen=True)
class Fetched:
    """A file that is here and verified: `bytes` is its size, `sha256` the hash of its content."""

    path: Path
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Listed:
    """One file that an accession holds.

    Parameters
    ----------
    name
        Its path within the accession, parts joined by `/`, as the publisher writes it.
    location
        What `fetch` of the same source takes: a path or an address, or `<accession>/<name>`.
    checksum
        What the publisher says of its bytes.
    """

    name: str
    location: str
    checksum: Checksum = field(default_factory=Checksum)


@dataclass(frozen=True)
class Listing:
    """What an accession holds: files in the publisher's order; licence and title as the publisher writes them.

    `notes` says what could not be listed, one line each.
    """

    accession: str
    files: tuple[Listed, ...]
    licence: str | None = None
    title: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FetchSettings:
    """How patient a source is.

    Parameters
    ----------
    attempts
        Attempts in a row without progress before a source gives up.
    timeout_s
        Seconds without a connection, or without a byte, that end an attempt.
    backoff_s
        Seconds before the second attempt; doubled for each one after it.
    chunk_bytes
        Most bytes read at once; also the progress that an attempt must make not to count.
    unannounced_max_bytes
        Most bytes that are taken from a server that does not tell how many there are.
    free_min_bytes
        Free space that a download must leave on the disk.
    """

    attempts: int = 5
    timeout_s: float = 60.0
    backoff_s: float = 1.0
    chunk_bytes: int = 1 << 20
    unannounced_max_bytes: int = 20 * 10**9
    free_min_bytes: int = 10**8

    def __post_init__(self) -> None:
        if min(self.attempts, self.chunk_bytes, self.unannounced_max_bytes) < 1 or self.timeout_s <= 0:
            raise ValueError(f"fetch settings out of range: {self}")
        if min(self.backoff_s, self.free_min_bytes) < 0:
            raise ValueError(f"fetch settings out of range: {self}")


class Unreachable(ConnectionError):
    """The file could not be had now, but may be later: network, time-out, server in trouble."""
