"""A trained method asked for places of a slide: patches cut as it needs them, few at a time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spotweave.errors import Refusal
from spotweave.methods import CannotPredict, Pictures, Sample
from spotweave.predicting.places import Places
from spotweave.predicting.slides import OwnSlide
from spotweave.predicting.trained import Trained
from spotweave.slide.patch_files import PatchWriter
from spotweave.slide.patches import PatchGrid

# A whole number of every method's batches, so that it predicts the same as if asked for all at once.
SPOTS_AT_ONCE = 1024
# What patches of a section may take, as they are shown to a method that sees all of them.
SECTION_BYTES_MAX = 8_000_000_000


def grid_of(trained: Trained, slide: OwnSlide, places: Places) -> PatchGrid:
    """The patches of places, as large on the tissue as those that the method learned from."""
    patches = trained.said["patches"]
    return PatchGrid(places.positions_px, patches["size_px"], patches["um_per_px"], slide.pixel_size_um)


def ask(
    trained: Trained,
    slide: OwnSlide,
    pyramid: Path,
    places: Places,
    folder: Path,
    *,
    at_once: int | None = None,
    dtype: type[np.floating[Any]] = np.float32,
) -> NDArray[Any]:
    """(N, G) of `dtype`, on the scale that it was trained on, a row a place.

    Memory does not grow with the slide, but for the answer and, of methods that see a section, their patches.

    Parameters
    ----------
    pyramid
        Of the slide, as `slides.pyramid_of` gives it.
    folder
        For what is needed in between.
    at_once
        The most places that are asked together, in parts of nearly equal size; None asks all together where a method
        sees a section.

    Raises
    ------
    Refusal
        If the method cannot predict these places.
    """
    count = len(places.names)
    size = count
    if at_once is not None:
        size = math.ceil(count / math.ceil(count / at_once))
    elif not trained.sees_section:
        size = SPOTS_AT_ONCE
    elif count * 3 * trained.settings["size_px"] ** 2 > SECTION_BYTES_MAX:
        most = SECTION_BYTES_MAX // (3 * trained.settings["size_px"] ** 2)
        raise Refusal(
            f"{count:,} places, and {trained.kind} sees all patches of a section at once: at most {most:,} of its"
            f" {trained.settings['size_px']} px are kept in memory. Take a larger pitch, or ask for parts of the slide",
            measured=count,
            threshold=most,
        )
    found = np.empty((count, len(trained.genes)), dtype)
    try:
        for start in tqdm(range(0, count, size), desc="spots", disable=None, leave=at_once is None):
            some = places.at(start, start + size)
            sample = _sample(trained, slide, pyramid, some, folder / "patches.h5")
            found[start : start + size] = trained.method.predict(sample)
    except CannotPredict as error:
        raise Refusal(f"{slide.path.name}: {trained.kind} cannot predict it: {error}") from error
    if not np.isfinite(found).all():
        raise ValueError(f"{slide.path.name}: {trained.kind} predicts what is no number")
    return found


def _sample(trained: Trained, slide: OwnSlide, pyramid: Path, places: Places, patches: Path) -> Sample:
    grid = grid_of(trained, slide, places)
    padded = padded_of(grid, slide)
    with PatchWriter(patches, grid, places.names, padded, slide.path.stem, pictures=False):
        pass
    return Sample(slide.path.stem, "", places.names, places.positions_px, Pictures(patches, pyramid))


def padded_of(grid: PatchGrid, slide: OwnSlide) -> NDArray[np.bool_]:
    """(N,) bool: which patches reach beyond the slide, where they are white."""
    return grid.padded(slide.width_px, slide.height_px)
