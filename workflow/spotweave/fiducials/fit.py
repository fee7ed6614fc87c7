"""The fiducial frame laid onto a picture: from found corners to a fit on single dots, measured or refused.

1. Every two detections of different shapes give a similarity for each size of capture area, seen from the front and
   from behind; those that further detections agree with are refitted to all of them.
2. Each is held against the dots: at how many places of the frame is one? The best are refined on the dots by least
   squares, in steps of ever smaller reach, far-off dots left out.
3. The best of the refined fits wins, whatever its capture area and orientation, and is compared with what the same
   frame would explain turned, mirrored or moved by a dot or two: the margin says how sure the orientation is.
4. Dots left out of the fit, whole quarters left out, and the spread of the residuals say how good it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spotweave.fiducials.detection import Detection
from spotweave.fiducials.dots import Evidence
from spotweave.fiducials.printing import TABLE, displacement_um
from spotweave.geometry import Points, apply, fit_affine, fit_similarity
from spotweave.visium.array import GAP_COLUMN, NAMES, CaptureArea, capture_area

Matrix = NDArray[np.float64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

CORNER_REACH_UM = 250.0  # a detection supports a hypothesis when its centre is this near
BOX_MARGIN_UM = 90.0  # of a box around a shape's dots, beyond their centres
BOX_RATIO = 1.8  # how far a box may be larger or smaller than the hypothesis has it
COARSE_REACH_UM = 28.0
REFINED = 10  # hypotheses that are refined
REACHES_UM = (68.0, 50.0, 36.0, 26.0, 20.0)
MATCH_UM = 22.0  # a dot is matched when a peak lies this near its place
FEWEST_DOTS = 24  # that a fit is tried on
OUTLIER = 3.5  # residuals beyond this many robust standard deviations are left out
FOLDS = 5
SHIFTS = tuple((x, y) for x in range(-4, 5) for y in range(-2, 3) if (x + y) % 2 == 0 and (x, y) != (0, 0))
TURNED_SHIFTS = tuple((x, y) for x in (-1, 0, 1) for y in (-1, 0, 1))
AFFINE_GAIN = 0.85  # an affine map is taken when it leaves dots not fitted this much nearer than a similarity does
GAP_CONTRAST = 0.5  # of a dot's usual response: the step that tells an empty place from dots
GAP_NEIGHBOURS = 14
GAP_NEIGHBOURS_SHOWN = 0.75  # share of the dots around the gaps that must be there for the gap to mean anything
CLIMBS = 4


@dataclass(frozen=True)
class FrameFit:
    """A frame laid onto a picture.

    Attributes
    ----------
    area
        `6.5 mm` or `11 mm`, the one that fits better.
    letter
        `A1` to `D1` as read from the gap in the top side; None where the frame does not name it or it cannot be read.
    letter_margin
        Response at the gap below that of the least of the other three, as a share of a dot's usual response.
    matrix
        (3, 3), um of `fiducials.array` -> px of the picture.
    corners_matrix
        (3, 3), the similarity through the detected corners alone that the fit started from.
    is_affine
        Whether `matrix` has two scales and a shear; else it is a similarity.
    is_print
        Whether the dots were expected at their measured printed places rather than on the ideal lattice.
    mirrored
        Whether the picture shows the slide from behind.
    pixel_size_um, pixel_size_se_um
        um per px and its standard error.
    rotation_deg
        Turn of the array's x axis, clockwise on screen.
    dots_matched, dots_inside
        Dots used, and dots whose place lies inside the picture.
    dots_um, residual_um
        (N, 2) places and residuals (measured less expected, in the array's axes) of the dots used.
    residual_median_um, residual_p95_um
        Of their length.
    held_out_um
        Median distance of dots from a fit made without them (five folds).
    corner_error_um
        Largest mean displacement of a quarter of the frame against the fit to the others.
    spot_se_um
        Standard error of the worst placed spot, from the residuals and the places of the dots.
    support
        Share of the frame's places inside the picture (dots and holes) that are as the frame has them.
    margin
        Number of places by which the frame explains the picture better than in any other orientation or place.
    corners_used
        Detections that agree with the fit.
    """

    area: str
    letter: str | None
    letter_margin: float
    matrix: Matrix
    corners_matrix: Matrix
    is_affine: bool
    is_print: bool
    mirrored: bool
    pixel_size_um: float
    pixel_size_se_um: float
    rotation_deg: float
    dots_matched: int
    dots_inside: int
    dots_um: Points
    residual_um: Points
    residual_median_um: float
    residual_p95_um: float
    held_out_um: float
    corner_error_um: float
    spot_se_um: float
    support: float
    margin: int
    corners_used: int

    def in_larger_picture(self, scale: tuple[float, float]) -> FrameFit:
        """The same fit in px of the picture that the fitted one was reduced from, by `scale` along x and y."""
        change = np.diag([*scale, 1.0])
        ratio = float(np.sqrt(scale[0] * scale[1]))
        return replace(
            self,
            matrix=change @ self.matrix,
            corners_matrix=change @ self.corners_matrix,
            pixel_size_um=self.pixel_size_um / ratio,
            pixel_size_se_um=self.pixel_size_se_um / ratio,
        )


@dataclass(frozen=True)
class _Pose:
    """A hypothesis: a capture area and where it lies; `score` orders them."""

    area: CaptureArea
    matrix: Matrix
    score: float
    corners_matrix: Matrix
    corners: int

    @property
    def mirrored(self) -> bool:
        return bool(np.linalg.det(self.matrix[:2, :2]) < 0)

    @property
    def pixel_size_um(self) -> float:
        return _pixel_size_um(self.matrix)


def locate(
    picture: NDArray[np.uint8],
    detections: Sequence[Detection],
    *,
    areas: Iterable[str] = NAMES,
    printing: Path | None = TABLE,
) -> FrameFit | None:
    """Lay the frame onto a picture.

    Parameters
    ----------
    picture
        (H, W, 3) uint8 RGB; 3 to 20 um per px.
    detections
        Corner shapes, true and false ones.
    areas
        Sizes of capture area that are possible.
    printing
        Table of the dots' printed places; None to expect them on their lattice.

    Returns
    -------
    FrameFit or None
        None where no two detections go together or too few dots are found. A fit is not yet a good one: `refusals`.
    """
    evidence = Evidence(picture)
    poses = [pose for name in areas for pose in _hypotheses(capture_area(name), detections)]
    coarse = sorted((replace(pose, score=_coarse_score(evidence, pose)) for pose in poses), key=lambda p: -p.score)
    refined = [pose for pose in (_refine(evidence, pose) for pose in _distinct(coarse, REFINED)) if pose]
    if not refined:
        return None
    return _measure(evidence, _climb(evidence, max(refined, key=lambda pose: pose.score)), printing)


def _climb(evidence: Evidence, pose: _Pose) -> _Pose:
    """Move to a neighbouring place or another orientation as long as that explains more.

    A hypothesis of two corners may be a dot's distance off at the far side, and least squares then settle on the wrong
    dots: every neighbouring place is tried with every small turn and stretch.
    """
    for _ in range(CLIMBS):
        others = _other_matrices(pose.area, pose.matrix)
        others += [matrix @ tilt for matrix in (pose.matrix, *others) for tilt in _tilts(pose.area)]
        least = _least_response(evidence, pose)
        scores = [_explained(evidence, pose.area, matrix, least) for matrix in others]
        best = int(np.argmax(scores))
        if scores[best] <= pose.score:
            break
        moved = _refine(evidence, replace(pose, matrix=others[best]))
        if moved is None or moved.score <= pose.score:
            break
        pose = moved
    return pose


def relocate(picture: NDArray[np.uint8], earlier: FrameFit, *, printing: Path | None = TABLE) -> FrameFit | None:
    """Repeat a fit on another picture of the same section, from `earlier` in its px; None if too few dots are found."""
    evidence = Evidence(picture)
    area = capture_area(earlier.area)
    pose = _refine(evidence, _Pose(area, earlier.matrix, 0.0, earlier.corners_matrix, earlier.corners_used))
    return _measure(evidence, pose, printing) if pose else None


def _hypotheses(area: CaptureArea, detections: Sequence[Detection]) -> list[_Pose]:
    """Poses of every two detections of different shapes, refitted to all detections that agree."""
    centres = np.array([(found.x_px, found.y_px) for found in detections]).reshape(-1, 2)
    shapes = np.array([found.shape for found in detections], dtype=int)
    sizes_px = np.array([(found.width_px + found.height_px) / 2 for found in detections])
    box_um = float(2 * area.shape_half_um.mean() + BOX_MARGIN_UM)
    poses: dict[tuple[bool, tuple[int, ...]], _Pose] = {}
    for i, j in combinations(range(len(detections)), 2):
        if shapes[i] == shapes[j] or np.allclose(centres[i], centres[j]):
            continue
        for mirrored in (False, True):
            pair = [i, j]
            matrix = fit_similarity(area.corners_um[shapes[pair]], centres[pair], mirrored=mirrored)
            ratio = sizes_px[pair] * _pixel_size_um(matrix) / box_um
            if ratio.max() > BOX_RATIO or ratio.min() < 1 / BOX_RATIO:
                continue
            members = _agreeing(area, matrix, centres, shapes)
            key = (mirrored, members)
            if key not in poses:
                members_list = list(members)
                matrix = fit_similarity(area.corners_um[shapes[members_list]], centres[members_list], mirrored=mirrored)
                poses[key] = _Pose(area, matrix, 0.0, matrix, len(members))
    return list(poses.values())


def _agreeing(area: CaptureArea, matrix: Matrix, centres: Points, shapes: NDArray[np.int64]) -> tuple[int, ...]:
    """The nearest detection of each shape, where near enough to where the matrix has it."""
    distance_um = np.linalg.norm(centres - apply(matrix, area.corners_um)[shapes], axis=1) * _pixel_size_um(matrix)
    members = []
    for shape in range(4):
        of_shape = np.flatnonzero((shapes == shape) & (distance_um <= CORNER_REACH_UM))
        if len(of_shape):
            members.append(int(of_shape[distance_um[of_shape].argmin()]))
    return tuple(members)


def _distinct(poses: Sequence[_Pose], number: int) -> list[_Pose]:
    """The first poses that differ by more than a refinement would mend, at most `number`."""
    kept: list[_Pose] = []
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


def _coarse_score(evidence: Evidence, pose: _Pose) -> float:
    """Share of dots that answer more than the places between dots to either side; a third do by chance.

    Each dot is compared with its own surroundings: a dark clot answers more than any dot, and must not count for more.
    """
    at_dots, before, behind = (
        evidence.at(apply(pose.matrix, places), pose.pixel_size_um, COARSE_REACH_UM)
        for places in (pose.area.dots_um, _between(pose.area), _between(pose.area, -1))
    )
    return float(np.mean(at_dots > np.maximum(before, behind)))


@dataclass(frozen=True)
class _Match:
    """Dots found in the picture: which of the expected, and where."""

    index: NDArray[np.intp]
    xy_px: Points
    response: Floats


def _match(evidence: Evidence, expected_px: Points, pixel_size_um: float, reach_um: float, least: float) -> _Match:
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


def _least_response(evidence: Evidence, pose: _Pose) -> float:
    """The response from which on a peak may be a dot: a third of what the dots of this frame usually answer."""
    at_dots = evidence.at(apply(pose.matrix, pose.area.dots_um), pose.pixel_size_um, COARSE_REACH_UM)
    at_dots = at_dots[np.isfinite(at_dots)]
    return float(max(np.median(at_dots) / 3, 0.5)) if len(at_dots) else np.inf


def _refine(evidence: Evidence, pose: _Pose) -> _Pose | None:
    """Least squares on the dots, with ever smaller reach; None with too few."""
    for reach_um in REACHES_UM:
        expected = apply(pose.matrix, pose.area.dots_um)
        match = _match(evidence, expected, pose.pixel_size_um, reach_um, _least_response(evidence, pose))
        if len(match.index) < FEWEST_DOTS:
            return None
        dots = pose.area.dots_um[match.index]
        kept = np.ones(len(dots), dtype=bool)
        for _ in range(3):
            matrix = fit_similarity(dots[kept], match.xy_px[kept], mirrored=pose.mirrored)
            kept = _inliers(match.xy_px - apply(matrix, dots), kept)
            if kept.sum() < FEWEST_DOTS:
                return None
        pose = replace(pose, matrix=matrix)
    return replace(pose, score=_explained(evidence, pose.area, pose.matrix, _least_response(evidence, pose)))


def _inliers(residual_px: Points, kept: Mask) -> Mask:
    distance = np.linalg.norm(residual_px, axis=1)
    # The median length of a two-dimensional normal residual is 1.1774 standard deviations.
    spread = max(float(np.median(distance[kept])) / 1.1774, 0.02)
    return np.asarray(distance <= OUTLIER * spread)


def _explained(evidence: Evidence, area: CaptureArea, matrix: Matrix, least: float) -> float:
    """Number of places, dots and holes, that are in the picture as the frame has them, less what chance explains.

    Chance is read off the places between dots: where tissue answers everywhere, a dot that is found says nothing.
    """
    pixel_size_um = _pixel_size_um(matrix)
    dots, holes, between = (
        evidence.at(apply(matrix, places), pixel_size_um, COARSE_REACH_UM)
        for places in (area.dots_um, area.holes_um, _between(area))
    )
    known = between[np.isfinite(between)]
    chance = float(np.mean(known >= least)) if len(known) else 1.0
    hits = np.isfinite(dots) & (dots >= least)
    false = np.isfinite(holes) & (holes >= least)
    return float((hits.sum() - chance * np.isfinite(dots).sum()) - (false.sum() - chance * np.isfinite(holes).sum()))


def _measure(evidence: Evidence, pose: _Pose, printing: Path | None) -> FrameFit:
    """Fit the last time, on the lattice and on the printed places, and take every measure of it."""
    area = pose.area
    least = _least_response(evidence, pose)
    letter, letter_margin = _read_letter(evidence, pose)
    final = _best_final(evidence, pose, least, letter, printing)
    places = final.places_um
    residual_px = final.xy_px - apply(final.matrix, places)
    residual_um = residual_px @ np.linalg.inv(final.matrix[:2, :2]).T
    length_um = np.linalg.norm(residual_um, axis=1)
    expected = apply(final.matrix, area.dots_um)
    height, width = evidence.grey.shape
    inside = ((expected >= 0) & (expected < (width, height))).all(axis=1)
    pixel_size_um = _pixel_size_um(final.matrix)
    spot_se_um, scale_se = _standard_errors(area, places, residual_um)
    explained = _explained(evidence, area, final.matrix, least)
    others = [_explained(evidence, area, other, least) for other in _other_matrices(area, final.matrix)]
    return FrameFit(
        area=area.name,
        letter=letter,
        letter_margin=letter_margin,
        matrix=final.matrix,
        corners_matrix=pose.corners_matrix,
        is_affine=final.is_affine,
        is_print=final.is_print,
        mirrored=pose.mirrored,
        pixel_size_um=pixel_size_um,
        pixel_size_se_um=pixel_size_um * scale_se,
        rotation_deg=_rotation_deg(final.matrix),
        dots_matched=len(places),
        dots_inside=int(inside.sum()),
        dots_um=area.dots_um[final.index],
        residual_um=residual_um,
        residual_median_um=float(np.median(length_um)),
        residual_p95_um=float(np.percentile(length_um, 95)),
        held_out_um=final.held_out_um,
        corner_error_um=_corner_error_um(final),
        spot_se_um=spot_se_um,
        support=explained / max(int(inside.sum()), 1),
        margin=round(explained - max(others)),
        corners_used=pose.corners,
    )


def _best_final(evidence: Evidence, pose: _Pose, least: float, letter: str | None, printing: Path | None) -> _Final:
    """Of lattice and print the one that dots not fitted lie nearer to; an affine map only where it gains clearly."""
    ideal = np.zeros_like(pose.area.dots_um)
    printed = displacement_um(pose.area, letter, printing) if printing is not None else ideal
    shifts = [ideal, printed] if printed.any() else [ideal]
    plain = [_Final(evidence, pose, least, shift_um=shift_um, is_affine=False) for shift_um in shifts]
    best = min(plain, key=lambda final: final.held_out_um)
    affine = _Final(evidence, pose, least, shift_um=shifts[plain.index(best)], is_affine=True)
    return affine if affine.held_out_um < AFFINE_GAIN * best.held_out_um else best


class _Final:
    """A least-squares fit on all dots near their places, of one kind of map and one idea of the dots' places."""

    def __init__(self, evidence: Evidence, pose: _Pose, least: float, *, shift_um: Points, is_affine: bool) -> None:
        self.is_affine = is_affine
        self.is_print = bool(shift_um.any())
        self._mirrored = pose.mirrored
        matrix = pose.matrix
        all_places = pose.area.dots_um + shift_um
        pixel_size_um = pose.pixel_size_um
        for _ in range(3):
            match = _match(evidence, apply(matrix, all_places), pixel_size_um, MATCH_UM, least)
            places, xy_px = all_places[match.index], match.xy_px
            kept = np.ones(len(places), dtype=bool)
            for _ in range(4):
                matrix = self.fit(places[kept], xy_px[kept])
                kept = _inliers(xy_px - apply(matrix, places), kept)
        self.index, self.places_um, self.xy_px = match.index[kept], places[kept], xy_px[kept]
        self.matrix = self.fit(self.places_um, self.xy_px)
        self.held_out_um = self._held_out_um()

    def fit(self, places_um: Points, xy_px: Points) -> Matrix:
        """(3, 3) um -> px."""
        if self.is_affine:
            return fit_affine(places_um, xy_px)
        return fit_similarity(places_um, xy_px, mirrored=self._mirrored)

    def _held_out_um(self) -> float:
        """Median distance of every FOLDS-th dot from the fit to the others; neighbours fall into different folds."""
        fold = np.arange(len(self.places_um)) % FOLDS
        distance = np.empty(len(fold))
        for k in range(FOLDS):
            matrix = self.fit(self.places_um[fold != k], self.xy_px[fold != k])
            off_px = self.xy_px[fold == k] - apply(matrix, self.places_um[fold == k])
            distance[fold == k] = np.linalg.norm(off_px, axis=1) * _pixel_size_um(matrix)
        return float(np.median(distance))


def _corner_error_um(final: _Final) -> float:
    """Largest mean displacement of a quarter of the frame's dots against the fit to the other three quarters."""
    centre = (final.places_um.min(axis=0) + final.places_um.max(axis=0)) / 2
    quarter = (final.places_um > centre) @ np.array([1, 2])
    errors = [0.0]
    for k in range(4):
        out = quarter == k
        if out.sum() < FEWEST_DOTS / 2 or (~out).sum() < FEWEST_DOTS:
            continue
        matrix = final.fit(final.places_um[~out], final.xy_px[~out])
        off_px = (final.xy_px[out] - apply(matrix, final.places_um[out])).mean(axis=0)
        errors.append(float(np.linalg.norm(off_px)) * _pixel_size_um(matrix))
    return max(errors)


def _standard_errors(area: CaptureArea, dots_um: Points, residual_um: Points) -> tuple[float, float]:
    """Standard errors of the worst spot's place in um, and of the scale as a share.

    A similarity in complex numbers is a straight line, w = a z + b: var(a) = s^2 / sum |z - m|^2 and
    var(w) = s^2 (1/n + |z - m|^2 / sum |z - m|^2), s^2 the residual variance of both axes together.
    """
    variance = float((residual_um**2).sum()) / max(len(dots_um) - 2, 1)
    middle = dots_um.mean(axis=0)
    spread = float(((dots_um - middle) ** 2).sum())
    corners = area.spots_um()[[0, -1]]
    box = np.array([(x, y) for x in corners[:, 0] for y in corners[:, 1]])
    far = float(((box - middle) ** 2).sum(axis=1).max())
    return float(np.sqrt(variance * (1 / len(dots_um) + far / spread))), float(np.sqrt(variance / 2 / spread))


def _other_matrices(area: CaptureArea, matrix: Matrix) -> list[Matrix]:
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


def _read_letter(evidence: Evidence, pose: _Pose) -> tuple[str | None, float]:
    """The area named by the one empty place of the four in the top side."""
    area = pose.area
    if not len(area.gaps_um):
        return None, 0.0
    # The dots around the gaps tell how dots answer just there, and whether anything covers them.
    away = np.linalg.norm(area.dots_um - area.gaps_um.mean(axis=0), axis=1)
    near = area.dots_um[np.argsort(away, kind="stable")[:GAP_NEIGHBOURS]]
    around, at = (_responses_near(evidence, pose, places) for places in (near, area.gaps_um))
    usual = float(np.median(around))
    if not usual > 0:
        return None, 0.0
    order = np.argsort(at, kind="stable")
    margin = float((at[order[1]] - at[order[0]]) / usual)
    is_clear = np.mean((around > usual / 2) & (around < 2 * usual)) >= GAP_NEIGHBOURS_SHOWN
    is_single = at[order[0]] < (1 - GAP_CONTRAST) * usual and margin >= GAP_CONTRAST
    if not (is_clear and is_single and at.max() < 2 * usual):
        return None, margin
    return list(GAP_COLUMN)[int(order[0])], margin


def _responses_near(evidence: Evidence, pose: _Pose, places_um: Points) -> Floats:
    """(N,) response of the peak at each place, 0 without one."""
    peaks = evidence.peaks(pose.pixel_size_um)
    nearest, found = peaks.nearest(apply(pose.matrix, places_um), MATCH_UM / pose.pixel_size_um)
    return np.where(found, peaks.response[nearest], 0.0) if len(peaks.response) else np.zeros(len(places_um))


def _pixel_size_um(matrix: Matrix) -> float:
    return float(1.0 / np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))


def _rotation_deg(matrix: Matrix) -> float:
    x_axis = matrix[:2, 0] * (-1.0 if np.linalg.det(matrix[:2, :2]) < 0 else 1.0)
    return float(np.degrees(np.arctan2(x_axis[1], x_axis[0])))
