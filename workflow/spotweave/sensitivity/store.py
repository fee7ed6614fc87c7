"""A sample as a run keeps it, and its patches cut again under a change. Nothing of the run is written to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from spotweave import h5ad
from spotweave.errors import Refusal
from spotweave.expression.samples import Expression
from spotweave.sensitivity.changes import Change
from spotweave.slide.patch_files import PatchWriter
from spotweave.slide.patches import PatchGrid


@dataclass(frozen=True)
class Stored:
    """What is needed of a sample's folder.

    Attributes
    ----------
    name
        Sample id.
    barcodes, grid
        Of its patches, in their order.
    diameter_px
        Of a spot (the side of a square), px of the slide.
    slide
        Its pyramid.
    pools
        Grid -> its table of counts, without the grid that its spots are of.
    """

    name: str
    barcodes: Sequence[str]
    grid: PatchGrid
    diameter_px: float
    slide: Path
    pools: dict[str, Path]


def read_stored(folder: Path) -> Stored:
    """Read `results/<dataset>/samples/<sample>`.

    Raises
    ------
    Refusal
        If a file is not there.
    """
    patches, slide, st = folder / "patches.h5", folder / "slide.tif", folder / "st.h5ad"
    for path in (patches, slide, st):
        if not path.is_file():
            raise Refusal(f"{path} is not there: run the benchmark of this task first, and keep the samples' folders")
    with h5py.File(patches) as file:
        barcodes, said = [name.decode() for name in file["barcode"][:, 0]], file["coords"].attrs
        grid = PatchGrid(
            centres_px=file["centres"][:],
            size_px=int(said["patch_size_target"]),
            target_pixel_size_um=float(said["pixel_size_target"]),
            slide_pixel_size_um=float(said["pixel_size"]),
        )
    with h5py.File(st) as file:
        diameter_px = float(file["uns/spatial/ST/scalefactors/spot_diameter_fullres"][()])
        own = file["uns/grid/name"].asstr()[()] if "uns/grid/name" in file else ""
    pools = {path.stem: path for path in sorted((folder / "pools").glob("*.h5ad")) if path.stem != own}
    return Stored(folder.name, barcodes, grid, diameter_px, slide, pools)


def recut(stored: Stored, change: Change, path: Path) -> None:
    """Write where the patches lie under a change, without pictures: those are cut from the slide when embedded."""
    barcodes, grid = stored.barcodes, stored.grid
    if change.grid:
        of_pool = pooled(stored, change.grid)
        barcodes, grid = of_pool.barcodes.tolist(), replace(grid, centres_px=of_pool.positions_px)
    grid = change.of(grid, stored.diameter_px)
    beyond = np.zeros(len(barcodes), dtype=bool)  # nobody reads it here
    with PatchWriter(path, grid, barcodes, beyond, stored.name, pictures=False):
        pass


def pooled(stored: Stored, grid: str) -> Expression:
    """Counts of a sample in the spots of another grid that lie on its own spots under tissue.

    What is under tissue was decided for the sample's own spots and for no other grid: kept are centres within half the
    diagonal of a square of that size from one of theirs.
    """
    from scipy.spatial import KDTree

    with h5py.File(stored.pools[grid]) as file:
        obs, var = file["obs"], file["var"]
        centres_px = np.column_stack([h5ad.column(obs, "x_px"), h5ad.column(obs, "y_px")]).astype(np.float64)
        far_px, _ = KDTree(stored.grid.centres_px).query(centres_px)
        kept = np.flatnonzero(far_px <= stored.diameter_px / 2**0.5 * (1 + 1e-9))
        return Expression(
            stored.name,
            h5ad.names(obs)[kept].astype(str),
            h5ad.names(var).astype(str),
            h5ad.counts(file)[kept],
            centres_px[kept],
            h5ad.column(var, "gene_id").astype(str) if h5ad.has_column(var, "gene_id") else None,
        )
