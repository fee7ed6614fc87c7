"""CellViT's separation by its published steps, each over the whole tile: what ours is held against."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed


def published(
    mask: NDArray[np.bool_], offsets: NDArray[np.floating], kernel_px: int = 21, least_px: int = 10
) -> NDArray[np.int64]:
    """(H, W) labels 1 to n, of a mask (H, W) and offsets (2, H, W)."""
    pieces, _ = ndimage.label(mask)
    kept = np.bincount(pieces.ravel()) >= 10
    kept[0] = False
    blob = kept[pieces].astype(np.int32)
    edges = []
    for axis in (0, 1):
        scaled = cv2.normalize(offsets[axis].astype(np.float32), None, 0, 1, cv2.NORM_MINMAX, cv2.CV_32F)
        slope = cv2.Sobel(scaled, cv2.CV_64F, 1 - axis, axis, ksize=kernel_px)
        edges.append(1 - cv2.normalize(slope, None, 0, 1, cv2.NORM_MINMAX, cv2.CV_32F))
    edge = np.maximum(*edges) - (1 - blob)
    edge[edge < 0] = 0
    distance = -cv2.GaussianBlur((1 - edge) * blob, (3, 3), 0)
    marker = blob - (edge >= 0.4)
    marker[marker < 0] = 0
    marker = ndimage.binary_fill_holes(marker).astype(np.uint8)
    marker = cv2.morphologyEx(marker, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    markers, _ = ndimage.label(marker)
    kept = np.bincount(markers.ravel()) >= least_px
    kept[0] = False
    labels = watershed(distance, markers=markers * kept[markers], mask=blob)
    values, numbered = np.unique(labels, return_inverse=True)
    return numbered.reshape(labels.shape) + (values[0] != 0)
