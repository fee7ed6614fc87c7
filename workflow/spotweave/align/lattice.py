"""Arrays whose spot positions the deposit gives in pixels: the lattice is fitted to them and measured.

The pixel size comes from all spots by least squares, never from the picture's resolution tag (a 72 or 96 dpi
default in most deposits) and never from a few chosen pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from spotweave.errors import Refusal
from spotweave.geometry import LatticeFit, Points, apply, fit_lattice

FITS_WITHOUT = 3  # the first fit is dragged along by the spots that lie elsewhere


@dataclass(frozen=True)
class Spots:
    """Spots of one array.

    Attributes
    ----------
    array
        (N, 2) int, array column x and row y.
    xy_px
        (N, 2) float64, centres in slide px.
    in_tissue
        (N,) bool.
    """

    array: np.ndarray
    xy_px: Points
    in_tissue: np.ndarray


@dataclass(frozen=True)
class Picture:
    """The picture the spots lie on.

    Attributes
    ----------
    name
        Its file's, for messages.
    size_px
        Width and height.
    tag_um
        um per px by its resolution tag; None without.
    """

    name: str
    size_px: tuple[int, int]
    tag_um: float | None = None


def align(spots: Spots, pitch_um: tuple[float, float], picture: Picture, limits: Mapping[str, float]) -> LatticeFit:
    """Fit the lattice and hold the fit against the limits.

    Parameters
    ----------
    spots
        All spots of the array, in tissue or not; those without pixels (NaN) are left out.
    pitch_um
        um between neighbouring array columns and rows.
    picture
        What the spots lie on.
    limits
        `pixel_size_max_um`, `pixel_size_min_um`, `residual_max_um`, `anisotropy_max`, `spots_outside_max` (a share of
        the in-tissue spots).

    Raises
    ------
    Refusal
        With the number and its limit.
    """
    known = np.isfinite(spots.xy_px).all(axis=1)
    found = fit(spots.array[known] * np.asarray(pitch_um), spots.xy_px[known])
    hold(found, picture, limits)
    check_outside(spots, picture, limits)
    return found


def fit(places_um: Points, xy_px: Points) -> LatticeFit:
    """Fit a lattice to places (N, 2) um and their pixels (N, 2), none of them missing.

    Raises
    ------
    Refusal
        They are too few, or on one line.
    """
    try:
        return fit_lattice(places_um, xy_px)
    except ValueError as error:
        raise Refusal(
            f"no lattice can be fitted to the {len(xy_px)} spots with pixel positions: {error}; check the spot file",
            measured=len(xy_px),
        ) from error


def hold(found: LatticeFit, picture: Picture, limits: Mapping[str, float]) -> None:
    """Hold a fit's pixel size, residual and anisotropy against the limits that `align` names.

    Raises
    ------
    Refusal
        With the number and its limit.
    """
    if found.pixel_size_um > limits["pixel_size_max_um"]:
        raise Refusal(
            f"{picture.name} is too coarse: {found.pixel_size_um:.4f} um/px by the spot lattice; look for the"
            " full-resolution picture, or raise limits.pixel_size_max_um on purpose",
            measured=round(found.pixel_size_um, 4),
            threshold=limits["pixel_size_max_um"],
        )
    if found.pixel_size_um < limits["pixel_size_min_um"]:
        raise Refusal(
            f"{picture.name}: {found.pixel_size_um:.4f} um/px by the spot lattice is finer than any scanner;"
            " check the array pitch and spots_to_image_scale in the row",
            measured=round(found.pixel_size_um, 4),
            threshold=limits["pixel_size_min_um"],
        )
    if found.residual_um > limits["residual_max_um"]:
        raise Refusal(
            f"the spots do not lie on their lattice: median distance {found.residual_um:.1f} um; check that the spot"
            " file belongs to this array and that its columns are not swapped",
            measured=round(found.residual_um, 2),
            threshold=limits["residual_max_um"],
        )
    if found.anisotropy > limits["anisotropy_max"]:
        raise Refusal(
            f"{picture.name}: um/px along the array's axes differ by {found.anisotropy:.1%}"
            f" ({found.pixel_size_x_um:.4f} and {found.pixel_size_y_um:.4f}); check array_pitch_x_um and"
            " array_pitch_y_um in the row",
            measured=round(found.anisotropy, 4),
            threshold=limits["anisotropy_max"],
        )


def check_outside(spots: Spots, picture: Picture, limits: Mapping[str, float]) -> None:
    """Hold the share of the in-tissue spots outside the picture against `spots_outside_max`.

    Raises
    ------
    Refusal
        With the share, the limit, and what to do by where the spots lie.
    """
    known = np.isfinite(spots.xy_px).all(axis=1)
    used = np.asarray(spots.in_tissue & known)
    outside = outside_picture(spots.xy_px, picture.size_px) & used
    share = float(outside.sum() / max(used.sum(), 1))
    if share > limits["spots_outside_max"]:
        width, height = picture.size_px
        raise Refusal(
            f"{int(outside.sum()):,} of {int(used.sum()):,} in-tissue spots ({share:.1%}) lie outside {picture.name}"
            f" ({width} x {height} px){_why_outside(spots.xy_px[known], spots.xy_px[used], picture)}",
            measured=round(share, 4),
            threshold=limits["spots_outside_max"],
        )


def off_lattice(places_um: Points, xy_px: Points, within_um: float) -> np.ndarray:
    """(N,) bool: spots that lie over `within_um` off the lattice that the others are on; NaN does not count.

    Every spot of an array says by its place what its pixels are: the map has six numbers, a table thousands. Which of
    a spot's two statements is wrong nobody can tell.

    Parameters
    ----------
    places_um
        (N, 2) where the spots are on the array: as measured, where that is known, else as planned.
    xy_px
        (N, 2) their pixels, NaN without.
    """
    known = np.isfinite(xy_px).all(axis=1)
    is_off = np.zeros(len(xy_px), dtype=bool)
    for _ in range(FITS_WITHOUT):
        try:
            found = fit_lattice(places_um[known & ~is_off], xy_px[known & ~is_off])
        except ValueError:
            return np.zeros(len(xy_px), dtype=bool)
        with np.errstate(invalid="ignore"):
            off_um = np.linalg.norm(xy_px - apply(found.matrix, places_um), axis=1) * found.pixel_size_um
            is_off = known & (off_um > within_um)
    return is_off


def check_off_lattice(is_off: np.ndarray, known: np.ndarray, within_um: float, most: float) -> None:
    """Hold the share of the spots off their lattice against `most`.

    Raises
    ------
    Refusal
        With the share and the limit.
    """
    share = float(is_off.sum() / max(known.sum(), 1))
    if share > most:
        raise Refusal(
            f"{int(is_off.sum()):,} of {int(known.sum()):,} spots ({share:.1%}) lie over {within_um:g} um off the"
            " lattice of the others; the table of positions is damaged or put together of two: download it again",
            measured=round(share, 4),
            threshold=most,
        )


def _why_outside(xy_px: Points, in_tissue_px: Points, picture: Picture) -> str:
    """What to do, by where the spots lie: a reduced copy leaves them beyond the right and lower edge only."""
    low, high = xy_px.min(axis=0), xy_px.max(axis=0)
    if (low >= 0).all() and (high > 1.3 * np.asarray(picture.size_px)).all():
        return (
            f": they reach to x {high[0]:,.0f}, y {high[1]:,.0f}; it is a reduced or cropped copy of the picture they"
            " were measured on: give that picture, or spots_to_image_scale in the row"
        )
    if not outside_picture(in_tissue_px[:, ::-1], picture.size_px).any():
        return ": with x and y exchanged all lie inside; check the columns of the spot file"
    return (
        f": they reach from x {low[0]:,.0f}, y {low[1]:,.0f} to x {high[0]:,.0f}, y {high[1]:,.0f}; give the picture"
        " the positions were measured on, not a crop of it, or raise limits.spots_outside_max: such spots are left out"
    )


def outside_picture(xy_px: Points, image_size_px: tuple[int, int]) -> np.ndarray:
    """(N,) bool: which centres lie outside a picture of (width, height); NaN counts as outside."""
    inside = (xy_px >= 0) & (xy_px < np.asarray(image_size_px))
    return np.asarray(~inside.all(axis=1))


def nearest_neighbour_um(array: np.ndarray, pitch_um: tuple[float, float]) -> float:
    """Median centre-to-centre distance of a spot to its nearest neighbour in um (HEST-1k's inter_spot_dist)."""
    positions = np.unique(array, axis=0) * np.asarray(pitch_um)
    distance, _ = KDTree(positions).query(positions, k=2)
    return float(np.median(distance[:, 1]))


def describe(fit: LatticeFit) -> dict[str, Any]:
    """The numbers of a fit, rounded for a JSON file to what the measurement carries."""
    return {
        "pixel_size_um": round(fit.pixel_size_um, 6),
        "pixel_size_se_um": round(fit.pixel_size_se_um, 7),
        "pixel_size_x_um": round(fit.pixel_size_x_um, 6),
        "pixel_size_y_um": round(fit.pixel_size_y_um, 6),
        "anisotropy": round(fit.anisotropy, 6),
        "rotation_deg": round(fit.rotation_deg, 4),
        "mirrored": fit.mirrored,
        "residual_um": round(fit.residual_um, 3),
        "residual_p95_um": round(fit.residual_p95_um, 3),
        "spots_fitted": fit.spots_fitted,
    }
