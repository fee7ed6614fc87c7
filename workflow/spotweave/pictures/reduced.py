"""A picture read reduced, of a pyramid from the level that fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from spotweave.pictures.files import as_rgb, load_page, open_picture, undecodable

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
        else:
            levels = [as_rgb(load_page(slide, page, opened.fail_on)) for page in opened.levels]
            fine_enough = [level for level in levels if level.width >= 2 * factor * full.width]
            level = min(fine_enough, key=lambda level: level.width, default=full)
            picture = level.thumbnail_image(width, height=ANY_HEIGHT, size="down", no_rotate=True)
        rgb = as_rgb(picture).numpy()
    except pyvips.Error as error:
        raise undecodable(slide, error) from error
    return rgb, (full.width / rgb.shape[1], full.height / rgb.shape[0])
