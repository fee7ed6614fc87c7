"""Folds: bands where tissue lies twice, and so absorbs about twice what it does on both sides, in the same hue.

Glands, vessels and follicles are as dark, but bluer than what surrounds them, or no bands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import filters, measure, morphology

from spotweave.tissue.masks import Mask, Plane, closed, dilated, gaussian
from spotweave.tissue.picture import BLUE, GREEN, RED, Picture

LOCAL_SIGMA_UM = 20.0
AROUND_SIGMA_UM = 200.0
STRONG, WEAK = 1.8, 1.5
"""Optical density of a fold against its surroundings: somewhere at least, and everywhere."""
DARKEST_SHARE = 0.1
"""A fold is as dark as the darkest tenth of the tissue."""
HUE_MAX = 0.15
"""Most that the shares of red and blue in a fold's density differ from those around, relatively, in its median."""
WIDTH_MIN_UM, WIDTH_MAX_UM = 24.0, 300.0
LENGTH_MIN_UM = 300.0
ELONGATION_MIN = 3.5


def folds(picture: Picture, tissue: Mask) -> Mask:
    """(H, W) bool."""
    if not tissue.any():
        return tissue
    px = picture.pixel_size_um
    local = [_within(picture.density[..., channel], tissue, LOCAL_SIGMA_UM / px) for channel in range(3)]
    candidate = np.zeros_like(tissue)
    # Once with all tissue as surroundings, and once without what was found to be dark.
    for _ in range(2):
        others = tissue & ~dilated(candidate, 3 * LOCAL_SIGMA_UM / px)
        around = [_within(picture.density[..., c], others, AROUND_SIGMA_UM / px) for c in range(3)]
        ratio = local[GREEN] / np.maximum(around[GREEN], 0.02)
        usual = local[GREEN][others if others.any() else tissue]
        dark = tissue & (local[GREEN] > np.quantile(usual, 1 - DARKEST_SHARE))
        candidate = filters.apply_hysteresis_threshold(np.where(dark, ratio, 0), WEAK, STRONG)
    labels, count = ndimage.label(closed(candidate, WIDTH_MIN_UM / px) & tissue, np.ones((3, 3)))
    kept = _are_bands(labels, count, px)
    for channel in (RED, BLUE):
        hue, hue_around = (of[channel] / np.maximum(of[GREEN], 0.02) for of in (local, around))
        differs = np.abs(hue / np.maximum(hue_around, 0.02) - 1)
        kept[1:] &= np.asarray(ndimage.median(differs, labels, np.arange(1, count + 1))) < HUE_MAX
    return kept[labels]


def _within(plane: Plane, mask: Mask, sigma_px: float) -> Plane:
    weight = gaussian(mask.astype(np.float32), sigma_px)
    return (gaussian(plane * mask, sigma_px) / np.maximum(weight, 1e-4)).astype(np.float32)


def _are_bands(labels: NDArray[np.int32], count: int, pixel_size_um: float) -> Mask:
    """(count + 1,) bool by label: the pieces that are long and narrow."""
    kept = np.zeros(count + 1, bool)
    for piece in measure.regionprops(labels):
        area_um2 = piece.area * pixel_size_um**2
        if area_um2 < LENGTH_MIN_UM * WIDTH_MIN_UM:
            continue
        length_um = morphology.skeletonize(piece.image_filled).sum() * pixel_size_um
        width_um = area_um2 / max(length_um, pixel_size_um)
        kept[piece.label] = (
            length_um >= LENGTH_MIN_UM
            and WIDTH_MIN_UM <= width_um <= WIDTH_MAX_UM
            and length_um >= ELONGATION_MIN * width_um
        )
    return kept
