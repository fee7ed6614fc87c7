"""Placed by the pixels that the deposit states for each unit: bins of an array without printed dots, and cells.

Bins lie on a lattice that is fitted, measured and judged as that of spots is. Cells have no lattice: their pixels are
taken as they are, and what is written says how large a pixel is. Both are held against the picture in squares of
`JUDGED_UM`: where units are in tissue, and how many counts they have (`align.agreement`); and in squares of `OFFSET_UM`
for steps too small to be seen there (`align.offset`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.align import agreement, lattice, offset, pixel_size, squares
from spotweave.errors import Refusal
from spotweave.geometry import LatticeFit, Points, apply
from spotweave.placing import SLIDE, Deposit, Options, Placement, Transform
from spotweave.placing._picture import ReadReduced, open_picture

LIMITS = (
    "pixel_size_max_um",
    "pixel_size_min_um",
    "residual_max_um",
    "anisotropy_max",
    "spots_outside_max",
    "spots_off_lattice_max",
    "agreement_min",
    "agreement_bins_min",
    "edge_auc_flagged",
    "rival_gain_max",
    "rival_gain_flagged",
)
ARRAY = "array, um, x right along the columns, y down along the rows, origin at the corner of the bin at (0, 0)"
FILED = "px of the picture that the deposit's positions were measured on, x right, y down"
BINS_TO_FIT = 100_000
# A registration need not be quite affine: small bins of a whole area may lie a few um off one map.
OFF_LATTICE_UM = 8.0
JUDGED_UM = 64.0  # a multiple of all bins of the vendor
OFFSET_UM = 16.0  # squares in which small steps show
WORKING_UM = 8.0  # um per px that the picture is reduced to
NO_OFFSET: Mapping[str, Any] = {"counts_offset_um": None, "counts_offset_rho": None, "counts_offset_told": False}


@dataclass(frozen=True)
class _Fitted:
    """What a kind of unit knows of its places.

    `matrix` um -> slide px of the frame that squares are drawn in, and `units_um` (N, 2) in it; `modelled_px` (N, 2)
    NaN for units without a lattice; `is_off` (N,) those that lie off it; `fit` None for units without one.
    """

    matrix: NDArray[np.float64]
    units_um: Points
    modelled_px: Points
    is_off: NDArray[np.bool_]
    fit: LatticeFit | None
    side_um: float
    fine_um: float
    report: dict[str, Any]


def place(deposit: Deposit) -> Placement:
    """Place the bins or cells of one sample on its picture.

    Raises
    ------
    Refusal
        With the number and its limit.
    """
    picture, read_picture = open_picture(deposit.manifest)
    return place_units(
        deposit.table,
        deposit.reading,
        picture,
        read_picture,
        deposit.options,
        deposit.limits,
    )


def place_units(
    table: pd.DataFrame,
    reading: Mapping[str, Any],
    picture: lattice.Picture,
    read_picture: ReadReduced,
    options: Options,
    limits: Mapping[str, float],
) -> Placement:
    """Place a sample's bins or cells; `place` without its files.

    Parameters
    ----------
    table
        The reader's units (`matrices.reading.SPOT_COLUMNS`).
    reading
        The reader's measures; `unit` is `bin` or `cell`, `bin_size_um` that of bins.
    picture
        The picture that the units lie on.
    read_picture
        Reads it at a factor of its size: (H, W, 3) uint8, and its px in one of the result's along x and y.
    options, limits
        Of the sample, and of the configuration.

    Raises
    ------
    Refusal
        With the number and its limit.
    """
    vendor_px = table[["x_px", "y_px"]].to_numpy(dtype=np.float64) * options.spots_to_image_scale
    in_tissue = table["in_tissue"].to_numpy() == 1
    is_bin = reading.get("unit") == "bin"
    array = table[["array_col", "array_row"]].to_numpy(dtype=np.float64) if is_bin else None
    fitted = None
    if array is not None:
        fitted = _fit_bins(array, vendor_px, float(reading["bin_size_um"]), picture, limits)
    lattice.check_outside(lattice.Spots(vendor_px, vendor_px, in_tissue), picture, limits)
    scalefactors = reading.get("scalefactors", {})
    reconciled = pixel_size.reconcile(
        pixel_size.gather(
            lattice=None if fitted is None else fitted.fit,
            frame=None,
            tag_um=picture.tag_um,
            scalefactors=scalefactors,
            spots_to_image_scale=options.spots_to_image_scale,
            capture_area=None,
            stated_um=options.stated_pixel_size_um,
        ),
        limits,
        scalefactors,
    )
    if fitted is None:
        fitted = _take_cells(vendor_px, reconciled.pixel_size_um)
    used = in_tissue & ~fitted.is_off
    counts = table["total_counts"].to_numpy(dtype=np.float64, na_value=np.nan)
    summed = squares.square_up(fitted.units_um, used, counts, fitted.side_um, by_area=is_bin)
    centres = np.asarray(fitted.matrix @ squares.half_a_square(fitted.side_um), dtype=np.float64)
    sites = agreement.sites(
        summed.array,
        apply(centres, np.asarray(summed.array * fitted.side_um, dtype=np.float64)),
        summed.in_tissue,
        summed.counts,
        centres,
        (fitted.side_um, fitted.side_um),
    )
    reduced, scale = read_picture(reconciled.pixel_size_um / WORKING_UM)
    fine = squares.square_up(fitted.units_um, used, counts, fitted.fine_um, by_area=is_bin)
    step = offset.measure(
        reduced,
        scale,
        np.asarray((fine.array[fine.in_tissue] + 0.5) * fitted.fine_um, dtype=np.float64),
        fine.counts[fine.in_tissue],
        fitted.matrix,
        fitted.fine_um,
    )
    outside = lattice.outside_picture(vendor_px, picture.size_px)
    measured = {
        **fitted.report,
        **pixel_size.describe(reconciled),
        **agreement.measure(reduced, scale, sites, fitted.side_um / reconciled.pixel_size_um, picture.size_px),
        **(NO_OFFSET if step is None else step.content()),
        "judged_in_squares_um": fitted.side_um,
        "pixel_size_embedded_um": picture.tag_um,
        "spots_off_lattice": int(fitted.is_off.sum()),
        "spots_outside_picture": int(outside.sum()),
        "spots_dropped_from_tissue": int((outside & in_tissue).sum()),
    }
    if options.stated_pixel_size_um is not None:
        stated_um = options.stated_pixel_size_um
        measured["pixel_size_stated_um"] = stated_um
        measured["pixel_size_stated_deviation"] = round(stated_um / reconciled.pixel_size_um - 1, 4)
    measured["flags"] = [*_flags(measured, reading), *agreement.judge(measured, limits)]
    _refuse_without_agreement(measured, picture.name, limits["agreement_bins_min"])
    places = {
        "": np.where(fitted.is_off[:, None], np.nan, vendor_px),
        "modelled_": fitted.modelled_px,
        "vendor_": vendor_px,
    }
    columns = {f"{of}{axis}_px": xy_px[:, i] for of, xy_px in places.items() for i, axis in enumerate("xy")}
    units = pd.DataFrame({"unit_id": table["spot_id"], "in_tissue": used.astype(np.int64), **columns})
    return Placement(units, None, picture.size_px, _transforms(fitted, options.spots_to_image_scale), measured)


def _fit_bins(
    array: Points, vendor_px: Points, size_um: float, picture: lattice.Picture, limits: Mapping[str, float]
) -> _Fitted:
    """The lattice of bins, fitted to some of all over it; the distances of all to it."""
    within_um = max(size_um / 2, OFF_LATTICE_UM)
    array_um = (array + 0.5) * size_um
    every = slice(None, None, max(1, -(-len(array) // BINS_TO_FIT)))
    some_um, some_px = array_um[every], vendor_px[every]
    known = np.isfinite(some_px).all(axis=1)
    some_off = lattice.off_lattice(some_um, some_px, within_um)
    # So many are no single mistakes: what is wrong with the whole lattice is said first.
    taken = known & ~some_off if 2 * some_off.sum() < known.sum() else known
    fit = lattice.fit(some_um[taken], some_px[taken])
    lattice.hold(fit, picture, limits)
    modelled_px = apply(fit.matrix, array_um)
    off_um = np.linalg.norm(vendor_px - modelled_px, axis=1) * fit.pixel_size_um
    with np.errstate(invalid="ignore"):
        is_off = off_um > within_um
    lattice.check_off_lattice(is_off, np.isfinite(off_um), within_um, limits["spots_off_lattice_max"])
    report = {
        **lattice.describe(fit),
        "positions_from": "positions file",
        "bin_size_um": size_um,
        "spot_pitch_um": size_um,
        "off_lattice_max_um": round(float(np.nanmax(off_um, initial=0.0)), 3),
    }
    side_um, fine_um = (size_um * np.ceil(least_um / size_um) for least_um in (JUDGED_UM, OFFSET_UM))
    return _Fitted(fit.matrix, array_um, modelled_px, is_off, fit, float(side_um), float(fine_um), report)


def _take_cells(vendor_px: Points, pixel_size_um: float) -> _Fitted:
    """Cells where their outlines have them, in a frame of um that is the slide's."""
    known = np.isfinite(vendor_px).all(axis=1)
    um = vendor_px * pixel_size_um
    report = {
        "anisotropy": None,
        "residual_um": None,
        "residual_p95_um": None,
        "positions_from": "outlines of cells",
        "bin_size_um": None,
        "spot_pitch_um": round(lattice.nearest_neighbour_um(um[known], (1.0, 1.0)), 2) if known.sum() > 1 else None,
    }
    nothing = np.full_like(vendor_px, np.nan)
    matrix = np.diag([1 / pixel_size_um, 1 / pixel_size_um, 1.0])
    return _Fitted(matrix, um, nothing, np.zeros(len(um), dtype=bool), None, JUDGED_UM, OFFSET_UM, report)


