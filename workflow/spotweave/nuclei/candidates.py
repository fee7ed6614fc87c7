"""What could be a nucleus: pieces of dark zones, cut at many thresholds, measured all at once.

No threshold fits all nuclei of a slide, and no threshold tells touching ones apart. So:

1. The red channel, which haematoxylin absorbs and eosin hardly does, is cut at evenly spaced levels. The sets are
   nested (small holes filled and thin spurs opened away, which keeps them nested).
2. The distance to the edge, averaged over the levels, is high in the middle of every nucleus, whether a neck, a gap or
   a step of darkness parts it from the next one. A zone is all from where the steepest way up leads to one summit.
3. Neighbouring zones are merged in the order of how shallow the pass between their summits is, for its height: a binary
   tree of zones (single linkage, as in hierarchical watersheds: Najman and Schmitt 1996, IEEE TPAMI 18:1163).

A candidate is a node of this tree cut at one level. Areas, moments, edges and walls of all of them are sums over the
zones and levels, taken once over the pixels and then added up along the tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.measure import label

LEVELS = 20
SMOOTHING_UM = 0.3  # more of it closes gaps between nuclei, less leaves grain that cuts dark stroma to pieces
HOLE_UM2 = 10.0
SPUR_UM = 0.75  # radius of the opening: bridges between nuclei are thin
FARTHEST_UM = 5.0  # distances to the edge count up to here: a nucleus' half width
SUMMIT_SMOOTHING_UM = 0.25
FAINT_UM = 0.15  # summits not much higher than this are of the ground between nuclei, and go with what is near last
AROUND_UM = 8.0  # Gaussian window of the surroundings, cut off at 2.5 of it
SAY_OF_OTHERS = 0.3  # in the heights, where somebody else has one
SURROUNDINGS_FROM = 0.5  # surroundings are what is lighter than this share of the way from dark to light

Floats = NDArray[np.float64]
Tree = tuple[NDArray[np.int64], NDArray[np.int64], Floats]


@dataclass(frozen=True)
class Candidates:
    """The tree of zones of one tile, and what its nodes measure when they are cut at a level.

    Attributes
    ----------
    zone
        (H, W) int32: leaf of every pixel, 0 outside the loosest level.
    first
        (H, W) int32: the darkest level that holds the pixel, `LEVELS` where none does.
    children, parent, depth
        (N, 2), (N,) and (N,): nodes of the tree, -1 where there is none, and how deep the pass that joins the children
        lies below the lower of the summits beside it, as a share of that; leaves come first, parents after their
        children. Node 0 is what lies outside.
    leaves
        Number of leaves, node 0 among them.
    reach_um
        (N,): the longer side of the box around the node's zones.
    area_um2, roundness_of_ellipse, gradient, walled, contrast
        (N, LEVELS): area; area over that of the ellipse with the same second moments, 1 for an ellipse and less for
        any other shape (Rosin 2003, Machine Vision and Applications 14:172); mean gradient of the red channel at the
        outline, per um and in units of the span from dark to light; share of the outline that is a wall to another
        zone; how much darker it is than its surroundings, in the units of the gradient.
    """

    zone: NDArray[np.int32]
    first: NDArray[np.int32]
    children: NDArray[np.int64]
    parent: NDArray[np.int64]
    depth: Floats
    leaves: int
    reach_um: Floats
    area_um2: Floats
    roundness_of_ellipse: Floats
    gradient: Floats
    walled: Floats
    contrast: Floats


def smoothed_red(rgb: NDArray[np.uint8], um_per_px: float) -> NDArray[np.float32]:
    """(H, W) float32: the red channel without the grain of the picture."""
    red = cv2.GaussianBlur(rgb[:, :, 0].astype(np.float32), (0, 0), SMOOTHING_UM / um_per_px)
    return red.astype(np.float32)


def candidates(
    red: NDArray[np.float32],
    um_per_px: float,
    dark: float,
    light: float,
    depth_um: NDArray[np.float32] | None = None,
) -> Candidates | None:
    """All candidates of a tile; None where nothing on it is dark.

    Parameters
    ----------
    red
        (H, W) `smoothed_red`, or another map that is low in nuclei.
    dark, light
        Its value in the darkest nuclei and between nuclei, on the whole slide.
    depth_um
        (H, W): how deep inside a nucleus each pixel lies in the view of somebody else, who has a say in where the
        summits are.
    """
    thresholds = np.linspace(dark, light, LEVELS + 1)[1:]
    first, height = _nested(red, thresholds, um_per_px)
    if depth_um is not None:
        height = ((1 - SAY_OF_OTHERS) * height + SAY_OF_OTHERS * depth_um).astype(np.float32)
    within = first < LEVELS
    if not within.any():
        return None
    zone = zones(height, within)
    leaves = int(zone.max()) + 1
    pairs, passes, walls = _neighbours(zone, first, height)
    tree = _merge(zone, height, leaves, pairs, passes)
    return _measured(red, um_per_px, dark, light, zone, first, tree, leaves, pairs, walls)


def _disc(radius_px: float) -> NDArray[np.uint8]:
    reach = int(np.ceil(radius_px))
    rows, columns = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    return (rows**2 + columns**2 <= radius_px**2).astype(np.uint8)


def _nested(
    red: NDArray[np.float32], thresholds: Floats, um_per_px: float
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The darkest level that holds each pixel, and its distance to the edge averaged over the levels, um."""
    held = np.zeros(red.shape, dtype=np.uint8)
    distance = np.zeros(red.shape, dtype=np.float32)
    spur = _disc(SPUR_UM / um_per_px)
    for threshold in thresholds:
        mask = without_holes((red < threshold).astype(np.uint8), HOLE_UM2 / um_per_px**2)
        cv2.morphologyEx(mask, cv2.MORPH_OPEN, spur, dst=mask)
        cv2.add(held, mask, dst=held)
        to_edge = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
        cv2.accumulate(cv2.threshold(to_edge, FARTHEST_UM / um_per_px, 0, cv2.THRESH_TRUNC)[1], distance)
    distance *= um_per_px / len(thresholds)
    height = cv2.GaussianBlur(distance, (0, 0), SUMMIT_SMOOTHING_UM / um_per_px)
    return len(thresholds) - held.astype(np.int32), height.astype(np.float32)


