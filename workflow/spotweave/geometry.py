"""Transforms between coordinate systems, as 3x3 matrices acting on column vectors (x, y, 1).

The one system that leaves a step is the slide's: pixels of the full-resolution H&E image, x right, y down,
origin at the top-left corner of the top-left pixel (so that pixel's centre is at (0.5, 0.5)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def apply(matrix: NDArray[np.float64], points: Points) -> Points:
    """Map `points` (N, 2) by an affine `matrix` (3, 3)."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def fit_affine(source: Points, target: Points) -> NDArray[np.float64]:
    """Least-squares affine map (3, 3) from `source` (N, 2) to `target` (N, 2); N >= 3, not collinear."""
    design = np.column_stack([source, np.ones(len(source))])
    solution, _, rank, _ = np.linalg.lstsq(design, target, rcond=None)
    if rank < 3:
        raise ValueError("an affine fit needs three points that are not on one line")
    return np.vstack([solution.T, [0.0, 0.0, 1.0]])


def fit_similarity(source: Points, target: Points, *, mirrored: bool = False) -> NDArray[np.float64]:
    """Least-squares similarity (3, 3): rotation, one scale, translation, after a flip of x where `mirrored`.

    Umeyama 1991 (IEEE PAMI 13:376) in its two-dimensional closed form, with points as complex numbers.
    """
    flip = np.array([-1.0 if mirrored else 1.0, 1.0])
    centre_source, centre_target = source.mean(axis=0), target.mean(axis=0)
    z = ((source - centre_source) * flip) @ np.array([1, 1j])
    w = (target - centre_target) @ np.array([1, 1j])
    norm = float(np.vdot(z, z).real)
    if norm == 0:
        raise ValueError("a similarity fit needs two points that are not the same")
    k = np.vdot(z, w) / norm
    matrix = np.eye(3)
    matrix[:2, :2] = np.array([[k.real, -k.imag], [k.imag, k.real]]) * flip
    matrix[:2, 2] = centre_target - matrix[:2, :2] @ centre_source
    return matrix


@dataclass(frozen=True)
class LatticeFit:
    """A spot lattice in micrometres laid onto an image.

    Attributes
    ----------
    matrix
        (3, 3), array um -> image px; the affine fit, which predicts the spot centres best.
    pixel_size_um
        um per px, from the similarity fit (one scale for both axes).
    pixel_size_se_um
        Its standard error, from the residuals.
    pixel_size_x_um, pixel_size_y_um
        um per px along the array's x and y axes, from the affine fit.
    anisotropy
        Ratio of the affine map's singular values less 1; 0 for square pixels and a true lattice.
    rotation_deg
        Turn of the array's x axis in the image, clockwise on screen (y is down).
    mirrored
        Whether the picture shows the array from behind.
    residual_um, residual_p95_um
        Median and 95th percentile of the distance of the spots from the affine fit, in um.
    spots_fitted
        Number of spots.
    """

    matrix: NDArray[np.float64]
    pixel_size_um: float
    pixel_size_se_um: float
    pixel_size_x_um: float
    pixel_size_y_um: float
    anisotropy: float
    rotation_deg: float
    mirrored: bool
    residual_um: float
    residual_p95_um: float
    spots_fitted: int


def fit_lattice(array_um: Points, image_px: Points) -> LatticeFit:
    """Fit a lattice (N, 2) in um to the spots' pixels (N, 2) by least squares over all spots.

    Raises
    ------
    ValueError
        When the spots are fewer than three or on one line.
    """
    affine = fit_affine(array_um, image_px)
    if np.linalg.matrix_rank(image_px - image_px.mean(axis=0)) < 2:
        raise ValueError("the fit needs positions in the picture that are not on one line")
    mirrored = bool(np.linalg.det(affine[:2, :2]) < 0)
    similarity = fit_similarity(array_um, image_px, mirrored=mirrored)
    scale_px_per_um = float(np.sqrt(abs(np.linalg.det(similarity[:2, :2]))))
    pixel_size_um = 1.0 / scale_px_per_um

    spread = float(((array_um - array_um.mean(axis=0)) ** 2).sum())
    left_px = image_px - apply(similarity, array_um)
    freedom = max(2 * len(array_um) - 4, 1)
    scale_se = float(np.sqrt((left_px**2).sum() / freedom / spread))

    axes = np.linalg.norm(affine[:2, :2], axis=0)
    singular = np.linalg.svd(affine[:2, :2], compute_uv=False)
    distance_um = np.linalg.norm(image_px - apply(affine, array_um), axis=1) * pixel_size_um
    x_axis = affine[:2, 0] * (-1.0 if mirrored else 1.0)
    return LatticeFit(
        matrix=affine,
        pixel_size_um=pixel_size_um,
        pixel_size_se_um=scale_se * pixel_size_um**2,
        pixel_size_x_um=float(1.0 / axes[0]),
        pixel_size_y_um=float(1.0 / axes[1]),
        anisotropy=float(singular[0] / singular[1] - 1.0),
        rotation_deg=float(np.degrees(np.arctan2(x_axis[1], x_axis[0]))),
        mirrored=mirrored,
        residual_um=float(np.median(distance_um)),
        residual_p95_um=float(np.percentile(distance_um, 95)),
        spots_fitted=len(array_um),
    )
