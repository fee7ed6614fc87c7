"""Pictures by which a person sees whether a registration holds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyvips
from numpy.typing import NDArray

from spotweave.geometry import apply
from spotweave.pictures.files import open_picture
from spotweave.register.evidence import Slide
from spotweave.register.rasters import Raster
from spotweave.register.warping import onto
from spotweave.slide_map import SlideMap

WHOLE_PX, WINDOW_PX, WINDOW_UM = 1000, 500, 250.0
SQUARES = 12
OUTLINE_RGB, WINDOW_RGB, TEXT_RGB = (0, 255, 255), (0, 90, 255), (0, 0, 0)
CAPTION_PX, GAP_PX = 26, 6


def write_overlay(path: Path, slide: Slide, moving: Raster, found: SlideMap, caption: str) -> None:
    """The whole H&E with the outlines of DAPI's nuclei in cyan, and two windows of it at their full zoom.

    Parameters
    ----------
    path
        PNG.
    slide
        The H&E.
    moving
        Signal of the instrument, native um.
    found
        The accepted map.
    caption
        A line of text above.
    """
    factor = WHOLE_PX / max(slide.rgb.shape[:2])
    whole = _resized(slide.rgb, factor)
    height, width = whole.shape[:2]
    grid = Raster(
        np.zeros((height, width), np.uint8),
        (slide.raster.scale[0] * slide.rgb.shape[1] / width, slide.raster.scale[1] * slide.rgb.shape[0] / height),
        slide.raster.um_per_px / factor,
    )
    drawn, cover = onto(moving.at(grid.um_per_px), grid, found)
    whole = _outlined(whole, drawn, max(3.0, 20 / grid.um_per_px))
    windows = []
    for number, (x, y) in enumerate(_windows(drawn, cover, WINDOW_UM / grid.um_per_px), 1):
        half = WINDOW_UM / grid.um_per_px / 2
        corners = [(round(x - half), round(y - half)), (round(x + half), round(y + half))]
        cv2.rectangle(whole, corners[0], corners[1], WINDOW_RGB, 2)
        beside = (corners[0][0] + 3, corners[0][1] - 4)
        cv2.putText(whole, str(number), beside, cv2.FONT_HERSHEY_SIMPLEX, 0.6, WINDOW_RGB, 2)
        middle = apply(grid.to_native, np.array([[x, y]]))[0]
        windows.append(_window(slide, moving, found, (float(middle[0]), float(middle[1]))))
    column = np.full((max(height, 2 * WINDOW_PX + GAP_PX), WINDOW_PX, 3), 255, np.uint8)
    for number, window in enumerate(windows):
        top = number * (WINDOW_PX + GAP_PX)
        column[top : top + WINDOW_PX] = window
    sheet = np.full((column.shape[0] + CAPTION_PX, width + GAP_PX + WINDOW_PX, 3), 255, np.uint8)
    sheet[CAPTION_PX : CAPTION_PX + height, :width] = whole
    sheet[CAPTION_PX:, width + GAP_PX :] = column
    cv2.putText(sheet, caption, (4, CAPTION_PX - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.5, TEXT_RGB, 1, cv2.LINE_AA)
    _write(path, sheet)


def write_checkerboard(path: Path, slide: Slide, moving: Raster, found: SlideMap) -> None:
    """Squares of the H&E and of DAPI brought onto it, in turn, over what both show."""
    factor = 1.5 * WHOLE_PX / max(slide.rgb.shape[:2])
    whole = _resized(slide.rgb, min(factor, 1.0))
    height, width = whole.shape[:2]
    grid = Raster(
        np.zeros((height, width), np.uint8),
        (slide.raster.scale[0] * slide.rgb.shape[1] / width, slide.raster.scale[1] * slide.rgb.shape[0] / height),
        slide.raster.um_per_px * slide.rgb.shape[1] / width,
    )
    drawn, cover = onto(moving.at(grid.um_per_px), grid, found)
    dark = np.stack([drawn // 4, drawn // 2, drawn], axis=-1)
    y, x = np.mgrid[:height, :width] // max(1, max(height, width) // SQUARES)
    other = ((x + y) % 2 == 1) & cover
    _write(path, np.where(other[..., None], dark, whole).astype(np.uint8))


def _resized(rgb: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    size = (max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR))


def _outlined(rgb: NDArray[np.uint8], signal: NDArray[np.uint8], background_px: float) -> NDArray[np.uint8]:
    """A picture with the outlines of what is bright against its surroundings."""
    smooth = cv2.GaussianBlur(signal.astype(np.float32), (0, 0), 1.0)
    around = cv2.GaussianBlur(signal.astype(np.float32), (0, 0), background_px)
    lit = (smooth > around + 20).astype(np.uint8)
    contours, _ = cv2.findContours(lit, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    drawn = rgb.copy()
    cv2.drawContours(drawn, [one for one in contours if len(one) > 4], -1, OUTLINE_RGB, 1)
    return drawn


def _windows(signal: NDArray[np.uint8], cover: NDArray[np.bool_], side: float) -> list[tuple[float, float]]:
    """Middles of the two windows, far apart, that show most nuclei without being the densest heaps."""
    strength = cv2.blur(signal.astype(np.float32) * cover, (max(3, round(side)),) * 2)
    good = strength >= np.quantile(strength[strength > 0], 0.75) if (strength > 0).any() else strength >= 0
    y, x = np.nonzero(good)
    along = (x + y).astype(np.float64)
    inside = max(1.0, side / 2)
    found = []
    for share in (0.1, 0.9):
        n = int(np.argsort(along, kind="stable")[int(share * (len(along) - 1))])
        found.append(
            (
                float(np.clip(x[n], inside, max(inside, signal.shape[1] - inside))),
                float(np.clip(y[n], inside, max(inside, signal.shape[0] - inside))),
            )
        )
    return found


def _window(slide: Slide, moving: Raster, found: SlideMap, middle_px: tuple[float, float]) -> NDArray[np.uint8]:
    """One window of the H&E as filed with the outlines, `WINDOW_PX` a side."""
    side = WINDOW_UM / found.pixel_size_um
    left, top = (round(at - side / 2) for at in middle_px)
    left = min(max(left, 0), max(0, slide.header.width_px - round(side)))
    top = min(max(top, 0), max(0, slide.header.height_px - round(side)))
    width, height = min(round(side), slide.header.width_px - left), min(round(side), slide.header.height_px - top)
    # Streams once, from the top: a crop is all that is kept of it.
    crop = np.asarray(open_picture(slide.path).image.crop(left, top, width, height).numpy())
    way = cv2.INTER_AREA if side > WINDOW_PX else cv2.INTER_LINEAR
    window = cv2.resize(crop, (WINDOW_PX, WINDOW_PX), interpolation=way)
    step = (width / WINDOW_PX, height / WINDOW_PX)
    grid = Raster(np.zeros((WINDOW_PX, WINDOW_PX), np.uint8), step, WINDOW_UM / WINDOW_PX, (float(left), float(top)))
    drawn, _ = onto(moving, grid, found)
    return _outlined(np.asarray(window), drawn, 20 * WINDOW_PX / WINDOW_UM)


def _write(path: Path, rgb: NDArray[np.uint8]) -> None:
    pyvips.Image.new_from_array(rgb, interpretation="srgb").pngsave(str(path), strip=True)
