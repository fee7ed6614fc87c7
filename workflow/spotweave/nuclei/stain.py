"""What differs between slides for methods that look at how dark nuclei are: stain, sharpness, and pixels too coarse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLED_TILES = 12  # from all over the tissue, that a slide is measured on
SHARPNESS_PX = 512  # the middle of each that tells how sharp outlines are
COARSE_UM_PER_PX = 0.7  # slides of coarser pixels hold too little of small nuclei and of gaps between them
DARK, LIGHT = 0.005, 0.75  # quantiles of red on stained tissue
GLASS = 0.92  # of the lightest: what is lighter in red is glass, lumen or fat
LEAST_CONTRAST = 12.0  # grey levels: with less between dark and light, nothing is stained


@dataclass(frozen=True)
class Stain:
    """What is taken from the whole slide: red (0-255) of nuclei and between them, gradient of outlines per um."""

    dark: float
    light: float
    gradient: float


def red_range(reds: Sequence[NDArray[np.float32]]) -> tuple[float, float] | None:
    """Red of the darkest nuclei and of what lies between, from the smoothed red (H, W) of tiles; None if unstained."""
    if not reds:
        return None
    every = np.concatenate([red.ravel() for red in reds])
    stained = every[every < GLASS * np.quantile(every, 0.999)]
    if not len(stained):
        return None
    dark, light = (float(one) for one in np.quantile(stained, [DARK, LIGHT]))
    return (dark, light) if light - dark >= LEAST_CONTRAST else None


def middle(shape: Sequence[int]) -> tuple[slice, slice]:
    """The part of a tile (H, W, ...) that tells how sharp outlines are."""
    rows, columns = (slice(max(0, (n - SHARPNESS_PX) // 2), (n + SHARPNESS_PX) // 2) for n in shape[:2])
    return rows, columns


def quality(pixel_size_um: float) -> dict[str, str]:
    """What is to be said of nuclei found on a slide of such pixels; nothing where they are fine enough."""
    if pixel_size_um <= COARSE_UM_PER_PX:
        return {}
    return {"quality": f"low: {pixel_size_um:.3g} um a pixel, best is {COARSE_UM_PER_PX} or less"}
