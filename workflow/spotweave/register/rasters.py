"""Pictures and outlines as signals of nuclei on grids of known um: what absorbs red in the H&E, what is bright in DAPI.

A signal is a grid of bytes; `Raster.contrast` takes from it what can be compared across stains: the local contrast,
with slow shading taken out and the strength evened out.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spotweave.geometry import Points

OD_MAX = 2.0  # an optical density that only ink and folds reach
NUCLEUS_RADIUS_UM = 3.5
FINE_UM, BACKGROUND_UM, EVENING_UM = 0.8, 10.0, 50.0  # sigmas of Gaussians
FINE_PX, BACKGROUND_PX, EVENING_PX = 0.6, 4.0, 16.0  # and their least, on coarse grids
FLOOR = 0.5  # of the root mean square contrast: what is weaker is not made as strong as the rest


@dataclass(frozen=True)
class Raster:
    """A signal on a grid.

    Attributes
    ----------
    signal
        (H, W) uint8, high at nuclei.
    scale
        Native units (slide px, or um of an instrument) of one px along x and y.
    um_per_px
        um of one px.
    origin
        Native place of its top-left corner; native = origin + px * scale.
    """

    signal: NDArray[np.uint8]
    scale: tuple[float, float]
    um_per_px: float
    origin: tuple[float, float] = (0.0, 0.0)

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        return self.signal.shape[1], self.signal.shape[0]

    @property
    def to_native(self) -> NDArray[np.float64]:
        """(3, 3), px of the grid -> native units."""
        (width, height), (left, top) = self.scale, self.origin
        return np.array([[width, 0.0, left], [0.0, height, top], [0.0, 0.0, 1.0]])

    def at(self, um_per_px: float) -> Raster:
        """The same on a coarser grid of about so many um; never on a finer one."""
        factor = self.um_per_px / um_per_px
        if factor >= 0.99:
            return self
        width, height = (max(1, round(side * factor)) for side in self.size_px)
        signal = cv2.resize(self.signal, (width, height), interpolation=cv2.INTER_AREA)
        ratio = (self.size_px[0] / width, self.size_px[1] / height)
        um = self.um_per_px * float(np.sqrt(ratio[0] * ratio[1]))
        scale = (self.scale[0] * ratio[0], self.scale[1] * ratio[1])
        return Raster(np.asarray(signal), scale, um, self.origin)

    def contrast(self) -> NDArray[np.float32]:
        """(H, W) local contrast, about -3 to 3, near 0 on glass."""
        return local_contrast(self.signal.astype(np.float32), self.um_per_px)


def local_contrast(signal: NDArray[np.float32], um_per_px: float) -> NDArray[np.float32]:
    """A band of a signal from nuclei down, divided by its own strength around."""
    fine, background, evening = (
        max(um / um_per_px, px)
        for um, px in ((FINE_UM, FINE_PX), (BACKGROUND_UM, BACKGROUND_PX), (EVENING_UM, EVENING_PX))
    )
    band = blur(signal, fine) - blur(signal, background)
    power = blur(band * band, evening)
    floor = FLOOR**2 * float(power[power > power.mean()].mean()) if power.any() else 1.0
    return np.asarray(band / np.sqrt(power + max(floor, 1e-6)), dtype=np.float32)


def blur(signal: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """A Gaussian blur; wide ones on a reduced grid, which differs by nothing that matters and takes no time."""
    step = int(sigma // 4)
    if step < 2 or min(signal.shape) < 4 * step:
        return np.asarray(cv2.GaussianBlur(signal, (0, 0), sigma, borderType=cv2.BORDER_REFLECT))
    height, width = signal.shape
    small = cv2.resize(signal, (-(-width // step), -(-height // step)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def of_stain(rgb: NDArray[np.uint8], scale: tuple[float, float], um_per_px: float) -> Raster:
    """An H&E (H, W, 3): the optical density of its red, which haematoxylin absorbs and eosin hardly does.

    White is the picture's own brightest, so that a grey or yellow lamp changes nothing.
    """
    red = rgb[..., 0]
    white = max(float(np.percentile(red[:: max(1, red.shape[0] // 1000), :: max(1, red.shape[1] // 1000)], 99)), 32.0)
    density = -np.log10(np.clip((np.arange(256) + 1.0) / (white + 1.0), 1e-3, 1.0))
    table = np.clip(density / OD_MAX * 255, 0, 255).astype(np.uint8)
    return Raster(np.asarray(cv2.LUT(red, table)), scale, um_per_px)


def of_fluorescence(
    grey: NDArray[np.uint16] | NDArray[np.uint8], scale: tuple[float, float], um_per_px: float
) -> Raster:
    """A fluorescence picture (H, W): 0 at its darkest, 255 at its 99.8th percentile; the root keeps pale nuclei."""
    sample = grey[:: max(1, grey.shape[0] // 2000), :: max(1, grey.shape[1] // 2000)]
    lit = sample[sample > 0]
    low, high = np.percentile(lit, [1, 99.8]) if lit.size else (0.0, 1.0)
    even = np.clip((grey.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1.0)), 0, 1)
    return Raster((np.sqrt(even) * 255).astype(np.uint8), scale, um_per_px)


def of_centres(centres_um: Points, um_per_px: float, size_um: tuple[float, float]) -> Raster:
    """Centres of cells or nuclei (N, 2), um, as discs of a nucleus' size."""
    width, height = (max(1, int(np.ceil(side / um_per_px))) for side in size_um)
    at = np.floor(centres_um / um_per_px).astype(np.intp)
    inside = ((at >= 0) & (at < (width, height))).all(axis=1)
    dots = np.zeros((height, width), dtype=np.float32)
    np.add.at(dots, (at[inside, 1], at[inside, 0]), 1.0)
    sigma = NUCLEUS_RADIUS_UM / um_per_px / 1.5
    peak = 1 / (2 * np.pi * max(sigma, 0.4) ** 2)
    lit = cv2.GaussianBlur(dots, (0, 0), max(sigma, 0.4)) / peak
    return Raster((np.clip(lit, 0, 1) * 255).astype(np.uint8), (um_per_px, um_per_px), um_per_px)
