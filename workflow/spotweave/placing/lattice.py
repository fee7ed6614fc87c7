"""Placed by the lattice of an array: the spots' own positions, or the printed frame's, fitted, measured and judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from spotweave.align import agreement, lattice, pixel_size
from spotweave.align import frame as by_frame
from spotweave.errors import Refusal
from spotweave.geometry import LatticeFit, Points, apply, fit_lattice
from spotweave.placing import SLIDE, Deposit, Options, Placement, Transform
from spotweave.placing._picture import ReadReduced, open_picture

LIMITS = (
    "pixel_size_max_um",
    "pixel_size_min_um",
    "residual_max_um",
    "anisotropy_max",
    "spots_outside_max",
    "spots_off_lattice_max",
    "frame_offset_max_um",
    "frame_offset_flagged_um",
    "agreement_min",
    "edge_auc_flagged",
    "rival_gain_max",
    "rival_gain_flagged",
)
ARRAY = "array, um, x right along the columns, y down along the rows, origin at array position (0, 0)"
FILED = "px of the picture that the deposit's positions were measured on, x right, y down"


def place(deposit: Deposit) -> Placement:
    """Place the spots of one array on its picture.

    Raises
    ------
    Refusal
        With the number and its limit.
    """
    picture, read_picture = open_picture(deposit.manifest)
    return align_sample(
        deposit.table,
        deposit.reading,
        deposit.frame,
        picture,
        read_picture,
        deposit.options,
        deposit.limits,
    )


def align_sample(
    table: pd.DataFrame,
    reading: Mapping[str, Any],
    frame: Mapping[str, Any] | None,
    picture: lattice.Picture,
    read_picture: ReadReduced,
    options: Options,
    limits: Mapping[str, float],
) -> Placement:
    """Place a sample's spots; `place` without its files.

    Parameters
    ----------
    table
        The reader's spots (`matrices.reading.SPOT_COLUMNS`).
    reading
        The reader's measures.
    frame
        Content of `fiducials.json`; None for arrays without a frame.
    picture
        The picture that the spots lie on.
    read_picture
        Reads it at a factor of its size: (H, W, 3) uint8, and its px in one of the result's along x and y.
    options, limits
        Of the sample, and of the configuration.

    Raises
    ------
    Refusal
        With the number and its limit.
    """
    pitch_um = by_frame.array_pitch_um(options.pitch_um, reading.get("capture_area"))
    if pitch_um is None:
        raise Refusal(
            "how far spots are apart is unknown: their places on the array fit no known capture area; give"
            " array_pitch_x_um and array_pitch_y_um in the row"
        )
    array = table[["array_col", "array_row"]].to_numpy(dtype=np.int64)
    array_um = array * np.asarray(pitch_um)
    in_tissue = table["in_tissue"].to_numpy() == 1
    vendor_px = table[["x_px", "y_px"]].to_numpy(dtype=float) * options.spots_to_image_scale
    good = by_frame.usable(frame)
    area = by_frame.check_area(good, reading.get("capture_area"), reading.get("slide_area"))
    spot_pitch_um = lattice.nearest_neighbour_um(array, pitch_um)
    is_off = lattice.off_lattice(_places(table) * np.asarray(pitch_um), vendor_px, spot_pitch_um / 2)
    known = np.isfinite(vendor_px).all(axis=1)
    # So many are no single mistakes: what is wrong with the whole lattice is said first.
    on_lattice_px = np.where(is_off[:, None], np.nan, vendor_px) if 2 * is_off.sum() < known.sum() else vendor_px
    placed = by_frame.place(array_um, vendor_px, reading.get("positions_from", "positions file"), frame, limits)
    is_by_frame = placed.source == by_frame.FRAME
    mirror_flag = ""
    vendor = _vendor_lattice(array_um, on_lattice_px)
    if vendor is not None and not is_by_frame:
        mirror_flag = by_frame.check_hand(vendor.mirrored, placed.source, is_direct=_is_direct(reading, frame))
    fitted_px = placed.xy_px if is_by_frame else on_lattice_px
    fit = lattice.align(lattice.Spots(array, fitted_px, in_tissue), pitch_um, picture, limits)
    if not is_by_frame:
        lattice.check_off_lattice(is_off, known, spot_pitch_um / 2, limits["spots_off_lattice_max"])
    if is_by_frame:
        mirror_flag = by_frame.check_hand(fit.mirrored, placed.source, is_direct=True)
    scalefactors = reading.get("scalefactors", {})
    reconciled = pixel_size.reconcile(
        pixel_size.gather(
            lattice=vendor,
            frame=good,
            tag_um=picture.tag_um,
            scalefactors=scalefactors,
            spots_to_image_scale=options.spots_to_image_scale,
            capture_area=reading.get("capture_area"),
            stated_um=options.stated_pixel_size_um,
        ),
        limits,
        scalefactors,
    )
    measured = {**lattice.describe(fit), **placed.report, **area, **pixel_size.describe(reconciled)}
    if is_by_frame and good is not None:  # spots computed from a map lie on it: what was measured are the dots
        measured |= {"residual_um": good["residual_median_um"], "residual_p95_um": good["residual_p95_um"]}
    # Where nobody selected spots the selection says nothing.
    is_selected = in_tissue & (is_by_frame | ~is_off) & (reading.get("in_tissue_known") is not False)
    counts = table["total_counts"].to_numpy(dtype=np.float64, na_value=np.nan)
    sites = agreement.sites(array, placed.xy_px, is_selected, counts, fit.matrix, pitch_um)
    spot_px = (options.spot_diameter_um or spot_pitch_um / 2) / reconciled.pixel_size_um
    reduced, scale = read_picture(reconciled.pixel_size_um / agreement.WORKING_UM)
    measured |= agreement.measure(reduced, scale, sites, spot_px, picture.size_px)
    outside = lattice.outside_picture(placed.xy_px, picture.size_px)
    measured |= {
        "pixel_size_embedded_um": picture.tag_um,
        "spot_pitch_um": round(spot_pitch_um, 2),
        "spots_off_lattice": int(is_off.sum()),
        "spots_outside_picture": int(outside.sum()),
        "spots_dropped_from_tissue": int((outside & in_tissue & np.isfinite(placed.xy_px).all(axis=1)).sum()),
    }
    if options.stated_pixel_size_um is not None:
        stated_um = options.stated_pixel_size_um
        measured["pixel_size_stated_um"] = stated_um
        measured["pixel_size_stated_deviation"] = round(stated_um / reconciled.pixel_size_um - 1, 4)
    measured["flags"] = [
        *_flags(measured, reading, mirror_flag),
        *agreement.judge(measured, limits),
    ]
    return Placement(
        _units(
            table.assign(in_tissue=in_tissue & (is_by_frame | ~is_off)),
            vendor_px,
            apply(fit.matrix, array_um),
            is_by_frame=is_by_frame,
        ),
        options.spot_diameter_um,
        picture.size_px,
        _transforms(fit, measured, options.spots_to_image_scale, is_by_frame=is_by_frame),
        measured,
    )


def _units(table: pd.DataFrame, vendor_px: Points, modelled_px: Points, *, is_by_frame: bool) -> pd.DataFrame:
    """`Placement.units`: a spot is where the deposit has it or, with a frame that may be used, where the map has it."""
    used_px = modelled_px if is_by_frame else vendor_px
    places = {"": used_px, "modelled_": modelled_px, "vendor_": vendor_px}
    return pd.DataFrame(
        {
            "unit_id": table["spot_id"].astype(str),
            "in_tissue": table["in_tissue"].astype(np.int64),
            **{f"{of}{axis}_px": xy_px[:, i] for of, xy_px in places.items() for i, axis in enumerate("xy")},
        }
    )


def _transforms(
    fit: LatticeFit, measured: Mapping[str, Any], spots_to_image_scale: float, *, is_by_frame: bool
) -> tuple[Transform, ...]:
    """The map of the array and, where the deposit's positions are used, the scale between two pictures."""
    found = Transform(ARRAY, SLIDE, fit.matrix, measured["residual_um"], measured["residual_p95_um"])
    if is_by_frame:
        return (found,)
    scale = np.diag([spots_to_image_scale, spots_to_image_scale, 1.0])
    return (found, Transform(FILED, SLIDE, scale))


