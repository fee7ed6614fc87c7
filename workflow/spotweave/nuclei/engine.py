"""Nuclei of a whole slide: tiles to the model, its answers to workers, their files to one table.

Memory is bounded by the tiles on their way, whatever the size of the slide: the model waits for the workers.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    said = _answers(model, windows, grid, tiles, reads_ahead=not is_alone)
    progress = tqdm(said, total=len(tiles), desc="nuclei", unit="tile", disable=None)
    if is_alone:
        return [work(number, tile, maps) for number, (tile, maps) in enumerate(progress)]
    return list(_by_workers(work, progress, threads - 1))


def _answers(
    model: Model, windows: Windows, grid: Grid, tiles: Iterable[Tile], *, reads_ahead: bool
) -> Iterator[tuple[Tile, Any]]:
    """Each tile and what the model says of it."""

    def batch(chosen: list[Tile]) -> tuple[list[Tile], NDArray[np.uint8]]:
        return chosen, np.stack([grid.read(windows, tile) for tile in chosen])

    rest = iter(tiles)
    chunks = iter(lambda: list(islice(rest, model.batch)), [])
    for chosen, pixels in _ahead(batch, chunks) if reads_ahead else map(batch, chunks):
        yield from zip(chosen, model.predict(pixels), strict=True)


def _ahead(work: Callable[[Any], Any], given: Iterable[Any]) -> Iterator[Any]:
    """As `map`, with the next one read while this one is used."""
    with ThreadPoolExecutor(1) as reader:
        waiting: deque[Future[Any]] = deque()
        for one in given:
            waiting.append(reader.submit(work, one))
            if len(waiting) > 1:
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
