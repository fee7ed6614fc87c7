"""Where a slide is out of focus: fine detail against coarse detail, measured on the slide in strips.

A lens out of focus takes the fine detail first and leaves the coarse. So the energy of a fine band of the picture
(difference of Gaussians) is held against that of a band four times as coarse, in tissue, in windows of some 100 um.
What a tissue is hardly matters: fat, stroma and tumour of real sections have .33 to 1.1 (fine pair) and .19 to 1.5
(coarse pair), and at most .10 and .35 once they are blurred by a Gaussian of 2 um, .14 and .04 by one of 5 um.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import morphology

from spotweave.tissue.masks import Mask, Plane, closed, gaussian, opened
from spotweave.tissue.methods import Slide

FINEST_UM = 1.0
COARSEST_UM = 2.0
"""um per px of the strips: a slide coarser than this shows no difference between sharp and blurred nuclei."""
CELLS_PER_STRIP = 32
SIGMAS_PX = (1.0, 2.0, 4.0, 8.0)
HALO_PX = 24
WINDOW_SIGMA_UM = 40.0
FINE_RATIO_MIN = 0.13
COARSE_RATIO_MIN = 0.07
WIDTH_UM = 100.0
AREA_MIN_UM2 = 20_000.0


def blurred(slide: Slide, tissue: Mask, pixel_size_um: float) -> Mask | None:
    """Tissue that is out of focus.

    Parameters
    ----------
    tissue
        (H, W) bool on the reduced picture, whose px have `pixel_size_um`.

    Returns
    -------
    (H, W) bool; None where the slide is too coarse to tell.
    """
    cell_px = min(int(pixel_size_um / FINEST_UM), int(pixel_size_um / slide.pixel_size_um + 1e-6))
    if cell_px < 1 or pixel_size_um / cell_px > COARSEST_UM:
        return None
    if not tissue.any():
        return tissue
    weight = tissue.astype(np.float32)
    sigma = WINDOW_SIGMA_UM / pixel_size_um
    first, second, third, fourth = (gaussian(band * weight, sigma) for band in _energies(slide, tissue.shape, cell_px))
    soft = (first < FINE_RATIO_MIN * third) | (second < COARSE_RATIO_MIN * fourth)
    found = opened(closed(soft & tissue, WIDTH_UM / 2 / pixel_size_um) & tissue, WIDTH_UM / pixel_size_um)
    return morphology.remove_small_objects(found, max_size=max(1, round(AREA_MIN_UM2 / pixel_size_um**2)))


def _energies(slide: Slide, shape: tuple[int, ...], cell_px: int) -> list[Plane]:
    """Mean energy of each band in each cell, finest band first: (H, W) float32 each."""
    height, width = shape[0] * cell_px, shape[1] * cell_px
    rows = CELLS_PER_STRIP * cell_px
    energies = [np.zeros(shape, np.float32) for _ in SIGMAS_PX]
    above = np.empty((0, width), np.float32)
    middle: NDArray[np.float32] | None = None
    start = 0
    # Each strip is measured once the next is there: Gaussians look over its borders.
    for top, strip in slide.strips(width, height, rows):
        below = strip[..., 1].astype(np.float32)
        if middle is not None:
            _measure(energies, above, middle, below[:HALO_PX], start // cell_px, cell_px)
            above = middle[-HALO_PX:]
        middle, start = below, top
    if middle is not None:
        _measure(energies, above, middle, middle[:0], start // cell_px, cell_px)
    return energies


def _measure(
    energies: list[Plane],
    above: NDArray[np.float32],
    middle: NDArray[np.float32],
    below: NDArray[np.float32],
    row: int,
    cell_px: int,
) -> None:
    finer = np.concatenate([above, middle, below])
    inner = slice(len(above), len(above) + len(middle))
    cells = (len(middle) // cell_px, cell_px, middle.shape[1] // cell_px, cell_px)
    whole = finer
    for energy, sigma in zip(energies, SIGMAS_PX, strict=True):
        coarser = cv2.GaussianBlur(whole, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        band = (finer[inner] - coarser[inner]) ** 2
        energy[row : row + cells[0]] = band.reshape(cells).mean(axis=(1, 3))
        finer = coarser
