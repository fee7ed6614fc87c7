"""Where a sample's spots come from: the vendor's positions, or the fiducial frame in the picture; compared where both.

Order: positions file, Loupe alignment (both arrive as the reader's pixels), fiducial frame. Two sources that exist are
compared spot by spot. A difference above a spot's radius is reported; above one spot distance one of the two is
wrong by a whole spot, and the sample is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spotweave.errors import Refusal
from spotweave.fiducials.array import NAMES, capture_area
from spotweave.geometry import Points, apply

FRAME = "fiducial frame"
REPORTED_UM = 27.5  # the radius of a Visium spot


@dataclass(frozen=True)
class Placed:
    """Spots on the slide.

    Attributes
    ----------
    xy_px
        (N, 2) float64 slide px; NaN where a spot has no place.
    source
        `positions file`, `loupe` or `fiducial frame`.
    report
        JSON-ready: `positions_from`, and how far the frame is from the vendor's positions.
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
        (N, 2) the vendor's slide px, all NaN where the deposit has none.
    source
        What the vendor's pixels come from.
    frame
        Content of `fiducials.json`; None for arrays without a frame.
    limits
        `frame_offset_max_um`.

    Raises
    ------
    Refusal
        There are no positions and no usable frame, or the two contradict each other.
    """
    good = usable(frame)
    if not np.isfinite(xy_px).all(axis=1).any():
        if good is None:
            raise Refusal(f"the deposit has no spot positions, and {_why_no_frame(frame)}; give a positions file")
        return Placed(apply(np.asarray(good["matrix_to_slide"]), array_um), FRAME, {"positions_from": FRAME})
    report: dict[str, Any] = {"positions_from": source}
    if good is not None:
        report |= _compare(array_um, xy_px, good, limits["frame_offset_max_um"])
    return Placed(xy_px, source, report)


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


def _compare(array_um: Points, xy_px: Points, frame: Mapping[str, Any], most_um: float) -> dict[str, Any]:
    matrix = np.asarray(frame["matrix_to_slide"])
    pixel_size_um = 1 / np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    known = np.isfinite(xy_px).all(axis=1)
    offset_um = np.linalg.norm(apply(matrix, array_um[known]) - xy_px[known], axis=1) * pixel_size_um
    median_um, p95_um = float(np.median(offset_um)), float(np.percentile(offset_um, 95))
    if median_um > most_um:
        raise Refusal(
            f"the spot positions lie {median_um:,.0f} um (median) from where the fiducial frame in the picture has"
            " them; is it the picture the positions were measured on? A reduced or turned copy needs"
            " spots_to_image_scale or its own positions",
            measured=round(median_um, 1),
            threshold=most_um,
        )
    return {
        "frame_offset_um": round(median_um, 2),
        "frame_offset_p95_um": round(p95_um, 2),
        "frame_disagrees": median_um > REPORTED_UM,
    }
