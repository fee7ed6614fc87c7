"""Where a frame may lie: hypotheses by found corners, scored and refined on single dots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from spotweave.fiducials.detection import Detection
from spotweave.fiducials.dots import Evidence
from spotweave.geometry import Points, apply, fit_affine, fit_similarity
from spotweave.visium.array import CaptureArea

Matrix = NDArray[np.float64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
CORNER_REACH_UM = 250.0  # a detection supports a hypothesis when its centre is this near
BOX_MARGIN_UM = 90.0  # of a box around a shape's dots, beyond their centres
BOX_RATIO = 1.8  # how far a box may be larger or smaller than the hypothesis has it
COARSE_REACH_UM = 28.0
REACHES_UM = (68.0, 50.0, 36.0, 26.0, 20.0)
MATCH_UM = 22.0  # a dot is matched when a peak lies this near its place
FEWEST_DOTS = 24  # that a fit is tried on
OUTLIER = 3.5  # residuals beyond this many robust standard deviations are left out
SHIFTS = tuple((x, y) for x in range(-4, 5) for y in range(-2, 3) if (x + y) % 2 == 0 and (x, y) != (0, 0))
TURNED_SHIFTS = tuple((x, y) for x in (-1, 0, 1) for y in (-1, 0, 1))
CLIMBS = 4


@dataclass(frozen=True)
class Pose:
    """A hypothesis: a capture area and where it lies; `score` orders them."""

    area: CaptureArea
    matrix: Matrix
    score: float
    corners_matrix: Matrix
    corners: int

    @property
    def mirrored(self) -> bool:
        """Whether it is seen from behind."""
        return bool(np.linalg.det(self.matrix[:2, :2]) < 0)

    @property
    def pixel_size_um(self) -> float:
        """um per px."""
        return um_per_px(self.matrix)


def climb(evidence: Evidence, pose: Pose) -> Pose:
    """Move to a neighbouring place or another orientation as long as that explains more.

    A hypothesis of two corners may be a dot's distance off at the far side, and least squares then settle on the wrong
    dots: every neighbouring place is tried with every small turn and stretch.
    """
    for _ in range(CLIMBS):
        others, tilts = other_matrices(pose.area, pose.matrix), _tilts(pose.area)
        others += [matrix @ tilt for matrix in (pose.matrix, *others) for tilt in tilts]
        scores = all_explained(evidence, pose.area, others, least_response(evidence, pose))
        best = int(np.argmax(scores))
        if scores[best] <= pose.score:
            break
        moved = refine(evidence, replace(pose, matrix=others[best]))
        if moved is None or moved.score <= pose.score:
            break
        pose = moved
    return pose


def hypotheses(area: CaptureArea, detections: Sequence[Detection]) -> list[Pose]:
    """Poses of every two detections of different shapes, refitted to all detections that agree."""
    centres = np.array([(found.x_px, found.y_px) for found in detections]).reshape(-1, 2)
    shapes = np.array([found.shape for found in detections], dtype=int)
    sizes_px = np.array([(found.width_px + found.height_px) / 2 for found in detections])
    box_um = float(2 * area.shape_half_um.mean() + BOX_MARGIN_UM)
    poses: dict[tuple[bool, tuple[int, ...]], Pose] = {}
    for i, j in combinations(range(len(detections)), 2):
        if shapes[i] == shapes[j] or np.allclose(centres[i], centres[j]):
            continue
        for mirrored in (False, True):
            pair = [i, j]
            matrix = fit_similarity(area.corners_um[shapes[pair]], centres[pair], mirrored=mirrored)
            ratio = sizes_px[pair] * um_per_px(matrix) / box_um
            if ratio.max() > BOX_RATIO or ratio.min() < 1 / BOX_RATIO:
                continue
            members = _agreeing(area, matrix, centres, shapes)
            key = (mirrored, members)
            if key not in poses:
                members_list = list(members)
                matrix = fit_similarity(area.corners_um[shapes[members_list]], centres[members_list], mirrored=mirrored)
                poses[key] = Pose(area, matrix, 0.0, matrix, len(members))
    return list(poses.values())


def _agreeing(area: CaptureArea, matrix: Matrix, centres: Points, shapes: NDArray[np.int64]) -> tuple[int, ...]:
    """The nearest detection of each shape, where near enough to where the matrix has it."""
    distance_um = np.linalg.norm(centres - apply(matrix, area.corners_um)[shapes], axis=1) * um_per_px(matrix)
    members = []
    for shape in range(4):
        of_shape = np.flatnonzero((shapes == shape) & (distance_um <= CORNER_REACH_UM))
        if len(of_shape):
            members.append(int(of_shape[distance_um[of_shape].argmin()]))
    return tuple(members)


def distinct(poses: Sequence[Pose], number: int) -> list[Pose]:
    """The first poses that differ by more than a refinement would mend, at most `number`."""
    kept: list[Pose] = []
    for pose in poses:
        outline_um = pose.area.outline_um()
        outline = apply(pose.matrix, outline_um)
        near = (
            np.abs(outline - apply(other.matrix, outline_um)).max() * pose.pixel_size_um < MATCH_UM
            for other in kept
            if other.area is pose.area
        )
        if not any(near):
            kept.append(pose)
        if len(kept) == number:
            break
    return kept


def _between(area: CaptureArea, side: int = 1) -> Points:
    """Places midway between dots, to one `side` (1 or -1) of each, where none is: the nearest three are 87 um away."""
    return area.dots_um + side * np.array([area.lattice_um[0], area.lattice_um[1] / 3])


def coarse_scores(evidence: Evidence, area: CaptureArea, poses: Sequence[Pose]) -> list[float]:
    """Share of dots that answer more than the places between dots to either side, of each pose; a third do by chance.

    Each dot is compared with its own surroundings: a dark clot answers more than any dot, and must not count for more.
    """
    places = np.concatenate([area.dots_um, _between(area), _between(area, -1)])
    values = _at_all(evidence, [pose.matrix for pose in poses], places)
    at_dots, before, behind = np.split(values, 3, axis=1)
    return [float(share) for share in np.mean(at_dots > np.maximum(before, behind), axis=1)]


def _at_all(evidence: Evidence, matrices: Sequence[Matrix], places_um: Points) -> NDArray[np.float32]:
    sizes = np.array([um_per_px(matrix) for matrix in matrices])
    return evidence.at_all(np.reshape(matrices, (-1, 3, 3)), places_um, sizes, COARSE_REACH_UM)


@dataclass(frozen=True)
class _Match:
    """Dots found in the picture: which of the expected, and where."""

    index: NDArray[np.intp]
    xy_px: Points
    response: Floats


def match_dots(evidence: Evidence, expected_px: Points, pixel_size_um: float, reach_um: float, least: float) -> _Match:
    """The dots that are found within `reach_um` of their expected places, by peaks that answer enough."""
    peaks = evidence.peaks(pixel_size_um)
    nearest, found = peaks.nearest(expected_px, reach_um / pixel_size_um)
    if len(peaks.response):
        found &= peaks.response[nearest] >= least
    index = np.flatnonzero(found)
    # A peak belongs to the place it is nearest to: two places cannot share one.
    distance = np.linalg.norm(peaks.xy_px[nearest[index]] - expected_px[index], axis=1)
    order = index[np.argsort(distance, kind="stable")]
    _, first = np.unique(nearest[order], return_index=True)
    index = np.sort(order[first])
    return _Match(index, peaks.xy_px[nearest[index]], peaks.response[nearest[index]])


def least_response(evidence: Evidence, pose: Pose) -> float:
    """The response from which on a peak may be a dot: a third of what the dots of this frame usually answer."""
    at_dots = evidence.at(apply(pose.matrix, pose.area.dots_um), pose.pixel_size_um, COARSE_REACH_UM)
    at_dots = at_dots[np.isfinite(at_dots)]
    return float(max(np.median(at_dots) / 3, 0.5)) if len(at_dots) else np.inf


def refine(evidence: Evidence, pose: Pose) -> Pose | None:
    """Least squares on the dots, with ever smaller reach; None with too few."""
    for reach_um in REACHES_UM:
        expected = apply(pose.matrix, pose.area.dots_um)
        match = match_dots(evidence, expected, pose.pixel_size_um, reach_um, least_response(evidence, pose))
        if len(match.index) < FEWEST_DOTS:
            return None
        dots = pose.area.dots_um[match.index]
        kept = np.ones(len(dots), dtype=bool)
        for _ in range(3):
            matrix = fit_similarity(dots[kept], match.xy_px[kept], mirrored=pose.mirrored)
            kept = inliers(match.xy_px - apply(matrix, dots), kept)
            if kept.sum() < FEWEST_DOTS:
                return None
        pose = replace(pose, matrix=matrix)
    return replace(pose, score=places_explained(evidence, pose.area, pose.matrix, least_response(evidence, pose)))


def inliers(residual_px: Points, kept: Mask) -> Mask:
    """(N,) bool: residuals (N, 2) within OUTLIER standard deviations, taken from those that are `kept`."""
    distance = np.linalg.norm(residual_px, axis=1)
    # The median length of a two-dimensional normal residual is 1.1774 standard deviations.
    spread = max(float(np.median(distance[kept])) / 1.1774, 0.02)
    return np.asarray(distance <= OUTLIER * spread)


def places_explained(evidence: Evidence, area: CaptureArea, matrix: Matrix, least: float) -> float:
    """Number of places, dots and holes, that are in the picture as the frame has them, less what chance explains.

    Chance is read off the places between dots: where tissue answers everywhere, a dot that is found says nothing.
    """
    return all_explained(evidence, area, [matrix], least)[0]


def all_explained(evidence: Evidence, area: CaptureArea, matrices: Sequence[Matrix], least: float) -> list[float]:
    """`places_explained` of many maps at once."""
    kinds = (area.dots_um, area.holes_um, _between(area))
    values = _at_all(evidence, matrices, np.concatenate(kinds))
    ends = np.cumsum([0, *map(len, kinds)])
    answers, known = values >= np.float64(least), ~np.isnan(values)
    (hits, false, by_chance), (dots, holes, between) = (
        [of[:, begin:end].sum(axis=1) for begin, end in pairwise(ends)] for of in (answers, known)
    )
    chance = np.where(between > 0, by_chance / np.maximum(between, 1), 1.0)
    return [float(score) for score in (hits - chance * dots) - (false - chance * holes)]


def other_matrices(area: CaptureArea, matrix: Matrix) -> list[Matrix]:
    """The frame turned or mirrored in its own outline, or moved by one or two dots.

    Turned, its dots fall between those of the picture, as rows are offset by half a step: the next places are tried
    with each turn, or the right orientation explains nothing where a wrong one was fitted.
    """
    outline = area.outline_um()
    turns = [fit_affine(outline, outline[list(order)]) for order in _symmetries()]
    turned = [matrix @ turn @ _moved(area, x, y) for turn in turns for x, y in TURNED_SHIFTS]
    return [*turned, *(matrix @ _moved(area, x, y) for x, y in SHIFTS)]


def _moved(area: CaptureArea, x: int, y: int) -> Matrix:
    """A move by steps of the lattice of dots."""
    move = np.eye(3)
    move[:2, 2] = np.array([x, y]) * area.lattice_um
    return move


def _tilts(area: CaptureArea) -> list[Matrix]:
    """Small turns and stretches about the middle of the frame that move its sides by half a dot's distance or one."""
    low, high = area.outline_um()[[0, 2]]
    middle, half = (low + high) / 2, float((high - low).mean()) / 2
    tilts = []
    for step in (-150.0, -75.0, 75.0, 150.0):
        for change in (complex(1, step / half), complex(1 + step / half, 0)):
            linear = np.array([[change.real, -change.imag], [change.imag, change.real]])
            tilt = np.eye(3)
            tilt[:2, :2], tilt[:2, 2] = linear, middle - linear @ middle
            tilts.append(tilt)
    return tilts


def _symmetries() -> list[tuple[int, ...]]:
    """The seven ways but the first to lay the corners of a box onto themselves."""
    turned = [tuple((k + by) % 4 for k in range(4)) for by in range(4)]
    return [*turned[1:], *(tuple(reversed(order)) for order in turned)]


def um_per_px(matrix: Matrix) -> float:
    """um per px of a map (3, 3) from um to px."""
    (a, b), (c, d) = matrix[:2, :2].tolist()
    return 1.0 / sqrt(abs(a * d - b * c))
