"""What is changed before patches are cut again, and by how much."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from spotweave.slide.patches import PatchGrid

ALL, TEST = "all", "test"


@dataclass(frozen=True)
class Change:
    """One change of all samples that it reaches.

    Attributes
    ----------
    what, by
        In words, as the table has them.
    pixel_size
        What the pixel size is multiplied by; places in px stay where they are.
    moved
        How far patches move, in diameters of a spot: x right, y down.
    grid
        The grid whose pool takes the place of the spots; empty for the spots as they are.
    """

    what: str
    by: str
    pixel_size: float = 1.0
    moved: tuple[float, float] = (0.0, 0.0)
    grid: str = ""

    @property
    def reaches(self) -> tuple[str, ...]:
        """Samples that it is tried on: all of a fold, or those of its test side alone.

        Counts of another pool are learned and predicted on one grid.
        """
        return (ALL,) if self == UNCHANGED or self.grid else (ALL, TEST)

    def of(self, grid: PatchGrid, diameter_px: float) -> PatchGrid:
        """The patches that are cut under the change; `diameter_px` is a spot's, in px of the slide."""
        x, y = self.moved
        return replace(
            grid,
            centres_px=grid.centres_px + np.array([x, y]) * diameter_px,
            slide_pixel_size_um=grid.slide_pixel_size_um * self.pixel_size,
        )


UNCHANGED: Final = Change("none", "")
CHANGES: Final = (
    Change("pixel size", "-5%", pixel_size=0.95),
    Change("pixel size", "+5%", pixel_size=1.05),
    Change("shift", "half a spot left", moved=(-0.5, 0.0)),
    Change("shift", "half a spot right", moved=(0.5, 0.0)),
    Change("shift", "half a spot up", moved=(0.0, -0.5)),
    Change("shift", "half a spot down", moved=(0.0, 0.5)),
)


def with_pools(grids: Iterable[str]) -> tuple[Change, ...]:
    """The unchanged, all changes, and one for each grid that samples are pooled into beside that of their spots."""
    return (UNCHANGED, *CHANGES, *(Change("pool", grid, grid=grid) for grid in grids))
