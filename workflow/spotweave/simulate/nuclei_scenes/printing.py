"""A scene as a slide's picture: stained, scanned, sharpened and compressed as laboratories and scanners do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spotweave.simulate.nuclei_scenes.noise import UM_PER_PX, Floats, Rng, log_uniform

DENSITY = 2.2  # optical density (natural logarithm) of concentration 1 of a stain of strength 1
LEAST_DENSITY = 0.005  # of a stain in any channel, before its colour has length 1
SHARPENING_UM = 0.5


@dataclass(frozen=True)
class Print:
    """How a scene is stained, scanned and stored.

    Attributes
    ----------
    haematoxylin, eosin, red_cells
        (3,) float64: density of concentration 1 in red, green and blue.
    glass
        (3,) float64: empty glass, RGB 0-255.
    gamma
        (3,) float64: factors of the density of red, green and blue.
    blur_um
        Standard deviation of the point spread.
    noise, noise_scale_px
        Standard deviation of the camera's noise in grey values before it is smoothed, and of that smoothing; numpy's
        float64.
    sharpening
        Strength of an unsharp mask; numpy's float64.
    jpeg_quality
        Of JPEG, 0-100.
    reduced_first
        Whether the picture is compressed after it is reduced, by who reduces it, and not by `printed`.
    """

    haematoxylin: Floats
    eosin: Floats
    red_cells: Floats
    glass: Floats
    gamma: Floats
    blur_um: float
    noise: float
    noise_scale_px: float
    sharpening: float
    jpeg_quality: int
    reduced_first: bool


def draw_print(rng: Rng) -> Print:
    """A print by chance: stains of many hues and strengths, and scans good and bad."""
    haematoxylin = _colour(rng, (0.5, 0.82), (0.5, 0.82), (0.1, 0.45))
    eosin = _colour(rng, (0.02, 0.3), (0.75, 1.0), (0.1, 0.55))
    red_cells = _colour(rng, (0.0, 0.25), (0.7, 1.0), (0.5, 1.0))
    return Print(
        haematoxylin=haematoxylin * log_uniform(rng, 0.5, 1.35),
        eosin=eosin * log_uniform(rng, 0.25, 0.95),
        red_cells=red_cells * log_uniform(rng, 0.6, 1.6),
        glass=rng.uniform(205, 252) + rng.uniform(-8, 8, 3),
        gamma=np.exp(rng.uniform(-0.25, 0.25, 3)),
        blur_um=log_uniform(rng, 0.12, 0.75),
        noise=rng.choice([0, rng.uniform(0, 5)]),
        noise_scale_px=rng.choice([0.0, 0.8, 1.2]),
        sharpening=rng.choice([0, rng.uniform(0.2, 1.5)]),
        jpeg_quality=int(rng.uniform(35, 97)),
        reduced_first=rng.random() < 0.5,
    )


def _colour(rng: Rng, *ranges: tuple[float, float]) -> Floats:
    """(3,) float64 of length 1: densities in red, green and blue."""
    densities = np.maximum([rng.uniform(*between) for between in ranges], LEAST_DENSITY)
    return densities / np.linalg.norm(densities)


def printed(rng: Rng, haematoxylin: Floats, eosin: Floats, red_cells: Floats, look: Print) -> NDArray[np.uint8]:
    """A picture of concentrations by Beer and Lambert's law.

    Parameters
    ----------
    rng
        For the camera's noise.
    haematoxylin, eosin, red_cells
        (height, width) float32 concentrations, `UM_PER_PX` um a pixel.

    Returns
    -------
    (height, width, 3) uint8, RGB.
    """
    density = (
        haematoxylin[..., None] * look.haematoxylin
        + eosin[..., None] * look.eosin
        + red_cells[..., None] * look.red_cells
    )
    rgb: Floats = np.exp(-DENSITY * density * look.gamma).astype(np.float32) * look.glass.astype(np.float32)
    rgb = cv2.GaussianBlur(rgb, (0, 0), look.blur_um / UM_PER_PX)
    if look.sharpening:
        rgb = rgb + look.sharpening * (rgb - cv2.GaussianBlur(rgb, (0, 0), SHARPENING_UM / UM_PER_PX))
    if look.noise:
        grey = rng.standard_normal(rgb.shape).astype(np.float32) * look.noise
        rgb = rgb + (cv2.GaussianBlur(grey, (0, 0), look.noise_scale_px) if look.noise_scale_px else grey)
    picture = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return picture if look.reduced_first else compressed(picture, look.jpeg_quality)


def compressed(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """An RGB picture, (height, width, 3) uint8, as JPEG of a quality (0-100) leaves it."""
    data: NDArray[Any] = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )[1]
    stored: NDArray[Any] | None = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert stored is not None  # it was written just now
    return np.asarray(cv2.cvtColor(stored, cv2.COLOR_BGR2RGB), np.uint8)
