"""Where raw files come from: one source, one module; this is their contract.

    list_files(accession: str, settings: FetchSettings) -> Listing
    fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched

A source says what an accession holds, and brings one file of it and vouches for it: whole, of the kind its name says,
and equal to the checksums of the row and of the publisher. It raises `Refusal` when the file is wrong or gone, and an
ordinary exception when the world is (network down, disk full). Modules whose name starts with an underscore are shared
parts, not sources.

What must be known of a source before it is asked anything, its module assigns at its top as a literal, which is read
without importing the module:

    ACCESSION    regular expression that an accession fits as a whole
    EXAMPLE      an accession that exists
    ACCOUNT      environment variable with the token of an account, where the source has such
    ADDRESS      (regular expression of the DOIs and addresses of its deposits, how the accession is made of its groups)
    INCOMPLETE   what to add to an address that lacks a part of the accession; without it, the part is left out
    WEB_PAGE     address of the page that shows an accession to people, `{}` for the accession
    LOOK_AT      where to look instead, in words

Only the first two are needed. How many downloads a source bears, and what to know when using it, is in its row of
`resources/sources.csv`.

Nothing heavy is imported here: the tables are validated with `parse_checksum` before anything is started.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from spotweave.errors import Refusal
from spotweave.registry import Registry

SOURCES = Registry("sources", "source")
HEX_DIGITS = {"sha256": 64, "md5": 32}
MOST_FILES = 200_000  # of a folder: no deposit has more, but the disk behind a link has


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


def local_path(location: str) -> Path:
    """The path that a location names; a relative one stays relative.

    A path is written as it is on the disk. One that is not there, but is there once `%20` and the like are read as what
    they stand for, was copied from an address and is taken as that; in a `file://` address it is the other way round.

    Raises
    ------
    Refusal
        It names none: another machine's, an unknown user's home, or no address at all.
    """
    try:
        parts = urlsplit(location)
        if parts.scheme == "file":
            if parts.netloc not in ("", "localhost"):
                raise Refusal(f"{location}: names a file of another machine ({parts.netloc}); write file:///path")
            return _first_there(unquote(parts.path), parts.path)
    except ValueError as error:
        if location.lower().startswith("file:"):
            raise Refusal(f"{location}: not an address ({error}); write file:///path, or a plain path") from None
    try:
        return _first_there(location, unquote(location))
    except RuntimeError:
        user = location.partition("/")[0]
        raise Refusal(f"{location}: there is no user {user[1:]!r} here; write the whole path") from None


def _first_there(text: str, other: str) -> Path:
    """The path that is there, the first if neither or both are."""
    path = Path(text).expanduser()
    return Path(other).expanduser() if other != text and not os.path.lexists(path) and os.path.lexists(other) else path


def files_below(folder: Path) -> tuple[list[Path], list[str]]:
    """All files of a folder at any depth, sorted, and notes on links that lead nowhere or in a circle.

    Folders behind links are looked through like any other, each once: under its own path where it has one here.
    """
    paths: list[Path] = []
    notes: list[str] = []
    seen: set[str] = set()
    ahead: list[tuple[Path, bool]] = [(folder, False)]
    while ahead:
        # Links last: a folder that has a place of its own here is listed at that place.
        ahead.sort(key=lambda entry: (entry[1], entry[0].as_posix()))
        here, is_link = ahead.pop(0)
        real = os.path.realpath(here)
        if real in seen:
            if is_link and _is_below(os.path.realpath(here.parent), real):
                notes.append(f"{here.relative_to(folder).as_posix()}: a link that leads in a circle; passed over")
            continue
        seen.add(real)
        where = here.relative_to(folder).as_posix()
        try:
            entries = sorted(here.iterdir())
        except PermissionError:
            notes.append(f"{where}: a folder that may not be read; passed over")
            continue
        for path in entries:
            if path.is_dir():
                ahead.append((path, path.is_symlink()))
            elif path.is_file():
                paths.append(path)
            elif path.is_symlink():
                link = path.relative_to(folder).as_posix()
                notes.append(f"{link}: a link that leads nowhere or in a circle; passed over")
        if len(paths) > MOST_FILES:
            notes.append(f"{where}: more than {MOST_FILES:,} files up to here; what is behind was not looked at")
            break
    return sorted(paths), sorted(notes)


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def local_sizes(locations: Iterable[str], folder: str | None = None) -> list[str]:
    """`path:bytes` of local files, and of all files in a folder: what tells that one came, went or changed its size.

    What names no path, or may not be looked at, is `missing`: to refuse it is the fetch's business.
    """
    paths: list[Path] = []
    sizes: list[str] = []
    for location in locations:
        try:
            paths.append(local_path(location))
        except Refusal:
            sizes.append(f"{location}:missing")
    if folder is not None:
        with contextlib.suppress(Refusal, OSError, ValueError):
            paths += files_below(local_path(folder))[0] if local_path(folder).is_dir() else []
    return sizes + [f"{path}:{_size(path)}" for path in paths]


def _size(path: Path) -> int | str:
    try:
        return path.stat().st_size if path.is_file() else "missing"
    except (OSError, ValueError):
        return "missing"


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


def parse_wanted(text: str) -> list[Wanted]:
    """Parse a JSON list of `{"role": …, "location": …, "checksum": …}`; the checksum may be missing.

    Raises
    ------
    ValueError
        It is not such a list, it is empty, a location is missing, or a role is repeated or no fit name for a folder.
    """
    files = json.loads(text)
    if not isinstance(files, list) or not files or not all(isinstance(file, dict) for file in files):
        raise ValueError("a JSON list of at least one file is needed")
    wanted = [
        Wanted(file.get("role", ""), file.get("location", ""), parse_checksum(file.get("checksum"))) for file in files
    ]
    roles = [one.role for one in wanted]
    for one in wanted:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", one.role) or roles.count(one.role) > 1:
            raise ValueError(f"role '{one.role}': lower case letters, digits and _ are allowed, each role once")
        if not one.location:
            raise ValueError(f"role '{one.role}': a location is missing")
    return wanted


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
class Place:
    """Where one file is: `location` as its source's `fetch` takes it, and the member of that archive, if one."""

    source: str
    location: str
    member: str | None = None


