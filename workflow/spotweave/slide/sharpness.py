"""How sharp a patch is, in a unit that slides share."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spotweave.slide.resample import Pixels

# The grid that sharpness is measured on: every slide within the pixel-size limit holds what it holds.
GRID_UM = 1.0
# Variance of what JPEG and rounding leave on that grid, grey levels squared, and how much of it the derivatives pass.
NOISE = 0.1
NOISE_IN_GRADIENT, NOISE_IN_LAPLACIAN = 0.37, 5.0
# Squared gradient, grey levels per grid px, below which there is nothing to be sharp.
STRUCTURE = 0.5
SMALLEST_PX = 16
# What OpenCV's filters of 3 px are to be divided by.
SOBEL_SUM, LAPLACIAN_SUM = 8, 4


def focus(patch: Pixels, um_per_px: float) -> float:
    """Root mean square frequency of the edges, radians per um; 0 where there is nothing to see.

    The square root of the ratio of two energies of the grey picture at 1 um/px (or its own, where that is coarser): of
    its Laplacian and of its gradient, that is, of <k^4 S> and <k^2 S> for a power spectrum S. Strength of stain
    cancels; flat parts and glass add to neither. An edge blurred by a Gaussian of `s` um has 1 / (sqrt(2) s). The noise
    that JPEG leaves is taken off both.

    Parameters
    ----------
    patch
        (H, W, 3) uint8, RGB.
    """
    if not patch.size:  # of a spot beyond the slide nothing is left
        return 0.0
    grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, um_per_px / GRID_UM)
    width, height = (round(side * scale) for side in grey.shape[::-1])
    if min(width, height) < SMALLEST_PX:
        return 0.0
    plane = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    # Derivatives of whole grey levels are whole numbers, which 16 bits hold: exact, and half the work.
    gradient = sum(_energy(cv2.Sobel(plane, cv2.CV_16S, *axis, ksize=3)) for axis in ((1, 0), (0, 1))) / SOBEL_SUM**2
    laplacian = _energy(cv2.Laplacian(plane, cv2.CV_16S, ksize=3)) / LAPLACIAN_SUM**2
    edges, bends = gradient - NOISE * NOISE_IN_GRADIENT, laplacian - NOISE * NOISE_IN_LAPLACIAN
    if edges < STRUCTURE:
        return 0.0
    step_um = um_per_px * grey.shape[1] / width
    return float(np.sqrt(max(bends, 0.0) / edges)) / step_um


def _energy(derivative: NDArray[Any]) -> float:
    """Mean square, without the border, whose neighbours are made up."""
    inner = derivative[1:-1, 1:-1]
    return float(cv2.norm(inner, cv2.NORM_L2SQR)) / inner.size
