"""Nuclei without a trained model: of nested candidates at many thresholds, those that look most like a nucleus.

Candidates come from `nuclei.candidates`, cut from the red channel, which haematoxylin absorbs and eosin hardly does;
which of them are nuclei, `nuclei.choosing` says.

What differs between slides is measured once a slide: the red of nuclei and of what lies between, and how sharp outlines
are. All else is one set of numbers in um for all slides. Seen at .5 um/px.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from spotweave.nuclei import NO_CLASS, Instances, NucleiSpec, Overview

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from spotweave.nuclei.stain import Stain


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
        from spotweave.nuclei.stain import SAMPLED_TILES, quality

        self.stain = measure_stain(overview.sample_tiles(SAMPLED_TILES), self.um_per_px)
        self.provenance = quality(overview.pixel_size_um)

    def predict(self, tiles: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """The pixels: all is done by the separator."""
        return list(tiles)

    def separator(self) -> Any:
        """See `segment`."""
        return partial(instances, um_per_px=self.um_per_px, stain=self.stain)


def measure_stain(tiles: Sequence[NDArray[np.uint8]], um_per_px: float) -> Stain | None:
    """The stain of a slide from tiles (H, W, 3) of it; None where nothing on them is stained."""
    from spotweave.nuclei.candidates import smoothed_red
    from spotweave.nuclei.choosing import usual_gradient
    from spotweave.nuclei.stain import Stain, middle, red_range

    reds = [smoothed_red(tile, um_per_px) for tile in tiles]
    ends = red_range(reds)
    if ends is None:
        return None
    middles = [red[middle(red.shape)] for red in reds]
    return Stain(*ends, usual_gradient(middles, um_per_px, *ends))


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
    from spotweave.nuclei.choosing import choose

    nothing = np.zeros(tile.shape[:2], dtype=np.int32)
    if stain is None:
        return nothing
    found = candidates(smoothed_red(tile, um_per_px), um_per_px, stain.dark, stain.light)
    return nothing if found is None else choose(found, stain.gradient, um_per_px)
