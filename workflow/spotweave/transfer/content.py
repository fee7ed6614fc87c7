"""What the bytes of a file must look like, given its name.

Servers answer 200 with a login page, a repository hands out a pointer in place of the file, a copy ends early:
these are seen in the first and last bytes, before a reader trips over them.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spotweave.errors import Refusal
from spotweave.transfer import tiff

HEAD_BYTES = 4096  # enough for every signature, an HDF5 user block of up to 2 KiB included
TAIL_BYTES = 1 << 16
GIT_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body")
HTML_TYPES = ("text/html", "application/xhtml+xml")
HTML_SUFFIXES = (".html", ".htm", ".xhtml")
NEVER_MARKUP = (".csv", ".tsv", ".json", ".geojson")
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
HDF5_OFFSETS = (0, 512, 1024, 2048)


def check_head(label: str, name: str, head: bytes, content_type: str | None = None) -> None:
    """Refuse a file whose first bytes are not what its name says.

    Parameters
    ----------
    label
        How messages name the file.
    name
        Its name; the suffix says what the bytes must be.
    head
        Its first `HEAD_BYTES` bytes, or all of a shorter file.
    content_type
        The server's word, where there is one: trusted only where the bytes cannot tell.
    """
    suffix = Path(name).suffix.lower()
    if not head:
        raise Refusal(
            f"{label}: the file is empty; replace it, or correct its address in the row", measured=0, threshold=1
        )
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if suffix not in HTML_SUFFIXES and start.startswith(HTML_STARTS):
        raise Refusal(f"{label}: a web page in place of the data; open the address in a browser to see what it wants")
    if head.startswith(GIT_LFS_POINTER):
        raise Refusal(f"{label}: a Git LFS pointer in place of the data; give the address of the file itself")
    kind = kind_of(name)
    if kind:
        if not kind.fits(head):
            raise Refusal(
                f"{label}: not {kind.title}, though its name says so; it starts with {_shown(head)};"
                " give another file, or correct its name"
            )
    elif suffix in NEVER_MARKUP and start.startswith(b"<"):
        raise Refusal(
            f"{label}: markup in place of the data; it starts with {_shown(head)}; give the address of the data"
        )
    elif is_html(content_type) and suffix not in HTML_SUFFIXES:
        raise Refusal(
            f"{label}: the server sends it as a web page ({content_type}), not as data; open the address in"
            " a browser to see what it wants"
        )


def check_whole(label: str, path: Path, name: str) -> None:
    """Refuse a file whose container was cut off: for files that no hash vouches for.

    gzip is read through (it carries a CRC), other kinds are looked at where their writers put the end.
    """
    kind = kind_of(name)
    if kind and not kind.is_whole(path):
        raise Refusal(
            f"{label}: {kind.title} that ends too early or is damaged ({path.stat().st_size:,} bytes); "
            "compare it with the publisher's copy",
            measured=path.stat().st_size,
        )


def is_html(content_type: str | None) -> bool:
    """Whether a Content-Type header announces a web page."""
    return (content_type or "").partition(";")[0].strip().lower() in HTML_TYPES


@dataclass(frozen=True)
class Kind:
    """A file format: `fits` looks at the first bytes, `is_whole` at the finished file."""

    title: str
    suffixes: tuple[str, ...]
    fits: Callable[[bytes], bool]
    is_whole: Callable[[Path], bool]


def kind_of(name: str) -> Kind | None:
    """The format that a file name announces, None where the name promises nothing that bytes could show."""
    suffix = Path(name).suffix.lower()
    return next((kind for kind in KINDS if suffix in kind.suffixes), None)


def _shown(head: bytes) -> str:
    return repr(head[:16])[1:]


def _starts(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _ends(mark: bytes) -> Callable[[Path], bool]:
    """Some writers pad: the mark may stand anywhere in the last 64 KiB."""
    return lambda path: mark in _tail(path)


def _tail(path: Path) -> bytes:
    with open(path, "rb") as handle:
        handle.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return handle.read()


def _gzip_is_whole(path: Path) -> bool:
    try:
        with gzip.open(path) as handle:
            while handle.read(1 << 20):
                pass
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return False
    return True


def _hdf5_fits(head: bytes) -> bool:
    return any(head.startswith(HDF5_SIGNATURE, offset) for offset in HDF5_OFFSETS)


def _hdf5_is_whole(path: Path) -> bool:
    """The superblock holds the address at which the file ends (HDF5 File Format Specification 3.0, II.A)."""
    with open(path, "rb") as handle:
        head = handle.read(HEAD_BYTES)
    start = next(offset for offset in HDF5_OFFSETS if head.startswith(HDF5_SIGNATURE, offset))
    superblock = head[start:].ljust(HEAD_BYTES, b"\0")
    version = superblock[8]
    address_bytes = superblock[13] if version < 2 else superblock[9]
    # The base address comes first, then one that is of no interest here, then the end.
    end_at = {0: 24, 1: 28}.get(version, 12) + 2 * address_bytes
    end = int.from_bytes(superblock[end_at : end_at + address_bytes], "little")
    return 0 < end <= path.stat().st_size


KINDS = (
    Kind("a gzip file", (".gz", ".tgz"), _starts(b"\x1f\x8b"), _gzip_is_whole),
    Kind("a zip archive", (".zip",), _starts(b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"), _ends(b"PK\x05\x06")),
    Kind("an HDF5 file", (".h5", ".hdf5", ".h5ad"), _hdf5_fits, _hdf5_is_whole),
    Kind("a JPEG picture", (".jpg", ".jpeg"), _starts(b"\xff\xd8\xff"), _ends(b"\xff\xd9")),
    Kind("a PNG picture", (".png",), _starts(b"\x89PNG\r\n\x1a\n"), _ends(b"IEND\xaeB`\x82")),
    Kind("a TIFF picture", (".tif", ".tiff", ".btf", ".svs"), tiff.is_tiff, tiff.is_whole),
    # NDPI stretches TIFF's 32-bit offsets in its own way: only the signature is looked at.
    Kind("an NDPI picture", (".ndpi",), tiff.is_tiff, lambda _: True),
    Kind("a Parquet file", (".parquet",), _starts(b"PAR1"), lambda path: _tail(path).endswith(b"PAR1")),
)
