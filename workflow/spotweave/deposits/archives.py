"""Archives from strangers: members are listed and taken out one by one, and nothing else may happen.

Refused as a whole: names that lead out of the archive, links that do, device files, names twice, entries that overlap,
more entries or more bytes than any deposit has, contents that unpack to hundreds of times their size. A tar is read
as a stream, once to list it and once to take from it; the tables of contents of a zip are checked before they are
loaded. Links inside an archive stand for the file they lead to: `tar` would leave them dangling where only the link
is wanted (the previews of Space Ranger's `binned_outputs`).
"""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
import posixpath
import re
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from tqdm import tqdm

from spotweave.errors import Refusal
from spotweave.io import atomic

CHUNK_BYTES = 1 << 20
BIG_BYTES = 64 << 20  # from here on a progress bar is shown
GIB = 1 << 30
BY_HAND = "unpack it by hand and give the files' paths with the source 'file'"
NO_READER = {
    b"7z\xbc\xaf\x27\x1c": f"a 7z archive; {BY_HAND}",
    b"Rar!\x1a\x07": f"a RAR archive; {BY_HAND}",
}
# ValueError and OverflowError: numbers and names in headers that the libraries cannot make sense of.
DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    gzip.BadGzipFile,
    struct.error,
    ValueError,
    OverflowError,
)
ZIP_END = b"PK\x05\x06"
ZIP64_LOCATOR = b"PK\x06\x07"
ZIP64_END = b"PK\x06\x06"
LONGEST_NAME = 1024


@dataclass(frozen=True)
class ArchiveLimits:
    """What no honest deposit exceeds.

    Parameters
    ----------
    members
        Entries of an archive.
    total_bytes
        Bytes of all members, unpacked.
    ratio
        Unpacked bytes for one packed byte, beyond the first `free_bytes`.
    free_bytes
        Unpacked bytes that are never too many.
    """

    members: int = 200_000
    total_bytes: int = 1024 * GIB
    ratio: int = 300
    free_bytes: int = 256 << 20


@dataclass(frozen=True)
class Member:
    """A file of an archive: its path in it, its unpacked size, and for a link inside the archive, where it leads."""

    name: str
    bytes: int
    leads_to: str | None = None


def members(path: Path, label: str, limits: ArchiveLimits = ArchiveLimits()) -> tuple[Member, ...]:
    """The files of a .tar, .tar.gz or .zip archive, in its order.

    Parameters
    ----------
    path
        The archive.
    label
        How messages name it.
    limits
        What is refused.

    Raises
    ------
    Refusal
        It is no such archive, damaged, or hostile.
    """
    with _refusing_damage(label):
        if _is_zip(path, label):
            with _open_zip(path, label, limits) as archive:
                return tuple(Member(info.filename, info.file_size) for info in archive.infolist() if not info.is_dir())
        return tuple(_list_tar(path, label, limits))


def extract(
    path: Path,
    wanted: Mapping[str, Path],
    label: str,
    limits: ArchiveLimits = ArchiveLimits(),
    listed: Iterable[Member] | None = None,
) -> None:
    """Take members out, each to its own path, written beside and renamed.

    Parameters
    ----------
    path
        The archive.
    wanted
        Name of a member -> path of the file to write.
    label, limits
        As for `members`.
    listed
        What `members` says of it, where that is known: a tar is read once less.

    Raises
    ------
    Refusal
        As `members`; also a member that is not there, or whose bytes do not meet their checksum.
    """
    there = {member.name: member for member in (members(path, label, limits) if listed is None else listed)}
    sources = {name: _end_of_links(name, there, label) for name in wanted}
    targets: dict[str, list[Path]] = {}
    for name, source in sources.items():
        targets.setdefault(source, []).append(wanted[name])
    with _refusing_damage(label):
        if _is_zip(path, label):
            with _open_zip(path, label, limits) as archive:
                extract_zip(archive, wanted, label)
            return
        left = dict(targets)
        with _open_tar(path, label, limits) as (tar, _):
            for info in tar:
                name = _checked_name(info.name or ".", label)
                if name in left and info.isreg():
                    content = cast(IO[bytes], tar.extractfile(info))  # a regular file has content
                    _write(content, left.pop(name), info.size, f"{label}!{name}")
                if not left:
                    return
        raise Refusal(f"{label}: {_some(left)} is not in the archive any more; it changed while it was read")


