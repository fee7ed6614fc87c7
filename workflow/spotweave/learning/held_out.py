"""Which training spots choose the epoch. Test spots never do: a method is not shown their expression."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spotweave.spots import Sample, Training, TrainingSample

Array = NDArray[np.float64]


def split(training: Training) -> tuple[list[TrainingSample], list[TrainingSample]]:
    """Spots to learn from, and spots to choose the epoch by: one inner fold, the smallest that is a fair share.

    Inner folds hold out donors, samples or blocks together. The smallest of a tenth of the spots or more is held out,
    so that as much as possible is learned from; with one fold alone nothing is, and the last epoch is kept.
    """
    folds = np.concatenate([known.inner_folds for known in training.samples])
    numbers, counts = np.unique(folds, return_counts=True)
    if len(numbers) < 2:
        return list(training.samples), []
    fair = np.where(counts >= 0.1 * counts.sum(), counts, counts.sum())
    chosen = numbers[np.argmin(fair)]
    sides: tuple[list[TrainingSample], list[TrainingSample]] = ([], [])
    for known in training.samples:
        for side, rows in zip(sides, (known.inner_folds != chosen, known.inner_folds == chosen), strict=True):
            if rows.any():
                side.append(_part(known, np.flatnonzero(rows)))
    return sides


def _part(known: TrainingSample, rows: NDArray[np.intp]) -> TrainingSample:
    if len(rows) == len(known.totals):
        return known
    sample: Sample = replace(
        known.sample,
        spots=[known.sample.spots[row] for row in rows],
        positions_px=known.sample.positions_px[rows],
    )
    return TrainingSample(
        sample, known.expression[rows], known.counts[rows], known.totals[rows], known.inner_folds[rows]
    )


def mean_pearson(truth: Array, predicted: Array) -> float:
    """Mean over genes of Pearson's correlation over (N, G) spots; 0 for a gene that is constant on either side."""
    truth, predicted = (values - values.mean(axis=0) for values in (truth, predicted))
    # Rounding of a mean is no variance.
    norms = [
        np.where(np.ptp(values, axis=0) > 1e-9, np.linalg.norm(values, axis=0), 0.0) for values in (truth, predicted)
    ]
    product = norms[0] * norms[1]
    return float(np.mean((truth * predicted).sum(axis=0) / np.where(product > 0, product, np.inf)))
