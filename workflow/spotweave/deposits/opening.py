"""Opening what strangers deposited: nothing outside the file is read, nothing is unpacked without a limit, and what a
library cannot read in it is a refusal.

    with parsing(raw.name): ...              what the file's content makes a library raise becomes one `Refusal`
    unpacked(raw) -> stream                  gzip, bounded
    seekable(raw) -> path                    unpacked to a temporary folder, if it has to be
    first_bytes(raw) -> bytes, packed?       the first, unpacked
    read_bytes(raw) -> bytes                 whole, plain or gzip, bounded
    open_hdf5(raw) -> file                   checked by `check_hdf5`, unpacked if it has to be
    loads(name, text) -> Any                 JSON, bounded depth and digits, no infinite numbers
    check_hdf5(name, file, file_bytes)       no links out of the file, no sizes that it cannot hold
    check_parquet(name, file, file_bytes)    no sizes that it cannot hold

A fault of the file is told from a bug by where it was raised: in a library that reads files, called by our code.
"""

from __future__ import annotations

import csv
import errno
import gzip
import json
import lzma
import math
import mmap
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Concatenate, ParamSpec, TypeVar, cast

from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal

if TYPE_CHECKING:  # scripts that only look at JSON need neither
    import h5py
    import pyarrow.parquet

P = ParamSpec("P")
T = TypeVar("T")

GZIP_MAGIC = b"\x1f\x8b"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
HEAD_BYTES = 512
# Counts and barcodes shrink to a third or a thirtieth; tables of mostly zeros to a hundredth. Zeros alone, to 1/1,030.
MOST_RATIO = 250
FREE_BYTES = 1 << 26  # below, no ratio is looked at
MOST_BYTES = 1 << 36  # of one file, unpacked, on disk or streamed
MOST_IN_MEMORY = 1 << 30  # of a file that is read whole: JSON, lists of names, positions as text
MOST_OBJECTS = 100_000  # in one HDF5 file
MOST_ATTRIBUTE_BYTES = 1 << 20
MOST_ROWS_PER_BYTE = 4  # parquet: every row has a name of its own, which takes more than a byte when packed
FREE_ROWS = 1 << 20
MOST_DIGITS = 18  # of a whole number in JSON: what int64 holds
HEAP_MAGIC, HEAP_HEAD, HEAP_LEAST = b"GCOL", 16, 4096
HEAP_OBJECT = struct.Struct("<H6xQ")
ADVICE = "download it again, and look at where it comes from"

PACKED_ERRORS = (zlib.error, gzip.BadGzipFile, EOFError)
# What the content of a file alone can raise, wherever it is raised.
CONTENT_ERRORS = (
    UnicodeError,
    *PACKED_ERRORS,
    lzma.LZMAError,
    struct.error,
    csv.Error,
    json.JSONDecodeError,
)
# Libraries that read files. An error raised in them, or below them, while our code calls them, is the file's.
READING = ("h5py", "anndata", "pyarrow", "pandas.io", "pandas._libs.parsers", "json", "csv", "gzip", "zlib")
# What the machine does to a file that is whole: a failure, to be tried again.
OF_THE_WORLD = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOENT,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
    errno.ESTALE,
}
HDF5_ERRNO = re.compile(r"errno = (\d{1,4})\b")


@contextmanager
def parsing(name: str, what: str = "file") -> Iterator[None]:
    """Turn what the content of a file makes a library raise into a refusal that names the file.

    Left alone, as failures: what our own code raises, memory that is short, and disks that are full, gone or forbidden.
    """
    try:
        yield
    except Refusal:
        raise
    except Exception as error:
        if not _is_of_the_file(error):
            raise
        said = " ".join(f"{error}".split())[:200] or type(error).__name__
        if isinstance(error, PACKED_ERRORS):
            raise Refusal(f"{name}: the gzip stream is cut or damaged ({said}); download the file again") from error
        raise Refusal(f"{name}: a cut, damaged or incomplete {what}, or none at all ({said}); {ADVICE}") from error


def parses(read: Callable[Concatenate[RawFile, P], T]) -> Callable[Concatenate[RawFile, P], T]:
    """`parsing` for a function whose first argument is the file it reads."""

    @wraps(read)
    def reads(raw: RawFile, *args: P.args, **kwargs: P.kwargs) -> T:
        with parsing(raw.name):
            return read(raw, *args, **kwargs)

    return reads


