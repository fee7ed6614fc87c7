"""Masks grown, opened and closed by distances in um; none of them is changed by the border of the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import morphology

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]


def dilated(mask: Mask, distance_px: float) -> Mask:
    """`mask` and all that lies up to `distance_px` from it."""
    if not mask.any():
        return mask
    return ndimage.distance_transform_edt(~mask) <= distance_px


def closed(mask: Mask, width_px: float) -> Mask:
    """Closing by a disc of diameter `width_px`; the border of the picture neither adds nor removes anything."""
    radius_px = width_px / 2
    padding = int(np.ceil(radius_px)) + 1
    found = morphology.isotropic_closing(np.pad(mask, padding, mode="edge"), radius_px)
    return found[padding:-padding, padding:-padding] | mask


def opened(mask: Mask, width_px: float) -> Mask:
    """Opening by a disc of diameter `width_px`; the border of the picture counts as more of the same."""
    radius_px = width_px / 2
    padding = int(np.ceil(radius_px)) + 1
    found = morphology.isotropic_opening(np.pad(mask, padding, mode="edge"), radius_px)
    return found[padding:-padding, padding:-padding] & mask


def gaussian(plane: NDArray[Any], sigma_px: float) -> Plane:
    """Gaussian mean of a plane (H, W) float32, cut off at three sigma."""
    return ndimage.gaussian_filter(plane, sigma_px, mode="nearest", truncate=3.0)
