"""Harmony: clusters that mix batches as far as spots allow, and within each of them batches moved onto each other.

Korsunsky et al. 2019, with its settings. Spots are clustered softly by cosine distance under a penalty on clusters
that hold other shares of the batches than all spots do; each cluster's batches are then moved by a ridge regression on
the batch, weighted by membership, that keeps the cluster's own centre. Both alternate until neither changes much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

SPACE = "components"
SPOTS_PER_CLUSTER, MOST_CLUSTERS = 30.0, 100
ENTROPY_WEIGHT = 0.1  # sigma: how soft clusters are
DIVERSITY_WEIGHT = 2.0  # theta: how much unmixed clusters cost
RIDGE = 1.0  # lambda
BLOCKS = 20  # of spots that are assigned anew at a time
ROUNDS, CLUSTERING_ROUNDS = 10, 20
ROUND_TOLERANCE, CLUSTERING_TOLERANCE = 1e-4, 1e-5
WINDOW = 3  # of clustering rounds whose objectives are compared

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def correct(values: Array, batches: Sequence[str], seed: int) -> Array:
    """(N, D) corrected principal components of (N, D)."""
    codes = np.unique(batches, return_inverse=True)[1].astype(np.int64)
    clusters = max(1, min(round(len(values) / SPOTS_PER_CLUSTER), MOST_CLUSTERS))
    start = KMeans(clusters, n_init=10, max_iter=25, random_state=seed).fit(of_length_one(values)).cluster_centers_
    return harmonised(values, codes, start, np.random.default_rng(seed).permutation)


def of_length_one(values: Array) -> Array:
    """(N, D) rows of length 1; a row of zeros stays as it is."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)


def harmonised(values: Array, codes: Ints, start: Array, order: Callable[[int], Ints]) -> Array:
    """(N, D) corrected values.

    Parameters
    ----------
    values
        (N, D) float64.
    codes
        (N,) batch of each spot, from 0 without gaps.
    start
        (K, D) first centres of the clusters.
    order
        A number of spots -> the order in which they are assigned anew; called once a round.
    """
    state = _Clusters(of_length_one(values), codes, of_length_one(start))
    found, last = values, state.objective()
    for _ in range(ROUNDS):
        objective = state.cluster(order)
        found = moved(values, codes, state.membership)
        if (last - objective) / abs(last) < ROUND_TOLERANCE:
            break
        state.spots, last = of_length_one(found), objective
    return found


def moved(values: Array, codes: Ints, membership: Array) -> Array:
    """(N, D) values less what the regressions on the batch say of each cluster's batches.

    In every cluster: ridge regression of the values on an intercept, without penalty, and the batches, weighted by the
    (K, N) membership; all but the intercept is taken away, again by membership. Each spot has one batch, so that the
    normal equations have a closed form: with n the members of a batch and s their summed values, the intercept is
    sum(s / (n + 1)) / sum(n / (n + 1)) over batches, and a batch's coefficient (s - n intercept) / (n + 1).
    """
    batches = int(codes.max()) + 1
    is_in = [codes == batch for batch in range(batches)]
    members = np.stack([membership[:, own].sum(axis=1) for own in is_in], axis=1)[:, :, None]
    sums = np.stack([membership[:, own] @ values[own] for own in is_in], axis=1)
    weight = (members / (members + RIDGE)).sum(axis=1)
    total = (sums / (members + RIDGE)).sum(axis=1)
    intercept = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    shifts = (sums - members * intercept[:, None]) / (members + RIDGE)
    found = values.copy()
    for batch, own in enumerate(is_in):
        found[own] -= membership[:, own].T @ shifts[:, batch]
    return found


@dataclass
class _Clusters:
    """Soft clusters: (N, D) `spots` of length 1, (N,) `codes` of their batches, (K, D) `centres`; (K, N) `membership`.

    `observed` and `expected` (K, B) are the spots of each batch in each cluster, and those there would be if it were
    mixed as all spots are.
    """

    spots: Array
    codes: Ints
    centres: Array

    def __post_init__(self) -> None:
        self.is_of = np.eye(int(self.codes.max()) + 1)[self.codes]
        self.share = self.is_of.mean(axis=0)
        self.distance = self._distances()
        self.membership = _normalised(self._closeness())
        self.expected = np.outer(self.membership.sum(axis=1), self.share)
        self.observed = self.membership @ self.is_of

    def cluster(self, order: Callable[[int], Ints]) -> float:
        """Move centres and assign spots in turn until the objective settles; returns it."""
        objectives = [self.objective()]
        for done in range(CLUSTERING_ROUNDS):
            self.centres = of_length_one(self.membership @ self.spots)
            self.distance = self._distances()
            self._assign(order(len(self.spots)))
            objectives.append(self.objective())
            old, new = sum(objectives[-1 - WINDOW : -1]), sum(objectives[-WINDOW:])
            if done > WINDOW and abs(old - new) < CLUSTERING_TOLERANCE * abs(old):
                break
        return objectives[-1]

    def objective(self) -> float:
        """Distances, entropy of the membership, and how far clusters are from mixed."""
        logarithm = np.log(self.membership, out=np.zeros_like(self.membership), where=self.membership > 0)
        unmixed = DIVERSITY_WEIGHT * np.log((self.observed + 1) / (self.expected + 1))
        soft = ENTROPY_WEIGHT * self.membership * (logarithm + unmixed @ self.is_of.T)
        return float((self.membership * self.distance).sum() + soft.sum())

    def _distances(self) -> Array:
        found: Array = 2 * (1 - self.centres @ self.spots.T)
        return found

    def _closeness(self) -> Array:
        exponent = -self.distance / ENTROPY_WEIGHT
        closeness: Array = np.exp(exponent - exponent.max(axis=0))
        return closeness

    def _assign(self, order: Ints) -> None:
        """Assign spots anew, block after block, each against what the others are assigned to."""
        closeness = self._closeness()
        for block in np.array_split(order, BLOCKS):
            self._count(block, -1)
            mixing = ((self.expected + 1) / (self.observed + 1)) ** DIVERSITY_WEIGHT
            self.membership[:, block] = _normalised(closeness[:, block] * mixing[:, self.codes[block]])
            self._count(block, 1)

    def _count(self, block: Ints, sign: int) -> None:
        own = self.membership[:, block]
        self.expected += sign * np.outer(own.sum(axis=1), self.share)
        self.observed += sign * (own @ self.is_of[block])


def _normalised(weights: Array) -> Array:
    shares: Array = weights / weights.sum(axis=0)
    return shares
