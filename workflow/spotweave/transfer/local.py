"""Files that are here: the path that a text names, all files of a folder, and their sizes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from spotweave.errors import Refusal

MOST_FILES = 200_000  # of a folder: no deposit has more, but the disk behind a link has


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
