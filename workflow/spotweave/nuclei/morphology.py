"""The shape of nuclei and how they lie, in um: the features of HEST-1k (section 6), defined in docs/biomarkers.md.

Size and shape come from the label image, because outlines of pixels are stair-steps whose length grows with no limit of
resolution. Moments are sums over pixels; perimeters are Crofton's, from how often lines of four directions enter a
nucleus. Roughness compares the two kinds of line counts of one nucleus, so that a disc has exactly 1 at every size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

FEATURES = (
    "area_um2",
    "perimeter_um",
    "major_axis_um",
    "minor_axis_um",
    "equivalent_diameter_um",
    "roundness",
    "ellipticity",
    "eccentricity",
    "extent",
    "roughness",
)
NEIGHBOURHOOD = ("density_per_mm2", "crowdedness_um")

NEIGHBOURS = 10
DENSITY_RADIUS_UM = 50.0
LEAST_TISSUE = 0.1  # share of a nucleus's disc; with less of it a density says nothing
DISC_POINTS = 128
CHUNK = 20_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Neighbours of a pixel (rows, columns) along lines of four directions, and the distance between such lines, px.
DIRECTIONS = (((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), np.sqrt(0.5)), ((1, -1), np.sqrt(0.5)))


def of_labels(labels: NDArray[np.int32], um_per_px: float) -> dict[str, NDArray[np.float32]]:
    """Size and shape of every nucleus of a label image.

    Parameters
    ----------
    labels
        (H, W) int32, nuclei 1..n, 0 elsewhere; pixels are square.
    um_per_px
        Their side.

    Returns
    -------
    `FEATURES` -> (n,) float32, in the order of the labels; NaN for a nucleus at the border of the image, of which more
    may lie beyond it, and for a label without a pixel. Lengths in um, area in um2; the others are ratios:
    roundness 4 pi area / perimeter^2 (at most 1), ellipticity minor / major axis, eccentricity
    sqrt(1 - ellipticity^2), extent area / area of the upright bounding box, roughness perimeter of the convex
    hull / perimeter (at most 1).
    """
    count = int(labels.max(initial=0))
    rows, columns = np.nonzero(labels)
    label = labels[rows, columns].astype(np.int64) - 1
    area = np.bincount(label, minlength=count).astype(np.float64)
    spans, boxes = _spans(label, rows, columns, count)
    with np.errstate(divide="ignore", invalid="ignore"):
        major, minor = _axes(label, rows, columns, area)
        perimeter, hull = _perimeters(labels, spans, count)
        ellipticity = minor / major
        features = {
            "area_um2": area * um_per_px**2,
            "perimeter_um": perimeter * um_per_px,
            "major_axis_um": major * um_per_px,
            "minor_axis_um": minor * um_per_px,
            "equivalent_diameter_um": np.sqrt(4 * area / np.pi) * um_per_px,
            "roundness": np.minimum(4 * np.pi * area / perimeter**2, 1.0),
            "ellipticity": ellipticity,
            "eccentricity": np.sqrt(np.maximum(1 - ellipticity**2, 0.0)),
            "extent": area / boxes,
            "roughness": np.minimum(hull / perimeter, 1.0),
        }
    unknown = area == 0
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]) if count else ():
        unknown[side[side > 0] - 1] = True
    return {name: np.where(unknown, np.nan, features[name]).astype(np.float32) for name in FEATURES}


def _axes(label: Ints, rows: Ints, columns: Ints, area: Floats) -> tuple[Floats, Floats]:
    """Major and minor axis (n,), px, of the ellipse with the same second moments.

    A pixel counts as a point at its centre: over all positions on the grid, sums over the centres within a shape are
    its own integrals, and squares of a px would make every axis longer.
    """
    count = len(area)
    x = columns - (np.bincount(label, columns, count) / area)[label]
    y = rows - (np.bincount(label, rows, count) / area)[label]
    xx = np.bincount(label, x * x, count) / area
    yy = np.bincount(label, y * y, count) / area
    xy = np.bincount(label, x * y, count) / area
    half, apart = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return 4 * np.sqrt(half + apart), 4 * np.sqrt(np.maximum(half - apart, 0.0))


def _spans(label: Ints, rows: Ints, columns: Ints, count: int) -> tuple[Floats, Floats]:
    """Lines of each direction (4, n) between a nucleus's outermost pixels, and its bounding box's area (n,), px2."""
    spans = np.zeros((len(DIRECTIONS), count))
    for index, ((down, right), _) in enumerate(DIRECTIONS):
        line = rows * right - columns * down
        first, last = np.full(count, np.iinfo(np.int64).max), np.full(count, np.iinfo(np.int64).min)
        np.minimum.at(first, label, line)
        np.maximum.at(last, label, line)
        spans[index] = np.where(last >= first, last - first + 1.0, 0.0)
    return spans, spans[0] * spans[1]


def _perimeters(labels: NDArray[np.int32], spans: Floats, count: int) -> tuple[Floats, Floats]:
    """Perimeter (n,) of the nuclei and of their convex hulls, px.

    By Crofton's formula a perimeter is pi / 2 times the number of crossings with parallel lines, times their distance,
    averaged over directions (here four; Legland, Kieu & Devaux 2007). A hull is crossed twice by each line between its
    outermost pixels.
    """
    padded = np.pad(labels, 1)
    height, width = padded.shape
    perimeter, hull = np.zeros(count), np.zeros(count)
    for index, ((down, right), distance) in enumerate(DIRECTIONS):
        first = padded[: height - down, max(-right, 0) : width - max(right, 0)]
        second = padded[down:, max(right, 0) : width - max(-right, 0)]
        differ = first != second
        crossings = np.bincount(first[differ], minlength=count + 1) + np.bincount(second[differ], minlength=count + 1)
        perimeter += crossings[1:] * distance
        hull += 2 * spans[index] * distance
    factor = np.pi / 2 / len(DIRECTIONS)
    return perimeter * factor, hull * factor


def neighbourhood(
    xy_um: Floats, tissue: shapely.Geometry | Sequence[shapely.Geometry]
) -> dict[str, NDArray[np.float32]]:
    """How the nuclei of a slide lie.

    Parameters
    ----------
    xy_um
        (N, 2) centroids, um.
    tissue
        Polygons in um.

    Returns
    -------
    `density_per_mm2`
        (N,) float32: other nuclei on tissue within `DENSITY_RADIUS_UM`, by the area of tissue there; NaN where less
        than `LEAST_TISSUE` of that disc is tissue.
    `crowdedness_um`
        (N,) float32: mean distance to the `NEIGHBOURS` nearest others (the smaller, the more crowded); NaN where there
        are fewer. Nothing is known of nuclei beyond the slide's border: at it both are those of a sparser place.
    """
    xy_um = np.asarray(xy_um, dtype=np.float64).reshape(-1, 2)
    count = len(xy_um)
    density, crowdedness = np.full(count, np.nan), np.full(count, np.nan)
    area = shapely.union_all(np.atleast_1d(np.asarray(tissue, dtype=object)))
    if count:
        density = _density(xy_um, area)
    if count > NEIGHBOURS:
        tree = cKDTree(xy_um)
        for start in range(0, count, CHUNK):
            distance, _ = tree.query(xy_um[start : start + CHUNK], k=NEIGHBOURS + 1)
            crowdedness[start : start + CHUNK] = distance[:, 1:].mean(axis=1)
    return {"density_per_mm2": density.astype(np.float32), "crowdedness_um": crowdedness.astype(np.float32)}


def _density(xy_um: Floats, tissue: shapely.Geometry) -> Floats:
    """Others on tissue per mm2 of tissue (N,) within `DENSITY_RADIUS_UM`."""
    area_um2 = disc_area(xy_um, DENSITY_RADIUS_UM, tissue)
    on_tissue = shapely.contains_xy(tissue, xy_um)
    tree = cKDTree(xy_um[on_tissue])
    within = np.zeros(len(xy_um))
    for start in range(0, len(xy_um), CHUNK):
        piece = slice(start, start + CHUNK)
        within[piece] = tree.query_ball_point(xy_um[piece], DENSITY_RADIUS_UM, return_length=True)
    known = area_um2 >= LEAST_TISSUE * np.pi * DENSITY_RADIUS_UM**2
    return np.divide((within - on_tissue) * 1e6, area_um2, out=np.full(len(xy_um), np.nan), where=known)


def disc_area(centres: Floats, radius: float, tissue: shapely.Geometry) -> Floats:
    """Area (N,) of tissue in discs around `centres` (N, 2), all in one unit of length.

    Discs that meet the tissue's outline are sampled at `DISC_POINTS` even points (a straight edge: within 2 % of the
    disc); of the others all or nothing is tissue.
    """
    shapely.prepare(tissue)
    outline = shapely.boundary(tissue)
    shapely.prepare(outline)
    share = shapely.contains_xy(tissue, centres).astype(np.float64)
    cut = np.flatnonzero(shapely.dwithin(outline, shapely.points(centres), radius))
    # Vogel's spiral: equal areas around every point.
    place = np.arange(DISC_POINTS) + 0.5
    turn = np.pi * (3 - np.sqrt(5)) * place
    spiral = radius * np.sqrt(place / DISC_POINTS)[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for start in range(0, len(cut), CHUNK):
        piece = cut[start : start + CHUNK]
        inside = shapely.contains_xy(tissue, (centres[piece, None, :] + spiral).reshape(-1, 2))
        share[piece] = inside.reshape(len(piece), -1).mean(axis=1)
    return share * np.pi * radius**2
