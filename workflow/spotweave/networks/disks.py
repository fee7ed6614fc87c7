"""Superpixels under round spots: which they are, what they hold, and what a spot sums to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUPERPIXEL_PX = 16


def disk_mask(radius: float, ring_width: float | None = None) -> NDArray[np.bool_]:
    """Which superpixels around a centre belong to a disk: (S, S) bool, S = 2 ceil(radius) + 1.

    Parameters
    ----------
    radius
        In superpixels; one whose distance from the centre is the radius is inside.
    ring_width
        Only those at least radius - ring_width from the centre; None is the whole disk.
    """
    reach = math.ceil(radius)
    along = np.arange(-reach, reach + 1)
    squared = along[:, None] ** 2 + along[None, :] ** 2
    inside: NDArray[np.bool_] = squared <= radius**2
    return inside if ring_width is None else inside & (squared >= (radius - ring_width) ** 2)


def grid_places(
    positions_px: NDArray[Any], image_shape: tuple[int, int], grid_shape: tuple[int, int]
) -> NDArray[np.int64]:
    """(N, 2) row and column of the superpixels of (N, 2) positions, x and y in px of the image.

    The side of a superpixel is the whole quotient of the shapes (rows, columns); halves go to the even number, as in
    the published code.
    """
    sides = np.array(image_shape) // np.array(grid_shape)
    return np.rint(np.asarray(positions_px, dtype=np.float64)[:, ::-1] / sides).astype(np.int64)


def under_disks(grid: NDArray[np.float32], places: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(N, K, C): the superpixels under each of N disks, in the order of the mask's rows; NaN beyond the grid.

    Parameters
    ----------
    grid
        (H, W, C).
    places
        (N, 2) row and column of the centres; they may lie beyond the grid.
    mask
        (S, S) of odd side, K of them true.
    """
    offsets = np.argwhere(mask) - np.array(mask.shape) // 2
    at = places[:, None, :] + offsets[None]
    there = ((at >= 0) & (at < np.array(grid.shape[:2]))).all(axis=2)
    out = np.full((*at.shape[:2], grid.shape[2]), np.nan, dtype=grid.dtype)
    out[there] = grid[at[there][:, 0], at[there][:, 1]]
    return out


def disk_sums(grid: NDArray[np.float32], places: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(N, C): what the superpixels under each disk sum to; NaN where one of them is, or lies beyond the grid."""
    sums: NDArray[np.float32] = under_disks(grid, places, mask).sum(axis=1)
    return sums
