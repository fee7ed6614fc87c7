"""A perceptual hash of a slide's tissue: the same for a rescaled, recompressed, turned or mirrored copy.

The tissue's bounding box is reduced to 64 x 64 px of darkness; the signs of its lowest 16 x 16 cosine coefficients
(DCT-II; Zauner 2010, the constant term left out) are the hash. Turning by 90 degrees transposes the coefficients,
mirroring changes the sign of the odd ones: all eight positions follow from one hash.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu

SIDE_PX = 64
LOW = 16
WORK_PX = 512
MIN_TISSUE_SHARE = 0.005

Bits = NDArray[np.int8]


def picture_hash(path: Path) -> str:
    """Hash of a picture (any size, RGB): 64 hexadecimal digits; empty where it shows no tissue."""
    with Image.open(path) as image:
        image.draft("RGB", (WORK_PX, WORK_PX))
        rgb = image.convert("RGB")
        rgb.thumbnail((WORK_PX, WORK_PX), Image.Resampling.BOX)
    signs = _signs(np.asarray(rgb, dtype=np.float64))
    return "" if signs is None else np.packbits((signs.ravel() > 0).astype(np.uint8)).tobytes().hex()


def _signs(rgb: NDArray[np.float64]) -> NDArray[np.float64] | None:
    # Saturation and darkness both: tissue is coloured, glass is bright, and pen is as dark as tissue but small.
    stain = gaussian_filter(rgb.max(axis=2) - rgb.min(axis=2), 2)
    if np.ptp(stain) < 8:
        return None
    mask = stain > threshold_otsu(stain)
    if mask.mean() < MIN_TISSUE_SHARE:
        return None
    rows, columns = np.flatnonzero(mask.mean(axis=1) > 0.01), np.flatnonzero(mask.mean(axis=0) > 0.01)
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    dark = Image.fromarray(np.where(mask, 255 - rgb.mean(axis=2), 0).astype(np.float32), mode="F")
    square = np.asarray(dark.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX, box=box), dtype=np.float64)
    return np.asarray(np.sign(dctn(square, norm="ortho")[:LOW, :LOW]))


def positions(digest: str) -> NDArray[np.int8]:
    """(8, 255) int8, +1 and -1: the hash in the eight positions a copy can have, the constant term left out."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(digest), dtype=np.uint8)).reshape(LOW, LOW)
    signs = bits.astype(np.int8) * 2 - 1
    odd = np.where(np.arange(LOW) % 2, -1, 1).astype(np.int8)
    found = []
    for one in (signs, signs.T):
        for across in (np.ones_like(odd), odd):
            for down in (np.ones_like(odd), odd):
                found.append((one * across[None, :] * down[:, None]).ravel()[1:])
    return np.array(found, dtype=np.int8)


def distances(digests: list[str]) -> NDArray[np.float64]:
    """(N, N) share of signs that differ between two pictures in the position that fits best; NaN without a hash."""
    known = [index for index, digest in enumerate(digests) if digest]
    result = np.full((len(digests), len(digests)), np.nan)
    if not known:
        return result
    turned = np.array([positions(digests[index]) for index in known], dtype=np.float32)
    plain = turned[:, 0]
    agreement = np.max([plain @ turned[:, position].T for position in range(turned.shape[1])], axis=0)
    result[np.ix_(known, known)] = (1 - agreement / plain.shape[1]) / 2
    return result
