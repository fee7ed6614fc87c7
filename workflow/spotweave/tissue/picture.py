"""A reduced picture of a section against its bare glass: optical density, stain, ink, and what kind of picture it is.

Haematoxylin and eosin absorb green more than red or blue, so *stain* = green optical density above that of the clearer
of the two others; the shadow of the frame, bubbles, hairs and black ink are grey and have none. Felt pens leave the
wedge of hues between eosin and haematoxylin. Everything is measured against the colour of the bare glass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import morphology

from spotweave.tissue.masks import Mask, Plane, dilated, gaussian, opened

MIN_SIGMA_PX = 0.5
RED, GREEN, BLUE = 0, 1, 2
CONTENT_DENSITY = 0.15
GLASS_DENSITY = 0.05


@dataclass(frozen=True, slots=True)
class GlassSettings:
    """Sizes in um, areas in um2, thresholds in optical density (natural logarithm) unless said otherwise."""

    smoothing_um: float = 8.0
    """Of the colours that are looked at."""

    ink_density: float = 0.5
    ink_red_to_green: float = 1.35
    """Blue and green ink absorb red much more than green; haematoxylin reaches 1.2."""
    ink_blue_to_green: float = 0.85
    """Red, green and black ink absorb blue as much as green; tissue stays below 0.8."""
    ink_blue: tuple[float, float] = (1.15, 0.38)
    """Blue ink over tissue: more red than so many times the green, and less blue (haematoxylin has .43 and more)."""
    ink_width_um: float = 80.0
    ink_min_area_um2: float = 50_000.0
    ink_margin_um: float = 60.0

    masked_level: int = 40
    """Pixels darker than this in all channels, in areas above `masked_min_area_um2`, were painted over."""
    masked_min_area_um2: float = 100_000.0
    masked_margin_px: float = 1.5
    tint_max: float = 0.10
    """Glass is never tinted beyond this stain density: a "background" above it is tissue, and white is taken."""

    glass_gradient_sigma_um: float = 12.0
    glass_smoothest_share: float = 0.3
    """The colour of the glass is looked for among this share of the picture, the smoothest..."""
    glass_peak_share: float = 0.1
    """... as the brightest colour at least this frequent relative to the most frequent one..."""
    glass_peak_width: int = 4
    """... give or take these grey levels of green..."""
    glass_margin_um: float = 40.0
    """... and not next to painted-over areas, where the picture's compression rings."""


@dataclass(frozen=True)
class Look:
    """What kind of picture it is.

    Attributes
    ----------
    stain_share
        Median share of stain in the green density of what is not bare: grey 0, haematoxylin .5, eosin .9; 0 without
        any.
    content_mm2
        Area of what is not bare, mm2.
    glass_share
        Share of the picture that is bare glass; without any, the colour of the glass is assumed.
    blacked_out_share
        Share of the picture that was painted over.
    light_share
        Median of the darkest channel of what was not painted over, as a share of the brightest colours there (99th
        percentile): bright field lets most light through, fluorescence in false colours has a channel that is black.
    """

    stain_share: float
    content_mm2: float
    glass_share: float
    blacked_out_share: float
    light_share: float


def optical_density(rgb: NDArray[Any], background: NDArray[Any]) -> Plane:
    """Optical density ln((background + 1) / (rgb + 1)), (H, W, 3) float32; negative where brighter than it.

    Beer-Lambert as in Ruifrok & Johnston 2001; the 1 keeps black pixels finite.
    """
    return (np.log(np.asarray(background, np.float32) + 1) - np.log(rgb.astype(np.float32) + 1)).astype(np.float32)


def stain_density(density: NDArray[Any]) -> NDArray[Any]:
    """Optical density in green above the clearer of red and blue: eosin spares red, haematoxylin blue; grey is 0.

    `density` is (..., 3); the result has its leading shape.
    """
    return density[..., GREEN] - np.minimum(density[..., RED], density[..., BLUE])