def extract_zip(archive: zipfile.ZipFile, wanted: Mapping[str, Path], label: str) -> None:
    """Take members out of an opened zip that `check_zip` has passed; each is held against its CRC."""
    with _refusing_damage(label):
        for name, target in wanted.items():
            try:
                info = archive.getinfo(name)
            except KeyError:
                raise Refusal(
                    f"{label}: {_shown(name)} is not in the archive; it has {_some(archive.namelist())}"
                ) from None
            _refuse_encrypted(info, label)
            with archive.open(info) as handle:
                _write(handle, [target], info.file_size, f"{label}!{name}")


def decompress(path: Path, target: Path, label: str, limits: ArchiveLimits = ArchiveLimits()) -> None:
    """Unpack one .gz file to `target`, written beside and renamed; its CRC is checked.

    Raises
    ------
    Refusal
        It is damaged, or a bomb.
    """
    with _refusing_damage(label), open(path, "rb") as raw:
        _write(
            cast(IO[bytes], _Bounded(cast(IO[bytes], gzip.GzipFile(fileobj=raw)), raw, label, limits)),
            [target],
            None,
            label,
        )


def _list_tar(path: Path, label: str, limits: ArchiveLimits) -> Iterator[Member]:
    seen: set[str] = set()
    total = 0
    most = limits.free_bytes + limits.ratio * path.stat().st_size
    with _open_tar(path, label, limits) as (tar, content):
        for count, info in enumerate(tar, start=1):
            _refuse_more(label, "entries", count, limits.members)
            total += info.size
            _refuse_more(label, "bytes unpacked", total, limits.total_bytes)
            _refuse_more(label, "bytes unpacked from so small an archive", total, most)
            if info.isdir():
                _checked_name(info.name or ".", label)
                continue
            name = _checked_name(info.name, label)
            if name in seen:
                raise Refusal(f"{label}: two members are called {_shown(name)}; {BY_HAND}")
            seen.add(name)
            if info.islnk() or info.issym():
                yield Member(name, 0, _link_target(info, name, label))
            elif info.isreg():
                yield Member(name, info.size)
            else:
                raise Refusal(f"{label}: {_shown(name)} is a device or a pipe, not a file; do not use this archive")
        while content.read():  # gzip's checksum comes last
            pass


def _link_target(info: tarfile.TarInfo, name: str, label: str) -> str:
    """Where a link leads: a hard link names a member, a symbolic one a path beside itself."""
    base = posixpath.dirname(name) if info.issym() else ""
    target = posixpath.normpath(posixpath.join(base, info.linkname))
    if info.linkname.startswith("/") or target.startswith("..") or "\\" in info.linkname:
        raise Refusal(
            f"{label}: {_shown(name)} is a link that leads out of the archive ({_shown(info.linkname)}); do not use"
            " this archive"
        )
    return _checked_name(target, label)


def _end_of_links(name: str, there: Mapping[str, Member], label: str) -> str:
    """The regular member a name stands for."""
    seen: list[str] = []
    while True:
        if name not in there:
            what = f"a link to {_shown(name)}, which" if seen else _shown(name)
            raise Refusal(f"{label}: {what} is not in the archive; it has {_some(there)}")
        if name in seen:
            raise Refusal(f"{label}: {_shown(seen[0])} is a link that leads to itself")
        target = there[name].leads_to
        if target is None:
            return name
        seen.append(name)
        name = target


@contextlib.contextmanager
def _open_tar(path: Path, label: str, limits: ArchiveLimits) -> Iterator[tuple[tarfile.TarFile, _Bounded]]:
    """A tar as a stream whose unpacked bytes are counted, so that a bomb ends early whatever its headers say."""
    size = path.stat().st_size
    quiet = True if size < BIG_BYTES else None
    with open(path, "rb") as raw, tqdm(total=size, desc=label, unit="B", unit_scale=True, disable=quiet) as bar:
        is_gzip = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        inner: IO[bytes] = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if is_gzip else raw
        bounded = _Bounded(inner, raw, label, limits, bar)
        with tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r|", bufsize=CHUNK_BYTES, errorlevel=1) as tar:
            yield tar, bounded


