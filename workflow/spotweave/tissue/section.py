"""The tissue of one section: found on the deposited picture, held against limits and against the spots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.pictures.reduced import read_reduced
from spotweave.tissue import agreement, polygons
from spotweave.tissue.marks import find_marks, shares
from spotweave.tissue.methods import NO_WEIGHTS, TISSUE_METHODS, Slide, takes
from spotweave.tissue.picture import Look, Picture
from spotweave.tissue.strength import stain_strength

LIMITS = (
    "tissue_min_mm2",
    "stain_share_min",
    "light_share_min",
    "stain_strength_flag",
    "glass_share_flag",
    "blacked_out_share_flag",
    "spots_on_tissue_min",
    "spots_on_tissue_flag",
    "spots_off_tissue_min",
    "spots_off_tissue_flag",
    "pen_share_flag",
    "fold_share_flag",
    "blur_share_flag",
)
"""The limits of the configuration that are used here, read without importing this."""
MIN_PIECE_UM2 = 50_000.0
"""Smaller pieces are no tissue."""
MIN_MARK_UM2 = 2_000.0
"""Smaller marks are not drawn: a printed dot has 6,000."""
BRIGHT_FIELD = 0.6
"""Share of light from which grey may be the lamp's shadow: negatives of sections have less."""
MARKED_SHARES = ("pen_share", "fold_share", "blur_share")
COMPARED_MIN = 20
"""Fewer spots than this give no share to judge by."""


@dataclass(frozen=True)
class Found:
    """Outlines of tissue and of marks by kind, level-0 px; the reduced picture with its scale; what was measured."""

    outlines: list[shapely.Polygon]
    marks: dict[str, list[shapely.Polygon]]
    rgb: NDArray[np.uint8]
    scale: tuple[float, float]
    measures: dict[str, Any]


def find_tissue(
    picture: Path,
    pixel_size_um: float,
    xy_px: NDArray[np.float64],
    in_tissue: NDArray[Any],
    spot_diameter_um: float,
    limits: Mapping[str, float],
    *,
    method: str = "classical",
    weights: Mapping[str, str] = NO_WEIGHTS,
    min_hole_um2: float,
    simplify_um: float,
) -> Found:
    """Segment, trace, measure and judge. The spots are compared with the result; they play no part in finding it.

    Parameters
    ----------
    picture
        The H&E picture as deposited: recoded ones have lost part of their colours.
    xy_px, in_tissue
        (N, 2) spot centres, px of `picture`, NaN without a place; (N,) 0/1 the selection.
    method, weights
        The way tissue is found, a module of `spotweave.tissue.methods`, and the weights of one that is trained.
    limits
        Those of `LIMITS`.

    Raises
    ------
    Refusal
        For a picture without stain, with too little tissue, or with too many spots on the wrong side of its edge; and
        where the weights of the method cannot be had.
    """
    chosen = TISSUE_METHODS.load(method)
    rgb, scale = read_reduced(picture, pixel_size_um / chosen.WORKING_PIXEL_SIZE_UM)
    reduced = Picture(rgb, pixel_size_um * (scale[0] * scale[1]) ** 0.5)
    slide = Slide(picture, pixel_size_um)
    more: dict[str, Any] = {"slide": slide, "weights": weights}
    wanted = {name: value for name, value in more.items() if takes(method, name)}
    mask = chosen.segment(reduced, min_hole_um2=min_hole_um2, min_piece_um2=MIN_PIECE_UM2, **wanted)
    look, strength = reduced.look(), stain_strength(reduced)
    of_tissue = reduced.stain_share(mask)
    outlines = polygons.from_mask(
        mask,
        scale,
        simplify_px=simplify_um / pixel_size_um,
        min_hole_px2=min_hole_um2 / pixel_size_um**2,
        min_piece_px2=MIN_PIECE_UM2 / pixel_size_um**2,
    )
    area_mm2 = sum(outline.area for outline in outlines) * pixel_size_um**2 / 1e6
    _check_light(picture, look, limits)
    _check_stain(picture, look, of_tissue if area_mm2 >= limits["tissue_min_mm2"] else 0.0, limits)
    if area_mm2 < limits["tissue_min_mm2"]:
        raise Refusal(
            f"{picture.name}: {area_mm2:.3f} mm2 of tissue found, at least {limits['tissue_min_mm2']:g} mm2 needed; "
            f"check that it is the H&E picture of this section and that {pixel_size_um:.4g} um a pixel is right",
            measured=round(area_mm2, 3),
            threshold=limits["tissue_min_mm2"],
        )
    scores = agreement.against_spots(outlines, xy_px[:, 0], xy_px[:, 1], in_tissue, spot_diameter_um / pixel_size_um)
    found = find_marks(reduced, mask, slide)
    marked = shares(found, mask, reduced)
    drawn = {
        kind: polygons.from_mask(
            one, scale, simplify_px=simplify_um / pixel_size_um, min_piece_px2=MIN_MARK_UM2 / pixel_size_um**2
        )
        for kind, one in found.items()
        if one is not None
    }
    picture_mm2 = rgb.shape[0] * rgb.shape[1] * scale[0] * scale[1] * pixel_size_um**2 / 1e6
    measures = {
        "tissue_area_mm2": round(area_mm2, 4),
        "tissue_share": round(area_mm2 / picture_mm2, 4),
        "pieces": len(outlines),
        "holes": sum(len(outline.interiors) for outline in outlines),
        "stain_share": round(look.stain_share, 3),
        "tissue_stain_share": round(of_tissue, 3),
        "light_share": round(look.light_share, 3),
        "stain_strength": None if strength is None else round(strength, 3),
        "pale_flagged": strength is not None and strength < limits["stain_strength_flag"],
        "glass_share": round(look.glass_share, 4),
        "blacked_out_share": round(look.blacked_out_share, 4),
        **scores,
        **marked,
        "method": method,
        **(_of_weights(weights, chosen.LICENCE) if takes(method, "weights") else {}),
        "tissue_flagged": judge(picture.name, scores, limits),
        "glass_flagged": look.stain_share < limits["stain_share_min"]
        or look.glass_share < limits["glass_share_flag"]
        or look.blacked_out_share > limits["blacked_out_share_flag"],
        "marks_flagged": any((marked.get(name) or 0.0) > limits[f"{name}_flag"] for name in MARKED_SHARES),
    }
    return Found(outlines, drawn, rgb, scale, measures)


