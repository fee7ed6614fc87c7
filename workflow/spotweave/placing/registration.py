"""Placed by registration: the instrument's positions (um) through the map onto the H&E that the judge accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from spotweave.errors import Refusal
from spotweave.geometry import Points, apply
from spotweave.placing import SLIDE, Deposit, Placement, Transform
from spotweave.slide_map import SlideMap

TAKES = ("registration",)
LIMITS = ("pixel_size_max_um", "pixel_size_min_um", "anisotropy_max", "cells_outside_max")
INSTRUMENT = "instrument, um, x right, y down, origin at the top-left corner of the DAPI picture"
SIZES_AGREE = 0.03  # of pixel sizes: scanners state theirs to about 1 %, and sections shrink a little


def place(deposit: Deposit) -> Placement:
    """Place the cells of one section on its H&E.

    Raises
    ------
    ValueError
        There is no registration.
    Refusal
        The pixel size or the stretch of the map is beyond its limit, or too many cells lie outside the picture.
    """
    found, registration = deposit.slide_map, deposit.registration
    if found is None or registration is None:
        raise ValueError("placing by registration needs what the stage register_sample wrote")
    limits = deposit.limits
    _check(found, limits)
    table = deposit.table
    um = table[["x_px", "y_px"]].to_numpy(dtype=float) * float(deposit.reading["pixel_size_um"])
    xy_px = found.to_slide(um)
    size_px = (int(registration["image_width_px"]), int(registration["image_height_px"]))
    outside = ~((xy_px >= 0) & (xy_px < np.asarray(size_px))).all(axis=1)  # also what has no place
    share = float(outside.mean())
    if share > limits["cells_outside_max"]:
        raise Refusal(
            f"{share:.0%} of the cells lie outside the H&E by the registration; give the picture of the whole section,"
            " or raise limits.cells_outside_max on purpose",
            measured=round(share, 4),
            threshold=limits["cells_outside_max"],
        )
    units = pd.DataFrame(
        {
            "unit_id": table["spot_id"].astype(str),
            "in_tissue": ((table["in_tissue"].to_numpy() == 1) & ~outside).astype(np.int64),
            **_columns("", xy_px),
            **_columns("modelled_", xy_px),
            **_columns("vendor_", _by_vendor(registration, um)),
        }
    )
    measured = {
        "pixel_size_um": round(found.pixel_size_um, 6),
        "pixel_size_se_um": None,
        "pixel_size_from": "registration",
        "anisotropy": found.anisotropy,
        "residual_um": registration["error_um"],
        "residual_p95_um": registration["error_p95_um"],
        "positions_from": f"registration: {registration['chosen']}",
        "spot_pitch_um": None,
        "spots_outside_picture": int(outside.sum()),
        "cells_outside_share": round(share, 4),
        "registration_gain": registration["gain"],
        "registration_matched_share": registration["matched_share"],
        "registration_has_field": found.field_px is not None,
        "flags": _flags(found, deposit, int(outside.sum())),
    }
    transforms = (Transform(INSTRUMENT, SLIDE, found.matrix, registration["error_um"], registration["error_p95_um"]),)
    return Placement(units, None, size_px, transforms, measured)


def _columns(of: str, xy_px: Points) -> dict[str, Any]:
    return {f"{of}{axis}_px": xy_px[:, i] for i, axis in enumerate("xy")}


def _check(found: SlideMap, limits: Mapping[str, float]) -> None:
    size_um = found.pixel_size_um
    if size_um > limits["pixel_size_max_um"]:
        raise Refusal(
            f"the picture is too coarse: {size_um:.4f} um/px by the registration; look for the full-resolution picture,"
            " or raise limits.pixel_size_max_um on purpose",
            measured=round(size_um, 4),
            threshold=limits["pixel_size_max_um"],
        )
    if size_um < limits["pixel_size_min_um"]:
        raise Refusal(
            f"{size_um:.4g} um/px by the registration is finer than any scanner; check the H&E picture",
            measured=round(size_um, 4),
            threshold=limits["pixel_size_min_um"],
        )
    if found.anisotropy > limits["anisotropy_max"]:
        raise Refusal(
            f"the registration stretches one direction {found.anisotropy:.1%} more than another; check that the H&E is"
            " filed with square pixels and is of this section",
            measured=round(found.anisotropy, 4),
            threshold=limits["anisotropy_max"],
        )


def _by_vendor(registration: Mapping[str, Any], um: Points) -> Points:
    """Where the first map that the deposit states has the cells; NaN without one."""
    for matrix in registration["stated_maps"].values():
        return apply(np.array(matrix, dtype=np.float64), um)
    return np.full_like(um, np.nan)


def _flags(found: SlideMap, deposit: Deposit, outside: int) -> list[str]:
    assert deposit.registration is not None
    flags = list(deposit.registration["flags"])
    said = dict(deposit.registration["pixel_sizes_said_um"])
    for name, said_um in said.items():
        ratio = said_um / found.pixel_size_um
        if max(ratio, 1 / ratio) - 1 > SIZES_AGREE:
            flags.append(
                f"pixel-size: {said_um:.4g} um by the {name}, {found.pixel_size_um:.4g} um by the registration"
            )
    if outside:
        flags.append(f"off-picture: {outside} cells lie outside the picture")
    return flags
