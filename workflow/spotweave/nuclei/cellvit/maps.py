"""From CellViT's maps to nuclei: the published steps, which are HoVer-Net's (Graham et al. 2019), and the same numbers.

Faster in two places that change no pixel: a piece of the mask with one marker is that marker's, so that only the others
are flooded, and holes are the pieces of the background that touch no edge. Gradients are scaled by their least and
largest value on the tile, as published: what is found near a strong artefact, or on an almost empty tile, depends on
it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from spotweave.nuclei import Instances

KERNEL_PX = 21  # of the Sobel filters, at 0.25 um/px
LEAST_PX = 10  # smaller pieces and markers are dropped
EDGE = 0.4  # scaled gradient from which a pixel parts nuclei
OPENING_PX = 5


@dataclass(frozen=True)
class Maps:
    """What the network says of a tile, 6 bytes a pixel.

    Attributes
    ----------
    mask
        (H, W) bool: nucleus rather than background.
    types
        (H, W) uint8: the most likely class, 0 for background.
    offsets
        (2, H, W) float16: how far right and how far down of its nucleus' centre a pixel lies, -1 to 1.
    """

    mask: NDArray[np.bool_]
    types: NDArray[np.uint8]
    offsets: NDArray[np.float16]


def separate(maps: Maps) -> Instances:
    """The nuclei of a tile; those of no class but background are left out, as in the published whole-slide mode."""
    labels = instances(maps.mask, maps.offsets)
    classes, probabilities = types(labels, maps.types)
    kept = classes > 0
    if labels.size and labels.min() > 0:
        kept[0] = False  # a tile without background: the published table does not list its first label
    if kept.all():
        return Instances(labels, classes, probabilities)
    number = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    return Instances(number[labels], classes[kept], probabilities[kept])


def instances(
    mask: NDArray[np.bool_], offsets: NDArray[np.floating], kernel_px: int = KERNEL_PX, least_px: int = LEAST_PX
) -> NDArray[np.int32]:
    """Separate a mask by its offsets.

    Parameters
    ----------
    mask, offsets
        As in `Maps`; offsets of any float type.
    kernel_px, least_px
        21 and 10 at 0.25 um/px; 11 and 3 were used at 0.5. `least_px` is for markers: pieces need `LEAST_PX`.

    Returns
    -------
    labels
        (H, W) int32: 0, and 1 to n in the order of the markers, row by row.
    """
    pieces = _large(mask, LEAST_PX)
    inside = pieces > 0
    if not inside.any():
        return np.zeros(mask.shape, np.int32)
    edges = np.maximum(*(_parting(offsets[axis], axis, kernel_px) for axis in (0, 1)))
    edges = np.where(inside, edges, 0)
    height = -cv2.GaussianBlur(np.where(inside, 1 - edges, 0), (3, 3), 0)
    seeds = _filled(inside & (edges < EDGE)).astype(np.uint8)
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (OPENING_PX, OPENING_PX))
    markers = _large(cv2.morphologyEx(seeds, cv2.MORPH_OPEN, ellipse), least_px)
    return _flooded(np.asarray(height, dtype=np.float32), markers, pieces)


def types(labels: NDArray[np.int32], classes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The commonest class among each nucleus' pixels, and its share of them.

    Background gives way to the next one, if there is any; of equal ones the first is taken.

    Returns
    -------
    classes, shares
        (n,) uint8 and (n,) float32.
    """
    count = int(labels.max(initial=0))
    many = int(classes.max(initial=0)) + 1
    inside = labels > 0
    found = np.bincount((labels[inside] - 1) * many + classes[inside], minlength=count * many).reshape(count, many)
    best = found.argmax(axis=1)
    others = found.copy()
    others[:, 0] = 0
    is_other = (best == 0) & (others.max(axis=1, initial=0) > 0)
    best = np.where(is_other, others.argmax(axis=1), best)
    shares = found[np.arange(count), best] / (found.sum(axis=1) + 1e-6)
    return best.astype(np.uint8), shares.astype(np.float32)


def _large(mask: NDArray, least_px: int) -> NDArray[np.int32]:
    """The pieces of a mask (neighbours share an edge) of `least_px` and more, numbered from 1 with gaps."""
    pieces, _ = ndimage.label(mask)
    kept = np.bincount(pieces.ravel()) >= least_px
    kept[0] = False
    return np.where(kept[pieces], pieces, 0).astype(np.int32)


def _parting(offset: NDArray[np.floating], axis: int, kernel_px: int) -> NDArray[np.float32]:
    """0 to 1: how steeply an offset falls along its own axis, as it does from one nucleus to the next."""
    scaled = _to_unit(offset.astype(np.float32))
    slope = np.asarray(cv2.Sobel(scaled, cv2.CV_64F, 1 - axis, axis, ksize=kernel_px), dtype=np.float64)
    return 1 - _to_unit(slope)


def _to_unit(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scaled to 0 and 1; all 0 where they are all the same."""
    out = np.empty(values.shape, np.float32)
    return np.asarray(cv2.normalize(values, out, 0, 1, cv2.NORM_MINMAX, cv2.CV_32F))


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """With its holes filled: background that is joined to no edge of the tile."""
    outside, count = ndimage.label(~mask)
    reached = np.zeros(count + 1, bool)
    for edge in (outside[0], outside[-1], outside[:, 0], outside[:, -1]):
        reached[edge] = True
    reached[0] = False
    return ~reached[outside]


def _flooded(height: NDArray[np.float32], markers: NDArray[np.int32], pieces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Labels 1 to n: each piece is its markers', by watershed where it has several; one without a marker is dropped."""
    at = (markers > 0) & (pieces > 0)  # a marker may fill a hole of its piece
    many = int(markers.max(initial=0)) + 1
    met = pieces[at].astype(np.int64) * many + markers[at]
    # Runs first: sorting all pixels would take as long as flooding them.
    piece, marker = np.divmod(np.unique(met[np.flatnonzero(np.diff(met, prepend=-1))]), many)
    several = np.bincount(piece, minlength=pieces.max() + 1)
    only = np.zeros(len(several), np.int32)
    only[piece] = marker
    only[several != 1] = 0
    labels = only[pieces]
    shared = several[pieces] > 1
    if shared.any():
        labels[shared] = watershed(height, markers=np.where(shared, markers, 0), mask=shared)[shared]
    number = np.zeros(many, np.int32)
    there = np.unique(marker)
    number[there] = np.arange(1, len(there) + 1)
    return number[labels]
