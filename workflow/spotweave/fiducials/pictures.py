"""Pictures by which a person judges in seconds whether a Visium array lies right; fixed sizes, no dates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import EllipseCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

from spotweave.fiducials.detection import Detection
from spotweave.fiducials.measures import FrameFit
from spotweave.fiducials.poses import MATCH_UM
from spotweave.fiducials.printing import TABLE, displacement_um
from spotweave.fiducials.sheet import CROSS, FOUND, MISSED, RGB, SPOT, UNUSED, Sheet, say, write, zoom
from spotweave.geometry import Points, apply
from spotweave.visium.array import (
    DOT_DIAMETER_UM,
    GAP_COLUMN,
    SHAPES,
    CaptureArea,
    capture_area,
    dots_of,
)
from spotweave.visium.spacing import SPOT_DIAMETER_UM

Mask = NDArray[np.bool_]
CORNER_UM = 520.0  # half the side of a zoomed corner
# Times their length; the largest that keeps nearly all arrows below LONGEST_UM is taken, and drawn to scale.
MAGNIFICATIONS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
LONGEST_UM = 600.0
SCALE_ARROWS_UM = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


def write_overlay(
    path: Path,
    picture: RGB,
    fit: FrameFit | None,
    detections: Sequence[Detection],
    *,
    title: str,
    reasons: Sequence[str] = (),
    pixel_size_um: float | None = None,
    printing: Path = TABLE,
) -> None:
    """Write `overlay(picture, fit, ...)` as a PNG."""
    write(
        path,
        overlay(picture, fit, detections, title=title, reasons=reasons, pixel_size_um=pixel_size_um, printing=printing),
    )


def overlay(
    picture: RGB,
    fit: FrameFit | None,
    detections: Sequence[Detection],
    *,
    title: str,
    reasons: Sequence[str] = (),
    pixel_size_um: float | None = None,
    printing: Path = TABLE,
) -> Image.Image:
    """Draw the frame, the spots, the corners and the residuals of a fit; or what was detected where there is none.

    Parameters
    ----------
    picture
        (H, W, 3) uint8 RGB; `fit` and `detections` are in its px.
    title
        The sample's name.
    reasons
        Why the fit must not be used; none for one that may.
    pixel_size_um
        To be named instead of the fit's, where `picture` is a reduced copy: that of the picture as filed.
    printing
        Table of the dots' printed places that the fit was made with.

    Returns
    -------
    Image
        RGB, 1,600 px wide.
    """
    is_used = fit is not None and not reasons
    named_um = fit.pixel_size_um if fit is not None and pixel_size_um is None else pixel_size_um
    if fit is None or named_um is None:
        sheet = Sheet(title, "not used", False, [], ["no frame found: " + "; ".join(reasons)])
        whole, _ = sheet.whole(picture)
        _draw_detections(whole, detections)
        _zoom_detections(sheet, picture, detections)
        sheet.legend([_ring_key(MISSED, f"corner shape detected, with its score ({len(detections)})", marker="s")])
        return sheet.image()
    sheet = Sheet(title, "accepted" if is_used else "not used", is_used, [_measures(fit, named_um)], reasons)
    whole, size = sheet.whole(picture)
    frame = _Frame.of(fit, printing)
    _draw_frame(whole, frame, size)
    if not is_used:
        _draw_detections(whole, detections)
    _zoom_corners(sheet, picture, frame)
    _draw_residuals(sheet, frame)
    _draw_lengths(sheet.chart(1, "distance of dots found from the fit, um"), fit)
    sheet.legend(_legend(frame))
    return sheet.image()


@dataclass(frozen=True)
class _Frame:
    """Where a fit has everything, in px of the picture."""

    fit: FrameFit
    area: CaptureArea
    dots_px: Points
    found: Mask
    measured_px: Points
    unused_px: Points  # dots between the four gaps, which are not fitted
    gap_px: Points
    spots_px: Points
    outline_px: Points
    corners_px: Points

    @classmethod
    def of(cls, fit: FrameFit, printing: Path) -> _Frame:
        area = capture_area(fit.area)
        found = _found(area, fit)
        moved = displacement_um(area, fit.letter, printing) if fit.is_print else np.zeros_like(area.dots_um)
        expected_um = area.dots_um + moved
        gap = [k for k, letter in enumerate(GAP_COLUMN) if letter == fit.letter]
        spots_um = area.spots_um()
        low, high = spots_um.min(axis=0) - SPOT_DIAMETER_UM, spots_um.max(axis=0) + SPOT_DIAMETER_UM
        box = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
        return cls(
            fit=fit,
            area=area,
            dots_px=apply(fit.matrix, expected_um),
            found=found,
            measured_px=apply(fit.matrix, expected_um[found] + fit.residual_um),
            unused_px=apply(fit.matrix, dots_of(area, fit.letter)[len(area.dots_um) :]),
            gap_px=apply(fit.matrix, area.gaps_um[gap]),
            spots_px=apply(fit.matrix, spots_um),
            outline_px=apply(fit.matrix, box),
            corners_px=apply(fit.matrix, area.corners_um),
        )


def _measures(fit: FrameFit, pixel_size_um: float) -> str:
    letter = f", area {fit.letter}" if fit.letter else ", area not readable" if fit.area == "6.5 mm" else ""
    return (
        f"{fit.area} frame{letter}  |  {pixel_size_um:.4f} um/px, turned {round(fit.rotation_deg, 1) + 0.0:.1f} deg"
        f"{', MIRRORED' if fit.mirrored else ''}{', affine' if fit.is_affine else ''}  |  {fit.dots_matched} of"
        f" {fit.dots_inside} dots found, {fit.residual_median_um:.1f} um off (95 %: {fit.residual_p95_um:.1f}), held"
        f" out {fit.held_out_um:.1f} um, farthest spot ± {fit.spot_se_um:.1f} um, margin {fit.margin} places"
    )


def _in_view(axes: Any, points: Points, margin: float) -> Points:
    """Those of (N, 2) points that a panel shows: a section has thousands of spots, and a zoomed corner a few."""
    low = np.array([axes.get_xlim()[0], axes.get_ylim()[1]]) - margin
    high = np.array([axes.get_xlim()[1], axes.get_ylim()[0]]) + margin
    return points[((points >= low) & (points <= high)).all(axis=1)]


def _ellipses(axes: Any, centres: Points, diameter_px: float, **style: Any) -> None:
    centres = _in_view(axes, centres, diameter_px)
    size = np.full(len(centres), diameter_px)
    axes.add_collection(
        EllipseCollection(
            size, size, np.zeros(len(centres)), units="xy", offsets=centres, offset_transform=axes.transData, **style
        ),
        autolim=False,
    )


def _rings(axes: Any, centres: Points, diameter_px: float, colour: str, line: float, dash: Any = "-") -> None:
    _ellipses(axes, centres, diameter_px, facecolors="none", edgecolors=colour, linewidths=line, linestyles=dash)


def _found(area: CaptureArea, fit: FrameFit) -> Mask:
    used = {(round(x, 1), round(y, 1)) for x, y in fit.dots_um}
    return np.array([(round(x, 1), round(y, 1)) in used for x, y in area.dots_um])


def _draw_dots(axes: Any, frame: _Frame, line: float) -> None:
    diameter_px = DOT_DIAMETER_UM / frame.fit.pixel_size_um
    _rings(axes, frame.unused_px, diameter_px, UNUSED, 0.8 * line)
    _rings(axes, frame.gap_px, diameter_px, UNUSED, line, (0, (1, 2.5)))
    _rings(axes, frame.dots_px[~frame.found], diameter_px, MISSED, 1.4 * line)
    _rings(axes, frame.dots_px[frame.found], diameter_px, FOUND, line)


def _draw_frame(axes: Any, frame: _Frame, scale: float) -> None:
    """The frame over the whole picture, of which one px takes `scale` px of the sheet."""
    fit = frame.fit
    _ellipses(
        axes, frame.spots_px, 0.5 * SPOT_DIAMETER_UM / fit.pixel_size_um, facecolors=SPOT, alpha=0.45, linewidths=0
    )
    axes.add_patch(Polygon(frame.outline_px, fill=False, edgecolor=SPOT, linewidth=1.6))
    _draw_dots(axes, frame, 0.9)
    middle = frame.outline_px.mean(axis=0)
    reach = CORNER_UM / fit.pixel_size_um
    for shape, corner in zip(SHAPES, frame.corners_px, strict=True):
        axes.add_patch(Rectangle(tuple(corner - reach), 2 * reach, 2 * reach, fill=False, edgecolor="black", lw=0.8))
        inward = np.sign(middle - corner)
        _label(axes, corner + inward * reach - (0, inward[1] * 4 / scale), _named(shape), inward)
    if len(frame.gap_px):
        outward = (frame.gap_px[0] - middle) / np.linalg.norm(frame.gap_px[0] - middle)
        _label(axes, frame.gap_px[0] + outward * 330 / fit.pixel_size_um, str(fit.letter), (0, 0))
    _draw_bar(axes, fit.pixel_size_um, scale)


def _named(shape: str) -> str:
    return {"hexagon_filled": "filled hexagon", "hexagon_open": "open hexagon"}.get(shape, shape)


def _label(axes: Any, at: Points, text: str, inward: Any) -> None:
    plate = {"boxstyle": "square,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    sides = {-1: "right", 0: "center", 1: "left"}
    ends = {-1: "bottom", 0: "center", 1: "top"}
    axes.text(
        *at,
        text,
        size=10,
        weight="bold",
        ha=sides[int(inward[0])],
        va=ends[int(inward[1])],
        bbox=plate,
        clip_on=True,
        parse_math=False,
    )


def _draw_bar(axes: Any, pixel_size_um: float, scale: float) -> None:
    """A bar of 1 mm on a plate at the lower left."""
    left, bottom = axes.get_xlim()[0] + 10 / scale, axes.get_ylim()[0] - 10 / scale
    length, inset = 1000 / pixel_size_um, 8 / scale
    width, height = length + 2 * inset, 34 / scale
    axes.add_patch(Rectangle((left, bottom - height), width, height, facecolor="white", alpha=0.85, zorder=3))
    x, y = left + inset, bottom - inset
    axes.plot([x, x + length], [y, y], color="black", linewidth=4, solid_capstyle="butt", zorder=4)
    axes.text(x + length / 2, y - 5 / scale, "1 mm", size=10.5, ha="center", va="bottom", zorder=4)


def _zoom_corners(sheet: Sheet, picture: RGB, frame: _Frame) -> None:
    """The corners enlarged, laid out as the picture has them."""
    fit = frame.fit
    for panel, shape in enumerate(_as_seen(frame.corners_px)):
        centre = frame.corners_px[shape]
        of_shape = frame.area.shape == shape
        axes = sheet.corner(
            panel, f"{_named(SHAPES[shape])}: {int(frame.found[of_shape].sum())} of {int(of_shape.sum())} dots found"
        )
        if not zoom(axes, picture, centre, CORNER_UM / fit.pixel_size_um):
            continue
        _rings(axes, frame.spots_px, SPOT_DIAMETER_UM / fit.pixel_size_um, SPOT, 1.0)
        _draw_dots(axes, frame, 1.7)
        at = _in_view(axes, frame.measured_px, 0.0)
        axes.plot(*at.T, "x", color="black", ms=7, mew=2.9)
        axes.plot(*at.T, "x", color=CROSS, ms=6, mew=1.3)


def _as_seen(corners_px: Points) -> list[int]:
    """Which corner is the upper left, upper right, lower left and lower right of the picture."""
    by_height = np.argsort(corners_px[:, 1], kind="stable")
    return [int(k) for half in (by_height[:2], by_height[2:]) for k in half[np.argsort(corners_px[half, 0])]]


def _magnification(length_um: NDArray[np.float64]) -> int:
    usual = float(np.percentile(length_um, 95))
    return max((times for times in MAGNIFICATIONS if times * usual <= LONGEST_UM), default=MAGNIFICATIONS[0])


def _arrows(axes: Any, tails: Points, shift: Points, colour: str, width: float, zorder: float = 2) -> None:
    axes.quiver(
        *tails.T,
        *shift.T,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=width,
        headwidth=4,
        headlength=4,
        headaxislength=3.6,
        minlength=0,
        color=colour,
        zorder=zorder,
    )


def _scale_arrow_um(times: int) -> float:
    return max(length for length in SCALE_ARROWS_UM if times * length <= LONGEST_UM)


def _draw_residuals(sheet: Sheet, frame: _Frame) -> None:
    """Residuals as arrows over the frame, seen as in the picture."""
    fit = frame.fit
    times = _magnification(np.linalg.norm(fit.residual_um, axis=1))
    axes = sheet.map(f"residuals of the dots, x {times}")
    um = fit.pixel_size_um
    tails = apply(fit.matrix, fit.dots_um) * um
    shift = times * fit.residual_um @ fit.matrix[:2, :2].T * um
    outline = apply(fit.matrix, frame.area.outline_um()) * um
    middle, reach = outline.mean(axis=0), np.ptp(outline, axis=0).max() / 2 + LONGEST_UM
    axes.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] + reach, middle[1] - reach))
    axes.set_aspect("equal")
    axes.add_patch(Polygon(frame.outline_px * um, fill=False, edgecolor=SPOT, linewidth=1))
    _arrows(axes, tails, shift, FOUND, 0.004)
    scale_um = _scale_arrow_um(times)
    length = times * scale_um
    _arrows(axes, np.array([(middle[0] - length / 2, middle[1])]), np.array([(length, 0.0)]), "black", 0.008)
    axes.text(middle[0], middle[1] - 0.05 * reach, f"{scale_um:g} um", size=10, ha="center", va="bottom")


def _draw_lengths(axes: Any, fit: FrameFit) -> None:
    """How far dots are from the fit; the same axis for all samples, that they compare at sight."""
    axes.hist(np.linalg.norm(fit.residual_um, axis=1), bins=np.arange(0, MATCH_UM + 0.5, 1.0), color=FOUND)
    axes.set_xlim(0, MATCH_UM)
    _mark(axes, fit.residual_median_um, f"median {fit.residual_median_um:.1f}")


def _mark(axes: Any, at: float, text: str) -> None:
    axes.axvline(at, color="black", linewidth=1.2)
    halo = [withStroke(linewidth=3, foreground="white")]
    side = "right" if at > sum(axes.get_xlim()) / 2 else "left"
    axes.text(at, 0.95, f" {text} ", size=9, ha=side, transform=axes.get_xaxis_transform(), path_effects=halo)


def _draw_detections(axes: Any, detections: Sequence[Detection]) -> None:
    halo = [withStroke(linewidth=3, foreground="white")]
    for found in detections:
        x, y = found.x_px - found.width_px / 2, found.y_px - found.height_px / 2
        axes.add_patch(Rectangle((x, y), found.width_px, found.height_px, fill=False, edgecolor=MISSED, linewidth=1.5))
        text = f"{_named(SHAPES[found.shape])} {found.score:.2f}"
        is_right = found.x_px > sum(axes.get_xlim()) / 2
        at, side = (x + found.width_px, "right") if is_right else (x, "left")
        axes.text(at, y, text, size=9, color=MISSED, ha=side, va="bottom", clip_on=True, path_effects=halo)


def _zoom_detections(sheet: Sheet, picture: RGB, detections: Sequence[Detection]) -> None:
    """The surest detection of every shape, enlarged."""
    for panel, shape in enumerate((0, 1, 3, 2)):  # as an upright frame has them
        of_shape = [found for found in detections if found.shape == shape]
        if not of_shape:
            say(sheet.corner(panel, _named(SHAPES[shape])), "not detected")
            continue
        best = max(of_shape, key=lambda found: found.score)
        axes = sheet.corner(panel, f"{_named(SHAPES[shape])}: score {best.score:.2f}")
        zoom(axes, picture, np.array([best.x_px, best.y_px]), 1.4 * max(best.width_px, best.height_px))


def _ring_key(colour: str, text: str, marker: str = "o") -> Line2D:
    return Line2D([], [], linestyle="none", marker=marker, ms=9, mfc="none", mec=colour, mew=1.6, label=text)


def _legend(frame: _Frame) -> list[Line2D]:
    fit = frame.fit
    cross = Line2D([], [], linestyle="none", marker="x", color=CROSS, ms=7, mew=1.6, label="measured place")
    cross.set_path_effects([withStroke(linewidth=3, foreground="black")])
    keys = [
        _ring_key(FOUND, f"dot found ({fit.dots_matched})"),
        _ring_key(MISSED, f"dot expected, not found ({fit.dots_inside - fit.dots_matched})"),
        cross,
        Line2D([], [], linestyle="none", marker="o", color=SPOT, ms=4, label="spot"),
    ]
    if len(frame.unused_px):
        keys.insert(2, _ring_key(UNUSED, "dot beside the gap, not fitted"))
    return keys
