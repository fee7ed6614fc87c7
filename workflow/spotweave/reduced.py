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

    That is the coarsest level with twice the resolution asked for: averaging takes out most of the noise that JPEG
    has put into every level.

    Returns
    -------
    (H, W, 3) uint8, and how many level-0 px make one of its px along x and along y.

    Raises
    ------
    Refusal
        If the slide cannot be read.
    """
    factor = min(1.0, factor)
    try:
        full = pyvips.Image.new_from_file(str(slide), access="sequential")
        width = max(1, round(full.width * factor))
        level = _level(slide, full, factor)
        if level is None:
            picture = pyvips.Image.thumbnail(str(slide), width, height=ANY_HEIGHT, size="down", no_rotate=True)
        else:
            picture = level.thumbnail_image(width, height=ANY_HEIGHT, size="down", no_rotate=True)
        rgb = as_rgb(picture).numpy()
    except pyvips.Error as error:
        line = str(error).strip().splitlines()[0]
        raise Refusal(f"{slide.name} cannot be read as a picture ({line}); check or replace the file") from error
    return rgb, (full.width / rgb.shape[1], full.height / rgb.shape[0])


def _level(slide: Path, full: pyvips.Image, factor: float) -> pyvips.Image | None:
    """The pyramid level to reduce from; None where the picture is no pyramid."""
    if full.get_typeof("n-pages") == 0 or full.get("n-pages") == 1:
        return None
    levels = [pyvips.Image.new_from_file(str(slide), page=page) for page in range(1, full.get("n-pages"))]
    fine_enough = [level for level in levels if level.width >= 2 * factor * full.width]
    return min(fine_enough, key=lambda level: level.width, default=full)
