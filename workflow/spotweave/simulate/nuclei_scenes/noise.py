"""Fields of noise of a scale or along fibres, cut from a bank of smoothed noise: cheap, and smooth at every scale."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]  # float32 or float64: OpenCV's types do not tell
Rng = np.random.Generator

UM_PER_PX = 0.25
SIDE_PX = 640

BANK_SIDE_PX = 1400
COARSE_PX = 8  # noise is smoothed at up to twice this scale; coarser noise is enlarged
FIBRE_LENGTHS_PX = (20.0, 40.0)
FIBRE_WIDTHS_PX = (1.0, 1.8, 3.0)
FIBRE_MARGIN = 0.75  # of a scene's side: no turned scene leaves the bank by much
STEEPEST = 30  # exp of more overflows float32 or is nothing


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A number whose logarithm is uniform between those of two positive numbers."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def sigmoid(values: Floats, height: float = 1.0) -> Floats:
    """Logistic function of an array, from 0 to `height`."""
    return height / (1 + np.exp(-np.clip(values, -STEEPEST, STEEPEST)))


@lru_cache
def _bank(across_px: float, down_px: float) -> Floats:
    """Noise of mean 0 and variance 1, smoothed by Gaussians of these scales; float32, the same for ever."""
    rng = np.random.default_rng(int(across_px * 100 + down_px * 7))
    field: Floats = rng.standard_normal((BANK_SIDE_PX, BANK_SIDE_PX)).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), across_px, sigmaY=down_px)
    return ((field - field.mean()) / field.std()).astype(np.float32)


def noise(rng: Rng, scale_px: float) -> Floats:
    """Noise of variance about 1 and mean 0, smooth at a scale (standard deviation of a Gaussian).

    Returns
    -------
    (SIDE_PX, SIDE_PX) float32.
    """
    shrink = max(1, int(scale_px // COARSE_PX))
    side_px = -(-SIDE_PX // shrink)
    bank = _bank(scale_px / shrink, scale_px / shrink)
    y, x = rng.integers(0, len(bank) - side_px, 2)
    field = bank[y : y + side_px, x : x + side_px]
    if rng.random() < 0.5:
        field = field[::-1]
    if rng.random() < 0.5:
        field = field.T
    if shrink > 1:
        field = cv2.resize(np.ascontiguousarray(field), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(field - field.mean())


def fibres(rng: Rng, angle: float, wave_px: Floats) -> Floats:
    """Noise of variance about 1, drawn out along a direction and waved.

    Parameters
    ----------
    angle
        Direction in radians, from x towards y.
    wave_px
        (SIDE_PX, SIDE_PX): by how much fibres are moved across their direction.

    Returns
    -------
    (SIDE_PX, SIDE_PX) float32.
    """
    length_px, width_px = rng.choice(FIBRE_LENGTHS_PX), rng.choice(FIBRE_WIDTHS_PX)
    bank = _bank(length_px, width_px)
    cos, sin = np.cos(angle), np.sin(angle)
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX].astype(np.float32) - SIDE_PX / 2
    along = cos * x + sin * y
    across = -sin * x + cos * y + wave_px
    centre = rng.uniform(SIDE_PX * FIBRE_MARGIN, len(bank) - SIDE_PX * FIBRE_MARGIN, 2)
    return cv2.remap(
        bank,
        (along + centre[0]).astype(np.float32),
        (across + centre[1]).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
