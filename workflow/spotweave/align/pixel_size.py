"""Which pixel size a slide gets when its file, its lattice of spots, its fiducial frame and its source each name one.

Policy (docs/pixel-size.md has the evidence):

1. What is measured in the sample beats what is written about it. Measured are the lattice of the vendor's positions
   and the fiducial frame; written are the scale factors, the file's resolution tag and what the row states.
2. Two measured that agree within `MEASURED_AGREE` are of one picture, and the frame's is taken, which then places the
   spots too; not a mean: the vendor fitted its positions to the same printed dots, so their errors are not independent.
   Beyond that the sample is refused.
3. With nothing measured: the scale factors, then a tag that may be a microscope's, then the row.
4. All are kept. A pair that differs by more than its tolerance is flagged, with the mistake its ratio is known for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeGuard

import numpy as np

from spotweave.errors import Refusal
from spotweave.geometry import LatticeFit
from spotweave.pictures.pixel_sizes import (
    ORDER,
    SAME_VALUE,
    Source,
    difference,
    explain,
    explain_value,
    is_agreed,
    software_default,
)
from spotweave.visium.array import FIRST_SOFTWARE_SPOT_UM, SOFTWARE_DOT_UM, SOFTWARE_SPOT_UM

MEASURED: tuple[Source, ...] = ("frame", "lattice")
# From the middle of a 6.5 mm array to its corner are 4.6 mm: 2 % is nearly one spot distance (100 um) there, and the
# two are of different pictures or arrays; 0.5 % is nearly a spot's radius (27.5 um).
MEASURED_AGREE = 0.02
# Positions computed from one map have residuals of rounding alone (1e-6 of the pixel size), whatever the map is off.
# It was off frames fitted here by 1e-4 (root mean square of six real sections). The frame's own standard error, which
# takes its dots for independent, was half of the true error on 48 rendered frames.
VENDOR_MAP_SHARE = 1e-4
FRAME_SE_FACTOR = 2.0
# Spot and fiducial dot, um, in the pixels of scale factors: 6.5 mm arrays, 11 mm arrays, the first Space Rangers.
SOFTWARE_DIAMETERS_UM = tuple(
    (spot_um, SOFTWARE_DOT_UM) for spot_um in (*SOFTWARE_SPOT_UM.values(), FIRST_SOFTWARE_SPOT_UM)
)


@dataclass(frozen=True)
class Estimate:
    """One pixel size: where it comes from, um per px, its standard error where it was measured, and a remark."""

    source: Source
    pixel_size_um: float
    se_um: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Disagreement:
    """Two estimates that differ: `ratio` of `first` to `second`, and the known mistake it looks like, or ''."""

    first: Source
    second: Source
    ratio: float
    explanation: str


@dataclass(frozen=True)
class Reconciled:
    """The pixel size to use.

    Attributes
    ----------
    pixel_size_um
        um per px.
    se_um
        Its standard error with what the fit's own leaves out (`total_se_um`); None where it is only written.
    chosen
        Whose it is.
    estimates
        All that were given, in the policy's order.
    disagreements
        Pairs that differ by more than their tolerance.
    """

    pixel_size_um: float
    se_um: float | None
    chosen: Source
    estimates: tuple[Estimate, ...]
    disagreements: tuple[Disagreement, ...]

    @property
    def flagged(self) -> bool:
        """Whether any two disagree."""
        return bool(self.disagreements)


def reconcile(
    estimates: Iterable[Estimate],
    limits: Mapping[str, float] | None = None,
    scalefactors: Mapping[str, float] | None = None,
) -> Reconciled:
    """Choose by the policy; the order of the estimates changes nothing.

    Parameters
    ----------
    estimates
        At most one of each source; each above 0.
    limits
        `pixel_size_min_um` and `pixel_size_max_um`; none without.
    scalefactors
        Content of `scalefactors_json.json`: a disagreement by one of its `…_scalef` is explained.

    Raises
    ------
    Refusal
        There is none to go by, the one chosen is beyond the limits, or the two measured ones contradict each other.
    ValueError
        A source comes twice, or an estimate is no number above 0, or a standard error none from 0 on.
    """
    given = sorted(estimates, key=lambda estimate: ORDER.index(estimate.source))
    _check(given)
    scales = scalefactors or {}
    usable = [one for one in given if one.source != "tag" or is_plausible_tag(one.pixel_size_um, limits)]
    if not usable:
        raise Refusal(f"nothing says how large a pixel is{_only_a_tag(given)}; give pixel_size_um in the row")
    measured = [one for one in usable if one.source in MEASURED]
    if len(measured) == 2:
        _refuse_contradiction(measured[0], measured[1], scales)
    chosen = usable[0]
    if limits is not None:
        _refuse_beyond(chosen, limits)
    return Reconciled(
        chosen.pixel_size_um, total_se_um(chosen), chosen.source, tuple(given), tuple(_disagreements(given, scales))
    )


def gather(
    *,
    lattice: LatticeFit | None,
    frame: Mapping[str, Any] | None,
    tag_um: float | None,
    scalefactors: Mapping[str, float],
    spots_to_image_scale: float,
    capture_area: str | None,
    stated_um: float | None,
) -> list[Estimate]:
    """Every estimate of a sample. What is written and no number above 0 is left out.

    Parameters
    ----------
    lattice
        Fitted to the vendor's positions, in px of the picture; None where there are none.
    frame
        Content of `fiducials.json`, where the frame may be used.
    tag_um
        The file's resolution tag.
    scalefactors
        Of the deposit, in px of the picture the positions were measured on: `microns_per_pixel`, which bins and cells
        have, or else `spot_diameter_fullres` and `fiducial_diameter_fullres`.
    spots_to_image_scale
        px of the picture to a px of the one the positions and scale factors were measured on.
    capture_area
        `6.5 mm` or `11 mm`: what the spot diameter stands for where the dot's does not tell.
    stated_um
        What the row states.
    """
    found = []
    if frame is not None:
        matrix = np.asarray(frame["matrix_to_slide"])
        frame_um = float(1 / np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
        # The frame may lie in another picture (CytAssist): its error stays the same share.
        se_um = float(frame["pixel_size_se_um"]) * frame_um / float(frame["pixel_size_um"])
        found.append(Estimate("frame", frame_um, se_um, f"{frame['dots_matched']} dots"))
    if lattice is not None:
        found.append(
            Estimate("lattice", lattice.pixel_size_um, lattice.pixel_size_se_um, f"{lattice.spots_fitted} spots")
        )
    spot_px, dot_px = (
        scalefactors[name] * spots_to_image_scale if name in scalefactors else None
        for name in ("spot_diameter_fullres", "fiducial_diameter_fullres")
    )
    per_px_um = scalefactors.get("microns_per_pixel")
    if _is_size(per_px_um):
        found.append(Estimate("scalefactors", per_px_um / spots_to_image_scale, None, "microns_per_pixel"))
    elif _is_size(spot_px):
        found += _by_scale_factors(spot_px, dot_px, capture_area)
    if _is_size(tag_um):
        found.append(Estimate("tag", tag_um))
    if _is_size(stated_um):
        found.append(Estimate("stated", stated_um))
    return found


def is_plausible_tag(pixel_size_um: float, limits: Mapping[str, float] | None = None) -> bool:
    """Whether a resolution tag may be a microscope's: not a software's default, not exactly 1, within the limits."""
    if limits is not None and not limits["pixel_size_min_um"] <= pixel_size_um <= limits["pixel_size_max_um"]:
        return False
    return not software_default(pixel_size_um)


def total_se_um(estimate: Estimate) -> float | None:
    """Standard error in um with what the fit's own cannot see; None where there is none.

    A lattice's has the error of the map its positions were computed from added in quadrature; a frame's is scaled.
    """
    if estimate.se_um is None:
        return None
    if estimate.source == "lattice":
        return math.hypot(estimate.se_um, VENDOR_MAP_SHARE * estimate.pixel_size_um)
    return FRAME_SE_FACTOR * estimate.se_um if estimate.source == "frame" else estimate.se_um


def describe(reconciled: Reconciled) -> dict[str, Any]:
    """JSON-ready: the choice, every estimate as it was given and every disagreement."""
    return {
        "pixel_size_um": round(reconciled.pixel_size_um, 6),
        "pixel_size_se_um": None if reconciled.se_um is None else round(reconciled.se_um, 7),
        "pixel_size_from": reconciled.chosen,
        "pixel_size_flagged": reconciled.flagged,
        "pixel_size_estimates": {
            estimate.source: {
                "um": round(estimate.pixel_size_um, 6),
                "se_um": None if estimate.se_um is None else round(estimate.se_um, 7),
                "note": estimate.note,
            }
            for estimate in reconciled.estimates
        },
        "pixel_size_disagreements": [
            {
                "between": [found.first, found.second],
                "ratio": float(f"{found.ratio:.5g}"),
                "explanation": found.explanation,
            }
            for found in reconciled.disagreements
        ],
    }


def _only_a_tag(given: Sequence[Estimate]) -> str:
    if not given:
        return ""
    size_um = given[0].pixel_size_um
    default = software_default(size_um)
    why = f"the {default} that software writes when it knows none" if default else "beyond the limits of the pixel size"
    return f" but a tag of {size_um:.4g} um/px, which is {why}"


def _is_size(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value) and value > 0


def _check(estimates: Sequence[Estimate]) -> None:
    if len({estimate.source for estimate in estimates}) < len(estimates):
        raise ValueError("two estimates of one source")
    if not all(_is_size(estimate.pixel_size_um) for estimate in estimates):
        raise ValueError("a pixel size must be a number above 0 um")
    if not all(one.se_um is None or (math.isfinite(one.se_um) and one.se_um >= 0) for one in estimates):
        raise ValueError("a standard error must be a number from 0 um on")


def _by_scale_factors(spot_px: float, fiducial_px: float | None, capture_area: str | None) -> list[Estimate]:
    """What the two diameters say; nothing where they stand for no known ones.

    The spot's nominal diameter changed with the software, the dot's did not: their ratio tells which pair it is.
    """
    if _is_size(fiducial_px):
        for spot_um, fiducial_um in SOFTWARE_DIAMETERS_UM:
            if math.isclose(spot_px / fiducial_px, spot_um / fiducial_um, rel_tol=SAME_VALUE):
                note = f"a dot taken for {fiducial_um:g} um, a spot for {spot_um:g} um"
                return [Estimate("scalefactors", fiducial_um / fiducial_px, None, note)]
    if capture_area not in SOFTWARE_SPOT_UM:
        return []
    spot_um = SOFTWARE_SPOT_UM[capture_area]
    return [Estimate("scalefactors", spot_um / spot_px, None, f"a spot taken for {spot_um:g} um")]


def _refuse_contradiction(frame: Estimate, lattice: Estimate, scales: Mapping[str, float]) -> None:
    apart = difference(frame.pixel_size_um, lattice.pixel_size_um)
    if apart <= MEASURED_AGREE:
        return
    told = _explain_pair(frame, lattice, scales)
    raise Refusal(
        f"the fiducial frame in the picture says {frame.pixel_size_um:.4f} um/px and the spot positions"
        f" {lattice.pixel_size_um:.4f}{f' ({told})' if told else ''}; give the picture the positions were measured on,"
        f" or multiply spots_to_image_scale in the row by {lattice.pixel_size_um / frame.pixel_size_um:.4g}",
        measured=round(apart, 4),
        threshold=MEASURED_AGREE,
    )


def _refuse_beyond(chosen: Estimate, limits: Mapping[str, float]) -> None:
    size_um, least_um, most_um = chosen.pixel_size_um, limits["pixel_size_min_um"], limits["pixel_size_max_um"]
    if size_um > most_um:
        raise Refusal(
            f"the picture is too coarse: {size_um:.4f} um/px by its {chosen.source}; look for the full-resolution"
            " picture, or raise limits.pixel_size_max_um on purpose",
            measured=round(size_um, 4),
            threshold=most_um,
        )
    if size_um < least_um:
        raise Refusal(
            f"{size_um:.4g} um/px by the picture's {chosen.source} is finer than any scanner; check pixel_size_um and"
            " spots_to_image_scale in the row",
            measured=round(size_um, 4),
            threshold=least_um,
        )


def _disagreements(estimates: Sequence[Estimate], scales: Mapping[str, float]) -> list[Disagreement]:
    return [
        Disagreement(
            first.source,
            second.source,
            first.pixel_size_um / second.pixel_size_um,
            _explain_pair(first, second, scales),
        )
        for first, second in combinations(estimates, 2)
        if not is_agreed(first.source, first.pixel_size_um, second.source, second.pixel_size_um)
    ]


def _explain_pair(first: Estimate, second: Estimate, scales: Mapping[str, float]) -> str:
    """By the value of a written one, by the sample's own scale factors, or by a ratio known from elsewhere."""
    for one in (first, second):
        if one.source not in ("tag", "stated"):
            continue
        called = "the tag" if one.source == "tag" else "what is stated"
        known = explain_value(one.pixel_size_um)
        if known:
            return f"{called} is {known}"
    ratio = 1 + difference(first.pixel_size_um, second.pixel_size_um)
    for name in sorted(name for name in scales if name.endswith("_scalef")):
        scale = scales[name]
        if _is_size(scale) and math.isclose(max(scale, 1 / scale), ratio, rel_tol=0.01):
            return f"one is of the picture that {name} ({scale:.4g}) belongs to"
    return explain(ratio)
