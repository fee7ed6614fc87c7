"""A picture read reduced, of a pyramid from the level that fits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from spotweave.pictures.files import Picture, as_rgb, open_picture, undecodable

ANY_HEIGHT = 10_000_000
ROWS_AT_ONCE = 64


def read_reduced(slide: Path, factor: float) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Read a slide at `factor` (at most 1) times its size, streaming; of a pyramid only the level needed.

    That is the coarsest level with twice the resolution asked for: averaging takes out most of the noise that JPEG
    has put into every level.

    Returns
    -------
    (H, W, 3) uint8, and how many level-0 px make one of its px along x and along y.

    Raises
    ------
    Refusal
        If the picture cannot be read, or is none as it stands (`files.open_picture`).
    """
    factor = min(1.0, factor)
    opened = open_picture(slide)
    full = opened.image
    width = max(1, round(full.width * factor))
    *coarser, last = _ways(slide, opened, width, ANY_HEIGHT, "down")
    try:
        rgb = _first_whole(coarser)
        if rgb is None:
            rgb = last().numpy()
    except pyvips.Error as error:
        raise undecodable(slide, error) from error
    return rgb, (full.width / rgb.shape[1], full.height / rgb.shape[0])


def strips(slide: Path, width: int, height: int, rows: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """A slide resized to width x height px, in strips from the top down: only one is held.

    Yields
    ------
    The first row of the strip, and its pixels (up to `rows`, width, 3) uint8.

    Raises
    ------
    Refusal
        If the picture cannot be read, or is none as it stands (`files.open_picture`).
    """
    ways = _ways(slide, open_picture(slide), width, height, "force")
    picture = ways.pop(0)()  # kept: a region alone does not keep a source of ours alive
    region = pyvips.Region.new(picture)
    for top in range(0, height, rows):
        strip = np.empty((min(rows, height - top), width, 3), np.uint8)
        # libvips holds what a request needs of the full picture: many small ones keep that small.
        for row in range(0, len(strip), ROWS_AT_ONCE):
            part = strip[row : row + ROWS_AT_ONCE]
            while True:
                try:
                    pixels = region.fetch(0, top + row, width, len(part))
                    break
                except pyvips.Error as error:
                    if not ways:
                        raise undecodable(slide, error) from error
                    picture = ways.pop(0)()
                    region = pyvips.Region.new(picture)
            part[...] = np.frombuffer(pixels, np.uint8).reshape(part.shape)
        yield top, strip


Way = Callable[[], pyvips.Image]


def _ways(slide: Path, opened: Picture, width: int, height: int, size: str) -> list[Way]:
    """Ways to the picture at a size, the cheapest first: behind a damaged level a finer one, and the picture itself."""
    if opened.is_plain and not opened.is_tiff:
        # The decoder itself reduces, which for JPEG is several times faster; what it warns of, it left out.
        return [
            lambda: as_rgb(
                pyvips.Image.thumbnail(str(slide), width, height=height, size=size, no_rotate=True, fail_on="warning")
            )
        ]
    fine_enough = sorted((level.width_px, number) for number, level in enumerate(opened.levels))
    loads = [opened.levels[number].load for level_px, number in fine_enough if level_px >= 2 * width]

    def shrunk(load: Way) -> Way:
        return lambda: as_rgb(load().thumbnail_image(width, height=height, size=size, no_rotate=True))

    return [shrunk(load) for load in (*loads, lambda: opened.image)]


def _first_whole(ways: Iterable[Way]) -> NDArray[np.uint8] | None:
    """The pixels of the first that can be decoded."""
    for way in ways:
        with contextlib.suppress(pyvips.Error):
            return way().numpy()
    return None