def _places(table: pd.DataFrame) -> Points:
    """(N, 2) where the spots are on the array: as measured where all are, else as planned."""
    measured = table.reindex(columns=["array_x", "array_y"]).to_numpy(dtype=float)
    return measured if np.isfinite(measured).all() else table[["array_col", "array_row"]].to_numpy(dtype=float)


def _vendor_lattice(array_um: Points, xy_px: Points) -> LatticeFit | None:
    known = np.isfinite(xy_px).all(axis=1)
    try:
        return fit_lattice(array_um[known], xy_px[known]) if known.sum() > 2 else None
    except ValueError:
        return None


def _is_direct(reading: Mapping[str, Any], frame: Mapping[str, Any] | None) -> bool:
    """Whether the array is a Visium slide that the section lies on: nothing says that a CytAssist placed it.

    11 mm areas are always CytAssist's.
    """
    if reading.get("capture_area") != "6.5 mm":
        return False
    return not (
        reading.get("is_cytassist")
        or "regist_target_img_scalef" in reading.get("scalefactors", {})
        or (frame is not None and frame.get("picture") == "cytassist_image")
    )


def _flags(measured: Mapping[str, Any], reading: Mapping[str, Any], mirror_flag: str) -> list[str]:
    """Every verdict on the placement that refuses nothing."""
    flags = [mirror_flag] if mirror_flag else []
    if measured.get("frame_disagrees"):
        flags.append(
            f"frame-offset: the vendor's positions lie {measured['frame_offset_um']:.1f} um (median), "
            f"{measured['frame_offset_p95_um']:.1f} um (95th percentile) off the frame's, which are used"
        )
    if reading.get("alignment_disagrees"):
        flags.append(f"loupe-offset: the Loupe alignment lies {reading['alignment_offset_um']} um off the positions")
    if measured.get("capture_area_agrees") is False:
        flags.append(
            f"area-letter: the frame is that of area {measured['capture_area_letter']}, the Loupe alignment is of"
            f" {reading.get('slide_area')}"
        )
    if measured["pixel_size_flagged"]:
        pairs = ", ".join(" and ".join(one["between"]) for one in measured["pixel_size_disagreements"])
        flags.append(f"pixel-size: {pairs} differ")
    if measured["spots_dropped_from_tissue"]:
        flags.append(f"off-picture: {measured['spots_dropped_from_tissue']} in-tissue spots lie outside the picture")
    if measured["spots_off_lattice"]:
        taken = "; the frame's places are used" if measured["positions_from"] == by_frame.FRAME else "; not in tissue"
        flags.append(
            f"off-lattice: {measured['spots_off_lattice']} spots lie over half the pitch off the lattice of the others"
            f" by their pixels{taken}"
        )
    if reading.get("in_tissue_known") is False:
        flags.append("tissue-unknown: no one selected the spots in tissue; all with counts are taken")
    return flags
