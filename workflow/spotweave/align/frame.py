"""Where a sample's spots come from: the fiducial frame in the picture, or the vendor's positions; compared where both.

A frame that is accepted (`fiducials.verdict`) places the spots: it was measured in this picture, and dots left out of
its fit show how well. The vendor's positions (positions file or Loupe alignment, as the reader gives them) are used
where there is no such frame. Where both exist they are compared spot by spot. A difference beyond a spot's radius is
flagged; one of several spots, or another orientation, says that picture and positions are of different sections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spotweave.errors import Refusal
from spotweave.geometry import Points, apply, fit_affine
from spotweave.visium.array import NAMES, capture_area

FRAME = "fiducial frame"
FEWEST_TO_ORIENT = 20  # spots from which an orientation is read
SCALE_APART = 0.02  # from which a difference is put down to the scale


@dataclass(frozen=True)
class Placed:
    """Spots on the slide.

    Attributes
    ----------
    xy_px
        (N, 2) float64 slide px; NaN where a spot has no place.
    source
        `fiducial frame`, `positions file` or `loupe`.
    report
        JSON-ready: `positions_from`; with a frame and positions also `vendor_positions_from`, `frame_offset_um`,
        `frame_offset_p95_um`, `frame_disagrees`, `frame_turn_deg`, `frame_scale_ratio`.
    """

    xy_px: Points
    source: str
    report: dict[str, Any]


def place(
    array_um: Points, xy_px: Points, source: str, frame: Mapping[str, Any] | None, limits: Mapping[str, float]
) -> Placed:
    """Place spots.

    Parameters
    ----------
    array_um
        (N, 2) places on the array.
    xy_px
        (N, 2) the vendor's slide px, NaN where the deposit has none.
    source
        What the vendor's pixels come from.
    frame
        Content of `fiducials.json`; None for arrays without a frame.
    limits
        `frame_offset_max_um`, `frame_offset_flagged_um`: of the 95th percentile, which the median never exceeds.

    Raises
    ------
    Refusal
        There are no positions and no usable frame, or the two contradict each other.
    """
    good = usable(frame)
    is_known = np.isfinite(xy_px).all(axis=1)
    if good is None:
        if not is_known.any():
            raise Refusal(f"the deposit has no spot positions, and {_why_no_frame(frame)}; give a positions file")
        return Placed(xy_px, source, {"positions_from": source})
    matrix = np.asarray(good["matrix_to_slide"])
    report: dict[str, Any] = {"positions_from": FRAME}
    if is_known.any():
        compared = _compare(array_um[is_known], xy_px[is_known], matrix, limits)
        report |= {"vendor_positions_from": source, **compared}
    return Placed(apply(matrix, array_um), FRAME, report)


def check_hand(mirrored: bool, source: str, *, is_direct: bool) -> str:
    """What a mirrored array means: refused where it cannot be, else a flag; '' for one seen from the front.

    Parameters
    ----------
    mirrored
        Whether the spots' map has a negative determinant.
    source
        What placed the spots.
    is_direct
        Whether the array is a Visium slide that the section lies on, pictured from its front, as Space Ranger wants it.

    Raises
    ------
    Refusal
        The vendor's positions alone lay such a slide mirrored onto the picture.
    """
    if not mirrored:
        return ""
    if is_direct and source != FRAME:
        raise Refusal(
            "the positions lay the array mirrored onto the picture (the determinant of their map is negative), which no"
            " slide seen from its front is: the columns pxl_row_in_fullres (y) and pxl_col_in_fullres (x) are"
            " exchanged, or the picture was mirrored; correct the columns, or, if a CytAssist placed the tissue, give"
            " its picture as cytassist_image",
            measured="mirrored",
            threshold="not mirrored",
        )
    return "mirrored: the picture shows the array from behind"


def usable(frame: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The frame if spots of the H&E may be placed by it."""
    return frame if frame is not None and frame["is_usable"] and frame["matrix_to_slide"] is not None else None


