"""Structural similarity of truth and prediction as pictures whose pixels are the spots.

Wang et al. 2004, beside `global_ssim`, which knows no place: means, variances and covariance are taken around every
spot, with Gaussian weights of 1.5 pitches over a square of 11 pitches, cut off where the tissue ends; the similarities
of all spots are averaged. On a whole square lattice, away from its edges, it is scikit-image's `structural_similarity`
with Gaussian weights and population variances. A pitch is the median distance of a spot's nearest neighbour in its
sample. Undefined where the truth is constant.

By gene and group; no window reaches into another sample. `spatial_ssim_mean` averages over groups, then over the genes
that have a value, then over folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spotweave.metrics import Array, Scored
from spotweave.metrics._summary import mean, mean_defined, over_folds
from spotweave.metrics._textbook import spatial_ssim

if TYPE_CHECKING:
    from scipy import sparse

COLUMNS = ("spatial_ssim_mean",)
BEST = {"spatial_ssim_mean": "high"}
SIGMA, REACH = 1.5, 5  # pitches
# Positions are rounded to px: a spot at the edge of a window is in it.
SLACK = 0.05


def score(scored: Scored) -> Array:
    """(U, G), from -1 to 1."""
    groups = np.unique(scored.groups)
    found = np.full((len(groups), scored.truth.shape[1]), np.nan)
    for number, group in enumerate(groups):
        spots = np.flatnonzero(scored.groups == group)
        truth, prediction = scored.truth[spots], scored.prediction[spots]
        there = ~np.isnan(truth).any(axis=0)
        around = windows(scored.positions_px[spots], scored.samples[spots])
        found[number, there] = spatial_ssim(truth[:, there], prediction[:, there], around)
    return found


def windows(positions_px: Array, samples: NDArray[np.int64]) -> sparse.csr_array:
    """(N, N) weights of the spots around each of (N, 2) positions, none of another sample; rows sum to 1."""
    from scipy import sparse
    from scipy.spatial import cKDTree

    scaled = np.empty_like(positions_px)
    pairs = [np.column_stack([np.arange(len(samples))] * 2)]
    for sample in np.unique(samples):
        spots = np.flatnonzero(samples == sample)
        scaled[spots] = positions_px[spots] / _pitch_px(positions_px[spots])
        near = cKDTree(scaled[spots]).query_pairs(REACH + SLACK, p=np.inf, output_type="ndarray")
        pairs += [spots[near], spots[near[:, ::-1]]]
    row, column = np.concatenate(pairs).T
    apart = ((scaled[row] - scaled[column]) ** 2).sum(axis=1)
    weights = sparse.csr_array((np.exp(-apart / (2 * SIGMA**2)), (row, column)), shape=(len(samples),) * 2)
    return sparse.csr_array(sparse.diags_array(1 / weights.sum(axis=1)) @ weights)


def _pitch_px(positions_px: Array) -> float:
    """Median distance of the nearest neighbour; 1 where there is none, or where most spots coincide."""
    from scipy.spatial import cKDTree

    if len(positions_px) < 2:
        return 1.0
    pitch = float(np.median(cKDTree(positions_px).query(positions_px, k=2)[0][:, 1]))
    return pitch if pitch > 0 else 1.0


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Mean over folds."""
    return {"spatial_ssim_mean": mean(over_folds(folds, mean_defined))}
