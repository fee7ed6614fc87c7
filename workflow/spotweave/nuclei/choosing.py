"""Which candidates are nuclei: each gets a mark, and those are kept that together look most like nuclei.

A mark, between 0 and 1, is the product of how well its shape fits an ellipse, how sharp its outline is and how little
of it is a cut through something dark, how much darker than its surroundings it is, and whether nuclei have its size.
Along the tree of candidates, a whole is kept where its mark is at least the mean of its parts' (by area), raised by
how many they are and how deep the pass between them is, else its parts (as in component trees: Jones 1999, CVIU
75:215).

One set of numbers in um for all slides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from spotweave.nuclei.candidates import Candidates, candidates

USUAL_GRADIENT = 0.4  # per um, of a sharp slide; only for finding those outlines that tell a slide's own
ELLIPSE = (0.85, 1.0)
SHARPNESS = (0.1, 1.2)  # gradient, in units of the slide's own
CONTRAST = (0.1, 0.7)
SMALL_UM2, LARGE_UM2 = (4.0, 20.0), (120.0, 300.0)
PARTING = 4.0  # how much a deep pass speaks for the parts
BESIDE = 0.35  # how much it counts that parts are several: 0, their mean is held against the whole; 1, their sum
LEAST_MARK = 0.13
LEAST_UM2 = 6.0
FARTHEST_UM = 50.0  # what reaches further is none, and would not lie whole within a tile's margin


def choose(found: Candidates, gradient: float, um_per_px: float) -> NDArray[np.int32]:
    """The candidates that together look most like nuclei: labels (H, W) int32, 0 or 1 to n without a gap.

    Parameters
    ----------
    gradient
        Of the slide's outlines, per um (`usual_gradient`).
    """
    return _chosen(found, _marks(found, gradient), um_per_px)


def usual_gradient(maps: Sequence[NDArray[np.float32]], um_per_px: float, dark: float, light: float) -> float:
    """The median gradient at the outlines of the best candidates of these maps (H, W), per um; as `candidates`."""
    marks, gradients = [], []
    for dark_map in maps:
        found = candidates(dark_map, um_per_px, dark, light)
        if found is None:
            continue
        mark = _marks(found, USUAL_GRADIENT)
        best = mark.argmax(axis=1)
        rows = np.arange(len(best))
        marks.append(mark[rows, best])
        gradients.append(found.gradient[rows, best])
    mark = np.concatenate(marks) if marks else np.zeros(0)
    good = mark > LEAST_MARK
    if not good.any():
        return USUAL_GRADIENT
    good &= mark > np.quantile(mark, 0.7)
    return float(np.median(np.concatenate(gradients)[good]))


def _ramp(values: NDArray[Any], ends: tuple[float, float]) -> NDArray[np.float64]:
    """0 up to the first end, 1 from the second."""
    return ((values - ends[0]) / (ends[1] - ends[0])).clip(0, 1)


def _marks(found: Candidates, gradient: float) -> NDArray[np.float64]:
    """How much like a nucleus every candidate is, (N, LEVELS)."""
    return (
        _ramp(found.roundness_of_ellipse, ELLIPSE)
        * _ramp(found.gradient / gradient, SHARPNESS)
        * (1 - found.walled)
        * _ramp(found.contrast, CONTRAST)
        * _ramp(found.area_um2, SMALL_UM2)
        * (1 - _ramp(found.area_um2, LARGE_UM2))
    )


def _owner(
    found: Candidates, own: NDArray[np.float64], area: NDArray[np.float64], taken: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The node (N,) that each node belongs to, -1 for none, when nodes have these marks and areas and may be taken."""
    # Upwards: the choice within each node, as the mean of its marks by area, their sum, and its area.
    is_taken, summed, covered = taken.tolist(), (own * taken).tolist(), (area * taken).tolist()
    mean, marks, areas = list(summed), own.tolist(), area.tolist()
    depth, children, parent = found.depth.tolist(), found.children.tolist(), found.parent.tolist()
    for node in range(found.leaves, len(marks)):
        one, other = children[node]
        within = covered[one] + covered[other]
        apart = (mean[one] * covered[one] + mean[other] * covered[other]) / within if within else 0.0
        several = (summed[one] + summed[other]) / apart if apart else 1.0
        if is_taken[node] and marks[node] >= apart * several**BESIDE * (1 + PARTING * depth[node]):
            mean[node] = summed[node] = marks[node]
            covered[node] = areas[node]
        else:
            is_taken[node], mean[node], covered[node] = False, apart, within
            summed[node] = summed[one] + summed[other]
    # Downwards.
    owner = [-1] * len(marks)
    for node in range(len(marks) - 1, -1, -1):
        above = owner[parent[node]] if parent[node] >= 0 else -1
        owner[node] = above if above >= 0 else (node if is_taken[node] else -1)
    return np.array(owner, dtype=np.int64)


def _chosen(found: Candidates, marks: NDArray[np.float64], um_per_px: float) -> NDArray[np.int32]:
    nodes = np.arange(len(marks))
    level = marks.argmax(axis=1)
    own, area = marks[nodes, level], found.area_um2[nodes, level]
    taken = (own > LEAST_MARK) & (found.reach_um <= FARTHEST_UM)
    taken[0] = False
    owner = _owner(found, own, area, taken)
    node_of = owner[found.zone]
    inside = (node_of >= 0) & (found.first <= level[node_of])
    pieces = label(np.where(inside, node_of, 0), connectivity=1)
    # Of several pieces of one candidate, the largest.
    px = np.bincount(pieces.ravel())
    node_of_piece = np.zeros(len(px), dtype=np.int64)
    node_of_piece[pieces.ravel()] = np.where(inside, node_of, 0).ravel()
    order = np.lexsort((-px, node_of_piece))
    kept = np.zeros(len(px), dtype=bool)
    kept[order] = np.diff(node_of_piece[order], prepend=-1) != 0
    kept &= (node_of_piece > 0) & (px * um_per_px**2 >= LEAST_UM2)
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return number[pieces]
