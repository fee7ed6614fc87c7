"""A sample's pictures batch by batch, read by a thread of their own while a network is at work."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from spotweave.slide.patch_files import PatchReader
from spotweave.slide.resample import Pixels

# Read ahead at most: patches that are cut from the slide come a thousand of 224 px at a time (`PatchReader`), which a
# network on a GPU is done with in a second or two.
AHEAD_BYTES = 160_000_000


def slices(first: int, count: int, batch: int) -> Iterator[slice]:
    """Rows `first` to `count`, so many at a time."""
    return (slice(start, min(start + batch, count)) for start in range(first, count, batch))


def read_batches(read: PatchReader, first: int, batch: int, *, ahead: bool) -> Generator[tuple[slice, Pixels]]:
    """Rows and their pictures (n, size, size, 3) uint8, from row `first` on.

    Parameters
    ----------
    read
        The patches; nobody else may read from them until the last batch.
    ahead
        Read the next batches, up to `AHEAD_BYTES`, while the caller is busy: it pays where a core is free for it.
    """
    waiting = slices(first, len(read), batch)
    if not ahead:
        yield from ((rows, read.images(rows.start, rows.stop)) for rows in waiting)
        return
    with ThreadPoolExecutor(1) as reader:
        coming: deque[tuple[slice, Future[Pixels]]] = deque()
        try:
            for rows in waiting:
                coming.append((rows, reader.submit(read.images, rows.start, rows.stop)))
                if len(coming) > max(1, AHEAD_BYTES // coming[0][1].result().nbytes):
                    yield _first(coming)
            while coming:
                yield _first(coming)
        finally:
            reader.shutdown(cancel_futures=True)


def _first(coming: deque[tuple[slice, Future[Pixels]]]) -> tuple[slice, Pixels]:
    rows, images = coming.popleft()
    return rows, images.result()
