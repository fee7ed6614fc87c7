"""The robustness index: do the nearest neighbours of a patch share its biology or its medical centre?

As PathoROB defines it (Koemen, de Jong, Hense et al., arXiv 2507.17845): over all patches and their k nearest
neighbours, with SO those of the same biology and another centre, and OS those of another biology and the same centre,

    robustness index = SO / (SO + OS)

from 0, centres only, to 1, biology only. Neighbours that share both or neither say nothing. Distances are those of the
cosine; a group is what is not independent (a donor, a slide): near copies of a patch are no neighbours of it. The index
of the same name that is above 1 for robust encoders (arXiv 2501.18055) is another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

AT_A_TIME = 512  # patches whose similarities to all are in memory
NONE = -1


@dataclass(frozen=True)
class Robustness:
    """The index at one number of neighbours.

    Attributes
    ----------
    k
        Neighbours of each patch; fewer where it has fewer outside its group.
    index
        SO / (SO + OS); NaN where no neighbour is either.
    support
        Share of patches that have a neighbour which is either.
    accuracy
        Balanced accuracy of the biology that most of the k neighbours have.
    """

    k: int
    index: float
    support: float
    accuracy: float


def nearest(features: NDArray[np.floating], groups: Codes, k: int) -> Codes:
    """(N, k) rows of the nearest patches of other groups by the cosine, nearest first; -1 where there are fewer.

    Parameters
    ----------
    features
        (N, D) embeddings, finite. One of zeros has a similarity of 0 to all.
    groups
        (N,) code of the group of each patch.
    """
    found = np.full((len(features), k), NONE, dtype=np.int64)
    for start, near in _similarities(features):
        rows = slice(start, start + len(near))
        near[groups[rows, None] == groups] = -np.inf
        order = np.argsort(-near, axis=1, kind="stable")[:, :k]
        there = np.take_along_axis(near, order, axis=1) > -np.inf
        found[rows, : order.shape[1]] = np.where(there, order, NONE)
    return found


def _similarities(features: NDArray[np.floating]) -> Iterator[tuple[int, Array]]:
    """First row and (n, N) cosines of blocks of patches with all."""
    long = features.astype(np.float64)
    length = np.linalg.norm(long, axis=1, keepdims=True)
    unit = np.divide(long, length, out=np.zeros_like(long), where=length > 0)
    for start in range(0, len(unit), AT_A_TIME):
        yield start, unit[start : start + AT_A_TIME] @ unit.T


def robustness(neighbours: Codes, biology: Codes, centres: Codes, k: int) -> Robustness:
    """The index of (N, K) neighbours, as from `nearest`, at `k` of them."""
    near = neighbours[:, :k]
    there = near != NONE
    same_biology = (biology[near] == biology[:, None]) & there
    same_centre = (centres[near] == centres[:, None]) & there
    so = same_biology & ~same_centre
    os = same_centre & ~same_biology
    total = int(so.sum() + os.sum())
    return Robustness(
        k,
        float(so.sum() / total) if total else float("nan"),
        float((so | os).any(axis=1).mean()),
        _accuracy(near, biology),
    )


def best(neighbours: Codes, biology: Codes, centres: Codes, candidates: Sequence[int]) -> Robustness:
    """The index at the candidate of highest accuracy, as published; of several the smallest."""
    tried = [robustness(neighbours, biology, centres, k) for k in sorted(set(candidates))]
    return max(tried, key=lambda one: (one.accuracy, -one.k))


def _accuracy(near: Codes, biology: Codes) -> float:
    """Balanced accuracy of the most frequent biology among neighbours (a tie: the lowest code); NaN without any."""
    votes = np.stack([((biology[near] == code) & (near != NONE)).sum(axis=1) for code in range(biology.max() + 1)], 1)
    judged = votes.any(axis=1)
    right = votes.argmax(axis=1) == biology
    recalls = [right[judged & (biology == code)].mean() for code in np.unique(biology[judged])]
    return float(np.mean(recalls)) if recalls else float("nan")
