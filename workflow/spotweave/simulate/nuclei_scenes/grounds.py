"""What lies between nuclei: fibres, cells and membranes, halos, red cells, dust, gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spotweave.simulate.nuclei_scenes.kinds import Tissue
from spotweave.simulate.nuclei_scenes.noise import SIDE_PX, UM_PER_PX, Floats, Rng, fibres, log_uniform, noise, sigmoid

SHAPE = (SIDE_PX, SIDE_PX)
REGION_SCALE_PX = 60


@dataclass
class Stains:
    """Concentrations of a ground that is being drawn, (SIDE_PX, SIDE_PX) float32, changed in place."""

    haematoxylin: Floats
    eosin: Floats


@dataclass(frozen=True)
class Weave:
    """Fibres of a scene: two layers of noise along them, (SIDE_PX, SIDE_PX) float32, and directions in radians."""

    first: Floats
    second: Floats
    directions: Floats


@dataclass(frozen=True)
class Cells:
    """The ground by nearest nucleus, (SIDE_PX, SIDE_PX).

    Attributes
    ----------
    distance_um
        float32: to the nearest nucleus.
    nearest
        int32: number of the nearest nucleus, or clump of such that touch; not that of `Layers.labels`.
    contrast
        float32: of cells to their neighbours.
    tint
        float32: normal, one number a cell.
    """

    distance_um: Floats
    nearest: NDArray[np.int32]
    contrast: Floats
    tint: Floats


def draw_regions(rng: Rng, count: int) -> NDArray[np.intp]:
    """(SIDE_PX, SIDE_PX): which of `count` regions a pixel is of; the first has most."""
    fields = [noise(rng, REGION_SCALE_PX) + (1.0 if number == 0 else 0) for number in range(count)]
    return np.stack(fields).argmax(0)


def draw_weave(rng: Rng) -> Weave:
    """Fibres along one direction, waved."""
    angle = rng.uniform(0, np.pi)
    wave_px = noise(rng, REGION_SCALE_PX) * rng.uniform(2, 16)
    across = cv2.Sobel(wave_px, cv2.CV_32F, 1, 0, scale=1 / 8) * np.cos(angle)
    down = cv2.Sobel(wave_px, cv2.CV_32F, 0, 1, scale=1 / 8) * np.sin(angle)
    first = fibres(rng, angle, wave_px)
    second = fibres(rng, angle, wave_px * rng.uniform(0.8, 1.2))
    return Weave(first, second, angle + np.arctan(across + down))


def soft_shares(rng: Rng, region: NDArray[np.intp], count: int) -> list[Floats]:
    """By region: its share of each pixel, float32; borders are as soft as chance has it."""
    return [
        cv2.GaussianBlur((region == number).astype(np.float32), (0, 0), rng.uniform(2, 8)) for number in range(count)
    ]


def draw_ground(rng: Rng, shares: Sequence[Floats], tissues: Sequence[Tissue], weave: Weave) -> Stains:
    """The ground of all regions: fibres and noise of three scales, less of both stains where there is less tissue."""
    stains = Stains(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32))
    for share, tissue in zip(shares, tissues, strict=True):
        together = rng.uniform(0, 1)
        texture = _textured(rng, tissue.fibres * weave.first, tissue, (1.0, 1.5, 2.0))
        own = _textured(rng, 0.7 * tissue.fibres * weave.second, tissue, (1.0, 1.5, 2.5))
        stains.eosin += share * tissue.eosin * np.maximum(0.05, 1 + texture)
        stains.haematoxylin += share * tissue.haematoxylin * np.maximum(0.02, 1 + together * texture + own)
    return stains


def _textured(rng: Rng, field: Floats, tissue: Tissue, finest_px: tuple[float, ...]) -> Floats:
    """A field and noise of three scales, added in this order: sums of float32 depend on it."""
    field = field + tissue.fine * noise(rng, rng.choice(finest_px))
    field = field + tissue.medium * noise(rng, rng.choice([3.0, 5.0, 8.0]))
    return field + tissue.coarse * noise(rng, rng.choice([16.0, 32.0]))


def draw_cells(
    rng: Rng, stains: Stains, labels: NDArray[np.int32], shares: Sequence[Floats], tissues: Sequence[Tissue]
) -> Cells:
    """Tint what is nearest to each nucleus, and the membranes between.

    Returns
    -------
    Cells
        With a distance of 99 px and one cell where a scene has no nucleus.
    """
    if labels.any():
        distance_px, nearest = cv2.distanceTransformWithLabels(
            (labels == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
        )
    else:
        distance_px, nearest = np.full(SHAPE, 99, np.float32), np.zeros(SHAPE, np.int32)
    tint = rng.standard_normal(nearest.max() + 1).astype(np.float32)[nearest]
    eosin_tint = rng.standard_normal(nearest.max() + 1).astype(np.float32)[nearest]
    contrast = np.sum([share * tissue.cells for share, tissue in zip(shares, tissues, strict=True)], axis=0)
    stains.haematoxylin *= np.maximum(0.1, 1 + contrast * 1.2 * tint)
    stains.eosin *= np.maximum(0.1, 1 + contrast * eosin_tint)
    cells = Cells(distance_px * UM_PER_PX, nearest, contrast, tint)
    _draw_membranes(rng, stains, cells)
    return cells


def _draw_membranes(rng: Rng, stains: Stains, cells: Cells) -> None:
    """Borders of cells darker or paler than the ground, or as it is."""
    border: Floats = np.zeros(SHAPE, np.float32)
    border[:, 1:] += cells.nearest[:, 1:] != cells.nearest[:, :-1]
    border[1:] += cells.nearest[1:] != cells.nearest[:-1]
    border = cv2.GaussianBlur(np.minimum(border, 1), (0, 0), rng.uniform(1, 2.5)) * 4
    change = rng.choice([-1, 0, 1]) * cells.contrast * border
    stains.eosin *= np.maximum(0.15, 1 + change * rng.uniform(0.3, 1.5))
    stains.haematoxylin *= np.maximum(0.15, 1 + change * rng.uniform(0, 0.7))


def draw_halos(rng: Rng, stains: Stains, cells: Cells, shares: Sequence[Floats], tissues: Sequence[Tissue]) -> None:
    """Around some nuclei the ground has shrunk away; in other scenes it is darker there."""
    width_um = rng.uniform(0.5, 1.8)
    near = np.exp(-((cells.distance_um / width_um) ** 2)) * (cells.tint > rng.uniform(-1, 1.5))
    strength = np.sum([share * tissue.halo for share, tissue in zip(shares, tissues, strict=True)], axis=0)
    kept = 1 - near * strength * rng.uniform(0.3, 0.9)
    stains.eosin *= kept
    stains.haematoxylin *= kept
    if rng.random() < 0.3:
        stains.haematoxylin *= 1 + rng.uniform(0, 0.8) * np.exp(-cells.distance_um / rng.uniform(1, 4))


def draw_red_cells(rng: Rng, stains: Stains) -> Floats:
    """Red cells in clumps, in some scenes; they hide the ground.

    Returns
    -------
    (SIDE_PX, SIDE_PX) float32, concentration of their own colour.
    """
    red_cells = np.zeros(SHAPE, np.float32)
    if rng.random() >= 0.4:
        return red_cells
    clumps = noise(rng, 32)
    for _ in range(rng.integers(2, 80)):
        y, x = rng.integers(0, SIDE_PX, 2)
        if clumps[y, x] < rng.uniform(0, 1):
            continue
        axes = (int(rng.uniform(2.2, 3.6) / UM_PER_PX), int(rng.uniform(1.6, 3.4) / UM_PER_PX))
        cell = _soft_ellipse(x, y, axes, rng.uniform(0, 180), 1.2)
        stains.eosin = stains.eosin * (1 - cell) + 0.2 * cell * stains.eosin
        stains.haematoxylin *= 1 - cell * 0.9
        red_cells = np.maximum(red_cells, cell * rng.uniform(0.6, 1.3))
    return red_cells


def _soft_ellipse(x: int, y: int, axes_px: tuple[int, int], degrees: float, blur_px: float) -> Floats:
    """(SIDE_PX, SIDE_PX) float32: 1 within an ellipse, blurred."""
    ellipse = np.zeros(SHAPE, np.uint8)
    cv2.ellipse(ellipse, (int(x), int(y)), axes_px, degrees, 0, 360, 1, -1)
    return cv2.GaussianBlur(ellipse.astype(np.float32), (0, 0), blur_px)


def draw_dirt(rng: Rng, stains: Stains) -> None:
    """What is dark without being a nucleus: smears and dust."""
    smear = np.maximum(0, noise(rng, rng.choice([5.0, 8.0, 12.0])) - rng.uniform(1.2, 2.5))
    stains.haematoxylin += smear * rng.choice([0, 0, rng.uniform(0.1, 0.7)])
    dust = np.zeros(SHAPE, np.float32)
    for _ in range(rng.integers(0, 30)):
        y, x = rng.integers(0, SIDE_PX, 2)
        cv2.circle(dust, (int(x), int(y)), int(rng.integers(1, 5)), float(rng.uniform(0.3, 1.3)), -1)
    stains.haematoxylin += cv2.GaussianBlur(dust, (0, 0), 1) * 0.8


def draw_gaps(rng: Rng, cover: Floats, weave: Weave, cells: Cells) -> Floats:
    """Lumens, tears along fibres and vacuoles, each in half of the scenes; nuclei are not torn.

    Parameters
    ----------
    cover
        (SIDE_PX, SIDE_PX) float32, 0-1: how much of a pixel is nucleus.

    Returns
    -------
    (SIDE_PX, SIDE_PX) float32, 0-1: how much of the tissue is there.
    """
    solid = np.ones(SHAPE, np.float32)
    nucleus = cover > 0.3
    if rng.random() < 0.5:  # lumens
        field = noise(rng, rng.choice([16.0, 32.0])) + rng.uniform(0.4, 1.6) * nucleus
        solid *= sigmoid((rng.uniform(1.0, 2.2) - field + 1.2 * nucleus) / rng.uniform(0.03, 0.25))
    if rng.random() < 0.5:  # tears
        field = (weave.first + weave.second) / 1.4
        depth = rng.uniform(0.3, 1)
        tear = sigmoid((field - rng.uniform(1.0, 2.2)) / 0.15, depth)
        solid *= 1 - tear * (cells.distance_um > rng.uniform(0, 0.6))
    if rng.random() < 0.5:  # vacuoles
        for _ in range(rng.integers(1, 50)):
            y, x = rng.integers(0, SIDE_PX, 2)
            axes = (int(log_uniform(rng, 1, 6) / UM_PER_PX), int(log_uniform(rng, 1, 6) / UM_PER_PX))
            vacuole = _soft_ellipse(x, y, axes, rng.uniform(0, 180), rng.uniform(1, 2.5))
            solid *= 1 - vacuole * rng.uniform(0.3, 1)
    return np.maximum(solid, np.minimum(cover * 1.5, 1))
