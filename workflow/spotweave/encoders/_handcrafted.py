"""Handcrafted features: colour, stain, nuclei and texture statistics. No weights, no learning.

What a learned encoder has to beat. All features are measured at 1 um/px (patches of 0.5 um/px are halved by
2 x 2 averaging), and all are the same for a patch turned by 90 degrees or mirrored. Sources: stain vectors
Ruifrok and Johnston 2001 (scikit-image's `rgb2hed`); local binary patterns, rotation-invariant and uniform,
Ojala, Pietikainen and Maenpaa 2002, here on the square ring of eight neighbours, which a quarter turn maps
onto itself exactly.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage
from skimage.color import rgb2hed

QUANTILES = (0.1, 0.5, 0.9)
CHANNELS = (
    "red",
    "green",
    "blue",
    "saturation",
    "value",
    "haematoxylin",
    "eosin",
    "residual",
)
# Scales of the image pyramid, in um/px: from chromatin to groups of cells.
SCALES_UM = (1, 2, 4, 8)
# A nucleus is a blob of haematoxylin some 6 um across: a difference of Gaussians is largest near radius / sqrt(2).
NUCLEUS_SIGMA_UM = 2.5
SURROUND_SIGMA_UM = 5.0
# In the units of `rgb2hed`, in which nuclei of H&E breast sections stand some 0.15 above their surroundings.
BLOB_THRESHOLD = 0.02
# Glass: bright and colourless, in shares of full scale.
GLASS_VALUE = 0.8
GLASS_SATURATION = 0.08
# Patches at a time: their planes stay in the cache of one core.
CHUNK = 4
LBP_SCALES_UM = (1, 2)
LBP_BINS = 10
# Keeps the logarithm of a flat patch finite; about one grey level squared.
FLOOR = 1e-5

FEATURES: tuple[str, ...] = (
    *(
        f"{channel}_{statistic}"
        for statistic in ("mean", "std", *(f"p{int(100 * q)}" for q in QUANTILES))
        for channel in CHANNELS
    ),
    "chroma_red_cyan",
    "chroma_green_magenta",
    "haematoxylin_eosin_correlation",
    "glass_share",
    "blob_share",
    "blob_strength",
    "blobs_per_mm2",
    *(f"{channel}_gradient_log_{scale}um" for channel in ("grey", "haematoxylin") for scale in SCALES_UM),
    *(f"{channel}_band_log_{scale}um" for channel in ("grey", "haematoxylin") for scale in SCALES_UM[:-1]),
    *(f"lbp_{scale}um_{bin}" for scale in LBP_SCALES_UM for bin in range(LBP_BINS)),
)


class Handcrafted:
    """The encoder: a pure function of the pixels."""

    dim = len(FEATURES)

    def encode(self, batch: np.ndarray) -> np.ndarray:
        """Embed patches (B, H, W, 3) uint8 at 0.5 um/px, H and W multiples of 16, as (B, dim) float32."""
        parts = [features(batch[start : start + CHUNK]) for start in range(0, len(batch), CHUNK)]
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)


def features(batch: np.ndarray) -> np.ndarray:
    """All features, in the order of `FEATURES`.

    Parameters
    ----------
    batch
        (B, H, W, 3) uint8 RGB at 0.5 um/px.

    Returns
    -------
    values
        (B, len(FEATURES)) float32.
    """
    # Whole numbers until the mean is taken: exact, and four times less to move than float32.
    quarters = _sum_blocks(batch.astype(np.uint16))
    rgb = quarters.astype(np.float32) / np.float32(4 * 255)
    hed = rgb2hed(rgb)
    red, green, blue = _planes(rgb)
    haematoxylin, eosin, residual = _planes(hed)
    value = np.maximum(np.maximum(red, green), blue)
    # Saturation as in HSV; black has none.
    saturation = (value - np.minimum(np.minimum(red, green), blue)) / np.maximum(value, np.float32(1e-6))
    grey = np.float32(0.2126) * red + np.float32(0.7152) * green + np.float32(0.0722) * blue
    channels = np.stack([red, green, blue, saturation, value, haematoxylin, eosin, residual], axis=1)
    columns = [
        _channel_statistics(channels),
        _chroma(red, green, blue),
        _correlation(haematoxylin, eosin)[:, None],
        _share((value > GLASS_VALUE) & (saturation < GLASS_SATURATION))[:, None],
        _blobs(haematoxylin),
    ]
    pyramids = [_pyramid(grey), _pyramid(haematoxylin)]
    columns += [np.stack([_log_gradient(level) for level in pyramid], axis=1) for pyramid in pyramids]
    columns += [np.stack([_log_band(level) for level in pyramid[:-1]], axis=1) for pyramid in pyramids]
    columns += [_lbp_histogram(level) for level in pyramids[0][: len(LBP_SCALES_UM)]]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _planes(image: np.ndarray) -> Iterator[np.ndarray]:
    return (np.ascontiguousarray(image[..., channel]) for channel in range(image.shape[-1]))


def _sum_blocks(images: np.ndarray) -> np.ndarray:
    """Sum blocks of 2 x 2 px: (B, H, W, ...) -> (B, H/2, W/2, ...); diagonals first, so that turning changes no bit."""
    return (images[:, ::2, ::2] + images[:, 1::2, 1::2]) + (images[:, ::2, 1::2] + images[:, 1::2, ::2])


def _halve(images: np.ndarray) -> np.ndarray:
    return _sum_blocks(images) * np.float32(0.25)


def _pyramid(image: np.ndarray) -> list[np.ndarray]:
    levels = [image]
    for _ in SCALES_UM[1:]:
        levels.append(_halve(levels[-1]))
    return levels


def _share(mask: np.ndarray) -> np.ndarray:
    return mask.mean(axis=(1, 2))


def _channel_statistics(channels: np.ndarray) -> np.ndarray:
    """(B, C, H, W) -> (B, 5 C): mean, standard deviation and quantiles of each channel."""
    flat = channels.reshape(*channels.shape[:2], -1)
    # Order statistics instead of interpolated quantiles: one partial sort gives them all.
    ranks = [round(q * (flat.shape[2] - 1)) for q in QUANTILES]
    parts = [flat.mean(axis=2, dtype=np.float64), flat.std(axis=2, dtype=np.float64)]
    flat.partition(ranks, axis=2)
    return np.concatenate([*parts, *(flat[..., rank] for rank in ranks)], axis=1)


def _chroma(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> np.ndarray:
    """Mean of the colour circle as a vector, in which grey pixels (of no hue) do not count."""
    r, g, b = (plane.mean(axis=(1, 2), dtype=np.float64) for plane in (red, green, blue))
    return np.stack([r - (g + b) / 2, np.sqrt(0.75) * (g - b)], axis=1)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation over the pixels of each image; 0 where one is flat."""
    a = a - a.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    b = b - b.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    scale = np.sqrt((a * a).mean(axis=(1, 2)) * (b * b).mean(axis=(1, 2)))
    flat = scale < 1e-9
    return np.where(flat, 0.0, (a * b).mean(axis=(1, 2)) / np.where(flat, 1.0, scale))


