"""The picture that nuclei are judged by: where they are dense on the slide, and the densest place with outlines."""

from __future__ import annotations

from collections.abc import Sequence
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
GAP_PX = 12
CLOSE_UM_PER_PX = 0.3  # of the close view: a lymphocyte is some 25 px wide
MOST_ENLARGED = 3.0
CELL_UM = 50.0
DENSE_PER_MM2 = 10_000.0  # deepest colour
HEAT = cv2.COLORMAP_MAGMA
PALE, COVER = 0.45, 0.75  # what is left of the slide beneath, and how much of it is covered
SUBPIXEL_BITS = 3

Box = tuple[float, float, float, float]


def write_picture(
    path: Path,
    windows: Windows,
    table: Path,
    xy_px: NDArray[np.float64],
    tissue: Sequence[shapely.Polygon],
    pixel_size_um: float,
) -> None:
    """Write the two views side by side, PNG or JPEG by the suffix of `path`.

    Parameters
    ----------
    table
        The nuclei, as `files.write_nuclei` left them.
    xy_px
        (N, 2) their centroids.
    tissue
        Polygons in slide px; what the whole view shows.
    """
    around: Box = tuple(shapely.total_bounds(list(tissue))) if len(tissue) else (0, 0, *_size(windows))
    whole = _density(windows, xy_px, around, pixel_size_um)
    close = _outlined(windows, table, xy_px, pixel_size_um)
    drawn = np.full((SIDE_PX, 2 * SIDE_PX + GAP_PX, 3), 255, np.uint8)
    drawn[: whole.shape[0], : whole.shape[1]] = whole
    drawn[:, SIDE_PX + GAP_PX :] = close
    pyvips.Image.new_from_array(drawn, interpretation="srgb").write_to_file(str(path))


def _size(windows: Windows) -> tuple[int, int]:
    return windows.width_px, windows.height_px


def _counts(xy_px: NDArray[np.float64], cell_px: float, shape: tuple[int, int]) -> NDArray[np.float64]:
    """(rows, columns): nuclei in squares of `cell_px` from the slide's corner."""
    at = np.clip((xy_px // cell_px).astype(int), 0, (shape[1] - 1, shape[0] - 1))
    return np.bincount(at[:, 1] * shape[1] + at[:, 0], minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)


def _squares(windows: Windows, cell_px: float) -> tuple[int, int]:
    return int(np.ceil(windows.height_px / cell_px)), int(np.ceil(windows.width_px / cell_px))


def _density(windows: Windows, xy_px: NDArray[np.float64], around: Box, pixel_size_um: float) -> NDArray[np.uint8]:
    """The tissue, pale, under nuclei per mm2: yellow to black, as many as `DENSE_PER_MM2`."""
    step = max(around[2] - around[0], around[3] - around[1]) / SIDE_PX
    left, top = int(around[0] // step), int(around[1] // step)
    width, height = (min(SIDE_PX, round((around[at + 2] - around[at]) / step)) for at in (0, 1))
    slide = windows.read(left, top, width, height, step)
    cell_px = CELL_UM / pixel_size_um
    counts = _counts(xy_px, cell_px, _squares(windows, cell_px))
    share = np.clip(counts / (CELL_UM**2 * 1e-6 * DENSE_PER_MM2), 0, 1)
    scale = step / cell_px
    matrix = np.array([[scale, 0, (left + 0.5) * scale - 0.5], [0, scale, (top + 0.5) * scale - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    smooth = cv2.warpAffine(share.astype(np.float32), matrix, (width, height), flags=flags)
    heat = cv2.applyColorMap(np.rint(255 * (1 - smooth)).astype(np.uint8), HEAT)[..., ::-1]
    grey = 255 - PALE * (255 - slide.mean(axis=2, keepdims=True))
    weight = COVER * np.clip(smooth * 10, 0, 1)[..., None]
    return np.asarray(np.rint(grey * (1 - weight) + heat * weight), dtype=np.uint8)


def _outlined(windows: Windows, table: Path, xy_px: NDArray[np.float64], pixel_size_um: float) -> NDArray[np.uint8]:
    """The densest place, with the outlines of its nuclei in the colours of their classes."""
    step = max(1 / MOST_ENLARGED, CLOSE_UM_PER_PX / pixel_size_um)
    half = SIDE_PX * step / 2
    counts = _counts(xy_px, half, _squares(windows, half))
    # A view is two by two squares.
    views = cv2.filter2D(counts, -1, np.ones((2, 2)), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(int(views.argmax()), views.shape)
    left, top = int(column) * SIDE_PX // 2, int(row) * SIDE_PX // 2
    pixels = windows.read(left, top, SIDE_PX, SIDE_PX, step)
    (x0, y0), (x1, y1) = (left * step, top * step), ((left + SIDE_PX) * step, (top + SIDE_PX) * step)
    inside = [("x_px", ">=", x0), ("x_px", "<", x1), ("y_px", ">=", y0), ("y_px", "<", y1)]
    there = pq.read_table(table, columns=["geometry", "class"], filters=inside)
    for name, outline in zip(there["class"].to_pylist(), shapely.from_wkb(there["geometry"].to_numpy()), strict=True):
        ring = shapely.get_coordinates(outline.exterior) / step - (left + 0.5, top + 0.5)
        scaled = np.rint(ring * 2**SUBPIXEL_BITS).astype(np.int32)
        cv2.polylines(pixels, [scaled], True, colour_of(name), 1, cv2.LINE_AA, SUBPIXEL_BITS)
    return pixels
