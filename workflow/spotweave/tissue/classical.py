"""Tissue on an H&E section from stain colour, texture and edges, without a trained model.

Four facts tell tissue from what else lies on an array slide:

* haematoxylin and eosin absorb green more than red or blue, so *stain* = green optical density above that of the
  clearer of the two others; the shadow of the frame, bubbles, hairs and black ink are grey and have none;
* tissue has *texture* at the scale of nuclei and fibres, while stain that bled into the mounting medium is smooth;
* tissue ends in a sharp edge, a halo fades; a watershed on the gradient therefore stops at the former only;
* felt pens leave the wedge of hues between eosin and haematoxylin.

Everything is measured against the colour of the bare glass: first one colour for the picture, then a smooth surface
that follows tints and halos. All sizes are micrometres and all thresholds optical densities, one set for all slides.
The method never sees the spots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import filters, morphology, segmentation

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

MIN_SIGMA_PX = 0.5
RED, GREEN, BLUE = 0, 1, 2
CONTENT_DENSITY = 0.15
GLASS_DENSITY = 0.05
SURFACE_SIGMA_CELLS = 4.0
"""The background surface is computed in cells of a fourth of its smoothing: its stain changes by 4e-4 rms."""
SURFACE_FULL_TRUST = 0.05
"""Share of background in its surroundings from which a pixel takes its background from there alone."""


@dataclass(frozen=True, slots=True)
class TissueSettings:
    """Sizes in um, areas in um2, thresholds in optical density (natural logarithm) unless said otherwise."""

    working_pixel_size_um: float = 8.0
    """Pictures are reduced to this before they are segmented (never enlarged)."""

    stain_sigma_um: float = 16.0
    """Smoothing of the stain that decides what is tissue: about one nucleus."""
    edge_sigma_um: float = 8.0
    """Smoothing of the stain that decides where it ends."""
    texture_window_um: float = 24.0
    """Window of the local standard deviation of the stain."""
    gradient_sigma_um: float = 16.0

    strong_stain_range: tuple[float, float] = (0.06, 0.15)
    """Otsu's threshold is kept in this range: below is noise of an empty slide, above would be a cut inside tissue."""
    weak_share: float = 0.4
    """Tissue reaches from strong stain down to this share of its threshold."""
    noise_factor: float = 4.0
    """Weak stain is at least this many standard deviations (from the MAD) of the background."""
    background_noise_factor: float = 2.0

    smooth_texture: float = 0.010
    """Where neither stain nor green has this much texture, stain has bled or glass is tinted: not tissue..."""
    smooth_texture_noise_factor: float = 2.5
    """... and so is what has less than this many times the median texture of the background."""
    smooth_texture_max: float = 0.025
    """... up to this: where hardly any glass is left, what is called background is edges, more textured than tissue."""
    smooth_sigma_um: float = 40.0
    smooth_stain_max: float = 0.25
    """... unless it is stained this strongly (white matter of an overstained section is smooth at 8 um/px)."""
    smooth_width_um: float = 80.0
    """Smooth zones narrower than this are gaps between fibres."""

    surface_passes: tuple[tuple[float, float], ...] = ((150.0, 200.0), (50.0, 100.0))
    """(distance kept from tissue, smoothing), both um, of the background surface, one pair a pass."""

    ink_density: float = 0.5
    ink_red_to_green: float = 1.35
    """Blue and green ink absorb red much more than green; haematoxylin reaches 1.2."""
    ink_blue_to_green: float = 0.85
    """Red, green and black ink absorb blue as much as green; tissue stays below 0.8."""
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

    gap_um: float = 80.0
    """Gaps up to this width are closed."""
    min_hole_um2: float = 50_000.0
    min_piece_um2: float = 50_000.0


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
    """

    stain_share: float
    content_mm2: float
    glass_share: float
    blacked_out_share: float


def segment(rgb: NDArray[np.uint8], pixel_size_um: float, settings: TissueSettings | None = None) -> Mask:
    """Find the tissue on a reduced picture of an H&E section.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8, reduced to about `settings.working_pixel_size_um`.
    pixel_size_um
        Size of one pixel of `rgb`.

    Returns
    -------
    (H, W) bool, all False where there is no tissue.

    Raises
    ------
    ValueError
        If `rgb` is no 8-bit RGB picture or the pixel size is not positive.
    """
    return segment_and_look(rgb, pixel_size_um, settings)[0]


def segment_and_look(
    rgb: NDArray[np.uint8], pixel_size_um: float, settings: TissueSettings | None = None
) -> tuple[Mask, Look]:
    """`segment`, and what kind of picture it is."""
    settings = settings or TissueSettings()
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"expected an (H, W, 3) uint8 picture, got {rgb.shape} {rgb.dtype}")
    if not pixel_size_um > 0:
        raise ValueError(f"the pixel size must be positive, got {pixel_size_um}")
    section = _Section(rgb, pixel_size_um, settings)
    return section.tissue(), section.look()


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


class _Section:
    """One picture with the maps that all steps share."""

    def __init__(self, rgb: NDArray[np.uint8], pixel_size_um: float, settings: TissueSettings) -> None:
        self.pixel_size_um = pixel_size_um
        self.settings = settings
        painted_over = rgb.max(axis=2) <= settings.masked_level
        painted_over = morphology.remove_small_objects(painted_over, max_size=self.pixels(settings.masked_min_area_um2))
        # The px along its edge are mixed with it, by reduction and by the picture's compression.
        self.valid: Mask = ~self._dilate(painted_over, settings.masked_margin_px * pixel_size_um)
        self.painted_over: Mask = ~self.valid
        self.weights: dict[float, Plane] = {}
        self.sees_glass = True
        self.density = optical_density(rgb, self._background_colour(rgb))
        self.density[~self.valid] = 0
        self.blacked_out_share = 1 - float(self.valid.mean())
        self.valid &= ~self._ink()
        self.weights.clear()

    def tissue(self) -> Mask:
        """The mask: a first guess by watershed, then thresholds above a background surface that follows the glass."""
        if not self.valid.any():
            return self.valid
        tissue, smooth = self._first_guess()
        for margin_um, sigma_um in self.settings.surface_passes:
            away = self.valid & ~self._dilate(tissue, margin_um)
            stain_of = self.density - self._background_surface(away, sigma_um)
            tissue = self._above_background(stain_density(stain_of), away) & ~smooth
            tissue = self._tidy(tissue)
        return tissue

    def look(self) -> Look:
        """Content is what is darker than glass, painted-over areas left out, ink left in."""
        green = self.density[..., GREEN]
        content = green > CONTENT_DENSITY
        shares = stain_density(self.density[content]) / green[content]
        return Look(
            stain_share=float(np.median(shares)) if shares.size else 0.0,
            content_mm2=float(content.sum()) * self.pixel_size_um**2 / 1e6,
            glass_share=float((self.valid & (np.abs(green) <= GLASS_DENSITY)).mean()),
            blacked_out_share=self.blacked_out_share,
        )

    def pixels(self, area_um2: float) -> int:
        return max(1, round(area_um2 / self.pixel_size_um**2))

    def smoothed(self, plane: NDArray[Any], sigma_um: float) -> Plane:
        """Gaussian mean over the pixels that count (normalised convolution: Knutsson & Westin 1993)."""
        sigma_px = max(sigma_um / self.pixel_size_um, MIN_SIGMA_PX)
        plane = plane.astype(np.float32, copy=False)
        if self.valid.all():
            return _gaussian(plane, sigma_px)
        if sigma_px not in self.weights:
            self.weights[sigma_px] = np.maximum(_gaussian(self.valid.astype(np.float32), sigma_px), 1e-6)
        return _gaussian(plane * self.valid, sigma_px) / self.weights[sigma_px]

    def _background_colour(self, rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(3,) colour of the brightest frequent smooth part of the picture, or its white if that part is stained."""
        settings = self.settings
        if not self.valid.any():
            return np.full(3, 255.0)
        planes = [self.smoothed(rgb[..., c].astype(np.float32), settings.edge_sigma_um) for c in range(3)]
        channels = np.stack(planes, axis=-1)
        green = channels[..., GREEN]
        gradient = self._gradient(green, settings.glass_gradient_sigma_um)
        inner = ~self._dilate(~self.valid, settings.glass_margin_um)
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
        """Broad strokes of a hue that haematoxylin and eosin do not give, with their soft rims."""
        settings = self.settings
        red, green, blue = (self.smoothed(self.density[..., c], settings.edge_sigma_um) for c in range(3))
        dense = np.maximum(np.maximum(red, green), blue) > settings.ink_density
        hue = (red > settings.ink_red_to_green * green) | (blue > settings.ink_blue_to_green * green)
        stroke = self._open(dense & hue & self.valid, settings.ink_width_um)
        stroke = morphology.remove_small_objects(stroke, max_size=self.pixels(settings.ink_min_area_um2))
        return self._dilate(stroke, settings.ink_margin_um)

    def _gradient(self, plane: NDArray[Any], sigma_um: float) -> Plane:
        return ndimage.gaussian_gradient_magnitude(plane, max(sigma_um / self.pixel_size_um, MIN_SIGMA_PX))

    def _texture(self, stain: NDArray[Any]) -> Plane:
        window_um = self.settings.texture_window_um
        return np.sqrt(self.smoothed((stain - self.smoothed(stain, window_um)) ** 2, window_um))

    def _strong(self, evidence: Plane) -> float:
        low, high = self.settings.strong_stain_range
        if not self.sees_glass and not self.painted_over.any():
            return low
        # What was painted over was glass to whom painted: without it the cut would lie inside tissue.
        values = np.concatenate([evidence[self.valid], self._painted_glass(evidence)])
        return float(np.clip(filters.threshold_otsu(values), low, high))

    def _painted_glass(self, plane: Plane) -> Plane:
        return np.zeros(int(self.painted_over.sum()), plane.dtype)

    def _first_guess(self) -> tuple[Mask, Mask]:
        """Tissue by watershed between strong stain and bare glass; and the smooth zones, which are no tissue."""
        settings = self.settings
        raw = stain_density(self.density)
        stain = self.smoothed(raw, settings.stain_sigma_um)
        strong = self._strong(stain)
        pale = self.valid & (stain < strong / 2)
        level, spread = _median_and_spread(np.concatenate([stain[pale], self._painted_glass(stain)]))
        bare = self.valid & (stain < level + settings.background_noise_factor * spread)
        bare = morphology.remove_small_objects(bare, max_size=self.pixels(settings.min_hole_um2))

        # Pictures coded with half the colour resolution (JPEG 4:2:0) lose the texture of the stain, not that of green.
        texture = np.maximum(self._texture(raw), self._texture(self.density[..., GREEN]))
        texture = self.smoothed(texture, settings.smooth_sigma_um)
        floor = settings.smooth_texture
        if bare.any():
            noise = settings.smooth_texture_noise_factor * float(np.median(texture[bare]))
            floor = max(floor, min(noise, settings.smooth_texture_max))
        smooth = self.valid & (texture < floor) & (stain < settings.smooth_stain_max)
        smooth = self._open(smooth, settings.smooth_width_um)

        markers = np.zeros(stain.shape, np.int32)
        markers[self.valid & (stain > strong)] = 2
        markers[bare | smooth] = 1
        gradient = self._gradient(self.smoothed(raw, 0.0), settings.gradient_sigma_um)
        # Only marked pixels beside open ones can flood; the queue of the others would cost most of the time.
        open_ones = self.valid & (markers == 0)
        shore = ndimage.binary_dilation(open_ones, np.ones((3, 3), bool)) & self.valid
        flooded = segmentation.watershed(gradient, markers, mask=shore)
        return self._close((flooded == 2) | (markers == 2)), smooth

    def _background_surface(self, away: Mask, sigma_um: float) -> Plane:
        """Optical density of the glass under every pixel, (H, W, 3), from pixels away from tissue.

        Far from any such pixel (inside large tissue) it falls back to their median.
        """
        if not away.any():
            return np.zeros_like(self.density)
        sigma_px = max(sigma_um / self.pixel_size_um, MIN_SIGMA_PX)
        step = max(1, int(sigma_px / SURFACE_SIGMA_CELLS))
        height, width = away.shape
        frame = ((0, -height % step), (0, -width % step))
        weight = _gaussian(_cell_means(np.pad(away, frame).astype(np.float32), step), sigma_px / step)
        trust = np.minimum(1, weight / SURFACE_FULL_TRUST)
        surface = np.empty_like(self.density)
        for channel in range(3):
            plane = self.density[..., channel]
            mean = _gaussian(_cell_means(np.pad(plane * away, frame), step), sigma_px / step) / np.maximum(weight, 1e-6)
            coarse = trust * mean + (1 - trust) * np.median(plane[away])
            surface[..., channel] = ndimage.zoom(coarse, step, order=1, mode="nearest", grid_mode=True)[:height, :width]
        return surface

    def _above_background(self, raw: Plane, away: Mask) -> Mask:
        """Hysteresis on stain and texture together, cut at the stain's own edge (texture reaches over it)."""
        settings = self.settings
        stain = np.maximum(self.smoothed(raw, settings.stain_sigma_um), 0)
        evidence = np.hypot(stain, self._texture(raw))
        strong = self._strong(evidence)
        level, spread = _median_and_spread(np.concatenate([evidence[away], self._painted_glass(evidence)]))
        weak = max(settings.weak_share * strong, level + settings.noise_factor * spread)
        coarse = filters.apply_hysteresis_threshold(evidence, weak, max(strong, weak))
        return coarse & (self.smoothed(raw, settings.edge_sigma_um) > weak) & self.valid

    def _tidy(self, tissue: Mask) -> Mask:
        """Close gaps, fill small holes, drop small pieces; ink and painted-over areas stay out."""
        closed = self._close(tissue) & self.valid
        filled = morphology.remove_small_holes(closed, max_size=self.pixels(self.settings.min_hole_um2))
        return morphology.remove_small_objects(filled, max_size=self.pixels(self.settings.min_piece_um2))

    def _dilate(self, mask: Mask, distance_um: float) -> Mask:
        if not mask.any():
            return mask
        return ndimage.distance_transform_edt(~mask) <= distance_um / self.pixel_size_um

    def _close(self, mask: Mask) -> Mask:
        """Closing by a disc of diameter `gap_um`; the border of the picture neither adds nor removes tissue."""
        radius_px = self.settings.gap_um / 2 / self.pixel_size_um
        padding = int(np.ceil(radius_px)) + 1
        closed = morphology.isotropic_closing(np.pad(mask, padding, mode="edge"), radius_px)
        return closed[padding:-padding, padding:-padding] | mask

    def _open(self, mask: Mask, width_um: float) -> Mask:
        """Opening by a disc of diameter `width_um`; the border of the picture counts as more of the same."""
        radius_px = width_um / 2 / self.pixel_size_um
        padding = int(np.ceil(radius_px)) + 1
        opened = morphology.isotropic_opening(np.pad(mask, padding, mode="edge"), radius_px)
        return opened[padding:-padding, padding:-padding] & mask


def _gaussian(plane: Plane, sigma_px: float) -> Plane:
    return ndimage.gaussian_filter(plane, sigma_px, mode="nearest", truncate=3.0)


def _cell_means(plane: Plane, step: int) -> Plane:
    """Means of step x step cells of a plane whose sides are multiples of `step`."""
    height, width = plane.shape
    return plane.reshape(height // step, step, width // step, step).mean(axis=(1, 3))


def _median_and_spread(values: NDArray[Any]) -> tuple[float, float]:
    """Median and the standard deviation estimated from the median absolute deviation; zeros for no values."""
    if values.size == 0:
        return 0.0, 0.0
    median = float(np.median(values))
    return median, 1.4826 * float(np.median(np.abs(values - median)))