class _Bounded:
    """A readable file that refuses to unpack far more than was packed."""

    def __init__(
        self, inner: IO[bytes], packed: BinaryIO, label: str, limits: ArchiveLimits, bar: tqdm | None = None
    ) -> None:
        self.inner, self.packed, self.label, self.limits, self.bar = inner, packed, label, limits, bar
        self.unpacked = 0

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        # One huge read would fill the memory before anything is counted.
        data = self.inner.read(min(size, CHUNK_BYTES) if size >= 0 else CHUNK_BYTES)
        self.unpacked += len(data)
        position = self.packed.tell()
        _refuse_more(
            self.label,
            "bytes unpacked from so small an archive",
            self.unpacked,
            self.limits.free_bytes + self.limits.ratio * position,
        )
        _refuse_more(self.label, "bytes unpacked", self.unpacked, self.limits.total_bytes)
        if self.bar is not None:
            self.bar.update(position - self.bar.n)
        return data


@contextlib.contextmanager
def _open_zip(path: Path, label: str, limits: ArchiveLimits) -> Iterator[zipfile.ZipFile]:
    with open(path, "rb") as handle, read_zip_table(handle, path.stat().st_size, label, limits) as archive:
        yield archive


def read_zip_table(handle: BinaryIO, size: int, label: str, limits: ArchiveLimits = ArchiveLimits()) -> zipfile.ZipFile:
    """Open a zip of `size` bytes by its table of contents, which is checked before and after it is loaded.

    Raises
    ------
    Refusal
        It is no zip, damaged, or hostile. What `handle` raises where it cannot be read comes through.
    """
    with _refusing_damage(label):
        check_zip_end(handle, label, limits)
        try:
            archive = zipfile.ZipFile(handle)
        except zipfile.BadZipFile as error:
            # zipfile takes any failure to read for a file that is no zip.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
        check_zip(archive, size, label, limits)
    return archive


