"""The picture that nuclei are judged by: where they are dense on the slide, and the densest place with outlines."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pyvips
import shapely
from numpy.typing import NDArray

from spotweave.nuclei.files import colour_of
from spotweave.nuclei.tiles import Windows

SIDE_PX = 900
CLOSE_UM_PER_PX = 0.25  # finer slides are reduced to it
CELL_UM = 50.0
STRENGTH = 0.65
GAP_PX = 12
DENSE_PER_MM2 = 10_000.0  # full colour
SUBPIXEL_BITS = 3


def write_picture(path: Path, windows: Windows, table: Path, xy_px: NDArray[np.float64], pixel_size_um: float) -> None:
    """Write the two views side by side, PNG or JPEG by the suffix of `path`.

    Parameters
    ----------
    table
        The nuclei, as `files.write_nuclei` left them.
    xy_px
        (N, 2) their centroids.
    """
    whole = _density(windows, xy_px, pixel_size_um)
    close = _outlined(windows, table, xy_px, pixel_size_um)
    height = max(len(whole), len(close))
    views = [np.pad(one, ((0, height - len(one)), (0, 0), (0, 0)), constant_values=255) for one in (whole, close)]
    gap = np.full((height, GAP_PX, 3), 255, np.uint8)
    drawn = np.concatenate([views[0], gap, views[1]], axis=1)
    pyvips.Image.new_from_array(drawn, interpretation="srgb").write_to_file(str(path))


def _counts(windows: Windows, xy_px: NDArray[np.float64], cell_px: float) -> NDArray[np.float64]:
    """(rows, columns): nuclei in squares of `cell_px` from the slide's corner."""
    shape = (int(np.ceil(windows.height_px / cell_px)), int(np.ceil(windows.width_px / cell_px)))
    at = np.clip((xy_px // cell_px).astype(int), 0, (shape[1] - 1, shape[0] - 1))
    return np.bincount(at[:, 1] * shape[1] + at[:, 0], minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)


def _density(windows: Windows, xy_px: NDArray[np.float64], pixel_size_um: float) -> NDArray[np.uint8]:
    """The whole slide, red where nuclei are dense."""
    step = max(windows.width_px, windows.height_px) / SIDE_PX
    width, height = max(1, round(windows.width_px / step)), max(1, round(windows.height_px / step))
    slide = windows.read(0, 0, width, height, step)
    counts = _counts(windows, xy_px, CELL_UM / pixel_size_um)
    share = np.clip(counts / (CELL_UM**2 * 1e-6 * DENSE_PER_MM2), 0, 1).astype(np.float32)
    # Squares at the border of the slide reach beyond it.
    cell_px = CELL_UM / pixel_size_um
    matrix = np.array([[step / cell_px, 0, 0], [0, step / cell_px, 0]])
    weight = cv2.warpAffine(share, matrix, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    red = np.array([220.0, 0.0, 0.0])
    weight = STRENGTH * weight[..., None]
    return np.asarray(np.rint(slide * (1 - weight) + red * weight), dtype=np.uint8)


def _outlined(windows: Windows, table: Path, xy_px: NDArray[np.float64], pixel_size_um: float) -> NDArray[np.uint8]:
    """The densest place, with the outlines of its nuclei in the colours of their classes."""
    step = max(1.0, CLOSE_UM_PER_PX / pixel_size_um)
    side = SIDE_PX * step
    counts = _counts(windows, xy_px, side / 2)
    # A window of two by two squares.
    windowed = cv2.filter2D(counts, -1, np.ones((2, 2)), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(int(windowed.argmax()), windowed.shape)
    left, top = round(column * SIDE_PX / 2), round(row * SIDE_PX / 2)
    pixels = windows.read(left, top, SIDE_PX, SIDE_PX, step)
    (x0, y0), (x1, y1) = (left * step, top * step), ((left + SIDE_PX) * step, (top + SIDE_PX) * step)
    inside = [("x_px", ">=", x0), ("x_px", "<", x1), ("y_px", ">=", y0), ("y_px", "<", y1)]
    there = pq.read_table(table, columns=["geometry", "class"], filters=inside)
    for name, outline in zip(there["class"].to_pylist(), shapely.from_wkb(there["geometry"].to_numpy()), strict=True):
        ring = shapely.get_coordinates(outline.exterior) / step - (left + 0.5, top + 0.5)
        scaled = np.rint(ring * 2**SUBPIXEL_BITS).astype(np.int32)
        cv2.polylines(pixels, [scaled], True, colour_of(name), 1, cv2.LINE_AA, SUBPIXEL_BITS)
    return pixels
