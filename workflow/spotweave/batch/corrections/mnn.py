"""Mutual nearest neighbours: batches are moved onto each other, one after the other, where they have spots in common.

Haghverdi, Lun, Morgan and Marioni 2018. The largest batch is the reference; the others follow by size (ties by name),
and what is moved belongs to the reference from then on. Values become cosine normalised, (N, G) rows of length 1, and
are moved from there: neighbours are found by the distances between them. The paper's removal of biological directions
and its adjustment of variance are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from spotweave.batch.corrections import CannotCorrect

SPACE = "genes"
NEIGHBOURS = 20  # of each spot in the other batch, as published
BANDWIDTH = 0.1  # of the Gaussian between cosine normalised spots, as published
CHUNK = 1000  # spots whose weights are held at a time

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def correct(
    values: Array, batches: Sequence[str], seed: int, *, neighbours: int = NEIGHBOURS, bandwidth: float = BANDWIDTH
) -> Array:
    """(N, G) cosine normalised values, every batch moved onto the largest; nothing is random.

    Raises
    ------
    CannotCorrect
        If a batch has no spot that is the nearest of a spot which is its nearest.
    """
    found = cosine_normalised(values)
    names, codes, sizes = np.unique(batches, return_inverse=True, return_counts=True)
    first, *others = sorted(range(len(names)), key=lambda batch: (-sizes[batch], names[batch]))
    merged = np.flatnonzero(codes == first)
    for batch in others:
        own = np.flatnonzero(codes == batch)
        there, here = mutual_pairs(found[merged], found[own], neighbours)
        if not len(here):
            raise CannotCorrect(f"{names[batch]} has no spot with a mutual nearest neighbour in the batches before it")
        vectors = found[merged[there]] - found[own[here]]
        found[own] += smoothed(found[own], found[own[here]], vectors, bandwidth)
        merged = np.concatenate([merged, own])
    return found


def cosine_normalised(values: Array) -> Array:
    """(N, G) rows of length 1; a row of zeros stays as it is."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)


def mutual_pairs(reference: Array, batch: Array, neighbours: int) -> tuple[Ints, Ints]:
    """Rows (P,) of (M, G) `reference` and (n, G) `batch` that are each among the other's nearest."""
    nearest_in_batch = _nearest(reference, batch, neighbours)
    nearest_in_reference = _nearest(batch, reference, neighbours)
    there = np.repeat(np.arange(len(reference)), nearest_in_batch.shape[1])
    here = np.repeat(np.arange(len(batch)), nearest_in_reference.shape[1])
    one = there * len(batch) + nearest_in_batch.ravel()
    other = nearest_in_reference.ravel() * len(batch) + here
    pairs = np.intersect1d(one, other)
    return pairs // len(batch), pairs % len(batch)


def _nearest(of: Array, among: Array, neighbours: int) -> Ints:
    found = NearestNeighbors(n_neighbors=min(neighbours, len(among))).fit(among)
    rows: Ints = found.kneighbors(of, return_distance=False).astype(np.int64)
    return rows


def smoothed(spots: Array, paired: Array, vectors: Array, bandwidth: float) -> Array:
    """(n, G) means of the vectors of pairs, weighted by exp(-d^2 / bandwidth^2).

    Parameters
    ----------
    spots
        (n, G) spots that are moved.
    paired, vectors
        (P, G) the spot of each pair in their batch, and from it to the other of the pair.
    bandwidth
        In the units of `spots`. A spot that is far from all pairs takes the vector of the nearest.
    """
    found = np.empty_like(spots)
    for start in range(0, len(spots), CHUNK):
        piece = slice(start, start + CHUNK)
        exponent = -pairwise_distances(spots[piece], paired, metric="sqeuclidean") / bandwidth**2
        weights = np.exp(exponent - exponent.max(axis=1, keepdims=True))
        found[piece] = weights @ vectors / weights.sum(axis=1, keepdims=True)
    return found
