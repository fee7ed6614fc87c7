"""A slide read reduced, from the pyramid level that fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from spotweave.errors import Refusal

ANY_HEIGHT = 10_000_000


def as_rgb(picture: pyvips.Image) -> pyvips.Image:
    """Any picture as three bands of 8 bits, transparency laid on white."""
    if picture.hasalpha():
        picture = picture.flatten(background=[255])
    if picture.interpretation != "srgb":
        picture = picture.colourspace("srgb")
    return picture.cast("uchar") if picture.format != "uchar" else picture


def read_reduced(slide: Path, factor: float) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Read a slide at `factor` (at most 1) times its size, streaming; of a pyramid only the level needed.

    Returns
    -------
    (H, W, 3) uint8, and how many level-0 px make one of its px along x and along y.

    Raises
    ------
    Refusal
        If the slide cannot be read.
    """
    try:
        size = pyvips.Image.new_from_file(str(slide), access="sequential")
        width = max(1, round(size.width * min(1.0, factor)))
        picture = pyvips.Image.thumbnail(str(slide), width, height=ANY_HEIGHT, size="down", no_rotate=True)
        rgb = as_rgb(picture).numpy()
    except pyvips.Error as error:
        line = str(error).strip().splitlines()[0]
        raise Refusal(f"{slide.name} cannot be read as a picture ({line}); check or replace the file") from error
    return rgb, (size.width / rgb.shape[1], size.height / rgb.shape[0])
