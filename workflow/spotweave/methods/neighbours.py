"""The floor of place: a spot gets the mean of the nearest training spots of its own sample.

It knows nothing of the picture. What it reaches is what expression owes to nearby spots being alike: the floor of every
split within a sample. Where whole donors are held out, no training spot lies in a test sample, and it cannot be run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.methods import CannotPredict, Job, Sample, Training

COLUMNS = {
    "neighbours": {
        "description": "How many of the nearest training spots of the same sample are averaged",
        "allowed": "a whole number from 1 to 999",
        "type": "string",
        "pattern": "^[1-9][0-9]{0,2}$",
    },
}
REQUIRED = ("neighbours",)

Array = NDArray[np.float64]
# Spots of an array lie at equal distances but for rounding: those level with the last one are averaged with it.
LEVEL = 1 + 1e-9


@dataclass(frozen=True)
class Neighbours:
    """Training spots by sample: (M, 2) positions in px and (M, G) expression."""

    known: Mapping[str, tuple[Array, Array]]
    count: int

    @property
    def details(self) -> dict[str, Any]:
        return {}

    def predict(self, sample: Sample) -> Array:
        """(N, G): means over the `count` nearest training spots (all, where there are fewer) and any as near as these.

        Raises
        ------
        CannotPredict
            If no training spot lies in the sample.
        """
        from scipy import sparse
        from scipy.spatial import KDTree

        if sample.name not in self.known:
            # The same words whatever the sample: the leaderboard then says them once for all folds.
            raise CannotPredict(
                "no training spot lies in a test sample: a fold that holds out whole samples leaves no neighbours"
            )
        positions_px, expression = self.known[sample.name]
        tree = KDTree(positions_px)
        farthest = tree.query(sample.positions_px, k=[min(self.count, len(positions_px))])[0][:, 0]
        near = tree.query_ball_point(sample.positions_px, farthest * LEVEL, return_sorted=True)
        sizes = np.array([len(rows) for rows in near])
        ends = np.concatenate([[0], np.cumsum(sizes)])
        weights = np.repeat(1 / sizes, sizes)
        shape = (len(near), len(positions_px))
        return np.asarray(sparse.csr_matrix((weights, np.concatenate(near).astype(np.int64), ends), shape) @ expression)


def fit(training: Training, row: Mapping[str, str], job: Job) -> Neighbours:
    """Keep the training spots; nothing is fitted."""
    known = {one.sample.name: (one.sample.positions_px, one.expression) for one in training.samples}
    return Neighbours(known, int(row["neighbours"]))
