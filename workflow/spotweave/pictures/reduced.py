"""A picture read reduced, of a pyramid from the level that fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from spotweave.pictures.files import Picture, as_rgb, open_picture, undecodable

ANY_HEIGHT = 10_000_000


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
        If the picture cannot be read, or is none as it stands (`files.open_picture`).
    """
    factor = min(1.0, factor)
    opened = open_picture(slide)
    full = opened.image
    width = max(1, round(full.width * factor))
    try:
        if opened.is_plain and not opened.is_tiff:
            # The decoder itself reduces, which for JPEG is several times faster; what it warns of, it left out.
            picture = pyvips.Image.thumbnail(
                str(slide), width, height=ANY_HEIGHT, size="down", no_rotate=True, fail_on="warning"
            )
            rgb = as_rgb(picture).numpy()
        else:
            rgb = _from_levels(opened, width, 2 * factor * full.width)
    except pyvips.Error as error:
        raise undecodable(slide, error) from error
    return rgb, (full.width / rgb.shape[1], full.height / rgb.shape[0])


def _from_levels(opened: Picture, width: int, fine_enough_px: float) -> NDArray[np.uint8]:
    """The coarsest level that is so wide, reduced; where it is damaged a finer one, and at last the picture itself."""
    fine_enough = [level for level in opened.levels if level.width_px >= fine_enough_px]
    for level in sorted(fine_enough, key=lambda level: level.width_px):
        try:
            return _shrunk(level.load(), width)
        except pyvips.Error:
            continue
    return _shrunk(opened.image, width)


def _shrunk(picture: pyvips.Image, width: int) -> NDArray[np.uint8]:
    return as_rgb(picture.thumbnail_image(width, height=ANY_HEIGHT, size="down", no_rotate=True)).numpy()
