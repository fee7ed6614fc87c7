"""The picture that shows what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyvips
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from skimage import segmentation

from spotweave.pictures.files import as_rgb
from spotweave.pictures.reduced import ANY_HEIGHT
from spotweave.tissue import polygons as outlines

CONTOUR_RGB = (0, 200, 0)


def write_overlay(
    path: Path,
    rgb: NDArray[np.uint8],
    polygons: Sequence[shapely.Polygon],
    scale: tuple[float, float],
    max_side_px: int = 1000,
    marks: Mapping[str, Sequence[shapely.Polygon]] | None = None,
) -> None:
    """Draw outlines on a picture of at most `max_side_px` and write it, PNG or JPEG by the suffix of `path`.

    Marks are drawn in the colours of their kinds.

    `rgb` (H, W, 3) uint8 and `scale` are what `read_reduced` returned; `polygons` are in level-0 px.
    """
    factor = min(1.0, max_side_px / max(rgb.shape[:2]))
    small = pyvips.Image.new_from_array(rgb, interpretation="srgb").thumbnail_image(
        max(1, round(rgb.shape[1] * factor)), height=ANY_HEIGHT, size="down"
    )
    drawn = as_rgb(small).numpy().copy()
    height, width = drawn.shape[:2]
    small_scale = (scale[0] * rgb.shape[1] / width, scale[1] * rgb.shape[0] / height)
    for kind, found in {"tissue": polygons, **(marks or {})}.items():
        mask = outlines.to_mask(found, (height, width), small_scale)
        edge = segmentation.find_boundaries(mask, mode="inner")
        drawn[ndimage.binary_dilation(edge)] = outlines.MARK_COLOURS.get(kind, CONTOUR_RGB)
    pyvips.Image.new_from_array(drawn, interpretation="srgb").write_to_file(str(path))
