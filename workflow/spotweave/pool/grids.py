"""Grids of pseudo-spots: their names, and which spot a point of the slide lies in.

A grid lies on the slide, its axes are the slide's, its unit is um (slide px times the pixel size), and its origin is
the slide's top-left corner; that of `hest` is the smallest x and y of the pooled points. Names are what configuration
and files have: `square_55um`, `square_100um`, `hexagonal_55um` (round spots of 55 um at Visium's pitch of 100 um),
`hest_100um` (as HEST-Library pools, for comparison with published numbers only). `bins_16um` lies on an array of bins
instead, its axes and origin are the array's: larger bins of whole smaller ones, exactly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NAME = re.compile(r"(?P<layout>square|hexagonal|hest|bins)_(?P<size>[1-9]\d{0,3})um")
PITCH_TO_DIAMETER = 100 / 55  # of Visium
NO_SPOT = -1


@dataclass(frozen=True)
class Grid:
    """A grid of pseudo-spots.

    Attributes
    ----------
    layout
        `square` (squares side by side), `hexagonal` (round spots on a hexagonal lattice), `hest` or `bins`.
    size_um
        Side of a square, diameter of a round spot.
    """

    layout: str
    size_um: float

    @classmethod
    def of(cls, name: str) -> Grid:
        """The grid of a name.

        Raises
        ------
        ValueError
            It is none: what is allowed.
        """
        match = NAME.fullmatch(name)
        if match is None:
            raise ValueError(
                f"{name!r} is no grid, allowed: square_55um, hexagonal_55um, hest_100um, bins_16um or another size"
            )
        return cls(match["layout"], float(match["size"]))

    @property
    def name(self) -> str:
        """As the configuration and files have it."""
        return f"{self.layout}_{self.size_um:g}um"

    @property
    def frame(self) -> str:
        """What its axes and its origin are those of: `slide`, or `array`."""
        return "array" if self.layout == "bins" else "slide"

    @property
    def area_um2(self) -> float:
        """Of a spot."""
        return float(np.pi * self.size_um**2 / 4) if self.layout == "hexagonal" else self.size_um**2

    @property
    def pitch_um(self) -> float:
        """um between the centres of neighbours."""
        return self.size_um * PITCH_TO_DIAMETER if self.layout == "hexagonal" else self.size_um

    def places(
        self, xy_um: NDArray[np.float64], origin_um: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of the spot that each point (N, 2) lies in, both -1 for points between round spots.

        Squares may have negative rows and columns, left of and above the origin; round spots begin with the first whole
        one. A hexagonal lattice counts columns in half pitches, as Visium does: row + column is even.
        """
        x, y = (np.ascontiguousarray(xy_um[:, axis]) - origin_um[axis] for axis in (0, 1))
        if self.layout != "hexagonal":
            return np.floor(y / self.size_um).astype(np.int64), np.floor(x / self.size_um).astype(np.int64)
        # Spots are less high than the rows are apart: a point can only be in the nearest row, and its nearest spot.
        half = self.pitch_um / 2
        row = np.rint(y / self.row_pitch_um) - 1
        odd = row % 2
        column = 2 * np.rint((x / half - 1 - odd) / 2) + odd
        along, across = x - (column + 1) * half, y - (row + 1) * self.row_pitch_um
        outside = along * along + across * across >= (self.size_um / 2) ** 2
        outside |= (row < 0) | (column < 0)
        row[outside] = column[outside] = NO_SPOT
        return row.astype(np.int64), column.astype(np.int64)

    @property
    def row_pitch_um(self) -> float:
        """um between the centres of neighbouring rows."""
        return self.pitch_um * np.sqrt(3) / 2 if self.layout == "hexagonal" else self.size_um

    def centres_um(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], origin_um: tuple[float, float] = (0.0, 0.0)
    ) -> NDArray[np.float64]:
        """Centres (N, 2) of spots, um."""
        step = self.pitch_um / 2 if self.layout == "hexagonal" else self.size_um
        first = (self.pitch_um / 2, self.row_pitch_um) if self.layout == "hexagonal" else (self.size_um / 2,) * 2
        x = origin_um[0] + first[0] + columns * step
        return np.column_stack([x, origin_um[1] + first[1] + rows * self.row_pitch_um])