def _of_weights(weights: Mapping[str, str], licence: str) -> dict[str, str]:
    named = {f"weights_{name}": weights[name] for name in ("source", "revision", "sha256") if weights[name]}
    return {**named, "weights_licence": licence}


def _check_light(picture: Path, look: Look, limits: Mapping[str, float]) -> None:
    if look.blacked_out_share < 1 and look.light_share < limits["light_share_min"]:
        raise Refusal(
            f"{picture.name}: no bright field: half of the picture lets at most {look.light_share:.0%} of the light"
            f" through in one colour, at least {limits['light_share_min']:.0%} needed; fluorescence in false colours is"
            " not the H&E",
            measured=round(look.light_share, 3),
            threshold=limits["light_share_min"],
        )


def _check_stain(picture: Path, look: Look, of_tissue: float, limits: Mapping[str, float]) -> None:
    """Grey may be the shadow of the lamp or the slide's border: then the tissue that was found has stain."""
    least = limits["stain_share_min"]
    if look.light_share >= BRIGHT_FIELD and of_tissue >= least:
        return
    if look.content_mm2 >= limits["tissue_min_mm2"] and look.stain_share < least:
        raise Refusal(
            f"{picture.name}: no H&E colours: stain is {look.stain_share:.0%} of what the picture absorbs, "
            f"at least {limits['stain_share_min']:.0%} needed; grey pictures (of quality control, fluorescence, DAPI) "
            "are not the H&E",
            measured=round(look.stain_share, 3),
            threshold=limits["stain_share_min"],
        )


def judge(name: str, scores: Mapping[str, float | int | None], limits: Mapping[str, float]) -> bool:
    """Whether the agreement of tissue and spots must be looked at.

    Where no spot is unselected, the table may list the whole array, bare glass included: half the share is asked for.

    Raises
    ------
    Refusal
        Below `spots_on_tissue_min` or `spots_off_tissue_min`.
    """
    on, off = scores["spots_selected_inside"], scores["spots_unselected_outside"]
    selected, unselected = scores["spots_selected"] or 0, scores["spots_unselected"] or 0
    on_min = limits["spots_on_tissue_min"] * (1.0 if unselected else 0.5)
    flagged = False
    for share, count, least, expected, what in (
        (on, selected, on_min, limits["spots_on_tissue_flag"], "in-tissue spots lie on tissue"),
        (off, unselected, limits["spots_off_tissue_min"], limits["spots_off_tissue_flag"], "other spots lie off it"),
    ):
        if share is None or count < COMPARED_MIN:
            continue
        if share < least:
            raise Refusal(
                f"{name}: {share:.2%} of {count} {what}, at least {least:.0%} needed; the picture or the positions are "
                "of another section, turned, or of another scale",
                measured=share,
                threshold=least,
            )
        flagged |= share < expected
    return flagged