class Picture:
    """One reduced picture with the maps that all ways to find tissue on it may share.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    pixel_size_um
        Size of one pixel of `rgb`.

    Attributes
    ----------
    density
        (H, W, 3) float32 optical density against the glass; 0 where the picture was painted over.
    valid
        (H, W) bool, False where it was painted over and where there is ink.
    painted_over, ink
        (H, W) bool; ink without its soft rims.
    sees_glass
        Whether the colour of the glass was found rather than assumed.

    Raises
    ------
    ValueError
        If `rgb` is no 8-bit RGB picture or the pixel size is not positive.
    """

    def __init__(self, rgb: NDArray[np.uint8], pixel_size_um: float, settings: GlassSettings | None = None) -> None:
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"expected an (H, W, 3) uint8 picture, got {rgb.shape} {rgb.dtype}")
        if not pixel_size_um > 0:
            raise ValueError(f"the pixel size must be positive, got {pixel_size_um}")
        self.rgb = rgb
        self.pixel_size_um = pixel_size_um
        self.settings = settings = settings or GlassSettings()
        painted_over = rgb.max(axis=2) <= settings.masked_level
        painted_over = morphology.remove_small_objects(painted_over, max_size=self.pixels(settings.masked_min_area_um2))
        # The px along its edge are mixed with it, by reduction and by the picture's compression.
        self.valid: Mask = ~dilated(painted_over, settings.masked_margin_px)
        self.painted_over: Mask = ~self.valid
        self._weights: dict[float, Plane] = {}
        self.sees_glass = True
        self.density = optical_density(rgb, self._background_colour(rgb))
        self.density[~self.valid] = 0
        self.blacked_out_share = 1 - float(self.valid.mean())
        self.ink: Mask = self._ink()
        self.valid &= ~dilated(self.ink, settings.ink_margin_um / pixel_size_um)
        self._weights.clear()

    def look(self) -> Look:
        """Content is what is darker than glass, painted-over areas left out, ink left in."""
        green = self.density[..., GREEN]
        content = green > CONTENT_DENSITY
        return Look(
            stain_share=self.stain_share(content),
            content_mm2=float(content.sum()) * self.pixel_size_um**2 / 1e6,
            glass_share=float((self.valid & (np.abs(green) <= GLASS_DENSITY)).mean()),
            blacked_out_share=self.blacked_out_share,
            light_share=self._light_share(),
        )

    def stain_share(self, within: Mask) -> float:
        """Median share of stain in the green density of what is darker than glass `within` (H, W); 0 without any."""
        green = self.density[..., GREEN]
        content = within & (green > CONTENT_DENSITY)
        shares = stain_density(self.density[content]) / green[content]
        return float(np.median(shares)) if shares.size else 0.0

    def pixels(self, area_um2: float) -> int:
        """How many pixels an area is, at least one."""
        return max(1, round(area_um2 / self.pixel_size_um**2))

    def smoothed(self, plane: NDArray[Any], sigma_um: float) -> Plane:
        """Gaussian mean over the pixels that count (normalised convolution: Knutsson & Westin 1993)."""
        sigma_px = max(sigma_um / self.pixel_size_um, MIN_SIGMA_PX)
        plane = plane.astype(np.float32, copy=False)
        if self.valid.all():
            return gaussian(plane, sigma_px)
        if sigma_px not in self._weights:
            self._weights[sigma_px] = np.maximum(gaussian(self.valid.astype(np.float32), sigma_px), 1e-6)
        return gaussian(plane * self.valid, sigma_px) / self._weights[sigma_px]

    def gradient(self, plane: NDArray[Any], sigma_um: float) -> Plane:
        """Magnitude of the gradient of a plane (H, W), per px, at a scale of `sigma_um`."""
        return ndimage.gaussian_gradient_magnitude(plane, max(sigma_um / self.pixel_size_um, MIN_SIGMA_PX))

    def _light_share(self) -> float:
        seen = self.rgb[~self.painted_over]
        if not seen.size:
            return 0.0
        return float(np.median(seen.min(axis=1)) / max(np.quantile(seen.max(axis=1), 0.99), 1.0))

    def _background_colour(self, rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(3,) colour of the brightest frequent smooth part of the picture, or its white if that part is stained."""
        settings = self.settings
        if not self.valid.any():
            return np.full(3, 255.0)
        planes = [self.smoothed(rgb[..., c].astype(np.float32), settings.smoothing_um) for c in range(3)]
        channels = np.stack(planes, axis=-1)
        green = channels[..., GREEN]
        gradient = self.gradient(green, settings.glass_gradient_sigma_um)
        inner = ~dilated(~self.valid, settings.glass_margin_um / self.pixel_size_um)
        inner = inner if inner.any() else self.valid
        smooth = inner & (gradient <= np.quantile(gradient[inner], settings.glass_smoothest_share))
        counts = np.bincount(np.clip(green[smooth], 0, 255).astype(int), minlength=256).astype(float)
        frequency = np.pad(ndimage.gaussian_filter1d(counts, 3, mode="constant"), 1)
        level = frequency[1:-1]
        peaks = (level >= frequency[:-2]) & (level >= frequency[2:])
        peaks &= level >= settings.glass_peak_share * level.max()
        near_peak = smooth & (np.abs(green - np.flatnonzero(peaks).max()) <= settings.glass_peak_width)
        colour: NDArray[np.float64] = np.median(channels[near_peak if near_peak.any() else smooth], axis=0)
        white = np.full(3, colour.max())
        tint = float(stain_density(optical_density(colour, white)))
        self.sees_glass = tint <= self.settings.tint_max
        return colour if self.sees_glass else white

    def _ink(self) -> Mask:
        """Broad strokes of a hue that haematoxylin and eosin do not give."""
        settings = self.settings
        red, green, blue = (self.smoothed(self.density[..., c], settings.smoothing_um) for c in range(3))
        dense = np.maximum(np.maximum(red, green), blue) > settings.ink_density
        hue = (red > settings.ink_red_to_green * green) | (blue > settings.ink_blue_to_green * green)
        more_red, less_blue = settings.ink_blue
        hue |= (red > more_red * green) & (blue < less_blue * green)
        stroke = opened(dense & hue & self.valid, settings.ink_width_um / self.pixel_size_um)
        return morphology.remove_small_objects(stroke, max_size=self.pixels(settings.ink_min_area_um2))
