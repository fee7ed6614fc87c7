"""Tissue on an H&E section from stain colour, texture and edges, without a trained model.

Beside the colour of stains (`spotweave.tissue.picture`), two facts tell tissue from what else lies on an array slide:

* tissue has *texture* at the scale of nuclei and fibres, while stain that bled into the mounting medium is smooth;
* tissue ends in a sharp edge, a halo fades; a watershed on the gradient therefore stops at the former only.

Everything is measured against the bare glass: first one colour for the picture, then a smooth surface that follows
tints and halos. All sizes are micrometres and all thresholds optical densities, one set for all slides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import filters, morphology, segmentation

from spotweave.tissue.masks import Mask, Plane, closed, dilated, gaussian, opened
from spotweave.tissue.picture import GREEN, MIN_SIGMA_PX, Picture, stain_density
from spotweave.tissue.strength import stain_strength, texture_of

WORKING_PIXEL_SIZE_UM = 8.0
SURFACE_SIGMA_CELLS = 4.0
"""The background surface is computed in cells of a fourth of its smoothing: its stain changes by 4e-4 rms."""
SURFACE_FULL_TRUST = 0.05
"""Share of background in its surroundings from which a pixel takes its background from there alone."""


@dataclass(frozen=True, slots=True)
class TissueSettings:
    """Sizes in um, areas in um2, thresholds in optical density (natural logarithm) unless said otherwise."""

    stain_sigma_um: float = 16.0
    """Smoothing of the stain that decides what is tissue: about one nucleus."""
    edge_sigma_um: float = 8.0
    """Smoothing of the stain that decides where it ends."""
    edge_share: float = 0.2
    """... and where less than this share is left of the stain within..."""
    edge_reach_um: float = 24.0
    """... this distance. Without it thin septa come out wider still; with more of it fat comes out full of holes."""
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
    smooth_texture_noise_factors: tuple[float, float] = (1.6, 2.5)
    """... and so is what has less than this many times the median texture of the background: the second, divided by
    the gain, as the texture of a pale section is nearer to the camera's noise, but not less than the first..."""
    smooth_texture_max: float = 0.025
    """... up to this: where hardly any glass is left, what is called background is edges, more textured than tissue."""
    smooth_sigma_um: float = 40.0
    smooth_stain_max: float = 0.25
    """... unless the picture as it is has this much stain there (overstained white matter is smooth at 8 um/px)."""
    smooth_width_um: float = 80.0
    """Smooth zones narrower than this are gaps between fibres."""

    usual_strength: float = 0.3
    """The stain of paler sections is multiplied up to this (`strength.stain_strength`; real ones have .21-.49)..."""
    gain_max: float = 5.0
    """... but not by more than this, as noise and the texture of glass are multiplied with it."""

    surface_passes: tuple[tuple[float, float], ...] = ((150.0, 200.0), (50.0, 100.0))
    """(distance kept from tissue, smoothing), both um, of the background surface, one pair a pass."""

    gap_um: float = 80.0
    """Gaps up to this width are closed."""


def segment(
    picture: Picture, *, min_hole_um2: float, min_piece_um2: float, settings: TissueSettings | None = None
) -> Mask:
    """Find the tissue, (H, W) bool; see `spotweave.tissue.methods`."""
    return _Section(picture, settings or TissueSettings(), min_hole_um2, min_piece_um2).tissue()


