"""Patches of a sample as a network takes them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spotweave.spots import CannotPredict, Sample


def read_images(sample: Sample, size_px: int, patch_um: float | None = None) -> NDArray[np.uint8]:
    """Patches of all spots, (N, size_px, size_px, 3) uint8 RGB.

    Parameters
    ----------
    patch_um
        Side of the square of tissue, cut out of the middle of the patch; None for all of it.

    Raises
    ------
    CannotPredict
        If the patches are smaller than that.
    """
    found = np.empty((len(sample.spots), size_px, size_px, 3), np.uint8)
    done = 0
    for images in sample.images():
        side_px = images.shape[1]
        if patch_um is not None:
            um_per_px = sample.patch_um_per_px
            if patch_um > side_px * um_per_px * (1 + 1e-9):
                raise CannotPredict(
                    f"it looks at {patch_um:g} um, and patches are {side_px * um_per_px:g} um wide: set patch.size_px"
                    f" to {patch_um / um_per_px:.0f} or more, or a smaller patch_um in its row"
                )
            side_px = round(patch_um / um_per_px)
        margin = (images.shape[1] - side_px) // 2
        cut = images[:, margin : margin + side_px, margin : margin + side_px]
        for patch in cut:
            found[done] = patch if side_px == size_px else _resized(patch, size_px)
            done += 1
    return found


def _resized(patch: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    # Area-correct when it is reduced; between pixels when enlarged.
    way = cv2.INTER_AREA if patch.shape[0] > size_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(patch), (size_px, size_px), interpolation=way))
