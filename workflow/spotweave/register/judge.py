"""What is measured of a candidate map, the same for all of them, and held against limits.

* *gain*: how far the correlation of both signals at the map stands out of those of copies moved by 40 to 200 um, in
  their standard deviations. The highest of all shifts must be the map's own place, and copies turned by some degrees
  must be worse.
* *error*: patches that no fit has seen are looked for within 40 um. The share that is found with a peak that hardly any
  patch has at a wrong place, and the distances (um) of those from where the map puts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from spotweave.geometry import Points, apply
from spotweave.register import matches
from spotweave.register.rasters import Raster, local_contrast
from spotweave.register.warping import onto
from spotweave.slide_map import SlideMap

NEAR_UM, FAR_UM = 40.0, 200.0
REACH_UM = 40.0
PATCHES_MAX = 1200
PATCHES_MIN = 6
BY_CHANCE = 0.02  # of patches at wrong places have a peak as high as one that counts as found
PLANE_PX_MAX = 16e6
SPREAD_MIN = 5e-4  # of correlations of moved copies; less has only an overlap in which there is next to nothing
TURNS_DEG = (-6.0, -3.0, 3.0, 6.0)


@dataclass(frozen=True)
class Judged:
    """What a map measures.

    Attributes
    ----------
    correlation
        Of both signals at the map.
    gain
        In standard deviations of moved copies.
    peak_offset_um
        How far off the best shift lies.
    turned_max
        The highest correlation of turned copies.
    patches, matched_share
        Held-out patches, and the share of them that is found.
    error_um, error_p95_um
        Median and 95th percentile of the distances of those; NaN where none is found.
    loss_um
        Mean over all held-out patches of the distance, `REACH_UM` for one that is not found: what candidates are
        compared by.
    place_px, distance_um
        Of every held-out patch, to compare two candidates patch by patch: top-left corner on the working grid (N, 2),
        and distance.
    """

    correlation: float
    gain: float
    peak_offset_um: float
    turned_max: float
    patches: int
    matched_share: float
    error_um: float
    error_p95_um: float
    loss_um: float
    place_px: NDArray[np.intp]
    distance_um: NDArray[np.float64]

    def report(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "correlation": round(self.correlation, 4),
            "gain": round(self.gain, 2),
            "peak_offset_um": round(self.peak_offset_um, 2),
            "turned_correlation_max": round(self.turned_max, 4),
            "heldout_patches": self.patches,
            "matched_share": round(self.matched_share, 4),
            "error_um": _rounded(self.error_um),
            "error_p95_um": _rounded(self.error_p95_um),
            "loss_um": round(self.loss_um, 3),
        }

    def faults(self, limits: Mapping[str, float]) -> list[tuple[str, float, float]]:
        """What is beyond its limit: (in words, measured, limit); none for a map that may be used."""
        most_um = limits["registration_error_max_um"]
        least_gain, least_share = limits["registration_gain_min"], limits["registration_matched_min"]
        found: list[tuple[str, float, float]] = []
        if self.patches < PATCHES_MIN:
            found.append((f"both pictures share {self.patches} patches with nuclei", self.patches, PATCHES_MIN))
            return found
        if self.gain < least_gain:
            text = f"nuclei agree no better than in copies moved at will ({self.gain:.1f} standard deviations)"
            found.append((text, round(self.gain, 2), least_gain))
        is_lost = not np.isfinite(self.error_um)  # none is found: there are no distances
        if is_lost or self.matched_share < least_share:
            text = f"{self.matched_share:.0%} of the patches are found again"
            found.append((text, round(self.matched_share, 4), least_share))
        if self.error_um > most_um:
            found.append((f"patches lie {self.error_um:.1f} um (median) off", round(self.error_um, 2), most_um))
        if self.error_p95_um > limits["registration_error_p95_max_um"]:
            text = f"patches lie {self.error_p95_um:.1f} um (95th percentile) off"
            found.append((text, round(self.error_p95_um, 2), limits["registration_error_p95_max_um"]))
        if self.peak_offset_um > 2 * most_um:
            text = f"a copy moved by {self.peak_offset_um:.0f} um agrees better"
            found.append((text, round(self.peak_offset_um, 1), 2 * most_um))
        if self.turned_max >= self.correlation:
            found.append(("a turned copy agrees better", round(self.turned_max, 4), round(self.correlation, 4)))
        return found


def _rounded(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None


def judge(fixed: Raster, moving: Raster, found: SlideMap, working_um: float) -> Judged:
    """Measure a map from `moving` (um) to `fixed` (slide px)."""
    still, mover = fixed.at(working_um), moving.at(working_um)
    contrast = still.contrast()
    drawn, cover = onto(mover, still, found)
    moved = local_contrast(drawn.astype(np.float32), still.um_per_px)
    correlation, gain, offset_um = _gain(fixed, moving, found, working_um)
    reach = max(4, round(REACH_UM / still.um_per_px))
    block = matches.BLOCK_UM / still.um_per_px
    tile = int(block)
    corner = matches.centres(contrast, cover, tile, tile, PATCHES_MAX, held_out=True, block=block)
    right = matches.find(contrast, moved, corner, tile, reach)
    limit = matches.chance_peak(contrast, moved, corner, tile, reach, BY_CHANCE)
    distance_um = np.linalg.norm(right.shift_px, axis=1) * still.um_per_px
    is_found = right.peak > limit
    known = distance_um[is_found]
    loss_um = np.where(is_found, np.minimum(distance_um, REACH_UM), REACH_UM)
    return Judged(
        correlation=correlation,
        gain=gain,
        peak_offset_um=offset_um,
        turned_max=max(_turned(fixed, moving, found, working_um)),
        patches=len(right),
        matched_share=float(is_found.mean()) if len(right) else 0.0,
        error_um=float(np.median(known)) if known.size else float("nan"),
        error_p95_um=float(np.percentile(known, 95)) if known.size else float("nan"),
        loss_um=float(loss_um.mean()) if len(right) else REACH_UM,
        place_px=np.asarray(np.round(right.centre_px), dtype=np.intp),
        distance_um=loss_um,
    )


def _plane_um(fixed: Raster, working_um: float) -> float:
    area_um2 = float(np.prod(fixed.size_px)) * fixed.um_per_px**2
    return max(working_um, float(np.sqrt(area_um2 / PLANE_PX_MAX)))


def _gain(fixed: Raster, moving: Raster, found: SlideMap, working_um: float) -> tuple[float, float, float]:
    """Correlation at the map, how far it stands out of the moved copies', and where the best of all shifts lies, um."""
    um = _plane_um(fixed, working_um)
    still, mover = fixed.at(um), moving.at(um)
    first, second, _ = _both(still, mover, found)
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    if scale == 0:
        return 0.0, 0.0, float("inf")
    far = min(int(FAR_UM / still.um_per_px), min(first.shape) // 3)
    shape = tuple(fft.next_fast_len(side + far, real=True) for side in first.shape)
    product = np.conj(fft.rfft2(first, shape)) * fft.rfft2(second, shape)
    whole = fft.irfft2(product, shape) / scale
    window = np.roll(whole, (far, far), axis=(0, 1))[: 2 * far + 1, : 2 * far + 1]
    y, x = np.mgrid[-far : far + 1, -far : far + 1] * still.um_per_px
    distance = np.hypot(x, y)
    null = window[(distance >= min(NEAR_UM, distance.max() / 2)) & (distance <= FAR_UM)]
    here = float(window[far, far])
    best = float(distance.ravel()[int(window.argmax())])
    return here, float((here - null.mean()) / max(float(null.std()), SPREAD_MIN)), best


def _both(
    still: Raster, mover: Raster, found: SlideMap
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Both contrasts where both pictures are, 0 elsewhere."""
    drawn, cover = onto(mover, still, found)
    first = still.contrast() * cover
    second = local_contrast(drawn.astype(np.float32), still.um_per_px) * cover
    return first, second, cover


def _turned(fixed: Raster, moving: Raster, found: SlideMap, working_um: float) -> list[float]:
    """Correlations of copies turned about the middle of what both pictures show."""
    um = _plane_um(fixed, 2 * working_um)
    still, mover = fixed.at(um), moving.at(um)
    _, _, cover = _both(still, mover, found)
    if not cover.any():
        return [0.0]
    y, x = (float(np.flatnonzero(cover.any(axis=axis)).mean()) for axis in (1, 0))
    middle: Points = apply(still.to_native, np.array([[x, y]]))[0]
    correlations = []
    for turn in np.deg2rad(TURNS_DEG):
        matrix = np.eye(3)
        matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        matrix[:2, 2] = middle - matrix[:2, :2] @ middle
        first, second, _ = _both(still, mover, SlideMap(matrix @ found.matrix))
        scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
        correlations.append(float((first * second).sum() / scale) if scale else 0.0)
    return correlations
