"""Nuclei of a whole slide: tiles to the model, its answers to workers, their files to one table.

Memory is bounded by the tiles on their way, whatever the size of the slide: the model waits for the workers.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from tqdm import tqdm

from spotweave.nuclei import Model
from spotweave.nuclei.overview import SlideOverview
from spotweave.nuclei.separation import Separation, Shard
from spotweave.nuclei.tiles import Grid, Tile, Windows

IN_FLIGHT = 2  # tiles a worker has before it
FEW = 8  # tiles that are done before a worker has started
WORKERS_FED = 4  # by one thread that reads tiles


def find(
    model: Model,
    windows: Windows,
    grid: Grid,
    tissue: Sequence[shapely.Polygon],
    *,
    pixel_size_um: float,
    threads: int,
    folder: Path,
) -> list[Shard]:
    """Find the nuclei of a slide, tile by tile.

    Parameters
    ----------
    model
        It is prepared here.
    tissue
        Polygons in slide px.
    pixel_size_um
        Of the slide.
    threads
        Processes: this one, and workers where there is more than one and more than `FEW` tiles.
    folder
        Where the files of tiles go.

    Returns
    -------
    One shard a tile, in the order of the tiles; it depends on neither `threads` nor on which worker was done first.
    """
    model.prepare(SlideOverview(windows, grid, tissue, pixel_size_um))
    work = Separation(model.separator(), grid, grid.step * pixel_size_um, folder)
    tiles = grid.tiles(tissue)
    is_alone = threads == 1 or len(tiles) <= FEW
    said = _answers(model, windows, grid, tiles, 0 if is_alone else 1 + threads // WORKERS_FED)
    progress = tqdm(said, total=len(tiles), desc="nuclei", unit="tile", disable=None)
    if is_alone:
        return [work(number, tile, maps) for number, (tile, maps) in enumerate(progress)]
    return list(_by_workers(work, progress, threads - 1))


def _answers(
    model: Model, windows: Windows, grid: Grid, tiles: Sequence[Tile], readers: int
) -> Iterator[tuple[Tile, Any]]:
    """Each tile and what the model says of it; with readers, the next tiles are read meanwhile."""
    pixels = (
        _pixels(windows, grid, tiles, readers, ahead=2 * model.batch) if readers else map(grid.reader(windows), tiles)
    )
    rest = iter(zip(tiles, pixels, strict=True))
    while batch := list(islice(rest, model.batch)):
        said = model.predict(np.stack([read for _, read in batch]))
        yield from zip((tile for tile, _ in batch), said, strict=True)


def _pixels(
    windows: Windows, grid: Grid, tiles: Iterable[Tile], readers: int, *, ahead: int
) -> Iterator[NDArray[np.uint8]]:
    """The pixels of tiles in their order, read by threads of which each has opened the slide by itself."""
    own = threading.local()

    def opened() -> None:
        own.read = grid.reader(Windows(windows.path))

    def read(tile: Tile) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = own.read(tile)
        return pixels

    with ThreadPoolExecutor(readers, initializer=opened) as pool:
        waiting: deque[Future[NDArray[np.uint8]]] = deque()
        for tile in tiles:
            waiting.append(pool.submit(read, tile))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _by_workers(work: Separation, said: Iterable[tuple[Tile, Any]], workers: int) -> Iterator[Shard]:
    """Shards in the order of the tiles, with `IN_FLIGHT` tiles a worker on their way."""
    # Not forked: this process may have threads and a GPU. Libraries read these names when a worker starts.
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    os.environ.update(dict.fromkeys(before, "1"))
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
            waiting: deque[Future[Shard]] = deque()
            for number, (tile, maps) in enumerate(said):
                waiting.append(pool.submit(work, number, tile, maps))
                if len(waiting) >= IN_FLIGHT * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _one_thread() -> None:
    cv2.setNumThreads(1)