def _blobs(haematoxylin: np.ndarray) -> np.ndarray:
    """Share of pixels in nucleus-sized dark blobs, their mean strength, and their number per mm2."""

    def smooth(sigma_um: float) -> np.ndarray:
        return ndimage.gaussian_filter(haematoxylin, (0, sigma_um, sigma_um), truncate=3.0)

    response = smooth(NUCLEUS_SIGMA_UM) - smooth(SURROUND_SIGMA_UM)
    inside = response > BLOB_THRESHOLD
    peaks = inside & (response == ndimage.maximum_filter(response, size=(1, 7, 7)))
    share = _share(inside)
    strength = np.where(inside, response, 0).mean(axis=(1, 2)) / np.maximum(share, 1e-9)
    return np.stack([share, strength, 1e6 * _share(peaks)], axis=1)


def _log_gradient(image: np.ndarray) -> np.ndarray:
    """ln of the mean squared gradient per px."""
    along_y, along_x = np.gradient(image, axis=(1, 2))
    return np.log(FLOOR + (along_y**2 + along_x**2).mean(axis=(1, 2)))


def _log_band(image: np.ndarray) -> np.ndarray:
    """ln of the variance that is lost when the image is halved: detail between two scales."""
    coarse = _halve(image)
    return np.log(FLOOR + np.maximum((image**2).mean(axis=(1, 2)) - (coarse**2).mean(axis=(1, 2)), 0))


def _lbp_histogram(image: np.ndarray) -> np.ndarray:
    """Shares of the ten rotation-invariant uniform patterns of eight neighbours: 0-8 set, or not uniform."""
    # Whole grey levels: flat glass must stay flat, whatever the last bit of a float says.
    level = np.round(255 * image).astype(np.int16)
    centre = level[:, 1:-1, 1:-1]
    height, width = centre.shape[1:]
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    above = [level[:, y : y + height, x : x + width] >= centre for y, x in ring]
    count = np.zeros(centre.shape, np.uint8)
    changes = np.zeros(centre.shape, np.uint8)
    for this, following in zip(above, [*above[1:], above[0]], strict=True):
        count += this
        changes += this != following
    pattern = np.where(changes <= 2, count, LBP_BINS - 1)
    return np.stack([_share(pattern == bin) for bin in range(LBP_BINS)], axis=1)
