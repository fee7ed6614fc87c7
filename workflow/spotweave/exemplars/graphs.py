"""Who is joined to whom: spots to their neighbours, exemplars to spots, exemplars to each other.

Edges are (2, E) int64: row 0 the source, row 1 the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A fitted lattice is regular to a few per cent. Square lattice: diagonals, at sqrt(2) pitches, are in, the next (2) are
# not. Hexagonal lattice: six neighbours at one pitch are in, the next (1.73) are not.
NEIGHBOUR_PITCHES = 1.05 * np.sqrt(2)
PUBLISHED_SQUARE_PX = 256
PUBLISHED_NEIGHBOURS = 5
EXEMPLAR_NEIGHBOURS = 3
POINTS_AT_A_TIME = 512


def window_edges(positions: NDArray[Any]) -> NDArray[np.int64]:
    """Each spot joined to the neighbours of its lattice: 8 on a square one, 6 on a hexagonal one, both ways.

    Neighbours lie within 1.05 sqrt(2) pitches; the pitch is the median distance to the nearest spot elsewhere.

    Parameters
    ----------
    positions
        (N, 2) of spots on the slide or on the array, in any measure.
    """
    from scipy.spatial import KDTree

    at = np.asarray(positions, dtype=np.float64)
    apart = np.unique(at, axis=0)
    if len(apart) < 2:
        return np.zeros((2, 0), dtype=np.int64)
    pitch = float(np.median(KDTree(apart).query(apart, k=2)[0][:, 1]))
    pairs = KDTree(at).query_pairs(NEIGHBOUR_PITCHES * pitch, output_type="ndarray")
    return _in_order(np.concatenate([pairs, pairs[:, ::-1]]).T)


def published_window_edges(positions_px: NDArray[Any]) -> NDArray[np.int64]:
    """As the original joins spots: on whole squares of 256 px, whatever the pitch, those less than sqrt(2) apart.

    Spots of one square are joined, and squares that share a side; diagonals are not, as squared distances are compared
    strictly. Of more than five neighbours the nearest five stay, ties by number.

    Parameters
    ----------
    positions_px
        (N, 2) x and y.
    """
    squares = np.floor(np.asarray(positions_px, dtype=np.float64) / PUBLISHED_SQUARE_PX).astype(np.int64)
    edges = []
    for target, place in enumerate(squares):
        squared = ((squares - place) ** 2).sum(axis=1)
        near = np.flatnonzero(squared < 2)
        near = near[near != target]
        edges += [(source, target) for source in near[np.argsort(squared[near], kind="stable")][:PUBLISHED_NEIGHBOURS]]
    return _in_order(np.array(edges, dtype=np.int64).reshape(-1, 2).T)


def _in_order(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same edges by target, then by source: sums over them are the same bytes on every run."""
    return edges[:, np.lexsort((edges[0], edges[1]))]


@dataclass(frozen=True)
class ExemplarGraph:
    """Exemplars of a section, each once, and their edges.

    Attributes
    ----------
    features, expression
        (M, F) and (M, G) of the unique exemplars, in lexicographic order of feature and expression side by side.
    to_windows
        (2, N K): the K exemplars of window 0, then those of window 1, ...
    among
        (2, E): the 3 nearest exemplars of each.
    """

    features: NDArray[Any]
    expression: NDArray[Any]
    to_windows: NDArray[np.int64]
    among: NDArray[np.int64]


def exemplar_graph(features: NDArray[Any], expression: NDArray[Any]) -> ExemplarGraph:
    """Join the exemplars of a section's windows.

    Parameters
    ----------
    features, expression
        (N, K, F) and (N, K, G) of the exemplars of each window.
    """
    n_windows, k, n_features = features.shape
    rows = np.concatenate([features, expression], axis=-1).reshape(n_windows * k, -1)
    unique, which = np.unique(rows, axis=0, return_inverse=True)
    to_windows = np.stack([which.reshape(-1), np.repeat(np.arange(n_windows), k)]).astype(np.int64)
    return ExemplarGraph(unique[:, :n_features], unique[:, n_features:], to_windows, nearest_among(unique))


def nearest_among(points: NDArray[Any], k: int = EXEMPLAR_NEIGHBOURS) -> NDArray[np.int64]:
    """Each point joined from its k nearest others (Euclidean, ties by number); from all, where there are fewer."""
    from scipy.spatial.distance import cdist

    at = np.asarray(points, dtype=np.float64)
    kept = min(k, len(at) - 1)
    parts = [np.zeros((0, kept), dtype=np.int64)]
    for start in range(0, len(at), POINTS_AT_A_TIME):
        distances = cdist(at[start : start + POINTS_AT_A_TIME], at)
        rows = np.arange(len(distances))
        distances[rows, start + rows] = np.inf
        parts.append(np.argsort(distances, axis=1, kind="stable")[:, :kept])
    return np.stack([np.concatenate(parts).reshape(-1), np.repeat(np.arange(len(at)), kept)]).astype(np.int64)
