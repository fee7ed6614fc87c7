"""The patches of one sample: cut from its slide around its in-tissue units, and the sheet a person judges them by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spotweave import h5ad
from spotweave.dataset import patch_quality
from spotweave.io import read_json
from spotweave.report.sheet import contact_sheet, shown_on_sheet
from spotweave.slide.levels import Pyramid
from spotweave.slide.patch_files import PatchWriter
from spotweave.slide.patches import Cutter, PatchGrid
from spotweave.slide.resample import LOBES, Pixels
from spotweave.slide.sharpness import focus
from spotweave.slide.sizes import PatchSize


@dataclass(frozen=True)
class Store:
    """Files of a sample that its patches are made of."""

    st: Path
    slide: Path
    alignment: Path
    tissue: Path
    marks: Path


def extract(
    sample: str,
    store: Store,
    size: tuple[int, float],
    patches: Path,
    sheet: Path,
    *,
    also: Mapping[str, Path],
    pictures: bool,
    flag: float,
) -> dict[str, Any]:
    """Cut all sizes in one pass over the slide and write them.

    Parameters
    ----------
    sample
        Its id.
    size
        Side of a patch in its own px, and um per px of it.
    patches, sheet
        Where they go (.h5, .jpg).
    also
        Name of each further size (`512um_256px`) -> where it goes (.h5).
    pictures
        False: the files say where the patches lie and how good they are, and hold no pixels.
    flag
        Quality below which a patch is counted as low.

    Returns
    -------
    Measures of the record.
    """
    # One thread, as the job has: on patches of this size more of them only wait for each other.
    cv2.setNumThreads(1)
    barcodes, centres_px = _in_tissue(store.st)
    slide_um = read_json(store.alignment)["pixel_size_um"]
    sizes = [PatchSize.named(name) for name in also]
    grids = [PatchGrid(centres_px, size[0], size[1], slide_um)]
    grids += [PatchGrid(centres_px, one.size_px, one.pixel_size_um, slide_um) for one in sizes]
    pyramid = Pyramid(store.slide)
    padded = [grid.padded(pyramid.width_px, pyramid.height_px) for grid in grids]
    with ExitStack() as opened:
        writers = [
            opened.enter_context(PatchWriter(path, grid, barcodes, beyond, sample, pictures=pictures))
            for path, grid, beyond in zip([patches, *also.values()], grids, padded, strict=True)
        ]
        sharp, shown = _cut(pyramid, grids if pictures else grids[:1], writers, padded[0])
        half = grids[0].source_size_px / 2
        squares = np.hstack([centres_px - half, centres_px + half])
        quality = patch_quality.columns(squares, store.tissue, store.marks, sharp)
        writers[0].add(quality)
    contact_sheet(sheet, shown)
    return {
        "patches": len(barcodes),
        "patches_padded": int(padded[0].sum()),
        "patch_size_src_px": grids[0].source_size_px,
        "pictures": pictures,
        "also": {name: int(beyond.sum()) for name, beyond in zip(also, padded[1:], strict=True)},
        **patch_quality.measures(quality, flag),
    }


def _in_tissue(st: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Names and (N, 2) centres, slide px, of the units under tissue."""
    with h5py.File(st) as file:
        chosen = h5ad.column(file["obs"], "in_tissue").astype(bool)
        return h5ad.names(file["obs"])[chosen].tolist(), file["obsm/spatial"][()][chosen].astype(np.float64)


def _cut(
    pyramid: Pyramid, grids: Sequence[PatchGrid], writers: Sequence[PatchWriter], padded: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], list[tuple[Pixels, bool]]]:
    """Write every patch; returns the focus of the first size, and the patches of the sheet."""
    cutter = Cutter(pyramid, grids)
    count = len(padded)
    sharp, shown = np.zeros(count), {}
    on_sheet = shown_on_sheet(count)
    for row, numbers, cut in tqdm(cutter.passes(), desc="patches", total=count * len(cutter.levels), disable=None):
        for number, patch in zip(numbers, cut, strict=True):
            writers[number].put(row, patch)
        if numbers[0] == 0:
            sharp[row] = focus(_on_slide(cut[0], grids[0], row, pyramid), grids[0].target_pixel_size_um)
            if row in on_sheet:
                shown[row] = cut[0].copy(), bool(padded[row])
    return sharp, [shown[row] for row in on_sheet]


def _on_slide(patch: Pixels, grid: PatchGrid, row: int, pyramid: Pyramid) -> Pixels:
    """The part of a patch that shows the slide alone: the edge of its white border would be the sharpest of all."""
    step = grid.source_size_px / grid.size_px
    low = (grid.source_size_px / 2 - grid.centres_px[row]) / step
    high = low + np.array([pyramid.width_px, pyramid.height_px]) / step
    x0, y0 = np.where(low > 0, np.ceil(low) + LOBES, 0).astype(int)
    x1, y1 = np.where(high < grid.size_px, np.maximum(np.floor(high) - LOBES, 0), grid.size_px).astype(int)
    return patch[y0:y1, x0:x1]
