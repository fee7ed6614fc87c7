"""A slide without spots as a method sees one: tiles side by side, those of bare glass left out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spotweave.errors import Refusal
from spotweave.predicting.places import Places
from spotweave.predicting.slides import OwnSlide
from spotweave.slide.levels import Pyramid
from spotweave.slide.patches import PatchGrid, cut
from spotweave.studies import colours
from spotweave.studies.outcomes import Array

# R + G + B of a tile's mean colour, or of a pixel, above which it is glass: 3 times 220, as the benchmark has it.
GLASS_ABOVE = 660
# What that mean is taken of: a tile at so many px a side.
LOOK_PX = 8
# Colours are measured on the coarsest level that is still so many px long.
OVERVIEW_PX = 2000


@dataclass(frozen=True)
class Tiled:
    """The middles of a slide's tiles, which a method is asked at, and the nine colour numbers of what is not glass."""

    places: Places
    colours: dict[str, float]


def tiled(slide: OwnSlide, pyramid: Path, side_um: float) -> Tiled:
    """Lay whole tiles side by side over a slide, from its upper left corner, named after the px of their middles.

    Parameters
    ----------
    slide, pyramid
        As `predicting.slides` has them.
    side_um
        Of a tile: that of the patches that the method was trained with.

    Raises
    ------
    Refusal
        All of it is glass, or it is smaller than a tile.
    """
    read = Pyramid(pyramid)
    centres_px = _tissue(read, slide, side_um)
    if not len(centres_px):
        raise Refusal(f"{slide.path.name} has no tile of {side_um:g} um that is not glass: look at it")
    return Tiled(Places([f"{round(x)}x{round(y)}" for x, y in centres_px], centres_px), _colours(read))


def mean_expression(predicted: Array, *, undo_log: bool) -> Array:
    """(G,) mean over (T, G) tiles; of expm1 of them where they are logarithms of expression and are not to stay so."""
    values: Array = (np.expm1(predicted) if undo_log else predicted).mean(axis=0)
    return values


def _tissue(pyramid: Pyramid, slide: OwnSlide, side_um: float) -> Array:
    """(T, 2) x and y, px, of the middles of tiles that are not glass, row by row."""
    side_px = side_um / slide.pixel_size_um
    columns, rows = math.floor(pyramid.width_px / side_px), math.floor(pyramid.height_px / side_px)
    row, column = np.divmod(np.arange(rows * columns), max(columns, 1))
    centres: Array = (np.column_stack([column, row]) + 0.5) * side_px
    look = PatchGrid(centres, LOOK_PX, side_um / LOOK_PX, slide.pixel_size_um)
    means = np.array([tile.reshape(-1, 3).mean(axis=0).sum() for tile in (cut(pyramid, look) if len(centres) else ())])
    return centres[means <= GLASS_ABOVE] if len(means) else centres


def _colours(pyramid: Pyramid) -> dict[str, float]:
    level = pyramid.level_for(max(pyramid.width_px, pyramid.height_px) / OVERVIEW_PX)
    overview = pyramid.read(level, 0, 0, pyramid.levels[level].width_px, pyramid.levels[level].height_px)
    return colours.measure(overview, overview.sum(axis=2) <= GLASS_ABOVE)
