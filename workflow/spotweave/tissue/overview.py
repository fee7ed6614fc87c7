"""The reduced picture that tissue is searched on, and the picture that shows what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyvips
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from skimage import segmentation

from spotweave.errors import Refusal
from spotweave.tissue import polygons as outlines

CONTOUR_RGB = (0, 200, 0)
ANY_HEIGHT = 10_000_000


def read_reduced(
    slide: Path, pixel_size_um: float, target_pixel_size_um: float
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Read a slide reduced to about a pixel size, from the pyramid level that fits, streaming.

    Parameters
    ----------
    slide
        Any picture libvips reads; of a pyramid only the level needed is read.
    pixel_size_um
        Size of a level-0 pixel.
    target_pixel_size_um
        Size wanted; a slide that is coarser is read as it is.

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
        width = max(1, round(size.width * min(1.0, pixel_size_um / target_pixel_size_um)))
        picture = pyvips.Image.thumbnail(str(slide), width, height=ANY_HEIGHT, size="down", no_rotate=True)
        rgb = _as_rgb(picture)
    except pyvips.Error as error:
        line = str(error).strip().splitlines()[0]
        raise Refusal(f"{slide.name} cannot be read as a picture ({line}); check or replace the file") from error
    return rgb, (size.width / rgb.shape[1], size.height / rgb.shape[0])


def write_overlay(
    path: Path,
    rgb: NDArray[np.uint8],
    polygons: Sequence[shapely.Polygon],
    scale: tuple[float, float],
    max_side_px: int = 1000,
) -> None:
    """Draw the outlines on a picture of at most `max_side_px` and write it, PNG or JPEG by the suffix of `path`.

    `rgb` (H, W, 3) uint8 and `scale` are what `read_reduced` returned; `polygons` are in level-0 px.
    """
    factor = min(1.0, max_side_px / max(rgb.shape[:2]))
    small = pyvips.Image.new_from_array(rgb, interpretation="srgb").thumbnail_image(
        max(1, round(rgb.shape[1] * factor)), height=ANY_HEIGHT, size="down"
    )
    drawn = _as_rgb(small).copy()
    height, width = drawn.shape[:2]
    small_scale = (scale[0] * rgb.shape[1] / width, scale[1] * rgb.shape[0] / height)
    mask = outlines.to_mask(polygons, (height, width), small_scale)
    drawn[ndimage.binary_dilation(segmentation.find_boundaries(mask, mode="inner"))] = CONTOUR_RGB
    pyvips.Image.new_from_array(drawn, interpretation="srgb").write_to_file(str(path))


def _as_rgb(picture: pyvips.Image) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of any picture, transparency laid on white."""
    picture = picture.colourspace("srgb")
    if picture.hasalpha():
        picture = picture.flatten(background=[255, 255, 255])
    return picture.cast("uchar").numpy()[..., :3]
