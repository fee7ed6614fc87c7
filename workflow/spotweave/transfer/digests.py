"""Hashes of a file, computed while its bytes pass by, and held against the row."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tqdm import tqdm

from spotweave.errors import Refusal
from spotweave.transfer.files import Checksum

CHUNK_BYTES = 1 << 20
BIG_BYTES = 64 << 20  # from here on a progress bar is shown


class Digests:
    """Size, sha256 and, where the row asks for it, md5 of the bytes seen so far."""

    def __init__(self, checksum: Checksum) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if checksum.md5 else None

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self.size += len(data)
        self._sha256.update(data)
        if self._md5:
            self._md5.update(data)

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes so far."""
        return self._sha256.hexdigest()

    @property
    def found(self) -> Checksum:
        """What the bytes have turned out to be."""
        return Checksum(self.sha256, self._md5.hexdigest() if self._md5 else None, self.size)


def digest_file(path: Path, checksum: Checksum, size: int | None = None) -> Digests:
    """Hash a file in one pass, up to its first `size` bytes where that is given."""
    digests = Digests(checksum)
    left = path.stat().st_size if size is None else size
    quiet = True if left < BIG_BYTES else None
    with open(path, "rb") as handle, tqdm(total=left, desc=path.name, unit="B", unit_scale=True, disable=quiet) as bar:
        while left and (data := handle.read(min(CHUNK_BYTES, left))):
            digests.update(data)
            left -= len(data)
            bar.update(len(data))
    return digests


def mismatch(asked: Checksum, found: Checksum) -> tuple[str, str | int, str | int] | None:
    """The first thing asked for that was found to be different, as (what, asked, found)."""
    pairs = {
        "bytes": (asked.size, found.size),
        "sha256": (asked.sha256, found.sha256),
        "md5": (asked.md5, found.md5),
    }
    for what, (wanted, got) in pairs.items():
        if wanted is not None and got is not None and wanted != got:
            return what, wanted, got
    return None


def check(label: str, asked: Checksum, found: Checksum) -> None:
    """Refuse a file that is not the one of the row."""
    wrong = mismatch(asked, found)
    if wrong:
        what, wanted, got = wrong
        raise Refusal(
            f"{label}: not the file of the row: {_said(what, got)}, but the row says {_said(what, wanted)}; "
            "if the publisher replaced it on purpose, update the row's checksum",
            measured=got,
            threshold=wanted,
        )


def _said(what: str, value: str | int) -> str:
    return f"{value:,} bytes" if what == "bytes" else f"{what} {value}"
