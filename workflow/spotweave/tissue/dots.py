"""Dots printed on an array slide: round, dark, of one size and one distance, beside the tissue."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage import measure

from spotweave.tissue.masks import Mask, dilated
from spotweave.tissue.picture import Picture

DIAMETER_UM = (45.0, 140.0)
"""Of Visium's frame dots 90 um; at 16 um a pixel they come out blurred."""
CONTRAST_SIGMAS_UM = (12.0, 90.0)
DENSITY_MIN = 0.03
"""Above the surroundings, in the mean of the colours."""
SOLIDITY_MIN = 0.8
ROUNDNESS_MIN = 0.6
"""Minor by major axis."""
PITCH_UM = (120.0, 190.0)
NEIGHBOURS_MIN = 2
COUNT_MIN = 24
MARGIN_UM = 40.0


def printed_dots(picture: Picture, tissue: Mask) -> Mask:
    """(H, W) bool, discs over the dots; empty where there are fewer than `COUNT_MIN`."""
    px = picture.pixel_size_um
    density = picture.density.mean(axis=2)
    narrow, wide = (picture.smoothed(density, sigma) for sigma in CONTRAST_SIGMAS_UM)
    spot = (narrow - wide > DENSITY_MIN) & picture.valid & ~dilated(tissue, MARGIN_UM / px)
    labels, _ = ndimage.label(ndimage.binary_fill_holes(spot))
    pieces = [piece for piece in measure.regionprops(labels) if _is_round(piece, px)]
    if len(pieces) < COUNT_MIN:
        return np.zeros_like(tissue)
    centres_um = np.array([piece.centroid for piece in pieces]) * px
    tree = cKDTree(centres_um)
    near, far = (np.array([len(found) for found in tree.query_ball_point(centres_um, r)]) for r in PITCH_UM)
    kept = far - near >= NEIGHBOURS_MIN
    if kept.sum() < COUNT_MIN:
        return np.zeros_like(tissue)
    numbers = [piece.label for piece, keep in zip(pieces, kept, strict=True) if keep]
    return np.isin(labels, numbers)


def _is_round(piece: measure._regionprops.RegionProperties, pixel_size_um: float) -> bool:
    low, high = DIAMETER_UM
    if not low <= piece.equivalent_diameter_area * pixel_size_um <= high:
        return False
    return bool(piece.solidity >= SOLIDITY_MIN and piece.axis_minor_length >= ROUNDNESS_MIN * piece.axis_major_length)