def _is_of_the_file(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return False
    if isinstance(error, OSError):
        inside = HDF5_ERRNO.search(str(error)[:2000])
        number = int(inside[1]) if inside else error.errno
        if number in OF_THE_WORLD:
            return False
    return isinstance(error, CONTENT_ERRORS) or any(module.startswith(READING) for module in _called_modules(error))


def _called_modules(error: Exception) -> list[str]:
    """The modules below our innermost frame when the error came up; none if it came up in our own."""
    called: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        called = [] if module.startswith("spotweave.") else [*called, module]
        trace = trace.tb_next
    return called


class _Bounded(gzip.GzipFile):
    """A gzip stream that refuses to become more than a limit."""

    def __init__(self, name: str, handle: BinaryIO, limit: int) -> None:
        super().__init__(fileobj=handle)
        self._file_name = name
        self._limit = limit
        self._given = 0

    def _count(self, block: bytes) -> bytes:
        self._given += len(block)
        if self._given > self._limit:
            raise Refusal(
                f"{self._file_name}: more than {self._limit:,} bytes when unpacked, which no such file needs; {ADVICE}",
                measured=self._given,
                threshold=self._limit,
            )
        return block

    def read(self, size: int | None = -1) -> bytes:
        """Read at most `size` bytes; without a size in blocks, so that the limit holds."""
        if size is not None and size >= 0:
            return self._count(super().read(size))
        parts = []
        while block := self._count(super().read(1 << 20)):
            parts.append(block)
        return b"".join(parts)

    def read1(self, size: int = -1) -> bytes:
        """As `read`, with at most one read below."""
        return self._count(super().read1(size))

    def readline(self, size: int | None = -1) -> bytes:
        """One line, at most as long as all that may be held in memory."""
        most = MOST_IN_MEMORY if size is None or size < 0 else size
        return self._count(super().readline(most))


def unpacked_limit(packed_bytes: int) -> int:
    """The most bytes that a packed file may become."""
    return min(MOST_BYTES, max(FREE_BYTES, MOST_RATIO * packed_bytes))


@contextmanager
def unpacked(raw: RawFile, *, limit: int = MOST_BYTES) -> Iterator[BinaryIO]:
    """A file as a stream of bytes, unpacked if it is packed with gzip, refused beyond the limit."""
    with open(raw.path, "rb") as handle:
        if not handle.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC):
            yield handle
            return
        most = min(limit, unpacked_limit(raw.path.stat().st_size))
        with _Bounded(raw.name, handle, most) as stream:
            yield cast(BinaryIO, stream)


