"""Sums over parts of the spots that add up to those of any union of parts, without losing digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scatter:
    """Some spots, as sums about their own means.

    Attributes
    ----------
    spots
        How many, N.
    features_mean, target_mean
        (D,) and (G,).
    within
        (D, D) sum over spots of products of centred features.
    cross
        (D, G) sum over spots of centred features times centred target.
    """

    spots: int
    features_mean: Array
    target_mean: Array
    within: Array
    cross: Array

    @classmethod
    def of(cls, features: NDArray[np.floating], target: Array) -> Scatter:
        """Of (N, D) features and (N, G) target; N > 0."""
        centred = features.astype(np.float64)
        features_mean, target_mean = centred.mean(axis=0), target.mean(axis=0)
        centred -= features_mean
        return cls(len(target), features_mean, target_mean, centred.T @ centred, centred.T @ (target - target_mean))


def joined(parts: Sequence[Scatter]) -> Scatter:
    """Of all spots of the parts together.

    Sums of parts about their own means add up with the scatter of the means (Chan, Golub & LeVeque, Algorithms for
    computing the sample variance, The American Statistician 37, 1983). Leaving a fold out is to add the others:
    nothing is subtracted, so no digits cancel.
    """
    counts = np.array([part.spots for part in parts], dtype=np.float64)
    spots = counts.sum()
    features_mean = sum(part.spots * part.features_mean for part in parts) / spots
    target_mean = sum(part.spots * part.target_mean for part in parts) / spots
    root = np.sqrt(counts)[:, None]
    shifts = root * np.stack([part.features_mean - features_mean for part in parts])
    target_shifts = root * np.stack([part.target_mean - target_mean for part in parts])
    within, cross = shifts.T @ shifts, shifts.T @ target_shifts
    for part in parts:
        within += part.within
        cross += part.cross
    return Scatter(int(spots), features_mean, target_mean, within, cross)
