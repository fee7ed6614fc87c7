"""The H&E of a deposit as the ways of placing look at it: what its header says, and how it is read reduced."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spotweave.align.lattice import Picture
from spotweave.deposits.raw import raw_file
from spotweave.pictures.header import read_header
from spotweave.pictures.reduced import read_reduced

# At a factor of the picture's size: (H, W, 3) uint8, and its px in one of the result's along x and y.
ReadReduced = Callable[[float], tuple[NDArray[np.uint8], tuple[float, float]]]


def open_picture(manifest: Path) -> tuple[Picture, ReadReduced]:
    """The picture of a sample (`raw.json`), and what reads it.

    Raises
    ------
    Refusal
        It is no picture that can be read.
    """
    image = raw_file(manifest, "image")
    header = read_header(image)
    picture = Picture(image.name, (header.width_px, header.height_px), header.pixel_size_um)
    return picture, partial(read_reduced, image)
