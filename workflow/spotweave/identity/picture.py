"""Perceptual hashes of a slide: the same for a rescaled, recompressed, turned, mirrored or slightly cropped copy.

Two hashes, each the signs of the lowest 16 x 16 cosine coefficients of a 64 x 64 picture (DCT-II; Zauner 2010), the
constant term left out:

* of the whole picture's darkness: exact for copies of one framing,
* of the tissue's stain in a window around its centre of mass, as wide as the tissue is spread: for other framings.

Turning by 90 degrees transposes the coefficients, mirroring changes the sign of the odd ones: all eight positions
follow from one hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu

from spotweave.pictures.files import as_rgb

SIDE_PX = 64
LOW = 16
SIGNS = LOW * LOW - 1
WORDS = LOW * LOW // 64
PICTURES_AT_ONCE = 256
WORK_PX = 512
BLUR_PX = 8
WINDOW_SPREADS = 2.2  # half the window's side in standard deviations of the stain
MIN_STAIN = 8.0
MIN_DARKNESS = 40.0  # of pictures without stain; uneven light over plain glass stays below

Floats = NDArray[np.float64]


def picture_hashes(path: Path) -> dict[str, str]:
    """Hashes of a picture of any size: `whole` and `tissue`, 64 hexadecimal digits.

    `tissue` is empty without any stain, `whole` too where neither stain nor darkness stands out: plain glass has only
    the microscope's illumination to compare, which is that of all its slides.
    """
    small = pyvips.Image.thumbnail(str(path), WORK_PX, height=WORK_PX, size="down", no_rotate=True)
    pixels = as_rgb(small).numpy().astype(np.float64)
    darkness = 255 - pixels.mean(axis=2)
    tissue = _tissue_hash(pixels)
    shows_something = tissue or np.ptp(gaussian_filter(darkness, BLUR_PX)) >= MIN_DARKNESS
    return {"whole": _hash(_reduced(darkness, None)) if shows_something else "", "tissue": tissue}


def _tissue_hash(rgb: Floats) -> str:
    stain = rgb.max(axis=2) - rgb.min(axis=2)
    smooth = gaussian_filter(stain, BLUR_PX)
    if np.ptp(smooth) < MIN_STAIN:
        return ""
    # Weights, not a mask: what lies near the threshold must not move the window from copy to copy.
    weight = np.clip(smooth - threshold_otsu(smooth) / 2, 0, None)
    y, x = np.mgrid[: stain.shape[0], : stain.shape[1]]
    centre = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
    spread = [
        np.sqrt(((axis - mean) ** 2 * weight).sum() / weight.sum()) for axis, mean in zip((x, y), centre, strict=True)
    ]
    half = WINDOW_SPREADS * np.array(spread)
    margin = int(max(stain.shape))
    framed = np.pad(stain, margin, constant_values=float(np.percentile(stain, 5)))
    (left, top), (right, bottom) = centre - half + margin, centre + half + margin
    return _hash(_reduced(framed, (float(left), float(top), float(right), float(bottom))))


def _reduced(values: Floats, box: tuple[float, float, float, float] | None) -> Floats:
    image = Image.fromarray(values.astype(np.float32), mode="F")
    return np.asarray(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX, box=box), dtype=np.float64)


def _hash(square: Floats) -> str:
    return np.packbits(dctn(square, norm="ortho")[:LOW, :LOW].ravel() > 0).tobytes().hex()


def positions(digest: str) -> NDArray[np.int8]:
    """(8, 255) int8, +1 and -1: a hash in the eight positions a copy can have, the constant term left out."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(digest), dtype=np.uint8)).reshape(LOW, LOW)
    signs = bits.astype(np.int8) * 2 - 1
    odd = np.where(np.arange(LOW) % 2, -1, 1).astype(np.int8)
    flips = (np.ones_like(odd), odd)
    found = [
        (one * across[None, :] * down[:, None]).ravel()[1:]
        for one in (signs, signs.T)
        for across in flips
        for down in flips
    ]
    return np.array(found, dtype=np.int8)


def close_pairs(digests: Sequence[str], limit: float) -> Iterator[tuple[int, int, float]]:
    """Pairs of pictures of which less than a share `limit` of the signs differs, in the position that fits best.

    Some pictures are compared with all behind them at a time, by bits. Pictures without a hash are in no pair.

    Yields
    ------
    first, second, share
        Positions of the two, first < second, in ascending order.
    """
    known = np.array([index for index, digest in enumerate(digests) if digest], dtype=np.int64)
    turned = np.empty((len(known), 8, WORDS), dtype=np.uint64)
    for row, index in enumerate(known.tolist()):
        turned[row] = _packed(positions(digests[index]))
    shares = _share_of_signs(np.arange(SIGNS + 1))
    for begin in range(0, len(known), PICTURES_AT_ONCE):
        others = np.ascontiguousarray(turned[begin:, 0].T)
        for row in range(begin, min(begin + PICTURES_AT_ONCE, len(known))):
            differ = _least_different(turned[row], others[:, row - begin + 1 :])
            for at in np.flatnonzero(shares[differ] < limit).tolist():
                yield int(known[row]), int(known[row + 1 + at]), float(shares[differ[at]])


def _packed(signs: NDArray[np.int8]) -> NDArray[np.uint64]:
    """(8, WORDS) uint64: signs as bits, the last one 0."""
    bits = np.packbits(np.pad(signs > 0, ((0, 0), (0, 64 * WORDS - SIGNS))), axis=1)
    return np.ascontiguousarray(bits).view(np.uint64)


def _least_different(turned: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """(N,) how many signs of a picture in its best position (8, WORDS) differ from those of others (WORDS, N)."""
    least = np.full(others.shape[1], SIGNS, dtype=np.uint8)
    for position in turned:
        differ = np.zeros(others.shape[1], dtype=np.uint8)
        for word, column in zip(position, others, strict=True):
            differ += np.bitwise_count(word ^ column)
        np.minimum(least, differ, out=least)
    return least


def _share_of_signs(number: NDArray[np.int64]) -> Floats:
    """Share that a number of differing signs is of all, to the digits of float32."""
    return ((1 - (SIGNS - 2 * number).astype(np.float32) / SIGNS) / 2).astype(np.float64)
