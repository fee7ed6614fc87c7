"""Downloads on disk: a partial file that survives a killed process, and the record of a finished one.

.part-<name>          what has arrived so far
.part-<name>.json     of which url, in which version (etag, last-modified), of how many bytes in all
<name>                the verified file
<name>.fetched.json   url, bytes, hashes, and what the row asked for
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from spotweave.addresses import identity
from spotweave.io import part_path, read_json, remove, write_json
from spotweave.transfer.content import HEAD_BYTES
from spotweave.transfer.digests import Digests, digest_file, mismatch
from spotweave.transfer.files import Checksum, Fetched, Unreachable, Wanted

log = logging.getLogger("spotweave")


def record_path(target: Path) -> Path:
    """Where the record of a finished download lies."""
    return target.with_name(f"{target.name}.fetched.json")


def kept(target: Path, wanted: Wanted) -> Fetched | None:
    """The finished download at `target`, if it still is what the row asks for; None where it must be fetched.

    A file whose record names the row's url is believed by its size and its recorded hashes. Any other file
    (put there by hand, or fetched before the row changed) is believed if it meets a hash of the row.
    """
    if not target.is_file():
        return None
    asked, size = wanted.checksum, target.stat().st_size
    record = _read(record_path(target))
    sha256, md5 = record.get("sha256"), record.get("md5")
    is_ours = record.get("url") == identity(wanted.location) and record.get("bytes") == size
    if is_ours and sha256 and (md5 or not asked.md5) and not mismatch(asked, Checksum(sha256, md5, size)):
        return Fetched(target, target.name, size, sha256)
    if asked.has_hash:
        digests = digest_file(target, asked)
        if not mismatch(asked, digests.found):
            return write_record(target, wanted, digests)
    log.warning("%s is not, or not provably, what its row asks for; fetching it anew", target)
    return None


@dataclass(frozen=True)
class Version:
    """Which state of a file a server has handed out, in the server's words; `total` is its size in bytes."""

    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """What may stand in `If-Range`: a strong etag, else the date (RFC 9110, 13.1.5)."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    def agrees_with(self, other: Version) -> bool:
        """False if anything that both know differs."""
        mine, theirs = asdict(self), asdict(other)
        return all(None in (mine[key], theirs[key]) or mine[key] == theirs[key] for key in mine)


class Partial:
    """What has arrived of one file. A context manager: holds a lock, and leaves the bytes for the next attempt.

    Bytes of an earlier process are taken up again only if they belong to the same url, and if either the
    server's version or a hash of the row will show that old and new bytes fit together.
    """

    def __init__(self, target: Path, wanted: Wanted) -> None:
        self.target = target
        self.wanted = wanted
        self.version = Version()
        self.is_pieced = False  # made of more than one answer
        self.head = b""
        self._path = part_path(target)
        self._state_path = self._path.with_name(f"{self._path.name}.json")

    def __enter__(self) -> Self:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self._state_path.is_dir():
            remove(self._state_path)
        self._handle = _open_locked(self._path)
        self._digests = Digests(self.wanted.checksum)
        if self._path.stat().st_size:
            self._take_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Bytes that no later attempt can take up only fill the disk.
        if not self.size or (error is not None and not self.can_resume()):
            remove(self._path)
            remove(self._state_path)
        with contextlib.suppress(OSError):  # what a full disk left in the buffer, once more
            self._handle.close()

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self._digests.size

    @property
    def is_complete(self) -> bool:
        """Whether all bytes that the server announced are here."""
        return self.size > 0 and self.size == self.version.total

    @property
    def found(self) -> Checksum:
        """Size and hashes of what has arrived."""
        return self._digests.found

    @property
    def path(self) -> Path:
        """Where the bytes lie; all of them are on disk when this is read."""
        return self._path

    def can_resume(self) -> bool:
        """Whether a wrong join with the bytes at hand could not go unnoticed."""
        return self.size > 0 and (self.version.validator is not None or self.wanted.checksum.has_hash)

    def restart(self, version: Version) -> None:
        """Forget all bytes and start with a version of the file."""
        self._handle.truncate(0)
        self._digests = Digests(self.wanted.checksum)
        self.version, self.is_pieced, self.head = version, False, b""
        write_json(self._state_path, {"url": identity(self.wanted.location), **asdict(version)})

    def discard(self) -> None:
        """Forget all bytes."""
        self.restart(Version())

    def continue_with(self, version: Version) -> None:
        """Note that the bytes to come are another piece of the same version."""
        if self.size:
            self.is_pieced = True
            self.learn_total(version.total)
        else:
            self.restart(version)

    def learn_total(self, total: int | None) -> None:
        """Note the size of the whole file once the server tells it."""
        if total is not None and self.version.total is None:
            self.version = Version(self.version.etag, self.version.last_modified, total)

    def append(self, data: bytes) -> None:
        """Write the next bytes through to the system: they survive a killed process."""
        self._handle.write(data)
        self._handle.flush()
        self._digests.update(data)
        if len(self.head) < HEAD_BYTES:
            self.head = (self.head + data)[:HEAD_BYTES]

    def publish(self) -> Fetched:
        """Give the verified file its name.

        The record comes first, and an older file goes before it: at every moment, a file
        with a record is the one the record speaks of.
        """
        os.fsync(self._handle.fileno())
        remove(self.target)
        fetched = write_record(self.target, self.wanted, self._digests)
        self._path.replace(self.target)
        remove(self._state_path)
        return fetched

    def _take_up(self) -> None:
        state = _read(self._state_path)
        size = self._path.stat().st_size
        version = _version(state)
        is_ours = state.get("url") == identity(self.wanted.location)
        is_of_use = version.validator is not None or self.wanted.checksum.has_hash
        if not is_ours or not is_of_use or (version.total is not None and size > version.total):
            self.discard()
            return
        self._digests = digest_file(self._path, self.wanted.checksum)
        self.version, self.is_pieced = version, True
        with open(self._path, "rb") as handle:
            self.head = handle.read(HEAD_BYTES)
        log.info("%s: %s: taking up %s bytes of an earlier attempt", self.wanted.role, self.target.name, f"{size:,}")


def _version(state: dict[str, Any]) -> Version:
    """The version that a state file speaks of; what is not of its type is not known."""
    etag, last_modified, total = (state.get(name) for name in ("etag", "last_modified", "total"))
    return Version(
        etag if isinstance(etag, str) else None,
        last_modified if isinstance(last_modified, str) else None,
        total if isinstance(total, int) and total >= 0 else None,
    )


def _open_locked(path: Path) -> BinaryIO:
    """Open for appending, alone. Looks again after locking: the path may have been renamed in between.

    What stands in the place of a partial file and cannot be written to (a folder, a link, another's file) is removed.
    """
    if path.is_symlink() or (path.exists() and not (path.is_file() and os.access(path, os.W_OK))):
        remove(path)
    while True:
        handle = open(path, "ab")  # noqa: SIM115 (closed by the caller)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            raise Unreachable(f"another process is fetching {path.name} into {path.parent}; let it finish") from None
        except OSError as error:  # some network file systems have no locks
            log.debug("%s: cannot be locked: %s", path, error)
        if path.exists() and os.path.samestat(os.fstat(handle.fileno()), path.stat()):
            return handle
        handle.close()


def _read(path: Path) -> dict[str, Any]:
    """A small JSON object; empty where it is missing or was cut off."""
    try:
        content = read_json(path)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def write_record(target: Path, wanted: Wanted, digests: Digests) -> Fetched:
    """Write the record of a verified file."""
    found = digests.found
    content = {
        "url": identity(wanted.location),
        "bytes": found.size,
        "sha256": found.sha256,
        "requirement": str(wanted.checksum),
    }
    if found.md5:
        content["md5"] = found.md5
    write_json(record_path(target), content)
    return Fetched(target, target.name, digests.size, digests.sha256)
