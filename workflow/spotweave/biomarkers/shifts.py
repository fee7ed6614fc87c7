"""What correlation comes of chance alone, where neighbours are alike: one field moved over the other.

Two smooth maps that have nothing to do with each other correlate far more than as many independent points would. Moved
against each other by a random distance they still have their own smoothness, but what joined them is gone. Units that
are moved off the tissue are left out, and a shift counts by what stays (random shifts with variance correction:
Mrkvicka, Dvorak, Gonzalez & Mateu 2021). Shifts on a torus and permuted blocks tear the maps apart and pass too much
as significant, the more so the smoother the maps (docs/biomarkers.md has the rates).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import cKDTree

from spotweave.correlation import standardised

FARTHEST = 0.5  # of the shorter side of what the units cover
LEAST_OVERLAP = 0.25  # share of the units that a shift must leave a partner
LEAST_PITCHES = 2.0  # that the farthest shift must be long
TRIES = 20  # shifts drawn for one that is used
REACH = 0.75  # of the pitch: how far from a unit's moved place its partner may be
CELLS_OF_TABLE = 2000  # a side, at most
LEAST_SIZE = 3.0  # effective sample size below which there is nothing to test

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Null:
    """What shifts gave: correlations (P, G, K), and (P,) units that had a partner, of `units`."""

    r: Floats
    overlap: Ints
    units: int


class Partners:
    """Which unit lies where: a table over the plane, so that a shift is a look-up."""

    def __init__(self, xy_um: Floats, pitch_um: float) -> None:
        side = float(np.ptp(xy_um, axis=0).max()) + 2 * pitch_um
        self.step = max(pitch_um / 4, side / CELLS_OF_TABLE)
        self.corner = xy_um.min(axis=0) - pitch_um
        shape = np.ceil((xy_um.max(axis=0) + pitch_um - self.corner) / self.step).astype(int)
        tree = cKDTree(xy_um)
        self.table = np.empty(shape.tolist(), dtype=np.int64)
        y = (np.arange(shape[1]) + 0.5) * self.step
        for column in range(shape[0]):
            places = np.stack([np.full(shape[1], (column + 0.5) * self.step), y], axis=1) + self.corner
            _, near = tree.query(places, distance_upper_bound=REACH * pitch_um)
            self.table[column] = np.where(near < len(xy_um), near, -1)

    def at(self, xy_um: Floats) -> Ints:
        """The unit (N,) at each place (N, 2), -1 where there is none."""
        cell = np.floor((xy_um - self.corner) / self.step).astype(np.int64)
        inside = ((cell >= 0) & (cell < self.table.shape)).all(axis=1)
        found = np.full(len(xy_um), -1)
        found[inside] = self.table[cell[inside, 0], cell[inside, 1]]
        return found


def pitch_of(xy_um: Floats) -> float:
    """Median distance of a unit (N, 2) to its fourth nearest other: the pitch of a lattice, also of one with gaps."""
    distance, _ = cKDTree(xy_um).query(xy_um, k=min(5, len(xy_um)))
    return float(np.median(distance[:, -1]))


def shifted(expression: Floats, features: Floats, xy_um: Floats, *, permutations: int, seed: int) -> Null | None:
    """Correlations of expression with features taken from elsewhere.

    Parameters
    ----------
    expression, features
        (N, G) and (N, K), without NaN.
    xy_um
        (N, 2).

    Returns
    -------
    None where the units lie nearly on a line, or so that hardly any shift leaves `LEAST_OVERLAP` of them a partner.
    """
    rng = np.random.default_rng([20260831, seed])
    pitch_um = pitch_of(xy_um)
    farthest = FARTHEST * float(np.ptp(xy_um, axis=0).min())
    if farthest < LEAST_PITCHES * pitch_um:
        return None
    partners = Partners(xy_um, pitch_um)
    genes, own = standardised(expression) * np.sqrt(len(xy_um)), standardised(features) * np.sqrt(len(xy_um))
    squares = genes**2
    found: list[Floats] = []
    overlap: list[int] = []
    for _ in range(TRIES * permutations):
        if len(found) == permutations:
            return Null(np.stack(found), np.array(overlap), len(xy_um))
        length, angle = farthest * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        partner = partners.at(xy_um + length * np.array([np.cos(angle), np.sin(angle)]))
        has = partner >= 0
        many = int(has.sum())
        if many < LEAST_OVERLAP * len(xy_um):
            continue
        moved = np.where(has[:, None], own[partner], 0.0)
        found.append(_pearson(genes, squares, moved, has.astype(np.float64), many))
        overlap.append(many)
    return None


def _pearson(genes: Floats, squares: Floats, moved: Floats, has: Floats, many: int) -> Floats:
    """Correlation (G, K) over the units that have a partner; the others are 0 in `moved`."""
    products = genes.T @ np.column_stack([moved, has]) / many
    mean_gene, mean_feature = products[:, -1], moved.sum(axis=0) / many
    var_gene = has @ squares / many - mean_gene**2
    var_feature = np.einsum("nk,nk->k", moved, moved) / many - mean_feature**2
    spread = np.sqrt(np.maximum(np.outer(var_gene, var_feature), 1e-12))
    return np.asarray((products[:, :-1] - np.outer(mean_gene, mean_feature)) / spread)


def p_by_rank(r: Floats, null: Null) -> Floats:
    """Two-sided P (G, K): the rank of the correlation (G, K) among those of shifts; never below 1 / (P + 1).

    A correlation over n units varies with 1 / n: each is taken from the mean and times the root of its n.
    """
    mean = (null.r.sum(axis=0) + r) / (len(null.r) + 1)
    own = np.abs(r - mean) * np.sqrt(null.units)
    others = np.abs(null.r - mean) * np.sqrt(null.overlap)[:, None, None]
    return np.asarray((1 + (others >= own).sum(axis=0)) / (len(null.r) + 1))


def effective_size(null: Null) -> Floats:
    """How many independent units (G, K) would let chance correlate as widely as shifts do: 1 + 1 / variance of R."""
    variance = (null.r**2 * null.overlap[:, None, None]).mean(axis=0) / null.units
    return np.asarray(np.minimum(1 + 1 / variance, null.units))


def p_of_size(r: Floats, size: Floats | float) -> Floats:
    """Two-sided P of Pearson's R by Student's t for a sample of that (effective) size; 1 where it is below 3."""
    freedom = np.maximum(np.asarray(size, dtype=np.float64), LEAST_SIZE) - 2
    with np.errstate(divide="ignore"):
        t = np.abs(r) * np.sqrt(freedom / np.maximum(1 - r**2, 0.0))
    return np.asarray(np.where(np.asarray(size) < LEAST_SIZE, 1.0, 2 * stats.t.sf(t, freedom)))
