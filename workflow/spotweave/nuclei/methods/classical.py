"""Nuclei without a trained model: of nested candidates at many thresholds, those that look most like a nucleus.

Candidates come from `nuclei.candidates`. Each gets a mark between 0 and 1, the product of how well its shape fits an
ellipse, how sharp its outline is and how little of it is a cut through something dark, how much darker than its
surroundings it is, and whether nuclei have its size.
Along the tree of candidates, a whole is kept where its mark is at least the mean of its parts' (by area), raised by how
many they are and how deep the pass between them is, else its parts (as in component trees: Jones 1999, CVIU 75:215).

What differs between slides is measured once a slide: the red of nuclei and of what lies between, and how sharp outlines
are. All else is one set of numbers in um for all slides. Seen at .5 um/px.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from spotweave.nuclei import NO_CLASS, Instances, NucleiSpec, Overview

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from spotweave.nuclei.candidates import Candidates

SAMPLED_TILES = 12
SHARPNESS_PX = 512  # the middle of each that tells how sharp outlines are
COARSE_UM_PER_PX = 0.7  # slides of coarser pixels hold too little of small nuclei and of gaps between them
DARK, LIGHT = 0.005, 0.75  # quantiles of red on stained tissue
GLASS = 0.92  # of the lightest: what is lighter in red is glass, lumen or fat
LEAST_CONTRAST = 12.0  # grey levels: with less between dark and light, nothing is stained
USUAL_GRADIENT = 0.4  # per um, of a sharp slide; only for finding those outlines that tell a slide's own
ELLIPSE = (0.85, 1.0)
SHARPNESS = (0.1, 1.2)  # gradient, in units of the slide's own
CONTRAST = (0.1, 0.7)
SMALL_UM2, LARGE_UM2 = (4.0, 20.0), (120.0, 300.0)
PARTING = 4.0  # how much a deep pass speaks for the parts
BESIDE = 0.35  # how much it counts that parts are several: 0, their mean is held against the whole; 1, their sum
LEAST_MARK = 0.13
LEAST_UM2 = 6.0
FARTHEST_UM = 50.0  # what reaches further is none, and would not lie whole within a tile's margin


@dataclass(frozen=True)
class Stain:
    """What is taken from the whole slide: red (0-255) of nuclei and between them, gradient of outlines per um."""

    dark: float
    light: float
    gradient: float


def check(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """It has no weights."""
    return [] if row.get("weights") == "none" else [("weights", f"{row.get('weights')!r}, allowed: none")]


def load(spec: NucleiSpec, *, folder: Path | None, device: str, seed: int) -> Classical:
    """The model of a row."""
    return Classical(spec.um_per_px)


class Classical:
    """See `spotweave.nuclei.Model`."""

    tile_px, margin_px, batch = 1792, 128, 1
    classes = (NO_CLASS,)

    def __init__(self, um_per_px: float) -> None:
        self.um_per_px = um_per_px
        self.native_um_per_px = (0.95 * um_per_px, 1.05 * um_per_px)
        self.stain: Stain | None = None
        self.provenance: Mapping[str, str] = {}

    def prepare(self, overview: Overview) -> None:
        """Measure the stain on tiles from all over the tissue."""
        self.stain = measure_stain(overview.sample_tiles(SAMPLED_TILES), self.um_per_px)
        if overview.pixel_size_um > COARSE_UM_PER_PX:
            self.provenance = {
                "quality": f"low: {overview.pixel_size_um:.3g} um a pixel, best is {COARSE_UM_PER_PX} or less"
            }

    def predict(self, tiles: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """The pixels: all is done by the separator."""
        return list(tiles)

    def separator(self) -> Any:
        """See `segment`."""
        return partial(instances, um_per_px=self.um_per_px, stain=self.stain)


def measure_stain(tiles: Sequence[NDArray[np.uint8]], um_per_px: float) -> Stain | None:
    """The stain of a slide from tiles (H, W, 3) of it; None where nothing on them is stained."""
    import numpy as np

    from spotweave.nuclei.candidates import smoothed_red

    if not tiles:
        return None
    reds = [smoothed_red(tile, um_per_px) for tile in tiles]
    every = np.concatenate([red.ravel() for red in reds])
    stained = every[every < GLASS * np.quantile(every, 0.999)]
    if not len(stained):
        return None
    dark, light = (float(one) for one in np.quantile(stained, [DARK, LIGHT]))
    if light - dark < LEAST_CONTRAST:
        return None
    middles = [
        red[tuple(slice(max(0, (n - SHARPNESS_PX) // 2), (n + SHARPNESS_PX) // 2) for n in red.shape)] for red in reds
    ]
    return Stain(dark, light, _gradient(middles, um_per_px, dark, light))


def _gradient(reds: Sequence[NDArray[np.float32]], um_per_px: float, dark: float, light: float) -> float:
    """The median gradient at the outlines of the best candidates."""
    import numpy as np

    from spotweave.nuclei.candidates import candidates

    marks, gradients = [], []
    for red in reds:
        found = candidates(red, um_per_px, dark, light)
        if found is None:
            continue
        mark = _marks(found, USUAL_GRADIENT)
        best = mark.argmax(axis=1)
        rows = np.arange(len(best))
        marks.append(mark[rows, best])
        gradients.append(found.gradient[rows, best])
    mark = np.concatenate(marks) if marks else np.zeros(0)
    good = mark > LEAST_MARK
    if not good.any():
        return USUAL_GRADIENT
    good &= mark > np.quantile(mark, 0.7)
    return float(np.median(np.concatenate(gradients)[good]))


def instances(tile: NDArray[np.uint8], *, um_per_px: float, stain: Stain | None) -> Instances:
    """The nuclei of a tile, without classes or probabilities."""
    import numpy as np

    labels = segment(tile, um_per_px=um_per_px, stain=stain)
    count = int(labels.max(initial=0))
    return Instances(labels, np.ones(count, np.uint8), np.full(count, np.nan, np.float32))


def segment(tile: NDArray[np.uint8], *, um_per_px: float, stain: Stain | None) -> NDArray[np.int32]:
    """Label the nuclei of a picture (H, W, 3) RGB: (H, W) int32, 0 or 1 to n without a gap.

    Parameters
    ----------
    um_per_px
        About .5, which the numbers above were chosen at.
    stain
        Of the slide (`measure_stain`); None where it has none.
    """
    import numpy as np

    from spotweave.nuclei.candidates import candidates, smoothed_red

    nothing = np.zeros(tile.shape[:2], dtype=np.int32)
    if stain is None:
        return nothing
    found = candidates(smoothed_red(tile, um_per_px), um_per_px, stain.dark, stain.light)
    return nothing if found is None else _chosen(found, _marks(found, stain.gradient), um_per_px)


def _ramp(values: NDArray[Any], ends: tuple[float, float]) -> NDArray[np.float64]:
    """0 up to the first end, 1 from the second."""
    return ((values - ends[0]) / (ends[1] - ends[0])).clip(0, 1)


def _marks(found: Candidates, gradient: float) -> NDArray[np.float64]:
    """How much like a nucleus every candidate is, (N, LEVELS)."""
    return (
        _ramp(found.roundness_of_ellipse, ELLIPSE)
        * _ramp(found.gradient / gradient, SHARPNESS)
        * (1 - found.walled)
        * _ramp(found.contrast, CONTRAST)
        * _ramp(found.area_um2, SMALL_UM2)
        * (1 - _ramp(found.area_um2, LARGE_UM2))
    )


def _owner(
    found: Candidates, own: NDArray[np.float64], area: NDArray[np.float64], taken: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The node (N,) that each node belongs to, -1 for none, when nodes have these marks and areas and may be taken."""
    import numpy as np

    # Upwards: the choice within each node, as the mean of its marks by area, their sum, and its area.
    is_taken, summed, covered = taken.tolist(), (own * taken).tolist(), (area * taken).tolist()
    mean, marks, areas = list(summed), own.tolist(), area.tolist()
    depth, children, parent = found.depth.tolist(), found.children.tolist(), found.parent.tolist()
    for node in range(found.leaves, len(marks)):
        one, other = children[node]
        within = covered[one] + covered[other]
        apart = (mean[one] * covered[one] + mean[other] * covered[other]) / within if within else 0.0
        several = (summed[one] + summed[other]) / apart if apart else 1.0
        if is_taken[node] and marks[node] >= apart * several**BESIDE * (1 + PARTING * depth[node]):
            mean[node] = summed[node] = marks[node]
            covered[node] = areas[node]
        else:
            is_taken[node], mean[node], covered[node] = False, apart, within
            summed[node] = summed[one] + summed[other]
    # Downwards.
    owner = [-1] * len(marks)
    for node in range(len(marks) - 1, -1, -1):
        above = owner[parent[node]] if parent[node] >= 0 else -1
        owner[node] = above if above >= 0 else (node if is_taken[node] else -1)
    return np.array(owner, dtype=np.int64)


