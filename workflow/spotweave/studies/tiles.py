"""A slide without spots as a method sees one: tiles side by side, those of bare glass left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spotweave.errors import Refusal
from spotweave.pictures.header import read_header
from spotweave.slide.levels import Pyramid
from spotweave.slide.patch_files import PatchWriter
from spotweave.slide.patches import PatchGrid, cut
from spotweave.slide.pyramid import build_pyramid
from spotweave.spots import Pictures, Sample
from spotweave.studies import colours
from spotweave.studies.outcomes import Array

# R + G + B of a tile's mean colour, or of a pixel, above which it is glass: 3 times 220, as the benchmark has it.
GLASS_ABOVE = 660
# What that mean is taken of: a tile at so many px a side.
LOOK_PX = 8
# Colours are measured on the coarsest level that is still so many px long.
OVERVIEW_PX = 2000
TILE_PX, JPEG_QUALITY = 512, 90


@dataclass(frozen=True)
class Tiled:
    """A slide cut into tiles: what a method predicts, and the nine colour numbers of what is not glass."""

    sample: Sample
    colours: dict[str, float]


def tiled(
    picture: Path,
    patient: str,
    folder: Path,
    *,
    size_px: int,
    tile_um_per_px: float,
    pixel_size_um: float | None = None,
) -> Tiled:
    """Cut a slide into whole tiles side by side, from its upper left corner.

    Parameters
    ----------
    picture
        Any picture that the workflow reads.
    patient
        Whose it is.
    folder
        Where the slide and the places of its tiles are kept for as long as they are looked at.
    size_px, tile_um_per_px
        Of a tile: those that the method was trained with.
    pixel_size_um
        Of the picture; None takes what its header says.

    Raises
    ------
    Refusal
        The picture cannot be decoded, nothing says how large its pixels are, or all of it is glass.
    """
    pixel_um = pixel_size_um or read_header(picture).pixel_size_um
    if pixel_um is None:
        raise Refusal(f"{picture.name} does not say how large its pixels are: give pixel_size_um in its row")
    slide, places = folder / "slide.tif", folder / "tiles.h5"
    build_pyramid(picture, slide, pixel_size_um=pixel_um, tile_px=TILE_PX, jpeg_quality=JPEG_QUALITY)
    pyramid = Pyramid(slide)
    grid = _tissue(pyramid, _grid(pyramid, size_px, tile_um_per_px, pixel_um))
    if not len(grid.centres_px):
        raise Refusal(f"{picture.name} has no tile of {size_px * tile_um_per_px:g} um that is not glass: look at it")
    names = [f"{round(x)}x{round(y)}" for x, y in grid.centres_px]
    inside = np.zeros(len(names), dtype=bool)
    with PatchWriter(places, grid, names, inside, picture.name, pictures=False):
        pass
    sample = Sample(picture.name, patient, names, grid.centres_px, Pictures(places, slide))
    return Tiled(sample, _colours(pyramid))


def mean_expression(predicted: Array, *, undo_log: bool) -> Array:
    """(G,) mean over (T, G) tiles; of expm1 of them where they are logarithms of expression and are not to stay so."""
    values: Array = (np.expm1(predicted) if undo_log else predicted).mean(axis=0)
    return values


def _grid(pyramid: Pyramid, size_px: int, tile_um_per_px: float, pixel_um: float) -> PatchGrid:
    side_px = size_px * tile_um_per_px / pixel_um
    columns, rows = int(pyramid.width_px / side_px), int(pyramid.height_px / side_px)
    row, column = np.divmod(np.arange(rows * columns), max(columns, 1))
    centres = (np.column_stack([column, row]) + 0.5) * side_px
    return PatchGrid(centres.astype(np.float64), size_px, tile_um_per_px, pixel_um)


def _tissue(pyramid: Pyramid, grid: PatchGrid) -> PatchGrid:
    """The tiles that are not glass."""
    look_um = grid.size_px * grid.target_pixel_size_um / LOOK_PX
    look = PatchGrid(grid.centres_px, LOOK_PX, look_um, grid.slide_pixel_size_um)
    found = cut(pyramid, look) if len(grid.centres_px) else iter(())
    means = np.array([tile.reshape(-1, 3).mean(axis=0).sum() for tile in found])
    kept = grid.centres_px[means <= GLASS_ABOVE] if len(means) else grid.centres_px
    return PatchGrid(kept, grid.size_px, grid.target_pixel_size_um, grid.slide_pixel_size_um)


def _colours(pyramid: Pyramid) -> dict[str, float]:
    level = pyramid.level_for(max(pyramid.width_px, pyramid.height_px) / OVERVIEW_PX)
    overview = pyramid.read(level, 0, 0, pyramid.levels[level].width_px, pyramid.levels[level].height_px)
    return colours.measure(overview, overview.sum(axis=2) <= GLASS_ABOVE)
