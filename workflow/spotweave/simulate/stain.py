"""A bright-field picture of simulated tissue in haematoxylin and eosin.

Stain amounts become colour by the Beer-Lambert law, I = I0 exp(-(h H + e E)), with one optical-density vector a stain
(Ruifrok and Johnston 2001, Anal Quant Cytol Histol 23:291, gives the model; the vectors here are turned towards the
blue haematoxylin and violet eosin of frozen sections on Spatial Transcriptomics arrays).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from spotweave.simulate.tissue import (
    FAT,
    GRID_UM,
    IMMUNE,
    STROMA,
    TUMOUR,
    FloatField,
    Floats,
    Tissue,
    enlarge,
    smooth_noise,
)

HAEMATOXYLIN_OD = np.array([0.70, 0.64, 0.35], dtype=np.float32)
EOSIN_OD = np.array([0.27, 0.86, 0.33], dtype=np.float32)
STAMPED_AT_ONCE = 512
EGG = 0.18  # how much blunter one end of a nucleus is than the other


@dataclass(frozen=True)
class Staining:
    """What differs between laboratories and days: stain strengths and the colour of empty glass (RGB, 0-255)."""

    haematoxylin: float
    eosin: float
    glass: tuple[float, float, float]


def paint(
    rng: np.random.Generator,
    tissue: Tissue,
    staining: Staining,
    shape: tuple[int, int],
    pixel_size_um: float,
    spots_um: Floats,
    spot_diameter_um: float,
) -> NDArray[np.uint8]:
    """Paint the picture of `shape` (rows, columns) as (rows, columns, 3) uint8.

    Smooth layers are painted at half resolution and enlarged, nuclei at full resolution. `spots_um` (n, 2) are the
    printed spots, which show as faint discs on empty glass.
    """
    half = ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
    half_um = 2 * pixel_size_um
    box = (0.0, 0.0, half[1] * half_um / GRID_UM, half[0] * half_um / GRID_UM)
    inside = np.clip(0.5 + enlarge(tissue.level_um, half, box) / 4, 0, 1)
    cytoplasm_h, cytoplasm_e = _cytoplasm(rng, tissue, half, box)
    haematoxylin = inside * cytoplasm_h * np.float32(staining.haematoxylin)
    eosin = inside * cytoplasm_e * np.float32(staining.eosin)
    light = _glass_density(rng, tissue, half, half_um, spots_um, spot_diameter_um)
    for channel, glass_level in enumerate(staining.glass):
        light[channel] += haematoxylin * HAEMATOXYLIN_OD[channel] + eosin * EOSIN_OD[channel]
        light[channel] = glass_level * np.exp(-light[channel])
    smooth = Image.fromarray(np.clip(np.moveaxis(light, 0, -1), 0, 255).astype(np.uint8))
    picture = np.array(smooth.resize(shape[::-1], Image.Resampling.BICUBIC, box=(0, 0, shape[1] / 2, shape[0] / 2)))

    # Densities add, so light multiplies: what the nuclei absorb is taken from what the rest has let through.
    nuclear = _nuclear_density(tissue, shape, pixel_size_um).reshape(-1)
    covered = np.flatnonzero(nuclear)
    chromatin = np.float32(staining.haematoxylin) * nuclear[covered]
    chromatin *= 1 + 0.12 * rng.standard_normal(len(covered), dtype=np.float32)
    let_through = np.exp(-np.maximum(chromatin, 0)[:, None] * HAEMATOXYLIN_OD)
    pixels = picture.reshape(-1, 3)
    pixels[covered] = (pixels[covered] * let_through).astype(np.uint8)
    return picture


def _cytoplasm(
    rng: np.random.Generator, tissue: Tissue, shape: tuple[int, int], box: tuple[float, float, float, float]
) -> tuple[FloatField, FloatField]:
    """Optical density of everything but nuclei: (haematoxylin, eosin)."""
    share = {
        code: enlarge(ndimage.gaussian_filter((tissue.domain == code).astype(np.float32), 0.8), shape, box)
        for code in (TUMOUR, STROMA, IMMUNE, FAT)
    }
    across, along = enlarge(tissue.across_um, shape, box), enlarge(tissue.along_um, shape, box)
    bundles = _streaks(rng, across, along, 11, 130)
    strands = _streaks(rng, across, along, 3.2, 45)
    cells = smooth_noise(rng, shape, 6)
    patches = enlarge(smooth_noise(rng, tissue.domain.shape, 40), shape, box)

    cleft = np.clip(1.0 + 1.1 * (bundles + 0.6 * patches + 1.0), 0.06, 1)
    stroma = np.clip(0.40 + 0.13 * bundles + 0.07 * strands + 0.14 * patches, 0.04, 1.1) * cleft
    gaps = np.clip(1.0 + 1.3 * (cells + 1.0), 0.15, 1)
    nests = np.clip(0.34 + 0.05 * cells + 0.05 * patches, 0, 1) * gaps
    infiltrate = np.clip(0.25 + 0.10 * strands + 0.06 * cells + 0.05 * patches, 0.03, 1)
    wall_um = enlarge(tissue.wall_um, shape, box) - 0.5 * strands - 0.5 * patches
    lobe = 0.035 + 0.42 * np.clip(1.5 - wall_um / 2.2, 0, 1)

    eosin = share[STROMA] * stroma + share[TUMOUR] * nests + share[IMMUNE] * infiltrate + share[FAT] * lobe
    haematoxylin = (
        share[TUMOUR] * (0.24 * gaps + 0.03 * cells)
        + share[IMMUNE] * (0.15 + 0.03 * cells)
        + share[STROMA] * 0.22 * stroma
        + share[FAT] * 0.14 * lobe
    )
    return np.maximum(haematoxylin, 0), np.maximum(eosin, 0)


def _streaks(
    rng: np.random.Generator, across_um: FloatField, along_um: FloatField, width_um: float, length_um: float
) -> FloatField:
    """Noise of variance about 1, `width_um` wide across and `length_um` long along the fibres."""
    table = ndimage.gaussian_filter(rng.standard_normal((512, 512), dtype=np.float32), 1.0, mode="wrap")
    table /= table.std()
    coordinates = np.stack([across_um * (2.5 / width_um), along_um * (2.5 / length_um)])
    return ndimage.map_coordinates(table, coordinates, order=1, mode="grid-wrap")


def _nuclear_density(tissue: Tissue, shape: tuple[int, int], pixel_size_um: float) -> FloatField:
    layer = np.zeros(shape, dtype=np.float32)
    nuclei = tissue.nuclei
    for code in np.unique(nuclei.domain):
        chosen = nuclei.domain == code
        stamp(
            layer,
            nuclei.x_um[chosen] / pixel_size_um,
            nuclei.y_um[chosen] / pixel_size_um,
            nuclei.semi_major_um[chosen] / pixel_size_um,
            nuclei.semi_minor_um[chosen] / pixel_size_um,
            nuclei.angle_rad[chosen],
            nuclei.optical_density[chosen],
            egg=EGG,
        )
    return layer


def stamp(
    layer: FloatField,
    x: Floats,
    y: Floats,
    major: Floats,
    minor: Floats,
    angle: Floats,
    density: Floats,
    egg: float = 0.0,
) -> None:
    """Press soft-edged ellipses (px) into a layer, in place; where two overlap the denser one shows.

    With `egg` above 0 one end of each is blunter than the other.
    """
    if len(x) == 0:
        return
    reach = int(np.ceil(major.max())) + 2
    offset = np.arange(-reach, reach + 1, dtype=np.int32)
    for start in range(0, len(x), STAMPED_AT_ONCE):
        part = slice(start, start + STAMPED_AT_ONCE)
        columns = np.floor(x[part]).astype(np.int32)[:, None, None] + offset[None, None, :]
        rows = np.floor(y[part]).astype(np.int32)[:, None, None] + offset[None, :, None]
        dx = (columns + 0.5 - x[part, None, None]).astype(np.float32)
        dy = (rows + 0.5 - y[part, None, None]).astype(np.float32)
        columnar = (np.cos(angle), np.sin(angle), major, minor, density)
        cos, sin, a, b, strength = (values[part, None, None].astype(np.float32) for values in columnar)
        lengthwise = (dx * cos + dy * sin) / a
        crosswise = (dy * cos - dx * sin) / b * (1 + egg * lengthwise)
        radius = np.sqrt(lengthwise**2 + crosswise**2)
        covered = np.clip((1 - radius) * b / 1.8 + 0.5, 0, 1)
        value = strength * covered * (0.82 + 0.18 * np.minimum(radius, 1) ** 2)
        within = (rows >= 0) & (rows < layer.shape[0]) & (columns >= 0) & (columns < layer.shape[1])
        hit = (value > 0) & within
        np.maximum.at(layer.reshape(-1), (rows * layer.shape[1] + columns)[hit], value[hit])


def _glass_density(
    rng: np.random.Generator,
    tissue: Tissue,
    shape: tuple[int, int],
    pixel_size_um: float,
    spots_um: Floats,
    spot_diameter_um: float,
) -> FloatField:
    """Optical density (3, rows, columns) of glass: uneven light, lost stain, printed spots, bubble, frame, dust."""
    rows, columns = np.indices(shape, dtype=np.float32)
    uneven = 0.012 * (smooth_noise(rng, shape, shape[1] / 2) + 1) + 0.006 * rng.standard_normal(shape, dtype=np.float32)
    grey = uneven + 0.010 * (np.sin(columns * (2 * np.pi / shape[1] * rng.uniform(5, 8))) + 1)

    spots = np.zeros(shape, dtype=np.float32)
    radius = np.full(len(spots_um), spot_diameter_um / 2 / pixel_size_um)
    zeros, ones = np.zeros(len(spots_um)), np.ones(len(spots_um))
    stamp(spots, spots_um[:, 0] / pixel_size_um, spots_um[:, 1] / pixel_size_um, radius, radius, zeros, ones)
    grey = grey + 0.028 * spots

    frame_px = rng.uniform(0.015, 0.03) * shape[1]
    tilt = rng.uniform(-0.006, 0.006)
    from_frame = (rows - frame_px - tilt * columns) if rng.random() < 0.5 else (columns - frame_px - tilt * rows)
    grey = grey + 0.07 / (1 + np.exp(np.clip(from_frame / 9, -30, 30)))

    _add_bubble(rng, grey, tissue, pixel_size_um)
    specks = 40
    sizes = rng.gamma(2.0, 1.1, specks) + 1
    dust = np.zeros(shape, dtype=np.float32)
    dust_x, dust_y = rng.uniform(0, shape[1], specks), rng.uniform(0, shape[0], specks)
    stamp(dust, dust_x, dust_y, sizes, sizes * 0.7, rng.uniform(0, 3, specks), rng.uniform(0.2, 0.9, specks))
    grey = grey + dust

    pink = np.exp(np.minimum(tissue.level_um, 0) / 130) * (0.05 + 0.03 * smooth_noise(rng, tissue.level_um.shape, 130))
    box = (0.0, 0.0, shape[1] * pixel_size_um / GRID_UM, shape[0] * pixel_size_um / GRID_UM)
    washed = np.maximum(enlarge(ndimage.gaussian_filter(pink, 12), shape, box), 0)
    return np.stack([grey + washed * tint for tint in (0.12, 1.0, 0.35)]).astype(np.float32)


def _add_bubble(rng: np.random.Generator, grey: FloatField, tissue: Tissue, pixel_size_um: float) -> None:
    """Add, where there is most empty glass, an air bubble under the coverslip: a dark rim with a light inside."""
    room_um = ndimage.distance_transform_edt(np.pad(tissue.level_um[1:-1, 1:-1] < 0, 1)) * GRID_UM
    row, column = np.unravel_index(int(np.argmax(room_um)), room_um.shape)
    radius_um = min(float(room_um.max()) * 0.55, rng.uniform(60, 110))
    x, y = (column + 0.5) * GRID_UM / pixel_size_um, (row + 0.5) * GRID_UM / pixel_size_um
    reach = radius_um / pixel_size_um + 12
    window = (slice(max(int(y - reach), 0), int(y + reach)), slice(max(int(x - reach), 0), int(x + reach)))
    rows, columns = np.ogrid[: grey.shape[0], : grey.shape[1]]
    beyond_um = np.hypot(columns[:, window[1]] + 0.5 - x, rows[window[0]] + 0.5 - y) * pixel_size_um - radius_um
    rim = 0.35 * np.exp(-((beyond_um / 3.0) ** 2)) + 0.10 * np.exp(-(((beyond_um + 8) / 4.0) ** 2))
    grey[window] += (rim - 0.03 * (beyond_um < -12)).astype(np.float32)
