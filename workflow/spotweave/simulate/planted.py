"""Two genes of a simulated section whose expression is planted: one follows the size of nuclei, the other cannot.

Both are shares of what else a cell's transcripts are, since that is how expression is measured, and both vary over the
section: the second by a smooth field of its own, so that a test that takes neighbours for independent finds a
correlation where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spotweave.simulate.cells import Calls, Cells, draw_within
from spotweave.simulate.expression import panel
from spotweave.simulate.tissue import GRID_UM, Floats, smooth_noise


@dataclass(frozen=True)
class Planted:
    """What is planted.

    Attributes
    ----------
    follows, free
        Genes of the panel: of the share exp(`slope` z), z the nucleus's area in standard deviations, and of one that
        has nothing to do with nuclei.
    slope
        0 plants nothing in `follows` either.
    share
        Of a cell's other transcripts, on average.
    free_spread, free_length_um
        Standard deviation of the log share of `free`, and how wide its features are.
    """

    follows: str = "SIMH001"
    free: str = "SIMH002"
    slope: float = 0.8
    share: float = 0.08
    free_spread: float = 0.6
    free_length_um: float = 250.0


def plant(rng: np.random.Generator, cells: Cells, area_um2: Floats, calls: Calls, planted: Planted) -> Calls:
    """The calls with those of both genes drawn anew, all of them in cells; `area_um2` (n,) of the nuclei on the H&E.

    Raises
    ------
    ValueError
        A gene is not in the panel.
    """
    genes = panel().genes
    unknown = {planted.follows, planted.free} - set(genes)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))} is not in the panel")
    follows, free = genes.index(planted.follows), genes.index(planted.free)
    kept = ~np.isin(calls.gene, (follows, free))
    own = calls.cell[kept]
    others = np.bincount(own[own >= 0], minlength=len(cells.centre))
    shares = {
        follows: np.exp(planted.slope * (area_um2 - area_um2.mean()) / area_um2.std()),
        free: np.exp(planted.free_spread * _smooth(rng, cells.centre, planted.free_length_um)),
    }
    gene, xy, cell, in_nucleus = [calls.gene[kept]], [calls.xy_um[kept]], [own], [calls.in_nucleus[kept]]
    for index, relative in shares.items():
        counts = rng.poisson(planted.share * others * relative / relative.mean())
        where = np.repeat(np.arange(len(counts)), counts)
        # As the files have them: a point is where float32 puts it.
        points = draw_within(rng, cells, where).astype(np.float32).astype(np.float64)
        at, inner = cells.locate(points)
        gene.append(np.full(len(where), index, dtype=np.int64))
        xy.append(points)
        cell.append(at)
        in_nucleus.append(inner & (at >= 0))
    points = np.concatenate(xy)
    inside = (points > 0).all(axis=1)
    return Calls(
        np.concatenate(gene)[inside], points[inside], np.concatenate(cell)[inside], np.concatenate(in_nucleus)[inside]
    )


def _smooth(rng: np.random.Generator, points_um: Floats, length_um: float) -> Floats:
    """A smooth field (n,) of variance about 1 at points (n, 2)."""
    columns, rows = (np.ceil(points_um.max(axis=0) / GRID_UM).astype(int) + 1).tolist()
    field = smooth_noise(rng, (rows, columns), length_um / GRID_UM)
    column, row = (points_um / GRID_UM).astype(int).T
    return np.asarray(field[row, column], dtype=np.float64)