def check_zip_end(handle: BinaryIO, label: str, limits: ArchiveLimits = ArchiveLimits()) -> None:
    """Refuse a zip that announces too many entries, before they are loaded (APPNOTE 6.3.10, 4.3.14-4.3.16)."""
    size = handle.seek(0, os.SEEK_END)
    handle.seek(max(0, size - (1 << 16) - 22 - 20))
    tail = handle.read()
    at = tail.rfind(ZIP_END)
    if at < 0 or len(tail) - at < 22:
        raise Refusal(
            f"{label}: a zip archive that ends too early; compare it with the publisher's copy", measured=size
        )
    count, directory_bytes = (
        struct.unpack("<H", tail[at + 10 : at + 12])[0],
        struct.unpack("<I", tail[at + 12 : at + 16])[0],
    )
    locator = tail[at - 20 : at]
    if locator.startswith(ZIP64_LOCATOR):
        handle.seek(min(struct.unpack("<Q", locator[8:16])[0], size))
        end = handle.read(56)
        if not end.startswith(ZIP64_END) or len(end) < 56:
            raise Refusal(f"{label}: a damaged zip archive; compare it with the publisher's copy")
        count, directory_bytes = struct.unpack("<QQ", end[32:48])
    # An entry of the table takes 46 bytes and its name: the count may lie, the size of the table cannot.
    _refuse_more(label, "entries", max(count, directory_bytes // (46 + LONGEST_NAME)), limits.members)
    _refuse_more(label, "bytes of a table of contents", directory_bytes, limits.members * 256)


def check_zip(archive: zipfile.ZipFile, size: int, label: str, limits: ArchiveLimits = ArchiveLimits()) -> None:
    """Refuse a zip with hostile names, links, entries that share bytes, or more than it can honestly hold.

    Parameters
    ----------
    archive
        The opened archive; `size` is that of its file in bytes.
    """
    infos = archive.infolist()
    _refuse_more(label, "entries", len(infos), limits.members)
    seen: set[str] = set()
    for info in infos:
        # zipfile cuts a name at a NUL and turns backslashes round: the name as filed is looked at.
        name = _checked_name(info.orig_filename, label)
        if name in seen:
            raise Refusal(f"{label}: two members are called {_shown(name)}; {BY_HAND}")
        seen.add(name)
        if (info.external_attr >> 16) & 0o170000 not in (0, 0o100000, 0o040000):
            raise Refusal(f"{label}: {_shown(name)} is a link or a device, not a file; do not use this archive")
    total = sum(info.file_size for info in infos)
    _refuse_more(label, "bytes unpacked", total, limits.total_bytes)
    _refuse_more(label, "bytes unpacked from so small an archive", total, limits.free_bytes + limits.ratio * size)
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise Refusal(
                f"{label}: {_shown(info.filename)} shares its bytes with another member; do not use this archive"
            )
        end = info.header_offset + 30 + info.compress_size
        if end > size:
            raise Refusal(
                f"{label}: {_shown(info.filename)} would end at byte {end:,} of {size:,}; compare the archive with the"
                " publisher's copy",
                measured=end,
                threshold=size,
            )


def _refuse_encrypted(info: zipfile.ZipInfo, label: str) -> None:
    if info.flag_bits & 0x1:
        raise Refusal(f"{label}: {_shown(info.filename)} is encrypted; {BY_HAND}")


def _is_zip(path: Path, label: str) -> bool:
    with open(path, "rb") as handle:
        head = handle.read(8)
    for magic, what in NO_READER.items():
        if head.startswith(magic):
            raise Refusal(f"{label}: {what}")
    return head.startswith(b"PK")


def _checked_name(name: str, label: str) -> str:
    """A member's name, normalised; refused if it could mean a place outside the archive or fool a reader."""
    if not name or len(name) > LONGEST_NAME or re.search(r"[\x00-\x1f\x7f]", name) or "\\" in name:
        raise Refusal(f"{label}: a member has the unusable name {_shown(name)}; do not use this archive")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise Refusal(f"{label}: a member has a name that is no text, {_shown(name)}; {BY_HAND}") from None
    plain = posixpath.normpath(name)
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/"):
        raise Refusal(f"{label}: the member {_shown(name)} leads out of the archive; do not use this archive")
    return plain


def _write(handle: IO[bytes], targets: Iterable[Path], size: int | None, label: str) -> None:
    """Copy a stream to one or several files, each complete or not there at all."""
    first, *others = list(targets)
    quiet = True if (size or 0) < BIG_BYTES else None
    written = 0
    with (
        atomic(first) as part,
        open(part, "wb") as out,
        tqdm(total=size, desc=label, unit="B", unit_scale=True, disable=quiet) as bar,
    ):
        while data := handle.read(CHUNK_BYTES):
            out.write(data)
            written += len(data)
            bar.update(len(data))
        if size is not None and written != size:
            raise Refusal(f"{label}: ends after {written:,} of {size:,} bytes", measured=written, threshold=size)
    for target in others:
        with atomic(target) as part:
            shutil.copyfile(first, part)


@contextlib.contextmanager
def _refusing_damage(label: str) -> Iterator[None]:
    try:
        yield
    except NotImplementedError as error:  # Deflate64 and others, as Windows writes them above 2 GB
        raise Refusal(f"{label}: packed in a way that cannot be read here ({error}); {BY_HAND}") from error
    except DAMAGED as error:
        raise Refusal(f"{label}: a damaged archive ({error}); compare it with the publisher's copy") from error


def _refuse_more(label: str, what: str, found: int, most: int) -> None:
    if found > most:
        raise Refusal(
            f"{label}: {found:,} {what}, more than any deposit has ({most:,}); do not use this archive",
            measured=found,
            threshold=most,
        )


def _shown(name: str) -> str:
    return repr(name[:80] + ("…" if len(name) > 80 else ""))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5:,} more" if len(listed) > 5 else "") or "no files"
