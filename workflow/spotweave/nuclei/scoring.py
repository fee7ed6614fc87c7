"""How well instances agree with true ones: F1, panoptic quality, aggregated Jaccard index, intervals over patches.

A pair of instances matches when its intersection over union (IoU) is above .5: within label maps such a pair is the
only one of both (Kirillov et al. 2019, Panoptic segmentation, CVPR, which defines DQ, SQ and PQ). The aggregated
Jaccard index is the one of Kumar et al. 2017 (IEEE TMI 36:1550): every true instance goes with the one it has the
largest IoU with, whether or not another true one does so too.

Scores are sums that add up over patches; ratios are taken of the sums, so that a patch counts by its nuclei.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

MATCHED_IOU = 0.5

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over one patch or many; ratios are NaN where there is nothing to take them of.

    Attributes
    ----------
    matched, spurious, missed
        Pairs, predicted ones without a true one, true ones without a predicted one.
    iou_sum
        IoU summed over the pairs.
    intersection_px, union_px
        The two sums of the aggregated Jaccard index.
    """

    matched: int
    spurious: int
    missed: int
    iou_sum: float
    intersection_px: int
    union_px: int

    def __add__(self, other: Score) -> Score:
        return Score(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @property
    def f1(self) -> float:
        """F1 of detection at IoU .5, which is also the detection quality (DQ) of the panoptic quality."""
        return _ratio(2 * self.matched, 2 * self.matched + self.spurious + self.missed)

    @property
    def precision(self) -> float:
        """Share of the predicted that match."""
        return _ratio(self.matched, self.matched + self.spurious)

    @property
    def recall(self) -> float:
        """Share of the true that match."""
        return _ratio(self.matched, self.matched + self.missed)

    @property
    def sq(self) -> float:
        """Segmentation quality: mean IoU of the pairs."""
        return _ratio(self.iou_sum, self.matched)

    @property
    def pq(self) -> float:
        """Panoptic quality, DQ times SQ."""
        return _ratio(2 * self.iou_sum, 2 * self.matched + self.spurious + self.missed)

    @property
    def aji(self) -> float:
        """Aggregated Jaccard index."""
        return _ratio(self.intersection_px, self.union_px)


NOTHING = Score(0, 0, 0, 0.0, 0, 0)


def overlaps(truth: Labels, predicted: Labels) -> tuple[sparse.csr_array, NDArray[np.int64], NDArray[np.int64]]:
    """Px that every true and every predicted instance share, from one joint histogram.

    Parameters
    ----------
    truth, predicted
        (H, W) label maps, 0 where there is none; numbers need not be contiguous.

    Returns
    -------
    (n, m) shared px, true instances by predicted ones in the order of their numbers; areas (n,) and (m,), px.

    Raises
    ------
    ValueError
        If the maps differ in shape.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"label maps differ in shape: {truth.shape} and {predicted.shape}")
    rows, row_of = np.unique(truth, return_inverse=True)
    columns, column_of = np.unique(predicted, return_inverse=True)
    ones = np.ones(truth.size, dtype=np.int64)
    shape = (len(rows), len(columns))
    joint = sparse.coo_array((ones, (row_of.ravel(), column_of.ravel())), shape=shape).tocsr()
    true_px, predicted_px = (np.asarray(joint.sum(axis=axis)).ravel() for axis in (1, 0))
    return joint[rows != 0][:, columns != 0], true_px[rows != 0], predicted_px[columns != 0]


def score(truth: Labels, predicted: Labels) -> Score:
    """Score one patch; see `overlaps` for the label maps."""
    shared, true_px, predicted_px = overlaps(truth, predicted)
    pairs = shared.tocoo()
    row, column = pairs.coords
    union = true_px[row] + predicted_px[column] - pairs.data
    iou = pairs.data / union
    matched = iou > MATCHED_IOU
    count = int(matched.sum())

    # The best partner of every true instance: last of its row when sorted by IoU, the first one among equals.
    order = np.lexsort((-column, iou, row))
    best = order[np.diff(row[order], append=-1) != 0]
    alone_px = true_px.sum() - true_px[row[best]].sum()
    unused = np.ones(len(predicted_px), dtype=bool)
    unused[column[best]] = False
    return Score(
        matched=count,
        spurious=len(predicted_px) - count,
        missed=len(true_px) - count,
        iou_sum=float(iou[matched].sum()),
        intersection_px=int(pairs.data[best].sum()),
        union_px=int(union[best].sum() + alone_px + predicted_px[unused].sum()),
    )


def total(scores: Sequence[Score]) -> Score:
    """The sum over patches."""
    return sum(scores, start=NOTHING)


def bootstrap(
    scores: Sequence[Score], measure: Callable[[Score], float], *, seed: int, repeats: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of a measure of the sum, patches drawn with replacement (Efron 1979).

    Parameters
    ----------
    measure
        Of a sum of scores: `lambda one: one.f1`.
    level
        What share of the repeats lies in the interval.

    Returns
    -------
    Lower and upper end.
    """
    columns = np.array([[getattr(one, field.name) for field in fields(Score)] for one in scores], dtype=float)
    drawn = np.random.default_rng(seed).integers(0, len(scores), (repeats, len(scores)))
    sums = columns[drawn].sum(axis=1)
    values = [measure(Score(*row)) for row in sums]
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else float("nan")
