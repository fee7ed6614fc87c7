"""Simulated H&E with every nucleus known: what methods that find nuclei are held against.

The tissue and its colours are those of the other simulated sections (`tissue`, `stain`); what differs between
laboratories and scanners, and makes nuclei hard to find, is turned up here: stain strength and hue, focus, the size of
nuclei (larger ones overlap) and how many there are.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spotweave.simulate import tissue as tissues
from spotweave.simulate.stain import EGG, Staining, paint
from spotweave.simulate.tissue import Floats, Nuclei, Tissue

SHARP_BLUR_UM = 0.3
SEEN_SHARE = 0.3  # a nucleus of which less is seen, the rest behind others, is none


@dataclass(frozen=True)
class Look:
    """How a slide was stained and scanned.

    Attributes
    ----------
    haematoxylin, eosin
        Stain strengths.
    hue
        Factors of the optical density of red, green and blue: another batch of stain, another scanner.
    glass
        Empty glass, RGB 0-255.
    blur_um
        Standard deviation of the point spread.
    size
        Factor of the length of nuclei.
    kept
        Share of the nuclei that are there.
    """

    haematoxylin: float = 1.0
    eosin: float = 1.0
    hue: tuple[float, float, float] = (1.0, 1.0, 1.0)
    glass: tuple[float, float, float] = (236.0, 233.0, 238.0)
    blur_um: float = SHARP_BLUR_UM
    size: float = 1.0
    kept: float = 1.0


@dataclass(frozen=True)
class NucleiSlide:
    """A picture and its truth.

    Attributes
    ----------
    rgb
        (H, W, 3) uint8.
    labels
        (H, W) int32: what is seen of every nucleus (of two that overlap the denser one is in front), contiguous from 1.
    tissue
        What it was painted from, in um.
    pixel_size_um
        um per px.
    """

    rgb: NDArray[np.uint8]
    labels: NDArray[np.int32]
    tissue: Tissue
    pixel_size_um: float


def draw_look(rng: np.random.Generator) -> Look:
    """A look drawn from a wide range: stain strengths by a factor of 2.5, density of each colour by a fifth."""
    haematoxylin, eosin = np.exp(rng.uniform(np.log(0.6), np.log(1.5), 2))
    hue = np.exp(rng.uniform(-0.2, 0.2, 3))
    glass = rng.uniform(215, 248) + rng.uniform(-6, 6, 3)
    return Look(
        haematoxylin=float(haematoxylin),
        eosin=float(eosin),
        hue=(float(hue[0]), float(hue[1]), float(hue[2])),
        glass=(float(glass[0]), float(glass[1]), float(glass[2])),
        blur_um=float(rng.uniform(0.2, 0.8)),
        size=float(rng.uniform(0.85, 1.2)),
        kept=float(rng.uniform(0.4, 1.0)),
    )


def draw_slide(
    seed: int, look: Look, *, size_um: tuple[float, float] = (600.0, 600.0), pixel_size_um: float = 0.5
) -> NucleiSlide:
    """Draw a slide of `size_um` (width, height); the same arguments give the same bytes."""
    rng = np.random.default_rng(seed)
    grown = tissues.grow(rng, *size_um)
    tissue = dataclasses.replace(grown, nuclei=_fewer(rng, grown.nuclei, look))
    shape = (round(size_um[1] / pixel_size_um), round(size_um[0] / pixel_size_um))
    staining = Staining(look.haematoxylin, look.eosin, look.glass)
    painted = paint(rng, tissue, staining, shape, pixel_size_um, np.empty((0, 2)), 55.0)
    glass = np.array(look.glass)
    light = np.minimum(painted / glass, 1.05) ** np.array(look.hue) * glass
    blurred = cv2.GaussianBlur(light, (0, 0), look.blur_um / pixel_size_um) + rng.normal(0, 1.5, light.shape)
    rgb = np.clip(np.rint(blurred), 0, 255).astype(np.uint8)
    return NucleiSlide(rgb, _seen(tissue.nuclei, shape, pixel_size_um), tissue, pixel_size_um)


def centroids_um(labels: NDArray[np.int32], pixel_size_um: float) -> Floats:
    """Centroids (n, 2) x, y of labels 1 to n, um."""
    rows, columns = (index.ravel() for index in np.indices(labels.shape))
    px = np.bincount(labels.ravel())
    x, y = (np.bincount(labels.ravel(), index) / px + 0.5 for index in (columns, rows))
    return np.stack([x, y], axis=1)[1:] * pixel_size_um


def _fewer(rng: np.random.Generator, nuclei: Nuclei, look: Look) -> Nuclei:
    chosen = rng.random(len(nuclei.x_um)) < look.kept
    columns = {field.name: getattr(nuclei, field.name)[chosen] for field in dataclasses.fields(Nuclei)}
    for axis in ("semi_major_um", "semi_minor_um"):
        columns[axis] = columns[axis] * look.size
    return Nuclei(**columns)


def _seen(nuclei: Nuclei, shape: tuple[int, int], pixel_size_um: float) -> NDArray[np.int32]:
    """What is seen of the nuclei: the outline at which the painter's edge is half way, denser ones in front."""
    labels = np.zeros(shape, dtype=np.int32)
    whole_px = np.zeros(len(nuclei.x_um) + 1)
    for number in np.argsort(nuclei.optical_density, kind="stable"):
        x, y, major, minor = (
            float(getattr(nuclei, name)[number]) / pixel_size_um
            for name in ("x_um", "y_um", "semi_major_um", "semi_minor_um")
        )
        reach = 1.5 * major + 2
        left, top = max(0, int(x - reach)), max(0, int(y - reach))
        window = labels[top : int(y + reach) + 1, left : int(x + reach) + 1]
        rows, columns = np.ogrid[: window.shape[0], : window.shape[1]]
        dx, dy = columns + left + 0.5 - x, rows + top + 0.5 - y
        cos, sin = np.cos(nuclei.angle_rad[number]), np.sin(nuclei.angle_rad[number])
        lengthwise = (dx * cos + dy * sin) / major
        crosswise = (dy * cos - dx * sin) / minor * (1 + EGG * lengthwise)
        inside = lengthwise**2 + crosswise**2 <= 1
        window[inside] = number + 1
        whole_px[number + 1] = inside.sum()
    seen_px = np.bincount(labels.ravel(), minlength=len(whole_px))
    kept = (seen_px >= SEEN_SHARE * whole_px) & (seen_px > 0)
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]
