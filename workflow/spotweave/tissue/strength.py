"""How strongly a section is stained, measured where there is stain and texture, before it is known where tissue is.

Laboratories, old slides and thin sections differ severalfold. A way to find tissue with thresholds in optical density
can multiply a pale picture by what it lacks: glass and noise are multiplied with it, which is why a gain has a limit.
"""

from __future__ import annotations

import numpy as np
from skimage import morphology

from spotweave.tissue.masks import Mask, Plane, opened
from spotweave.tissue.picture import GREEN, Picture, stain_density

STAIN_SIGMA_UM = 16.0
TEXTURE_WINDOW_UM = 24.0
GLASS_DENSITY = 0.02
"""Green optical density (natural logarithm) up to which a pixel tells of the glass and its noise."""
GLASS_SHARE_MIN = 0.02
STAIN_MIN = 0.012
STAIN_SPREADS = 6.0
TEXTURE_RATIO = 1.75
"""Stained matter is this many times as textured as glass: bled stain and tints are not."""
WIDTH_UM = 64.0
AREA_MIN_UM2 = 200_000.0
"""Of one piece: debris and specks come closer together than this only where there are many."""
STRENGTH_QUANTILE = 0.9


def texture_of(picture: Picture, plane: Plane) -> Plane:
    """Local standard deviation of a plane (H, W), in windows of `TEXTURE_WINDOW_UM`."""
    around = picture.smoothed(plane, TEXTURE_WINDOW_UM)
    return np.sqrt(picture.smoothed((plane - around) ** 2, TEXTURE_WINDOW_UM))


def stain_strength(picture: Picture) -> float | None:
    """Stain (optical density, natural logarithm) that a tenth of the stained matter exceeds.

    None where too little is stained, or where no glass is seen to hold it against. Real sections have .22 to .5.
    """
    content = _content(picture)
    if content is None:
        return None
    stain = picture.smoothed(stain_density(picture.density), STAIN_SIGMA_UM)
    return float(np.quantile(stain[content], STRENGTH_QUANTILE))


def _content(picture: Picture) -> Mask | None:
    raw = stain_density(picture.density)
    stain = picture.smoothed(raw, STAIN_SIGMA_UM)
    green = picture.smoothed(picture.density[..., GREEN], STAIN_SIGMA_UM)
    glass = picture.valid & (np.abs(green) < GLASS_DENSITY) & (stain < GLASS_DENSITY)
    if not picture.sees_glass or glass.mean() < GLASS_SHARE_MIN:
        return None
    texture = np.maximum(texture_of(picture, raw), texture_of(picture, picture.density[..., GREEN]))
    level = float(np.median(stain[glass]))
    spread = 1.4826 * float(np.median(np.abs(stain[glass] - level)))
    stained = stain > max(STAIN_MIN, level + STAIN_SPREADS * spread)
    textured = texture > TEXTURE_RATIO * float(np.median(texture[glass]))
    content = opened(picture.valid & stained & textured, WIDTH_UM / picture.pixel_size_um)
    content = morphology.remove_small_objects(content, max_size=picture.pixels(AREA_MIN_UM2))
    return content if content.any() else None