def _chosen(found: Candidates, marks: NDArray[np.float64], um_per_px: float) -> NDArray[np.int32]:
    """The candidates that together look most like nuclei, as labels (H, W) int32."""
    import numpy as np
    from skimage.measure import label

    nodes = np.arange(len(marks))
    level = marks.argmax(axis=1)
    own, area = marks[nodes, level], found.area_um2[nodes, level]
    taken = (own > LEAST_MARK) & (found.reach_um <= FARTHEST_UM)
    taken[0] = False
    owner = _owner(found, own, area, taken)
    node_of = owner[found.zone]
    inside = (node_of >= 0) & (found.first <= level[node_of])
    pieces = label(np.where(inside, node_of, 0), connectivity=1)
    # Of several pieces of one candidate, the largest.
    px = np.bincount(pieces.ravel())
    node_of_piece = np.zeros(len(px), dtype=np.int64)
    node_of_piece[pieces.ravel()] = np.where(inside, node_of, 0).ravel()
    order = np.lexsort((-px, node_of_piece))
    kept = np.zeros(len(px), dtype=bool)
    kept[order] = np.diff(node_of_piece[order], prepend=-1) != 0
    kept &= (node_of_piece > 0) & (px * um_per_px**2 >= LEAST_UM2)
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return number[pieces]