def without_holes(mask: NDArray[np.uint8], least_px: float) -> NDArray[np.uint8]:
    """Fill holes of fewer px, whatever lies in them; what touches the border is none. In place."""
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outer_of = hierarchy[0, :, 3].tolist() if len(contours) else []
    for contour, outer in zip(contours, outer_of, strict=True):
        # A hole's contour runs through the pixels around it; those within follow from its area (Pick's theorem).
        if outer >= 0 and len(contour) < 4 * least_px and cv2.contourArea(contour) - len(contour) / 2 + 1 < least_px:
            cv2.fillPoly(mask, [contour], 1)
    return mask


def zones(height: NDArray[np.float32], within: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The summit, numbered from 1, that the steepest way up leads to from every pixel within; 0 elsewhere.

    A pixel's zone depends on nothing but the heights around its way up.
    """
    rows, columns = height.shape
    ground = np.full((rows + 2, columns + 2), -1, dtype=np.float32)
    ground[1:-1, 1:-1] = np.where(within, height, -1)
    highest = ground[1:-1, 1:-1].copy()
    own = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    up = own.copy()
    for down, across in ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)):
        there = ground[1 + down : rows + 1 + down, 1 + across : columns + 1 + across]
        higher = there > highest
        np.copyto(highest, there, where=higher)
        np.copyto(up, own + np.int32(down * columns + across), where=higher)
    way = up.ravel()
    summit = label(((up == own) & within).astype(np.uint8), connectivity=2).astype(np.int32)
    while True:
        further = way[way]
        if (further == way).all():
            return np.where(within, summit.ravel()[way].reshape(rows, columns), 0).astype(np.int32)
        way = further


def _neighbours(
    zone: NDArray[np.int32], first: NDArray[np.int32], height: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32], Floats]:
    """Pairs (P, 2) of zones that touch, highest pass (P,) between them, their wall (P, LEVELS) at each level, px."""
    sides = []
    for one, other in (np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:]):
        meet = (zone[one] != zone[other]) & (zone[one] > 0) & (zone[other] > 0)
        a, b = zone[one][meet], zone[other][meet]
        low = np.minimum(height[one][meet], height[other][meet])
        sides.append((np.minimum(a, b), np.maximum(a, b), low, np.maximum(first[one][meet], first[other][meet])))
    a, b, low, level = (np.concatenate(column) for column in zip(*sides, strict=True))
    several = int(zone.max()) + 1
    keys, pair = np.unique(a.astype(np.int64) * several + b, return_inverse=True)
    pairs = np.stack(np.divmod(keys, several), axis=1)
    passes = np.zeros(len(pairs), dtype=np.float32)
    np.maximum.at(passes, pair, low)
    return pairs, passes, _by_level(pair, level, len(pairs), None)


def _by_level(where: NDArray[Any], level: NDArray[Any], count: int, weights: NDArray[Any] | None) -> Floats:
    """Sums (count, LEVELS) of weights by place, of all levels up to each."""
    sums = np.bincount(where * (LEVELS + 1) + level, weights, minlength=count * (LEVELS + 1))
    return np.cumsum(sums.reshape(count, LEVELS + 1)[:, :LEVELS].astype(float), axis=1)


def _merge(
    zone: NDArray[np.int32],
    height: NDArray[np.float32],
    leaves: int,
    pairs: NDArray[np.int64],
    passes: NDArray[np.float32],
) -> Tree:
    """The tree: children (N, 2), parent (N,) and depth (N,) of every node."""
    root = list(range(leaves))
    children: list[tuple[int, int]] = [(-1, -1)] * leaves

    def root_of(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    summit = np.zeros(leaves, dtype=np.float32)
    np.maximum.at(summit, zone.ravel(), height.ravel())
    lower = np.minimum(summit[pairs[:, 0]], summit[pairs[:, 1]])
    shallow = (lower - passes + FAINT_UM) / np.maximum(lower, 1e-6)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], shallow))
    depth = ((lower - passes) / np.maximum(lower, 1e-6))[order].tolist()
    depths = [0.0] * leaves
    for (a, b), deep in zip(pairs[order].tolist(), depth, strict=True):
        one, other = root_of(a), root_of(b)
        if one != other:
            root[one] = root[other] = len(root)
            root.append(len(root))
            children.append((one, other))
            depths.append(deep)
    parent = np.full(len(children), -1)
    for node in range(leaves, len(children)):
        parent[list(children[node])] = node
    return np.array(children), parent, np.array(depths)


def _reach_px(zone: NDArray[np.int32], children: NDArray[np.int64], leaves: int) -> Floats:
    """The longer side (N,) of the box around each node's zones, px."""
    # left, top and, negative, right, bottom: of a whole, the least of its parts'
    sides = [(0, 0, 0, 0)]
    for down, across in find_objects(zone, leaves - 1):
        sides.append((across.start, down.start, -across.stop, -down.stop))
    for one, other in children[leaves:].tolist():
        sides.append(tuple(map(min, sides[one], sides[other])))
    left, top, right, bottom = np.array(sides, dtype=float).T
    return np.maximum(-right - left, -bottom - top)


def _meeting(pairs: NDArray[np.int64], parent: NDArray[np.int64]) -> NDArray[np.int64]:
    """The node (P,) at which the two zones of each pair become one, -1 where they never do."""
    above = parent.tolist()
    found = []
    for one, other in pairs.tolist():
        a, b = one, other
        while a != b and a >= 0 and b >= 0:  # parents have higher numbers than their children
            if a < b:
                a = above[a]
            else:
                b = above[b]
        found.append(a if a == b else -1)
    return np.array(found, dtype=np.int64)


def _surroundings(red: NDArray[np.float32], um_per_px: float, lighter_than: float, light: float) -> NDArray[np.float32]:
    """Mean red of what is not dark around each pixel; `light` where all is dark."""
    reach = int(2.5 * AROUND_UM / um_per_px)
    size, sigma = (2 * reach + 1, 2 * reach + 1), AROUND_UM / um_per_px
    lighter = (red > lighter_than).astype(np.float32)
    share = cv2.GaussianBlur(lighter, size, sigma)
    little = np.float32(0.02)
    return (cv2.GaussianBlur(red * lighter, size, sigma) + little * np.float32(light)) / (share + little)


def _outline(
    red: NDArray[np.float32], zone: NDArray[np.int32], first: NDArray[np.int32], leaves: int
) -> tuple[Floats, Floats]:
    """Length in px of the outlines (leaves, LEVELS) that are no walls, and the gradient per px summed along them."""
    gradient = np.hypot(cv2.Sobel(red, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(red, cv2.CV_32F, 0, 1, scale=1 / 8))
    # A pixel is on the outline at the levels that hold it and not all of its neighbours.
    lightest = cv2.dilate(first.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    edge = (lightest > first) & (zone > 0)
    where, starts, ends, slope = zone[edge].astype(np.int64), first[edge], lightest[edge], gradient[edge]
    return (
        _by_level(where, starts, leaves, None) - _by_level(where, ends, leaves, None),
        _by_level(where, starts, leaves, slope) - _by_level(where, ends, leaves, slope),
    )


def _measured(
    red: NDArray[np.float32],
    um_per_px: float,
    dark: float,
    light: float,
    zone: NDArray[np.int32],
    first: NDArray[np.int32],
    tree: Tree,
    leaves: int,
    pairs: NDArray[np.int64],
    walls: Floats,
) -> Candidates:
    """Sums over zones and levels, added up along the tree, and what follows from them."""
    children, parent, depth = tree
    inside = zone.ravel() > 0
    where, level = zone.ravel()[inside].astype(np.int64), first.ravel()[inside]
    rows, columns = (index.ravel()[inside].astype(float) for index in np.indices(zone.shape))
    scale = light - dark
    darker = (_surroundings(red, um_per_px, dark + SURROUNDINGS_FROM * scale, light) - red).ravel()[inside]
    weights = (None, columns, rows, columns**2, rows**2, columns * rows, darker)
    sums = [_by_level(where, level, leaves, weight) for weight in weights]
    sums += _outline(red, zone, first, leaves)
    table = np.zeros((len(children), LEVELS, len(sums) + 1))
    table[:leaves, :, :-1] = np.stack(sums, axis=-1)
    wall = table[..., -1]
    np.add.at(wall, pairs[:, 0], walls)
    np.add.at(wall, pairs[:, 1], walls)
    met = _meeting(pairs, parent)  # a wall between its parts is none of a whole
    np.subtract.at(wall, met[met >= 0], 2 * walls[met >= 0])
    for node in range(leaves, len(children)):
        table[node] += table[children[node, 0]] + table[children[node, 1]]

    area, x, y, xx, yy, xy, darkness, edge, slope, wall = np.moveaxis(table, -1, 0)
    px = np.maximum(area, 1)
    x, y = x / px, y / px
    spread = (xx / px - x**2 + 1 / 12) * (yy / px - y**2 + 1 / 12) - (xy / px - x * y) ** 2
    return Candidates(
        zone=zone,
        first=first,
        children=children,
        parent=parent,
        depth=depth,
        leaves=leaves,
        reach_um=_reach_px(zone, children, leaves) * um_per_px,
        area_um2=area * um_per_px**2,
        roundness_of_ellipse=area / (4 * np.pi * np.sqrt(np.maximum(spread, 1e-9))),
        gradient=slope / np.maximum(edge, 1) / um_per_px / scale,
        walled=wall / np.maximum(edge + wall, 1),
        contrast=darkness / px / scale,
    )
