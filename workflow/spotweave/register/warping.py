"""One grid brought onto another by a map, through its inverse at the nodes of a coarse lattice."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spotweave.geometry import apply
from spotweave.register.rasters import Raster
from spotweave.slide_map import SlideMap

STEP_PX = 16


def onto(moving: Raster, fixed: Raster, found: SlideMap) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """`moving` (native um) drawn on the grid of `fixed` (native slide px).

    Returns
    -------
    (H, W) uint8 signal, 0 where there is none, and (H, W) bool where there is one.
    """
    x, y = sources(moving, fixed, found)
    drawn = cv2.remap(moving.signal, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    width, height = moving.size_px
    return np.asarray(drawn), np.asarray((x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1))


def sources(moving: Raster, fixed: Raster, found: SlideMap) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each px of `fixed` comes from: x and y (H, W) float32, indices into `moving`."""
    width, height = fixed.size_px
    columns, rows = (side // STEP_PX + 2 for side in (width, height))
    j, i = np.meshgrid(np.arange(columns), np.arange(rows))
    nodes = np.column_stack([j.ravel(), i.ravel()]).astype(np.float64) * STEP_PX + 0.5
    um = found.to_um(apply(fixed.to_native, nodes))
    at = apply(np.asarray(np.linalg.inv(moving.to_native), dtype=np.float64), um) - 0.5
    # Nodes stand at whole px: node k is px k * STEP_PX, and between them the map is linear enough.
    lattice = at.reshape(rows, columns, 2).astype(np.float32)
    px = np.meshgrid(np.arange(width, dtype=np.float32) / STEP_PX, np.arange(height, dtype=np.float32) / STEP_PX)
    x, y = (cv2.remap(np.ascontiguousarray(lattice[..., k]), px[0], px[1], cv2.INTER_LINEAR) for k in (0, 1))
    return np.asarray(x), np.asarray(y)
