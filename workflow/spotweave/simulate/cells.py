"""Cells around simulated nuclei, and transcripts in them: polygons that never overlap.

A cell is its nucleus grown by up to `GROWTH_UM`, but never beyond the line halfway to another nucleus. Cell and nucleus
have their corners on the same `CORNERS` rays from the nucleus's centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spotweave.simulate.expression import NUCLEI_PER_UNIT, draw_counts, expected_counts
from spotweave.simulate.tissue import DOMAINS, FAT, IMMUNE, STROMA, TUMOUR, Floats, Tissue

CORNERS = 16
GROWTH_UM = 5.0
NEIGHBOURS = 24
SHARE_IN_NUCLEUS = 0.4
SHARE_OUTSIDE = 0.25
DRIFT_UM = 12.0  # standard deviation of how far a transcript outside cells is from a nucleus
EDGE = 0.02  # of a cell's or nucleus's size: no transcript lies nearer to an outline
# Expression of a cell relative to one of tumour: where cells are few they are large.
ACTIVITY = {TUMOUR: 1.0, STROMA: 2.5, IMMUNE: 0.7, FAT: 2.5}

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """Cells as star-shaped polygons: `centre` (n, 2) um, `radius` and `nucleus` (n, CORNERS) um along the rays."""

    centre: Floats
    radius: Floats
    nucleus: Floats
    domain: NDArray[np.uint8]

    def rings(self, what: str) -> Floats:
        """Closed rings (n, CORNERS + 1, 2), um, of every `cell` or `nucleus`."""
        radius = self.radius if what == "cell" else self.nucleus
        corners = self.centre[:, None, :] + radius[:, :, None] * rays()
        return np.concatenate([corners, corners[:, :1]], axis=1)

    def areas(self, what: str) -> Floats:
        """Areas (n,), um2."""
        radius = self.radius if what == "cell" else self.nucleus
        return np.asarray(_sectors(radius).sum(axis=1), dtype=np.float64)

    def centroids(self) -> Floats:
        """Centroids (n, 2) of the cells, um."""
        sectors = _sectors(self.radius)
        corners = self.radius[:, :, None] * rays()
        thirds = (corners + np.roll(corners, -1, axis=1)) / 3
        return self.centre + (sectors[:, :, None] * thirds).sum(axis=1) / sectors.sum(axis=1)[:, None]

    def locate(self, points_um: Floats) -> tuple[Ints, NDArray[np.bool_]]:
        """The cell (m,) at each point, -1 for none, and whether (m,) it is in the nucleus."""
        _, near = cKDTree(self.centre).query(points_um)
        sector, first, second = _in_sector(points_um - self.centre[near])
        following = (sector + 1) % CORNERS
        in_cell = first / self.radius[near, sector] + second / self.radius[near, following] <= 1
        in_nucleus = first / self.nucleus[near, sector] + second / self.nucleus[near, following] <= 1
        return np.where(in_cell, near, -1).astype(np.int64), in_nucleus


@dataclass(frozen=True)
class Calls:
    """Transcripts of genes: `gene` index into `panel()`, `xy_um` (m, 2), `cell` from 0, -1 outside, `in_nucleus`."""

    gene: Ints
    xy_um: Floats
    cell: Ints
    in_nucleus: NDArray[np.bool_]


def rays() -> Floats:
    """Unit vectors (CORNERS, 2)."""
    angle = np.arange(CORNERS) * (2 * np.pi / CORNERS)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def cells_of(tissue: Tissue) -> Cells:
    """The cells of a piece of tissue, one for each nucleus that has room."""
    nuclei = tissue.nuclei
    centre = np.stack([nuclei.x_um, nuclei.y_um], axis=1)
    turned = np.arctan2(*rays().T[::-1])[None, :] - nuclei.angle_rad[:, None]
    across = np.hypot(nuclei.semi_minor_um[:, None] * np.cos(turned), nuclei.semi_major_um[:, None] * np.sin(turned))
    ellipse = (nuclei.semi_major_um * nuclei.semi_minor_um)[:, None] / across
    distance, near = cKDTree(centre).query(centre, k=min(NEIGHBOURS + 1, len(centre)))
    room = np.full(ellipse.shape, np.inf)
    for column in range(1, near.shape[1]):
        towards = (centre[near[:, column]] - centre) / distance[:, column : column + 1]
        along = towards @ rays().T
        with np.errstate(divide="ignore"):
            room = np.minimum(room, np.where(along > 1e-6, distance[:, column : column + 1] / 2 / along, np.inf))
    radius = np.minimum(ellipse + GROWTH_UM, 0.98 * room)
    nucleus = np.minimum(ellipse, 0.9 * radius)
    return Cells(centre, radius, nucleus, nuclei.domain)


def draw_calls(rng: np.random.Generator, donor: int, cells: Cells, genes: Ints, per_cell: float) -> Calls:
    """Draw transcripts of some genes of the panel: about `per_cell` in a cell of tumour, and some between the cells.

    Genes depend on the cell's domain as they do in every simulated sample; donors differ by the same factors.
    """
    (gene_rng,) = np.random.default_rng([donor]).spawn(1)
    fractions = np.zeros((len(cells.centre), len(DOMAINS)))
    fractions[np.arange(len(fractions)), cells.domain] = 1.0
    whole = np.full(len(fractions), int(NUCLEI_PER_UNIT), dtype=np.int64)
    expected = expected_counts(rng, gene_rng, fractions, whole)
    mean = np.zeros_like(expected)
    mean[:, genes] = expected[:, genes]
    usual = mean[cells.domain == TUMOUR].sum(axis=1).mean() if (cells.domain == TUMOUR).any() else mean.sum(1).mean()
    activity = np.array([ACTIVITY.get(code, 0.0) for code in range(len(DOMAINS))])[cells.domain]
    counts = draw_counts(rng, mean * (per_cell / usual) * activity[:, None])
    cell, gene = np.nonzero(counts)
    times = counts[cell, gene]
    cell, gene = np.repeat(cell, times), np.repeat(gene, times)
    outside = rng.random(len(cell)) < SHARE_OUTSIDE
    xy = draw_within(rng, cells, cell)
    xy[outside] = cells.centre[cell[outside]] + rng.normal(0, DRIFT_UM, (int(outside.sum()), 2))
    # As the files have them: a point is where float32 puts it.
    xy = xy.astype(np.float32).astype(np.float64)
    at, in_nucleus = cells.locate(xy)
    kept = (xy > 0).all(axis=1) & (~outside | (at < 0))
    return Calls(gene[kept].astype(np.int64), xy[kept], at[kept], (in_nucleus & (at >= 0))[kept])


def draw_within(rng: np.random.Generator, cells: Cells, cell: Ints) -> Floats:
    """A point (m, 2) in each of some cells, um: some in the nucleus, the others anywhere in the cell, by area."""
    inner = rng.random(len(cell)) < SHARE_IN_NUCLEUS
    radius = np.where(inner[:, None], cells.nucleus[cell], cells.radius[cell])
    summed = np.cumsum(_sectors(radius), axis=1)
    sector = (rng.random(len(cell))[:, None] * summed[:, -1:] > summed[:, :-1]).sum(axis=1)
    following = (sector + 1) % CORNERS
    # Uniform in a triangle: fold the far half of the parallelogram back.
    first, second = rng.random((2, len(cell)))
    folded = first + second > 1
    first, second = np.where(folded, 1 - first, first), np.where(folded, 1 - second, second)
    rows = np.arange(len(cell))
    first = first * (1 - EDGE) * radius[rows, sector]
    second = second * (1 - EDGE) * radius[rows, following]
    within = first / cells.nucleus[cell, sector] + second / cells.nucleus[cell, following]
    pulled = np.where(np.abs(within - 1) < EDGE, 1 - EDGE, 1.0)[:, None]
    return cells.centre[cell] + pulled * (first[:, None] * rays()[sector] + second[:, None] * rays()[following])


def _sectors(radius: Floats) -> Floats:
    """Areas (n, CORNERS) of the triangles between a centre and two neighbouring corners."""
    return 0.5 * np.sin(2 * np.pi / CORNERS) * radius * np.roll(radius, -1, axis=1)


def _in_sector(offset: Floats) -> tuple[Ints, Floats, Floats]:
    """The sector (m,) of each offset (m, 2) and its parts (m,) along the sector's first and second ray."""
    step = 2 * np.pi / CORNERS
    angle = np.mod(np.arctan2(offset[:, 1], offset[:, 0]), 2 * np.pi)
    sector = np.minimum((angle / step).astype(np.int64), CORNERS - 1)
    length, beyond = np.hypot(offset[:, 0], offset[:, 1]), angle - sector * step
    second = length * np.sin(beyond) / np.sin(step)
    return sector, length * np.sin(step - beyond) / np.sin(step), second