@contextmanager
def seekable(raw: RawFile) -> Iterator[Path]:
    """The file itself, or where it is unpacked for as long as it is needed."""
    with open(raw.path, "rb") as handle:
        is_packed = handle.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    if not is_packed:
        yield raw.path
        return
    with tempfile.TemporaryDirectory(prefix="spotweave-") as folder:
        whole = Path(folder) / "unpacked"
        with unpacked(raw) as source, open(whole, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        yield whole


@parses
def first_bytes(raw: RawFile) -> tuple[bytes, bool]:
    """The first bytes of a file, unpacked, which tell what it is, and whether it was packed with gzip."""
    with open(raw.path, "rb") as handle:
        head = handle.read(HEAD_BYTES)
    if not head:
        raise Refusal(f"{raw.name}: the file is empty; download it again")
    if not head.startswith(GZIP_MAGIC):
        return head, False
    with unpacked(raw) as stream:
        return stream.read(HEAD_BYTES), True


def read_bytes(raw: RawFile) -> bytes:
    """A whole file, unpacked; refused if it is damaged or above the limit for what is held in memory."""
    size = raw.path.stat().st_size
    if size > MOST_IN_MEMORY:
        raise Refusal(
            f"{raw.name}: {size:,} bytes, where at most {MOST_IN_MEMORY:,} are read at once; {ADVICE}",
            measured=size,
            threshold=MOST_IN_MEMORY,
        )
    with parsing(raw.name), unpacked(raw, limit=MOST_IN_MEMORY) as stream:
        return stream.read()


def loads(name: str, text: str) -> Any:
    """Content of a JSON text. What is no number becomes None: NaN, Infinity, 1e999, whole ones of over 18 digits."""

    def real(digits: str) -> float | None:
        value = float(digits)
        return value if math.isfinite(value) else None

    def whole(digits: str) -> int | None:
        return int(digits) if len(digits) <= MOST_DIGITS else None

    try:
        return json.loads(text, parse_constant=lambda word: None, parse_float=real, parse_int=whole)
    except RecursionError as error:
        raise Refusal(f"{name}: JSON nested deeper than any such file is; {ADVICE}") from error
    except ValueError as error:
        raise Refusal(f"{name}: not JSON ({error}); download it again") from error


def read_json(raw: RawFile) -> Any:
    """Content of a JSON file, plain or packed with gzip; refused if it is none."""
    try:
        text = read_bytes(raw).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(f"{raw.name}: not JSON ({error}); download it again") from error
    return loads(raw.name, text)


@contextmanager
def open_hdf5(raw: RawFile) -> Iterator[h5py.File]:
    """Open an HDF5 file; whatever HDF5 cannot read in it is a refusal, and so is what leads out of it.

    HDF5 has to seek, so a file packed once more with gzip (as GEO does) is unpacked to the temporary folder first.
    """
    import h5py

    with parsing(raw.name, "HDF5 file"), seekable(raw) as path, h5py.File(path, "r") as file:
        check_hdf5(raw.name, file, path.stat().st_size)
        yield file


def check_hdf5(name: str, file: h5py.File, file_bytes: int) -> None:
    """Refuse a file that leads out of itself or announces more than it can hold.

    External links, external storage and virtual datasets are how HDF5 reads other files of the machine. Every object
    that a hard link leads to is looked at; a soft link can only lead to one of these.
    """
    import h5py

    _check_heaps(name, Path(file.filename))
    seen: set[Any] = set()
    waiting: list[tuple[str, Any]] = [("/", file["/"])]
    while waiting:
        path, node = waiting.pop()
        key = h5py.h5o.get_info(node.id).addr
        if key in seen:
            continue
        seen.add(key)
        if len(seen) > MOST_OBJECTS:
            raise Refusal(f"{name}: more than {MOST_OBJECTS:,} objects in an HDF5 file; {ADVICE}")
        _check_attributes(name, path, node)
        if isinstance(node, h5py.Dataset):
            _check_dataset(name, path, node, file_bytes)
        if not isinstance(node, h5py.Group):
            continue
        for child in node:
            below = f"{path.rstrip('/')}/{child}"
            link = node.get(child, getlink=True)
            if isinstance(link, h5py.HardLink):
                waiting.append((below, node[child]))
            elif not isinstance(link, h5py.SoftLink):
                raise Refusal(f"{name}: {below[:100]} is a link to another file; write the file whole, without links")


def _check_heaps(name: str, path: Path) -> None:
    """Refuse a heap of texts in which the HDF5 library would walk on the spot for ever.

    A heap is `GCOL`, version 1, its size in bytes, and objects, one behind the other: a number, 6 bytes, a size. Number
    0 is free space, whose size counts its own head of 16 bytes: with less, the library never gets behind it (HDF5 file
    format specification, III.E).
    """
    if not path.stat().st_size:
        return
    object_at = HEAP_OBJECT.unpack_from
    with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(HEAP_MAGIC)
        while start >= 0:
            head = content[start : start + HEAP_HEAD]
            size = int.from_bytes(head[8:16], "little")
            end = start + size
            if len(head) == HEAP_HEAD and head[4:8] == b"\1\0\0\0" and size >= HEAP_LEAST and end <= len(content):
                heap, at, last = content[start:end], HEAP_HEAD, size - HEAP_HEAD
                while at <= last:
                    number, held = object_at(heap, at)
                    if not number and held < HEAP_HEAD:
                        raise Refusal(f"{name}: a damaged HDF5 file (texts at byte {start + at:,}); {ADVICE}")
                    at += HEAP_HEAD + (held + 7 & -8) if number else held
            start = content.find(HEAP_MAGIC, start + 1)


def _check_dataset(name: str, path: str, dataset: h5py.Dataset, file_bytes: int) -> None:
    if dataset.is_virtual or dataset.external:
        raise Refusal(f"{name}: the data of {path[:100]} lie in another file; write the file whole, without links")
    if dataset.shape is None:
        return
    item = dataset.id.get_type().get_size()
    held = min(file_bytes, dataset.id.get_storage_size())
    for what, shape in (("", dataset.shape), ("a block of ", dataset.chunks or ())):
        size = math.prod(shape) * item
        if size > max(FREE_BYTES, MOST_RATIO * held) or size > MOST_BYTES:
            raise Refusal(
                f"{name}: {what}{path[:100]} says it has {size:,} bytes, and {held:,} are in the file; {ADVICE}",
                measured=size,
                threshold=max(FREE_BYTES, MOST_RATIO * held),
            )


def _check_attributes(name: str, path: str, node: Any) -> None:
    import h5py

    for at in range(h5py.h5a.get_num_attrs(node.id)):
        attribute = h5py.h5a.open(node.id, index=at)
        size = math.prod(attribute.shape or (0,)) * attribute.get_type().get_size()
        if size > MOST_ATTRIBUTE_BYTES:
            raise Refusal(f"{name}: an attribute of {path[:100]} has {size:,} bytes; {ADVICE}", measured=size)


def check_parquet(name: str, file: pyarrow.parquet.ParquetFile, file_bytes: int) -> None:
    """Refuse a table that announces more rows or bytes than a file of its size can hold."""
    found = file.metadata
    groups = [found.row_group(at) for at in range(found.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    if rows != found.num_rows or min((group.num_rows for group in groups), default=0) < 0:
        raise Refusal(f"{name}: a table of {found.num_rows:,} rows with {rows:,} in its parts; {ADVICE}")
    if rows > FREE_ROWS + MOST_ROWS_PER_BYTE * file_bytes:
        raise Refusal(f"{name}: {rows:,} rows in {file_bytes:,} bytes; {ADVICE}", measured=rows)
    size = sum(max(0, group.column(at).total_uncompressed_size) for group in groups for at in range(group.num_columns))
    if size > max(FREE_BYTES, MOST_RATIO * file_bytes):
        raise Refusal(
            f"{name}: says it has {size:,} bytes of values, and the file has {file_bytes:,}; {ADVICE}",
            measured=size,
            threshold=max(FREE_BYTES, MOST_RATIO * file_bytes),
        )
