"""Two genes of a simulated section whose expression is planted: one follows the size of nuclei, the other cannot.

Both are shares of all that a cell transcribes, since that is how expression is measured, and counted without the loss
that makes shares of small cells look smaller: the logarithm of the first correlates with the area of nuclei by the `r`
that is planted, that of the second with nothing. It is a smooth map of its own, so that a test that takes neighbours
for independent finds a correlation where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spotweave.simulate.cells import Calls, Cells, draw_within
from spotweave.simulate.expression import panel
from spotweave.simulate.tissue import GRID_UM, Floats, smooth_noise

MOST = 0.45  # of a cell's transcripts that may be of one of them


@dataclass(frozen=True)
class Planted:
    """What is planted.

    Attributes
    ----------
    follows, free
        Genes of the panel.
    r
        Pearson correlation of the log share of `follows` with the nucleus's area over the cells; 0 plants nothing.
    share
        Of the transcripts of a cell, for each of both genes, on average.
    spread
        Standard deviation of both log shares.
    length_um
        How wide the features of the map of `free` are.
    """

    follows: str = "SIMH001"
    free: str = "SIMH002"
    r: float = 0.5
    share: float = 0.12
    spread: float = 0.5
    length_um: float = 250.0


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
    size = (area_um2 - area_um2.mean()) / area_um2.std()
    apart = rng.standard_normal(len(size))
    apart -= apart.mean() + (apart @ size / len(size)) * size  # so that `r` is that of these cells, not of such cells
    apart /= apart.std()
    logs = {
        follows: planted.r * size + np.sqrt(1 - planted.r**2) * apart,
        free: _smooth(rng, cells.centre, planted.length_um),
    }
    gene, xy, cell, in_nucleus = [calls.gene[kept]], [calls.xy_um[kept]], [own], [calls.in_nucleus[kept]]
    shares = {index: np.minimum(planted.share * np.exp(planted.spread * one), MOST) for index, one in logs.items()}
    whole = others / (1 - shares[follows] - shares[free])
    for index, share in shares.items():
        wanted = share * whole
        counts = np.floor(wanted + rng.random(len(wanted))).astype(np.int64)
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