def find_place(text: str, source: str, accession: str | None) -> Place:
    """Read the cell of a row that says where a file is.

    * `https://host/file`: fetched by `https`, whatever the row's source is
    * `zenodo:4751624/B4.jpg`: from another source than the row's
    * anything else: a file of the row's source and accession; with the source `file`, a path (relative to the
      accession's folder if the row has one)

    `…!member/path` behind it is a file inside that archive; the member may be given by the end of its path. A path on
    this machine is written as it is: a `!` in it parts an archive from its member only where no file of the whole name
    is there.
    """
    whole = text
    text, _, member = text.partition("!")
    if re.match("https?://", text, re.IGNORECASE):
        return Place("https", text, member or None)
    prefix, colon, rest = text.partition(":")
    if colon and prefix in SOURCES.names() and prefix != "file":
        return Place(prefix, rest, member or None)
    is_address = bool(colon) and prefix == "file"
    if source == "file" or is_address:
        is_relative = accession and not is_address and not text.startswith(("/", "~"))
        return Place("file", *_split_local(f"{accession}/{whole}" if is_relative else whole))
    return Place(source, f"{accession}/{text}" if accession else text, member or None)


def _split_local(text: str) -> tuple[str, str | None]:
    """A path on this machine, and the member of the archive that it is."""
    if "!" not in text or os.path.lexists(local_path(text)):
        return text, None
    marks = [at for at, letter in enumerate(text) if letter == "!"]
    archives = [at for at in marks if local_path(text[:at]).is_file()]
    archives += [at for at in marks if re.search(r"\.(tar|tgz|zip|tar\.gz)$", text[:at], re.IGNORECASE)]
    return (text[: archives[0]], text[archives[0] + 1 :] or None) if archives else (text, None)


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


class Source(Protocol):
    """What every module of this package offers; those with an API also `locate(location, settings)`."""

    ACCESSION: str

    def list_files(self, accession: str, settings: FetchSettings) -> Listing:
        """Say what an accession holds; `Refusal` if it does not exist or cannot be listed."""
        ...

    def fetch(self, wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
        """Bring one file and vouch for it."""
        ...


def source_fault(name: str) -> str | None:
    """What to say of a source that there is not, or whose module cannot be used; None for a usable one."""
    unknown = SOURCES.fault(name)
    if unknown:
        return unknown
    path = f"{SOURCES.module(name)}.py"
    try:
        accession, example = SOURCES.constant(name, "ACCESSION"), SOURCES.constant(name, "EXAMPLE")
        is_fitting = isinstance(accession, str) and isinstance(example, str) and re.fullmatch(accession, example)
    except (SyntaxError, re.error) as error:
        return f"{path} cannot be used ({error})"
    return None if is_fitting else f"{path} cannot be used: it needs ACCESSION and an EXAMPLE that fits it, as literals"
