"""A picture of one channel with any number of bits (fluorescence), read reduced in bounded memory.

OME-TIFFs of instruments hold one page a channel and plane, with reduced copies as SubIFDs or as later pages. Files that
an OME description speaks of beside this one are not opened.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from tqdm import tqdm

from spotweave.errors import Refusal

PIXELS_MAX = 4e10
PLANES_MAX = 200
UNPACKED_TO_PACKED_MAX = 2000
SMALL_BYTES = 64 << 20
KINDS = {"u1", "u2"}
# What tifffile and the decoders behind it raise over damaged files.
DAMAGE = (tifffile.TiffFileError, struct.error, ValueError, LookupError, TypeError, ArithmeticError, RuntimeError)


def read_grey(
    path: Path, name: str, size_px_max: float, side_px_max: int = 30_000
) -> tuple[NDArray[np.uint16], tuple[float, float], str | None]:
    """Read the first channel, averaged to at most so many px; of a stack, the brightest of all planes.

    Parameters
    ----------
    path, name
        The file, and what its owner calls it.
    size_px_max, side_px_max
        Px of the result, and of its longer side. It is the picture itself where that is small enough, and else smaller
        by a whole factor from one of its levels.

    Returns
    -------
    (H, W) uint16 (or of 8 bits, as filed); px of the full picture to one of its px along x and y; what was chosen of
    the file in words, None where there was nothing to choose.

    Raises
    ------
    Refusal
        It is no TIFF, is damaged, announces more than it can hold, or holds colours.
    """
    try:
        with tifffile.TiffFile(path, is_ome=False) as tiff:
            return _read(tiff, path, name, size_px_max, side_px_max)
    except DAMAGE as error:
        said = " ".join(str(error).split())[:200]
        raise Refusal(f"{name}: the picture cannot be decoded ({said}); download it again") from error


def full_size_px(path: Path, name: str) -> tuple[int, int]:
    """Width and height of the full picture."""
    try:
        with tifffile.TiffFile(path, is_ome=False) as tiff:
            page = tiff.pages[0].aspage()
            return int(page.imagewidth), int(page.imagelength)
    except DAMAGE as error:
        said = " ".join(str(error).split())[:200]
        raise Refusal(f"{name}: the picture cannot be decoded ({said}); download it again") from error


def _read(
    tiff: tifffile.TiffFile, path: Path, name: str, size_px_max: float, side_px_max: int
) -> tuple[NDArray[np.uint16], tuple[float, float], str | None]:
    first = tiff.pages[0].aspage()
    _check(first, path, name)
    full = (int(first.imagewidth), int(first.imagelength))
    planes, note = _planes(tiff, first, name)
    result: NDArray[np.uint16] | None = None
    for plane in tqdm(planes, disable=len(planes) == 1 or None, desc="planes"):
        level, factor = _level(plane, size_px_max, side_px_max)
        _check(level, path, name)
        one = _reduced(level, factor)
        result = one if result is None else np.maximum(result, one)
    assert result is not None
    height, width = result.shape
    if max(result.shape) == 0 or not result.any():
        raise Refusal(f"{name}: the picture is black; download it again")
    # Blocks at the far borders may be cut: what counts is how large a whole one is.
    level_size = (int(level.imagewidth), int(level.imagelength))
    scale = (full[0] / level_size[0] * factor, full[1] / level_size[1] * factor)
    return result[:height, :width], scale, note


def _check(page: tifffile.TiffPage, path: Path, name: str) -> None:
    pixels = int(page.imagewidth) * int(page.imagelength)
    shown = f"{name}: {page.imagewidth:,} x {page.imagelength:,} px are announced"
    if pixels > PIXELS_MAX:
        raise Refusal(f"{shown}, at most {PIXELS_MAX:.0e} px are read", measured=pixels, threshold=PIXELS_MAX)
    if page.samplesperpixel != 1 or page.dtype is None or page.dtype.str[1:] not in KINDS:
        raise Refusal(
            f"{name}: {page.samplesperpixel} samples a px of type {page.dtype}; the morphology picture has one of 8 or"
            " 16 bits; give the bundle's own"
        )
    size = path.stat().st_size
    unpacked = pixels * page.dtype.itemsize
    if unpacked > SMALL_BYTES and unpacked > UNPACKED_TO_PACKED_MAX * size:
        raise Refusal(
            f"{shown} by a file of {size:,} bytes, which cannot hold them; download it again",
            measured=round(unpacked / max(size, 1)),
            threshold=UNPACKED_TO_PACKED_MAX,
        )


def _planes(
    tiff: tifffile.TiffFile, first: tifffile.TiffPage, name: str
) -> tuple[Sequence[tifffile.TiffPage], str | None]:
    """The pages that are looked at: all planes of a stack, or the first of several channels."""
    count = len(tiff.pages)
    if count > PLANES_MAX:
        raise Refusal(
            f"{name}: {count} pages, at most {PLANES_MAX} are looked at", measured=count, threshold=PLANES_MAX
        )
    alike = [page.aspage() for page in tiff.pages]
    alike = [page for page in alike if page.shape == first.shape]
    if len(alike) == 1:
        return alike, None
    said = re.search(r'\bSizeZ="(\d{1,6})"', (first.description or "")[:100_000])
    if said is not None and int(said[1]) == len(alike):
        return alike, f"the brightest of {len(alike)} planes"
    return alike[:1], f"the first of {len(alike)} pages of the same size"


def _level(page: tifffile.TiffPage, size_px_max: float, side_px_max: int) -> tuple[tifffile.TiffPage, int]:
    """The level to read and the whole factor to average it by."""
    levels = [page, *(one.aspage() for one in page.pages or ())]
    good: list[tuple[int, int, tifffile.TiffPage]] = []
    for level in levels:
        height, width = level.imagelength, level.imagewidth
        factor = 1
        while -(-height // factor) * -(-width // factor) > size_px_max or max(height, width) / factor > side_px_max:
            factor += 1
        good.append((-(-width // factor), -factor, level))
    # The finest result; of equal ones, that of the fullest level, whose averages are cleaner, unless it is far larger.
    finest = max(one[0] for one in good)
    near = [one for one in good if one[0] >= 0.8 * finest]
    _, factor, level = max(near, key=lambda one: (-abs(one[1] + 2), one[0]))
    return level, -factor


def _reduced(page: tifffile.TiffPage, factor: int) -> NDArray[np.uint16]:
    """A page averaged over blocks of `factor` px, part by part; cut blocks at the border are left out."""
    height, width = int(page.imagelength), int(page.imagewidth)
    kind = np.dtype(page.dtype).newbyteorder("=")
    if factor == 1:
        whole = np.zeros((height, width), dtype=kind)
    else:
        total = np.zeros((height // factor, width // factor), dtype=np.float32)
    for data, index, shape in page.segments():
        if data is None:
            continue
        top, left = int(index[-3]), int(index[-2])
        part = data.reshape(data.shape[-3], data.shape[-2])[: shape[-3], : shape[-2]]
        part = part[: height - top, : width - left]
        if factor == 1:
            whole[top : top + part.shape[0], left : left + part.shape[1]] = part
            continue
        part = part[: total.shape[0] * factor - top, : total.shape[1] * factor - left]
        if not part.size:
            continue
        sums = part.astype(np.float32)
        starts = []
        for axis, start in ((0, top), (1, left)):
            edges = np.arange(start // factor, (start + sums.shape[axis] - 1) // factor + 1) * factor - start
            sums = np.add.reduceat(sums, np.maximum(edges, 0), axis=axis)
            starts.append(start // factor)
        total[starts[0] : starts[0] + sums.shape[0], starts[1] : starts[1] + sums.shape[1]] += sums
    if factor == 1:
        return whole
    return np.rint(total / factor**2).astype(kind)
