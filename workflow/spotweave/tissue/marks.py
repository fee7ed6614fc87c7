"""What lies on a section beside tissue: pen, painted-over areas, folds, places out of focus, printed fiducial dots.

Masks are of the reduced picture's size. A mark does not say that there is no tissue, only that the picture there is not
that of a flat section in focus.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from spotweave.tissue.dots import printed_dots
from spotweave.tissue.focus import blurred
from spotweave.tissue.folds import folds
from spotweave.tissue.masks import Mask, closed
from spotweave.tissue.methods import Slide
from spotweave.tissue.picture import Picture

PAINTED_LEVEL = 12
"""Paint of a picture editor is blacker than any ink in the light of a microscope: 8-bit levels of its median."""
SHARED = ("pen", "fold", "blur")
PEN_WIDTH_MAX_UM = 1500.0
"""What lies between tissue no further apart than this was tissue before it was drawn on."""


def find_marks(picture: Picture, tissue: Mask, slide: Slide) -> dict[str, Mask | None]:
    """All marks by their kind; None for blur on a slide that is too coarse to tell."""
    painted, black_ink = _dark_areas(picture)
    return {
        "pen": picture.ink | black_ink,
        "painted": painted,
        "fold": folds(picture, tissue),
        "blur": blurred(slide, tissue, picture.pixel_size_um),
        "fiducials": printed_dots(picture, tissue),
    }


def shares(marks: Mapping[str, Mask | None], tissue: Mask, picture: Picture) -> dict[str, float | None]:
    """`pen_share`, `fold_share`, `blur_share` of the tissue: what was found, and what pens hide of it."""
    pen = marks["pen"] if marks["pen"] is not None else np.zeros_like(tissue)
    hidden = pen & closed(tissue, PEN_WIDTH_MAX_UM / picture.pixel_size_um) if pen.any() else pen
    whole = tissue | hidden
    area = max(int(whole.sum()), 1)
    found = {kind: marks[kind] for kind in SHARED}
    return {
        f"{kind}_share": None if mask is None else round(float((whole & mask).sum()) / area, 4)
        for kind, mask in found.items()
    }


def _dark_areas(picture: Picture) -> tuple[Mask, Mask]:
    """The areas that are black in all colours: painted over by an editor, and black ink."""
    areas, count = ndimage.label(picture.painted_over)
    if not count:
        return picture.painted_over, picture.painted_over
    level = ndimage.median(picture.rgb.max(axis=2), areas, np.arange(count + 1))
    painted = (level <= PAINTED_LEVEL)[areas] & picture.painted_over
    return painted, picture.painted_over & ~painted
