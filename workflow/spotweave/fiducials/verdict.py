"""Whether a fitted frame is good enough to place spots with, and what its record says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spotweave.fiducials.measures import FrameFit
from spotweave.visium.array import SPOT_RADIUS_UM


@dataclass(frozen=True)
class Check:
    """One measure of a fit and the limit it is held against."""

    measure: str
    limit: float
    is_lowest: bool
    complaint: str


# Set by what each measure means, and held against rendered frames of known truth: no fit off by more than a spot's
# radius (27.5 um) passed; docs/fiducials-measured.md has the table.
CHECKS = (
    Check("dots_matched", 60, True, "only {} dots of the frame were found"),
    Check("support", 0.3, True, "only {:.0%} of the frame's places are as they should be, beyond chance"),
    Check("margin", 14, True, "another orientation or place explains the picture as well (margin {} places)"),
    Check("residual_median_um", 16.0, False, "the dots found lie {:.1f} um off their places (median)"),
    Check("held_out_um", 16.0, False, "dots not used in the fit lie {:.1f} um off (median)"),
    Check(
        "corner_error_um",
        SPOT_RADIUS_UM,
        False,
        "a quarter of the frame lies {:.1f} um off the fit to the others",
    ),
    Check("spot_se_um", 8.0, False, "the dots found place the farthest spot to {:.1f} um only"),
    Check("anisotropy", 0.015, False, "the picture's two axes differ in scale by {:.1%}"),
)


@dataclass(frozen=True)
class Complaint:
    """A limit that a fit breaks."""

    reason: str
    measured: float
    threshold: float


def anisotropy(fit: FrameFit) -> float:
    """Ratio of the singular values of the map less 1."""
    singular = np.linalg.svd(fit.matrix[:2, :2], compute_uv=False)
    return float(singular[0] / singular[1] - 1)


def complaints(fit: FrameFit | None) -> list[Complaint]:
    """Every limit a fit breaks; none for a fit that may be used."""
    if fit is None:
        return [Complaint("no fiducial frame was found in the picture", 0, CHECKS[0].limit)]
    broken = []
    for check in CHECKS:
        measured = anisotropy(fit) if check.measure == "anisotropy" else getattr(fit, check.measure)
        if (measured < check.limit) if check.is_lowest else not (measured <= check.limit):
            broken.append(Complaint(check.complaint.format(measured), round(float(measured), 4), check.limit))
    return broken


def confidence(fit: FrameFit) -> float:
    """0 to 1: how far the fit is from its nearest limit; 0.5 at the limit, towards 1 with twice the room and more."""
    rooms = []
    for check in CHECKS:
        measured = anisotropy(fit) if check.measure == "anisotropy" else getattr(fit, check.measure)
        rooms.append(measured / check.limit if check.is_lowest else check.limit / max(measured, 1e-9))
    room = max(min(rooms), 0.0)
    return float(room / (1 + room))


def describe(fit: FrameFit | None) -> Mapping[str, Any]:
    """The numbers of a fit, rounded for a JSON file to what the measurement carries."""
    if fit is None:
        return {}
    return {
        "frame": fit.area,
        "capture_area_letter": fit.letter,
        "letter_margin": round(fit.letter_margin, 3),
        "matrix": fit.matrix.tolist(),
        "corners_matrix": fit.corners_matrix.tolist(),
        "map": "affine" if fit.is_affine else "similarity",
        "dots_expected_at": "printed places" if fit.is_print else "lattice",
        "mirrored": fit.mirrored,
        "rotation_deg": round(fit.rotation_deg, 4),
        "pixel_size_um": round(fit.pixel_size_um, 6),
        "pixel_size_se_um": round(fit.pixel_size_se_um, 7),
        "anisotropy": round(anisotropy(fit), 6),
        "corners_used": fit.corners_used,
        "dots_matched": fit.dots_matched,
        "dots_inside": fit.dots_inside,
        "residual_median_um": round(fit.residual_median_um, 3),
        "residual_p95_um": round(fit.residual_p95_um, 3),
        "held_out_um": round(fit.held_out_um, 3),
        "corner_error_um": round(fit.corner_error_um, 3),
        "spot_se_um": round(fit.spot_se_um, 3),
        "support": round(fit.support, 4),
        "margin": fit.margin,
        "confidence": round(confidence(fit), 3),
    }