def _transforms(fitted: _Fitted, spots_to_image_scale: float) -> tuple[Transform, ...]:
    """The map of the array, if there is one, and the scale between two pictures."""
    scaled = Transform(FILED, SLIDE, np.diag([spots_to_image_scale, spots_to_image_scale, 1.0]))
    if fitted.fit is None:
        return (scaled,)
    residuals = (fitted.report["residual_um"], fitted.report["residual_p95_um"])
    return (Transform(ARRAY, SLIDE, fitted.matrix, *residuals), scaled)


def _refuse_without_agreement(measured: Mapping[str, Any], name: str, least: float) -> None:
    """Refuse units of which nothing in the picture says that they belong to it: of many squares, chance has little."""
    found = measured["agreement"]
    if found is not None and found < least:
        raise Refusal(
            f"nothing in {name} says that the counts belong to it: squares in tissue are more colourful than those"
            f" beside them in {measured['edge_auc']:.0%} of the pairs, and counts go with the darkness at rho"
            f" {measured['counts_rho'] or 0:.2f}; give the picture and the positions of one section, or lower"
            " limits.agreement_bins_min on purpose",
            measured=found,
            threshold=least,
        )


def _flags(measured: Mapping[str, Any], reading: Mapping[str, Any]) -> list[str]:
    """Every verdict on the placement that refuses nothing, but those of the picture."""
    flags = []
    if measured["pixel_size_flagged"]:
        pairs = ", ".join(" and ".join(one["between"]) for one in measured["pixel_size_disagreements"])
        flags.append(f"pixel-size: {pairs} differ")
    if measured["spots_dropped_from_tissue"]:
        flags.append(f"off-picture: {measured['spots_dropped_from_tissue']:,} in-tissue units lie outside the picture")
    if measured["spots_off_lattice"]:
        number = measured["spots_off_lattice"]
        flags.append(f"off-lattice: {number:,} bins lie off the lattice of the others; they are given no place")
    if measured["edge_auc"] is None:
        flags.append("not-judged: too little tissue, or glass beside it, to hold the places against the picture")
    step_um = measured["counts_offset_um"]
    is_shifted = measured["counts_offset_told"] and float(np.hypot(*step_um)) >= offset.FLAGGED_FROM_UM
    if is_shifted:
        before, best = measured["counts_offset_rho"]
        flags.append(
            f"counts-offset: counts lie {step_um[0]:.0f} um along x and {step_um[1]:.0f} um along y off the picture:"
            f" with darkness they go at rho {before:.3f}, and at {best:.3f} with that undone"
        )
    if reading.get("cytassist_shift_possible"):
        seen = {True: "such a step is seen here", False: "no such step is seen here", None: "not to be told here"}
        told = is_shifted if step_um is not None else None
        flags.append(
            f"cytassist-shift: counts are by {reading['software']}; before Space Ranger 3.1.2 newer firmware of the"
            f" CytAssist shifts them by 16 um against the picture ({seen[told]}): one bin of 16 um, a cell or two, a"
            " third of a spot of 55 um; counts of a later version have no such shift"
        )
    return flags
