"""A simulated piece of tumour tissue: outline, domains, fibre directions, fat cells and nuclei, all in micrometres.

Coordinates are x right and y down from the top-left corner of the picture. Fields live on a grid of `GRID_UM`; cell
(row i, column j) is centred at ((j + 0.5) * GRID_UM, (i + 0.5) * GRID_UM).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

GRID_UM = 4.0
DOMAINS = ("background", "tumour", "stroma", "immune", "fat")
BACKGROUND, TUMOUR, STROMA, IMMUNE, FAT = range(5)

FloatField = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CellKind:
    """How the nuclei of one domain lie and look."""

    spacing_um: float
    kept: float  # share of the packing positions that hold a nucleus
    semi_major_um: float
    semi_minor_um: float
    spread: float  # relative standard deviation of the size
    optical_density: float
    follows_fibres: bool


CELL_KINDS = {
    TUMOUR: CellKind(9.6, 0.92, 4.8, 3.5, 0.15, 1.75, False),
    STROMA: CellKind(14.0, 0.30, 6.6, 1.9, 0.22, 1.45, True),
    IMMUNE: CellKind(8.4, 0.72, 3.2, 2.9, 0.10, 2.0, False),
    FAT: CellKind(13.0, 0.40, 4.5, 1.5, 0.15, 1.45, True),
}
FAT_NUCLEUS_WALL_UM = 4.0  # nuclei of fat cells are pressed against the wall


@dataclass(frozen=True)
class Nuclei:
    """Nuclei as ellipses: arrays (n,), lengths in um, `angle_rad` of the long axis from x towards y."""

    x_um: Floats
    y_um: Floats
    semi_major_um: Floats
    semi_minor_um: Floats
    angle_rad: Floats
    optical_density: Floats
    domain: NDArray[np.uint8]


@dataclass(frozen=True)
class Tissue:
    """The truth about one piece of tissue; every field is (rows, columns) on the grid of `GRID_UM`.

    `level_um` is positive inside the tissue and about the distance to its edge. `across_um` and `along_um` are curved
    coordinates across and along the fibres. `wall_um` is the distance to the nearest wall between fat cells.
    """

    width_um: float
    height_um: float
    domain: NDArray[np.uint8]
    level_um: FloatField
    across_um: FloatField
    along_um: FloatField
    wall_um: FloatField
    nuclei: Nuclei


def enlarge(
    field: NDArray[Any], shape: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> FloatField:
    """Resample a field to `shape` (rows, columns) by cubic interpolation; `box` is the part to take, in cells."""
    picture = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.asarray(picture.resize(shape[::-1], Image.Resampling.BICUBIC, box=box))


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], length_cells: float) -> FloatField:
    """Isotropic noise of mean 0 and variance about 1 whose features are about `length_cells` wide."""
    step = max(length_cells / 2, 1.0)
    coarse = (int(np.ceil(shape[0] / step)) + 4, int(np.ceil(shape[1] / step)) + 4)
    sigma = length_cells / 2 / step
    values = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), sigma)
    values *= 2 * np.sqrt(np.pi) * sigma  # a Gaussian of width sigma averages white noise down to this
    corner = rng.uniform(0, 2, size=2)
    box = (corner[0] + 1, corner[1] + 1, corner[0] + 1 + shape[1] / step, corner[1] + 1 + shape[0] / step)
    return enlarge(values, shape, box)


def grow(rng: np.random.Generator, width_um: float, height_um: float) -> Tissue:
    """Grow one piece of tissue that covers about two thirds of a picture of `width_um` x `height_um`."""
    shape = (int(np.ceil(height_um / GRID_UM)) + 1, int(np.ceil(width_um / GRID_UM)) + 1)
    rows, columns = np.indices(shape, dtype=np.float32)
    x_um, y_um = (columns + 0.5) * GRID_UM, (rows + 0.5) * GRID_UM
    level_um = _outline(rng, x_um, y_um, width_um, height_um)
    domain = _domains(rng, level_um)
    across_um, along_um = _fibres(rng, x_um, y_um)
    wall_um = _fat_walls(rng, x_um, y_um)
    nuclei = _nuclei(rng, width_um, height_um, domain, across_um, wall_um)
    return Tissue(width_um, height_um, domain, level_um, across_um, along_um, wall_um, nuclei)


def at(field: NDArray[Any], x_um: Floats, y_um: Floats) -> NDArray[Any]:
    """Values of a grid field at points (nearest cell)."""
    rows = np.clip((y_um / GRID_UM).astype(int), 0, field.shape[0] - 1)
    columns = np.clip((x_um / GRID_UM).astype(int), 0, field.shape[1] - 1)
    return field[rows, columns]


def _outline(rng: np.random.Generator, x_um: FloatField, y_um: FloatField, width: float, height: float) -> FloatField:
    """A rounded piece with a ragged edge, one straight cut and a few holes: positive inside."""
    shape = x_um.shape
    dx = (x_um - width * rng.uniform(0.47, 0.53)) / width
    dy = (y_um - height * rng.uniform(0.47, 0.53)) / height
    size = min(width, height)
    inside = -size * np.hypot(dx * rng.uniform(0.92, 1.04), dy * rng.uniform(0.92, 1.04))
    inside += 0.05 * size * smooth_noise(rng, shape, 0.3 * size / GRID_UM)
    towards = rng.uniform(0, 2 * np.pi)
    cut = (rng.uniform(-0.10, -0.05) - dx * np.cos(towards) - dy * np.sin(towards)) * size
    ragged = 12 * smooth_noise(rng, shape, 20) + 5 * smooth_noise(rng, shape, 6) + 2.5 * smooth_noise(rng, shape, 2)
    from_border = np.minimum.reduce([x_um, width - x_um, y_um, height - y_um])
    level = np.minimum.reduce([inside, cut, from_border - 0.47 * size]) + ragged
    level -= np.quantile(level, 1 - rng.uniform(0.54, 0.60))

    holes = smooth_noise(rng, shape, 35)
    fray = 0.12 * smooth_noise(rng, shape, 4)
    level = np.minimum(level, 70 * (np.quantile(holes, 0.985) - holes + fray))
    pieces, _ = ndimage.label(level > 0)
    areas = np.bincount(pieces.ravel())
    crumbs = (areas < 0.05 * areas[1:].max(initial=0))[pieces] & (pieces > 0)
    level[crumbs] = -10.0
    return level.astype(np.float32)


def _domains(rng: np.random.Generator, level_um: FloatField) -> NDArray[np.uint8]:
    """Tumour nests in stroma, patches of immune cells beside them, and a lobe of fat."""
    shape, tissue = level_um.shape, level_um > 0
    region = smooth_noise(rng, shape, 170)
    nests = 0.8 * region + 0.75 * smooth_noise(rng, shape, 30) + 0.3 * smooth_noise(rng, shape, 10)
    fat = smooth_noise(rng, shape, 150) - 0.9 * region + 0.12 * smooth_noise(rng, shape, 14)
    immune = smooth_noise(rng, shape, 60) + 0.35 * smooth_noise(rng, shape, 12)

    domain = np.full(shape, STROMA, dtype=np.uint8)
    domain[nests > _upper(nests, tissue, rng.uniform(0.34, 0.44))] = TUMOUR
    domain[fat > _upper(fat, tissue, rng.uniform(0.09, 0.15))] = FAT
    elsewhere = tissue & (domain == STROMA)
    domain[elsewhere & (immune > _upper(immune, elsewhere, rng.uniform(0.20, 0.28)))] = IMMUNE
    domain[~tissue] = BACKGROUND
    return domain


def _upper(field: FloatField, within: NDArray[np.bool_], share: float) -> float:
    """The level above which `share` of the field lies within the mask."""
    return float(np.quantile(field[within], 1 - share))


def _fibres(rng: np.random.Generator, x_um: FloatField, y_um: FloatField) -> tuple[FloatField, FloatField]:
    direction = rng.uniform(0, np.pi)
    bend = 70 * smooth_noise(rng, x_um.shape, 110) + 9 * smooth_noise(rng, x_um.shape, 25)
    across = -np.sin(direction) * x_um + np.cos(direction) * y_um + bend
    along = np.cos(direction) * x_um + np.sin(direction) * y_um + bend
    return across.astype(np.float32), along.astype(np.float32)


def _lattice(rng: np.random.Generator, width: float, height: float, spacing: float, jitter: float) -> Floats:
    """Points (n, 2) of a shaken hexagonal lattice: random, yet never crowded."""
    step_y = spacing * np.sqrt(3) / 2
    rows, columns = np.mgrid[0 : int(height / step_y) + 2, 0 : int(width / spacing) + 2]
    points = np.stack([(columns + 0.5 * (rows % 2)) * spacing, rows * step_y], axis=-1).reshape(-1, 2)
    return points + rng.normal(0, jitter * spacing, points.shape)


def _fat_walls(rng: np.random.Generator, x_um: FloatField, y_um: FloatField) -> FloatField:
    """Distance to the border between the two nearest fat cells (half the difference of the centre distances)."""
    centres = _lattice(rng, float(x_um.max()), float(y_um.max()), 62, 0.2)
    distance, _ = cKDTree(centres).query(np.stack([x_um, y_um], axis=-1), k=2)
    return ((distance[..., 1] - distance[..., 0]) / 2).astype(np.float32)


def _nuclei(
    rng: np.random.Generator,
    width: float,
    height: float,
    domain: NDArray[np.uint8],
    across_um: FloatField,
    wall_um: FloatField,
) -> Nuclei:
    fibre_slope, wall_slope = np.array(np.gradient(across_um)), np.array(np.gradient(wall_um))
    crowding = 1 - 0.25 * np.clip(smooth_noise(rng, domain.shape, 12) - 0.3, 0, 2)
    parts = []
    for code, kind in CELL_KINDS.items():
        points = _lattice(rng, width, height, kind.spacing_um, 0.17)
        x, y = points.T
        keep = (x > 0) & (x < width) & (y > 0) & (y < height) & (at(domain, x, y) == code)
        keep &= rng.random(len(x)) < kind.kept * at(crowding, x, y)
        if code == FAT:
            keep &= at(wall_um, x, y) < FAT_NUCLEUS_WALL_UM
        x, y = x[keep], y[keep]
        slope_y, slope_x = wall_slope if code == FAT else fibre_slope
        if kind.follows_fibres:
            angle = np.arctan2(at(slope_x, x, y), -at(slope_y, x, y)) + rng.normal(0, 0.25, len(x))
            angle += np.pi * rng.integers(0, 2, len(x))  # either end may be the blunter one
        else:
            angle = rng.uniform(0, 2 * np.pi, len(x))
        size = np.clip(rng.normal(1, kind.spread, len(x)), 0.6, 1.5)
        slim = np.clip(rng.normal(1, 0.12, len(x)), 0.7, 1.25)
        density = kind.optical_density * np.clip(rng.normal(1, 0.22, len(x)), 0.45, 1.6)
        codes = np.full(len(x), code, dtype=np.uint8)
        major, minor = kind.semi_major_um * size / slim, kind.semi_minor_um * size * slim
        parts.append((x, y, np.maximum(major, minor), np.minimum(major, minor), angle, density, codes))
    return Nuclei(*(np.concatenate(column) for column in zip(*parts, strict=True)))
