"""Ways to find the tissue on a picture. One module here is one way; `tissue: method` of the configuration names it.

A method is a module with

    WORKING_PIXEL_SIZE_UM
        Pictures are reduced to this size of a pixel before they are segmented (never enlarged).
    segment(picture: Picture, *, min_hole_um2: float, min_piece_um2: float) -> Mask
        The tissue on a reduced picture, (H, W) bool, all False where there is none; holes and pieces smaller than the
        two areas need not be kept apart: the outlines drop them in any case.

A method never sees the spots. Outlines, areas, limits and the agreement with the spots are measured alike for all
(`spotweave.tissue.section`), and so is what kind of picture it is.
"""

from __future__ import annotations

from spotweave.registry import Registry

TISSUE_METHODS = Registry("tissue/methods", "tissue method")
