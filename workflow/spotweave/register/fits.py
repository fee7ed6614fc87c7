"""Maps fitted to matches: an affine one, and a smooth field on top of it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from spotweave.geometry import Points, apply, fit_affine
from spotweave.register.matches import Matches

INLIERS_MIN = 6
ANISOTROPY_MAX = 0.12  # of one correction; sections that were cut apart are stretched by up to .08
NODES_MAX = 150_000  # solved in some seconds and half a GB


def correction(found: Matches, within_px: float, *, affine: bool) -> NDArray[np.float64] | None:
    """(3, 3) map of the fixed grid that takes what is found to where it should be; None where too few agree.

    Parameters
    ----------
    found
        Matches; many may be wrong.
    within_px
        How far those that agree lie off it.
    affine
        Else a similarity.
    """
    if len(found) < INLIERS_MIN:
        return None
    source, target = found.centre_px + found.shift_px, found.centre_px
    estimate = cv2.estimateAffine2D if affine else cv2.estimateAffinePartial2D
    cv2.setRNGSeed(0)
    matrix, mask = estimate(
        source.astype(np.float64),
        target.astype(np.float64),
        method=cv2.RANSAC,
        ransacReprojThreshold=within_px,
        maxIters=5000,
        confidence=0.999,
    )
    if matrix is None or int(mask.sum()) < INLIERS_MIN:
        return None
    whole = np.vstack([matrix, [0.0, 0.0, 1.0]])
    if affine:
        for _ in range(3):
            near = np.linalg.norm(target - apply(whole, source), axis=1) <= within_px
            if near.sum() < INLIERS_MIN:
                return None
            try:
                whole = fit_affine(source[near], target[near])
            except ValueError:
                return None
    largest, smallest = np.linalg.svd(whole[:2, :2], compute_uv=False)
    if smallest <= 0 or largest / smallest - 1 > ANISOTROPY_MAX:
        return None
    return np.asarray(whole, dtype=np.float64)


def smooth_field(
    places: Points,
    displacements: Points,
    weights: NDArray[np.float64],
    size: tuple[float, float],
    spacing: float,
    stiffness: float,
) -> NDArray[np.float32]:
    """The field at the nodes of a lattice that follows displacements and bends little.

    Least squares: squared distances at the places (bilinear between nodes) plus `stiffness` times the squared second
    differences along both axes and across them (a thin plate on a lattice). Far from all places it goes on straight.

    Parameters
    ----------
    places, displacements
        (N, 2), in units of `size`.
    weights
        (N,).
    size, spacing
        Width and height of the lattice, and between nodes.

    Returns
    -------
    (rows, columns, 2) float32.
    """
    columns, rows = (int(np.ceil(side / spacing)) + 1 for side in size)
    columns, rows = max(columns, 3), max(rows, 3)
    x = np.clip(places[:, 0] / spacing, 0, columns - 1.001)
    y = np.clip(places[:, 1] / spacing, 0, rows - 1.001)
    j, i = x.astype(np.intp), y.astype(np.intp)
    u, v = x - j, y - i
    at = np.arange(len(places))
    entries = [((1 - u) * (1 - v), i * columns + j), (u * (1 - v), i * columns + j + 1)]
    entries += [((1 - u) * v, (i + 1) * columns + j), (u * v, (i + 1) * columns + j + 1)]
    design = sparse.csr_matrix(
        (np.concatenate([e[0] for e in entries]), (np.tile(at, 4), np.concatenate([e[1] for e in entries]))),
        shape=(len(places), rows * columns),
    )
    bend = _bending(rows, columns)
    weighted = design.T @ sparse.diags(weights)
    normal = (weighted @ design + stiffness * bend + 1e-9 * sparse.eye(rows * columns)).tocsc()
    solved = splu(normal, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(
        np.asarray(weighted @ displacements)
    )
    return np.asarray(solved, dtype=np.float32).reshape(rows, columns, 2)


def _bending(rows: int, columns: int) -> sparse.csr_matrix:
    def second(n: int) -> sparse.csr_matrix:
        return sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(n - 2, n)).tocsr()

    def first(n: int) -> sparse.csr_matrix:
        return sparse.diags([-1.0, 1.0], [0, 1], shape=(n - 1, n)).tocsr()

    along_x = sparse.kron(sparse.eye(rows), second(columns))
    along_y = sparse.kron(second(rows), sparse.eye(columns))
    across = sparse.kron(first(rows), first(columns))
    return (along_x.T @ along_x + along_y.T @ along_y + 2 * across.T @ across).tocsr()


def agreeing(found: Matches, within_px: float, neighbours: int = 8) -> NDArray[np.bool_]:
    """Which matches lie near the median of their neighbours' shifts: mistakes stand alone."""
    from scipy.spatial import KDTree

    if len(found) <= neighbours:
        return np.ones(len(found), dtype=bool)
    _, near = KDTree(found.centre_px).query(found.centre_px, k=neighbours + 1)
    middle = np.median(found.shift_px[near[:, 1:]], axis=1)
    return np.asarray(np.linalg.norm(found.shift_px - middle, axis=1) <= within_px)
