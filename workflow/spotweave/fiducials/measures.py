"""The last fit of a frame, and every measure of it: errors by dots left out, the margin, the area's letter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spotweave.fiducials.dots import Evidence
from spotweave.fiducials.poses import (
    FEWEST_DOTS,
    MATCH_UM,
    Floats,
    Matrix,
    Pose,
    all_explained,
    inliers,
    least_response,
    match_dots,
    other_matrices,
    places_explained,
    um_per_px,
)
from spotweave.fiducials.printing import displacement_um
from spotweave.geometry import Points, apply, fit_affine, fit_similarity
from spotweave.visium.array import GAP_COLUMN, CaptureArea

FOLDS = 5
AFFINE_GAIN = 0.85  # an affine map is taken when it leaves dots not fitted this much nearer than a similarity does
GAP_CONTRAST = 0.5  # of a dot's usual response: the step that tells an empty place from dots
GAP_NEIGHBOURS = 14
GAP_NEIGHBOURS_SHOWN = 0.75  # share of the dots around the gaps that must be there for the gap to mean anything


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


def measure(evidence: Evidence, pose: Pose, printing: Path | None) -> FrameFit:
    """Fit the last time, on the lattice and on the printed places, and take every measure of it."""
    area = pose.area
    least = least_response(evidence, pose)
    letter, letter_margin = _read_letter(evidence, pose)
    final = _best_final(evidence, pose, least, letter, printing)
    places = final.places_um
    residual_px = final.xy_px - apply(final.matrix, places)
    residual_um = residual_px @ np.linalg.inv(final.matrix[:2, :2]).T
    length_um = np.linalg.norm(residual_um, axis=1)
    expected = apply(final.matrix, area.dots_um)
    height, width = evidence.grey.shape
    inside = ((expected >= 0) & (expected < (width, height))).all(axis=1)
    pixel_size_um = um_per_px(final.matrix)
    spot_se_um, scale_se = standard_errors(area, places, residual_um)
    explained = places_explained(evidence, area, final.matrix, least)
    others = all_explained(evidence, area, other_matrices(area, final.matrix), least)
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
        rotation_deg=rotation_of(final.matrix),
        dots_matched=len(places),
        dots_inside=int(inside.sum()),
        dots_um=area.dots_um[final.index],
        residual_um=residual_um,
        residual_median_um=float(np.median(length_um)),
        residual_p95_um=float(np.percentile(length_um, 95)),
        held_out_um=final.held_out_um,
        corner_error_um=corner_error(final),
        spot_se_um=spot_se_um,
        support=explained / max(int(inside.sum()), 1),
        margin=round(explained - max(others)),
        corners_used=pose.corners,
    )


def _best_final(evidence: Evidence, pose: Pose, least: float, letter: str | None, printing: Path | None) -> Final:
    """Of lattice and print the one that dots not fitted lie nearer to; an affine map only where it gains clearly."""
    ideal = np.zeros_like(pose.area.dots_um)
    printed = displacement_um(pose.area, letter, printing) if printing is not None else ideal
    shifts = [ideal, printed] if printed.any() else [ideal]
    plain = [Final(evidence, pose, least, shift_um=shift_um, is_affine=False) for shift_um in shifts]
    best = min(plain, key=lambda final: final.held_out_um)
    affine = Final(evidence, pose, least, shift_um=shifts[plain.index(best)], is_affine=True)
    return affine if affine.held_out_um < AFFINE_GAIN * best.held_out_um else best


class Final:
    """A least-squares fit on all dots near their places, of one kind of map and one idea of the dots' places."""

    def __init__(self, evidence: Evidence, pose: Pose, least: float, *, shift_um: Points, is_affine: bool) -> None:
        self.is_affine = is_affine
        self.is_print = bool(shift_um.any())
        self._mirrored = pose.mirrored
        matrix = pose.matrix
        all_places = pose.area.dots_um + shift_um
        pixel_size_um = pose.pixel_size_um
        for _ in range(3):
            match = match_dots(evidence, apply(matrix, all_places), pixel_size_um, MATCH_UM, least)
            places, xy_px = all_places[match.index], match.xy_px
            kept = np.ones(len(places), dtype=bool)
            for _ in range(4):
                matrix = self.fit(places[kept], xy_px[kept])
                kept = inliers(xy_px - apply(matrix, places), kept)
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
            distance[fold == k] = np.linalg.norm(off_px, axis=1) * um_per_px(matrix)
        return float(np.median(distance))


def corner_error(final: Final) -> float:
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
        errors.append(float(np.linalg.norm(off_px)) * um_per_px(matrix))
    return max(errors)


def standard_errors(area: CaptureArea, dots_um: Points, residual_um: Points) -> tuple[float, float]:
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


def _read_letter(evidence: Evidence, pose: Pose) -> tuple[str | None, float]:
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


def _responses_near(evidence: Evidence, pose: Pose, places_um: Points) -> Floats:
    """(N,) response of the peak at each place, 0 without one."""
    peaks = evidence.peaks(pose.pixel_size_um)
    nearest, found = peaks.nearest(apply(pose.matrix, places_um), MATCH_UM / pose.pixel_size_um)
    return np.where(found, peaks.response[nearest], 0.0) if len(peaks.response) else np.zeros(len(places_um))


def rotation_of(matrix: Matrix) -> float:
    """Degrees by which a map turns the columns of the array against those of the picture."""
    x_axis = matrix[:2, 0] * (-1.0 if np.linalg.det(matrix[:2, :2]) < 0 else 1.0)
    return float(np.degrees(np.arctan2(x_axis[1], x_axis[0])))