class _Section:
    """One picture with the steps from its stain to its tissue."""

    def __init__(self, picture: Picture, settings: TissueSettings, min_hole_um2: float, min_piece_um2: float) -> None:
        self.picture = picture
        self.settings = settings
        self.min_hole_px = picture.pixels(min_hole_um2)
        self.min_piece_px = picture.pixels(min_piece_um2)
        strength = stain_strength(picture)
        self.gain = 1.0
        if strength is not None:
            self.gain = float(np.clip(settings.usual_strength / strength, 1, settings.gain_max))
        self.density = picture.density * np.float32(self.gain)

    def tissue(self) -> Mask:
        """The mask: a first guess by watershed, then thresholds above a background surface that follows the glass."""
        picture = self.picture
        if not picture.valid.any():
            return picture.valid
        tissue, smooth = self._first_guess()
        for margin_um, sigma_um in self.settings.surface_passes:
            away = picture.valid & ~dilated(tissue, margin_um / picture.pixel_size_um)
            stain_of = self.density - self._background_surface(away, sigma_um)
            tissue = self._above_background(stain_density(stain_of), away) & ~smooth
            tissue = self._tidy(tissue)
        return tissue

    def _strong(self, evidence: Plane) -> float:
        low, high = self.settings.strong_stain_range
        if not self.picture.sees_glass and not self.picture.painted_over.any():
            return low
        # What was painted over was glass to whom painted: without it the cut would lie inside tissue.
        values = np.concatenate([evidence[self.picture.valid], self._painted_glass(evidence)])
        return float(np.clip(filters.threshold_otsu(values), low, high))

    def _painted_glass(self, plane: Plane) -> Plane:
        return np.zeros(int(self.picture.painted_over.sum()), plane.dtype)

    def _first_guess(self) -> tuple[Mask, Mask]:
        """Tissue by watershed between strong stain and bare glass; and the smooth zones, which are no tissue."""
        settings = self.settings
        raw = stain_density(self.density)
        stain = self.picture.smoothed(raw, settings.stain_sigma_um)
        strong = self._strong(stain)
        pale = self.picture.valid & (stain < strong / 2)
        level, spread = _median_and_spread(np.concatenate([stain[pale], self._painted_glass(stain)]))
        bare = self.picture.valid & (stain < level + settings.background_noise_factor * spread)
        bare = morphology.remove_small_objects(bare, max_size=self.min_hole_px)

        # Pictures coded with half the colour resolution (JPEG 4:2:0) lose the texture of the stain, not that of green.
        texture = np.maximum(texture_of(self.picture, raw), texture_of(self.picture, self.density[..., GREEN]))
        texture = self.picture.smoothed(texture, settings.smooth_sigma_um)
        floor = settings.smooth_texture
        if bare.any():
            low, high = settings.smooth_texture_noise_factors
            noise = max(low, high / self.gain) * float(np.median(texture[bare]))
            floor = max(floor, min(noise, settings.smooth_texture_max))
        smooth = self.picture.valid & (texture < floor) & (stain < settings.smooth_stain_max * self.gain)
        smooth = opened(smooth, settings.smooth_width_um / self.picture.pixel_size_um)

        markers = np.zeros(stain.shape, np.int32)
        markers[self.picture.valid & (stain > strong)] = 2
        markers[bare | smooth] = 1
        gradient = self.picture.gradient(self.picture.smoothed(raw, 0.0), settings.gradient_sigma_um)
        # Only marked pixels beside open ones can flood; the queue of the others would cost most of the time.
        open_ones = self.picture.valid & (markers == 0)
        shore = ndimage.binary_dilation(open_ones, np.ones((3, 3), bool)) & self.picture.valid
        flooded = segmentation.watershed(gradient, markers, mask=shore)
        return self._close((flooded == 2) | (markers == 2)), smooth

    def _background_surface(self, away: Mask, sigma_um: float) -> Plane:
        """Optical density of the glass under every pixel, (H, W, 3), from pixels away from tissue.

        Far from any such pixel (inside large tissue) it falls back to their median.
        """
        if not away.any():
            return np.zeros_like(self.density)
        sigma_px = max(sigma_um / self.picture.pixel_size_um, MIN_SIGMA_PX)
        step = max(1, int(sigma_px / SURFACE_SIGMA_CELLS))
        height, width = away.shape
        frame = ((0, -height % step), (0, -width % step))
        weight = gaussian(_cell_means(np.pad(away, frame).astype(np.float32), step), sigma_px / step)
        trust = np.minimum(1, weight / SURFACE_FULL_TRUST)
        surface = np.empty_like(self.density)
        for channel in range(3):
            plane = self.density[..., channel]
            mean = gaussian(_cell_means(np.pad(plane * away, frame), step), sigma_px / step) / np.maximum(weight, 1e-6)
            coarse = trust * mean + (1 - trust) * np.median(plane[away])
            surface[..., channel] = ndimage.zoom(coarse, step, order=1, mode="nearest", grid_mode=True)[:height, :width]
        return surface

    def _above_background(self, raw: Plane, away: Mask) -> Mask:
        """Hysteresis on stain and texture together, cut at the stain's own edge (texture reaches over it)."""
        settings = self.settings
        stain = np.maximum(self.picture.smoothed(raw, settings.stain_sigma_um), 0)
        evidence = np.hypot(stain, texture_of(self.picture, raw))
        strong = self._strong(evidence)
        level, spread = _median_and_spread(np.concatenate([evidence[away], self._painted_glass(evidence)]))
        weak = max(settings.weak_share * strong, level + settings.noise_factor * spread)
        coarse = filters.apply_hysteresis_threshold(evidence, weak, max(strong, weak))
        edge = self.picture.smoothed(raw, settings.edge_sigma_um)
        reach_px = 2 * round(settings.edge_reach_um / self.picture.pixel_size_um) + 1
        beside = ndimage.maximum_filter(edge, reach_px)
        return coarse & (edge > np.maximum(weak, settings.edge_share * beside)) & self.picture.valid

    def _tidy(self, tissue: Mask) -> Mask:
        """Close gaps, fill small holes, drop small pieces; ink and painted-over areas stay out."""
        whole = self._close(tissue) & self.picture.valid
        filled = morphology.remove_small_holes(whole, max_size=self.min_hole_px)
        return morphology.remove_small_objects(filled, max_size=self.min_piece_px)

    def _close(self, mask: Mask) -> Mask:
        """Gaps up to `gap_um` closed."""
        return closed(mask, self.settings.gap_um / self.picture.pixel_size_um)


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