def check_area(
    frame: Mapping[str, Any] | None, capture_area_read: str | None, letter_told: str | None
) -> dict[str, Any]:
    """What the frame says of the capture area, held against what is known of it.

    Parameters
    ----------
    frame
        Content of `fiducials.json`, where the frame may be used.
    capture_area_read
        `6.5 mm` or `11 mm` by the places of the barcodes.
    letter_told
        The area's name (`A1`) by the Loupe alignment; empty or None if nobody tells.

    Returns
    -------
    dict
        `capture_area_letter` and `capture_area_agrees` (None where one of the two is not known).

    Raises
    ------
    Refusal
        The frame is of another size than the array: picture and counts are of different slides.
    """
    if frame is None:
        return {}
    if capture_area_read is not None and frame["frame"] != capture_area_read:
        raise Refusal(
            f"the frame in the picture is that of a {frame['frame']} capture area, and the barcodes are of a"
            f" {capture_area_read} one; pair the picture with the counts of its own slide",
            measured=frame["frame"],
            threshold=capture_area_read,
        )
    letter = frame["capture_area_letter"]
    agrees = letter == letter_told.upper() if letter and letter_told else None
    return {"capture_area_letter": letter, "capture_area_agrees": agrees}


def array_pitch_um(stated: tuple[float | None, float | None], area: str | None) -> tuple[float, float] | None:
    """um between array columns and rows: as the row or its technology states, else of the capture area read."""
    if stated[0] is not None and stated[1] is not None:
        return stated[0], stated[1]
    return capture_area(area).pitch_um if area in NAMES else None


def _why_no_frame(frame: Mapping[str, Any] | None) -> str:
    if frame is None:
        return "its array has no fiducial frame"
    if not frame["is_usable"]:
        return f"its picture gives none: {'; '.join(frame['complaints'])}"
    return (
        "its frame is in the CytAssist picture, whose registration to the H&E is in the Loupe alignment, which is"
        " missing"
    )


def _compare(array_um: Points, xy_px: Points, matrix: np.ndarray, limits: Mapping[str, float]) -> dict[str, Any]:
    """How far positions lie from the frame's, in um, and how they are turned and scaled against them."""
    pixel_size_um = 1 / np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    offset_um = np.linalg.norm(apply(matrix, array_um) - xy_px, axis=1) * pixel_size_um
    median_um, p95_um = float(np.median(offset_um)), float(np.percentile(offset_um, 95))
    mirrored, turn_deg, ratio = _orientation(array_um, apply(np.linalg.inv(matrix), xy_px))
    if p95_um > limits["frame_offset_max_um"]:
        raise Refusal(
            f"the spot positions lie {median_um:,.0f} um (median; 95th percentile {p95_um:,.0f} um) from where the"
            f" fiducial frame in the picture has them{_why_apart(mirrored, turn_deg, ratio)}; picture and positions are"
            " of different sections, or of differently turned, cropped or reduced copies of one picture: give those"
            " that belong together",
            measured=round(p95_um, 1),
            threshold=limits["frame_offset_max_um"],
        )
    return {
        "frame_offset_um": round(median_um, 2),
        "frame_offset_p95_um": round(p95_um, 2),
        "frame_disagrees": p95_um > limits["frame_offset_flagged_um"],
        "frame_turn_deg": None if turn_deg is None else round(turn_deg, 3),
        "frame_scale_ratio": None if ratio is None else round(ratio, 5),
    }


def _orientation(array_um: Points, vendor_um: Points) -> tuple[bool, float | None, float | None]:
    """Whether positions are mirrored against the frame, their turn in degrees and their scale; by the affine map."""
    if len(array_um) < FEWEST_TO_ORIENT:
        return False, None, None
    try:
        linear = fit_affine(array_um, vendor_um)[:2, :2]
    except ValueError:  # all on one line
        return False, None, None
    determinant = float(np.linalg.det(linear))
    x_axis = linear[:, 0] * (-1.0 if determinant < 0 else 1.0)
    return determinant < 0, float(np.degrees(np.arctan2(x_axis[1], x_axis[0]))), float(np.sqrt(abs(determinant)))


def _why_apart(mirrored: bool, turn_deg: float | None, ratio: float | None) -> str:
    if turn_deg is None or ratio is None:
        return ""
    told = ["mirrored"] if mirrored else []
    if abs(turn_deg) > 1:
        told.append(f"turned by {turn_deg:.0f} degrees")
    if abs(ratio - 1) > SCALE_APART and ratio > 0:
        told.append(
            f"{ratio:.4g} times as large (a reduced copy needs spots_to_image_scale {1 / ratio:.4g} times its own)"
        )
    return f": {', '.join(told)} against it" if told else ": moved against it"
