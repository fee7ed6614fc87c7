"""A scene: places, grounds and nuclei put together, and which nuclei can be asked for."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spotweave.simulate.nuclei_scenes import grounds
from spotweave.simulate.nuclei_scenes.kinds import REGIONS, draw_tissue
from spotweave.simulate.nuclei_scenes.noise import UM_PER_PX, Floats, log_uniform
from spotweave.simulate.nuclei_scenes.nuclei import Layers, draw_nuclei, places

SEEN_SHARE = 0.35  # a nucleus of which less is seen, the rest behind others, is unclear
SEEN_UM2 = 5  # and so is one of which less than this is seen,
CONTRAST_SHARE = 0.15  # or that is less dark than this share of the scene's median over the ground around
AROUND_PX = 6  # standard deviation of the Gaussian that the ground around is weighed by


@dataclass(frozen=True)
class Scene:
    """Tissue with its nuclei known; all (640, 640), a pixel is `noise.UM_PER_PX` um wide.

    Attributes
    ----------
    haematoxylin, eosin, red_cells
        float32: concentrations, from 0; 1 is a usual one.
    labels
        int32: number of the nucleus that is seen there, from 1 and with numbers missing; 0 is none.
    unclear
        bool: nuclei too faint or too hidden to be asked for; they have no label.
    """

    haematoxylin: Floats
    eosin: Floats
    red_cells: Floats
    labels: NDArray[np.int32]
    unclear: NDArray[np.bool_]


def draw_scene(seed: int) -> Scene:
    """The scene of a seed, the same for ever."""
    rng = np.random.default_rng(seed)
    chances = [region.chance for region in REGIONS.values()]
    names = rng.choice(list(REGIONS), size=rng.integers(1, 4), p=chances)
    region = grounds.draw_regions(rng, len(names))
    weave = grounds.draw_weave(rng)
    scale = log_uniform(rng, 0.85, 1.2)
    tissues = [draw_tissue(rng, REGIONS[name]) for name in names]
    contrast = log_uniform(rng, 0.8, 1.3)
    shares = grounds.soft_shares(rng, region, len(names))
    stains = grounds.draw_ground(rng, shares, tissues, weave)
    nuclei = draw_nuclei(rng, places(rng, region, tissues, weave.directions, scale), tissues, contrast)
    cells = grounds.draw_cells(rng, stains, nuclei.labels, shares, tissues)
    grounds.draw_halos(rng, stains, cells, shares, tissues)
    red_cells = grounds.draw_red_cells(rng, stains)
    red_cells *= 1 - nuclei.cover
    grounds.draw_dirt(rng, stains)
    solid = grounds.draw_gaps(rng, nuclei.cover, weave, cells)
    ground = stains.haematoxylin * solid
    haematoxylin = ground * (1 - nuclei.cover * rng.uniform(0.5, 0.95)) + nuclei.haematoxylin
    eosin = stains.eosin * solid * nuclei.eosin_left + nuclei.eosin_added
    unclear = _unclear(nuclei, haematoxylin, ground)[nuclei.labels]
    labels = np.where(unclear, np.int32(0), nuclei.labels)
    return Scene(haematoxylin, eosin, red_cells * solid, labels, unclear)


def _unclear(nuclei: Layers, haematoxylin: Floats, ground: Floats) -> NDArray[np.bool_]:
    """By label, 0 being none: whether a nucleus is out of focus, mostly hidden, small, or no darker than around it."""
    count = len(nuclei.whole_px)
    seen_px = _sums(nuclei.labels, None, count)
    inside = _sums(nuclei.labels, haematoxylin, count) / np.maximum(seen_px, 1)
    around = _sums(nuclei.labels, cv2.GaussianBlur(ground, (0, 0), AROUND_PX), count) / np.maximum(seen_px, 1)
    unclear = (seen_px < SEEN_SHARE * np.array(nuclei.whole_px)) | (seen_px * UM_PER_PX**2 < SEEN_UM2)
    if count > 1:
        darker = inside - around
        unclear |= darker < CONTRAST_SHARE * np.median(darker[1:])
    unclear[nuclei.faint] = True
    unclear[0] = False
    return unclear


def _sums(labels: NDArray[np.int32], values: Floats | None, count: int) -> Floats:
    """By label: sum of values, or number of pixels."""
    return np.bincount(labels.ravel(), weights=None if values is None else values.ravel(), minlength=count)
