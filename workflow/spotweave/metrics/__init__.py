"""Metrics: what is read from a prediction. One metric is one file; its module says what it measures and offers

    COLUMNS: tuple[str, ...]                   columns that it adds to the leaderboard
    BEST: dict[str, str]                       those of them that rank, and which end is best: "high" or "low"
    score(scored: Scored) -> array             values of one fold of one predictor
    summarise(folds) -> dict[str, float]       the columns, from the values of one fold or more

`score` gives (U, G) values, one for each group of spots and gene, NaN where undefined; or, for what is one number a
fold, an array without dimensions. `summarise` gets a list of such arrays, as they were, and gives a value for each of
`COLUMNS`; of one fold it gives that fold's. No metric knows what made the prediction. One without `BEST` is shown and
ranks nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spotweave.registry import Registry

Array = NDArray[np.float64]

METRICS = Registry("metrics", "metric")
# Ranks, the figure and what fine-tuning changed go by `pearson_mean_zero`.
REQUIRED = "pearson"


@dataclass(frozen=True)
class Scored:
    """The test spots of one fold, and what a predictor says of them.

    Attributes
    ----------
    truth
        (N, G) float64 on the protocol's scale; NaN in all spots of a sample whose table lacks the gene.
    counts
        (N, G) float64 raw counts, NaN likewise.
    prediction
        (N, G) float64 on the scale of `truth`.
    positions_px
        (N, 2) float64, x and y in px of the full-resolution image of the spot's sample.
    samples
        (N,) int code of the sample of each spot.
    groups
        (N,) int code of the spots that are scored together: the samples, or one code for all.
    genes
        G names: for what concerns some genes only.
    permutations
        How many of a null distribution.
    seed
        Of everything random.
    """

    truth: Array
    counts: Array
    prediction: Array
    positions_px: Array
    samples: NDArray[np.int64]
    groups: NDArray[np.int64]
    genes: Sequence[str]
    permutations: int
    seed: int


class Metric(Protocol):
    """What a metric's module offers."""

    COLUMNS: tuple[str, ...]

    def score(self, scored: Scored) -> Array:
        """(U, G) values by group, in ascending order of its code, and gene; or one value, of no dimensions."""

    def summarise(self, folds: Sequence[Array]) -> dict[str, float]:
        """A value for each of `COLUMNS`."""


def best_of(name: str) -> Mapping[str, str]:
    """Columns of the metric `name` that rank -> which end is best, `high` or `low`."""
    best: Mapping[str, str] = getattr(load(name), "BEST", {})
    return best


def load(name: str) -> Metric:
    """The module of the metric `name`."""
    metric: Metric = METRICS.load(name)
    return metric
