"""A simulated piece of lung: thin septa around wide airspaces, a bronchus and vessels, with the truth known.

Not real tissue. It is for ways to find tissue, which thin septa try hardest: airspaces of 150 to 400 um between walls
of 10 to 20 um, as in inflated human lung, some walls broken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from spotweave.simulate.stain import EOSIN_OD, HAEMATOXYLIN_OD
from spotweave.simulate.tissue import FloatField, smooth_noise

Mask = NDArray[np.bool_]
PIXEL_UM = 2.0
GLASS = (243, 242, 244)


@dataclass(frozen=True)
class Lung:
    """A section drawn at `PIXEL_UM`.

    Attributes
    ----------
    haematoxylin, eosin
        (H, W) float32 amounts of stain: optical density (natural logarithm) by `stain`'s vectors.
    matter
        (H, W) bool, where there is anything stained: septa and walls.
    lobe
        (H, W) bool, all within the pleura, airspaces and lumina too.
    """

    haematoxylin: FloatField
    eosin: FloatField
    matter: Mask
    lobe: Mask


def grow_lung(
    rng: np.random.Generator,
    side_um: float,
    *,
    airspace_um: float = 250.0,
    septum_um: tuple[float, float] = (10.0, 20.0),
    broken: float = 0.15,
) -> Lung:
    """Grow a lobe that fills about two thirds of a square picture.

    Parameters
    ----------
    airspace_um
        Distance of the centres of neighbouring airspaces, on average; single ones have .5 to 1.6 of it.
    septum_um
        Thinnest and thickest walls between them.
    broken
        Share of the walls that are gone.
    """
    side = round(side_um / PIXEL_UM)
    shape = (side, side)
    y_um, x_um = ((np.mgrid[:side, :side] + 0.5) * PIXEL_UM).astype(np.float32)
    warp = [12 * smooth_noise(rng, shape, 40 / PIXEL_UM) for _ in range(2)]
    centre = side_um / 2
    angle = np.arctan2(y_um - centre, x_um - centre)
    rim = side_um * (0.44 + 0.03 * np.cos(3 * angle + rng.uniform(0, 6)) + 0.015 * np.sin(8 * angle))
    inward_um = rim - np.hypot(x_um - centre, y_um - centre)
    lobe = inward_um > 0

    step = airspace_um * 0.93
    rows, columns = np.mgrid[0 : int(side_um / step) + 3, 0 : int(side_um / step) + 3]
    points = np.stack([columns - 1 + 0.5 * (rows % 2), rows - 1.0], axis=-1).reshape(-1, 2) * step
    points += rng.normal(0, 0.22 * step, points.shape)
    distance, nearest = cKDTree(points).query(np.stack([x_um + warp[0], y_um + warp[1]], axis=-1), k=2)
    low, high = np.sort(nearest, axis=-1).transpose(2, 0, 1)
    gone = rng.random(4096) < broken  # a pair of neighbours keeps or loses the whole wall between them
    intact = ~gone[(low * 131 + high * 17) % len(gone)]
    thin, thick = septum_um
    width_um = (thin + thick) / 2 + (thick - thin) / 4 * smooth_noise(rng, shape, 150 / PIXEL_UM)
    septa = ((distance[..., 1] - distance[..., 0]) < np.clip(width_um, thin, thick)) & intact
    matter = (septa | (inward_um < 25)) & lobe

    muscle, epithelium = np.zeros(shape, bool), np.zeros(shape, bool)
    for radius_um in (*rng.uniform(side_um / 16, side_um / 9, 1), *rng.uniform(50, side_um / 32 + 60, 7)):
        x, y = rng.uniform(0.3, 0.7, 2) * side_um
        from_centre = np.hypot(x_um - x, y_um - y) + warp[0] / 2
        muscle |= (from_centre > radius_um) & (from_centre < radius_um * 1.12 + 20)
        epithelium |= (from_centre > radius_um - 22) & (from_centre <= radius_um) & (radius_um > side_um / 17)
        matter[from_centre <= radius_um] = False
    muscle, epithelium = muscle & lobe, epithelium & lobe
    matter |= muscle | epithelium

    nuclei = (rng.random(shape) < (0.010 + 0.025 * epithelium)) & matter
    nuclei |= (rng.random(shape) < 4e-6) & lobe  # macrophages in airspaces
    chromatin = np.minimum(ndimage.gaussian_filter(nuclei.astype(np.float32), 1.3) * 11, 1)
    soft = ndimage.gaussian_filter(matter.astype(np.float32), 0.7)
    fibres = 1 + 0.25 * smooth_noise(rng, shape, 6 / PIXEL_UM)
    eosin = soft * np.clip(fibres, 0.3, 2) * (0.35 + 0.15 * muscle)
    return Lung((0.06 * soft + 0.9 * chromatin).astype(np.float32), eosin.astype(np.float32), matter, lobe)


def photograph(
    rng: np.random.Generator,
    lung: Lung,
    *,
    strength: float = 1.0,
    glass: tuple[float, float, float] = GLASS,
    noise: float = 2.0,
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 picture at `PIXEL_UM`: `strength` times the stain, noise in grey levels."""
    density = lung.haematoxylin[..., None] * HAEMATOXYLIN_OD + lung.eosin[..., None] * EOSIN_OD
    light = np.array(glass, np.float32) * np.exp(-np.float32(strength) * density)
    light += noise * rng.standard_normal(light.shape, dtype=np.float32)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)
