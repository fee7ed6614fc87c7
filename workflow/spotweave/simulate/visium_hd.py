"""Simulated Visium HD samples: one small known truth in the layouts of Space Ranger 3 and 4, as bins and as cells.

`VARIANTS` names the layouts a reader has to read alike. The array is a corner of the vendor's, turned and mirrored on
the picture as real ones are; 2 um bins are drawn, and larger bins are their sums.
"""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from spotweave.simulate.count_files import Block, Written, write_h5_layout_3, write_mex
from spotweave.simulate.visium_files import HEADER

PIXEL_SIZE_UM = 0.2738
BASE_UM = 2
SIDE = 64  # 2 um bins along each side of the simulated corner
GENES = 12
PICTURE_SIDE_UM = 6700.0
TURN_DEG = -0.87


@dataclass(frozen=True)
class Truth:
    """A capture area: what must be found in any files written of it.

    `counts` (rows, columns, genes) int64 of 2 um bins; `in_tissue` (rows, columns) bool of 2 um bins; `first_row`,
    `first_col` the place of the corner on the array; `cells` the number and (row, col) box of 2 um bins of each cell.
    """

    counts: NDArray[np.int64]
    in_tissue: NDArray[np.bool_]
    first_row: int
    first_col: int
    cells: dict[int, tuple[int, int, int, int]]

    @property
    def genes(self) -> list[str]:
        """Symbols; two are alike."""
        return [*(f"GENE{i}" for i in range(GENES - 2)), "TBCE", "TBCE"]

    @property
    def gene_ids(self) -> list[str]:
        """Ensembl ids."""
        return [f"ENSG{i:011d}" for i in range(GENES)]

    @property
    def pixel_size_um(self) -> float:
        """um per px of the full-resolution picture."""
        return PIXEL_SIZE_UM

    @property
    def cell_numbers(self) -> list[int]:
        """Cells in the order they are filed."""
        return list(self.cells)

    def bins(self, size_um: int) -> Bins:
        """The truth in bins of a size."""
        fold = size_um // BASE_UM
        side = SIDE // fold
        counts = self.counts.reshape(side, fold, side, fold, GENES).sum(axis=(1, 3)).reshape(-1, GENES)
        in_tissue = self.in_tissue.reshape(side, fold, side, fold).any(axis=(1, 3)).ravel()
        row, col = (axis.ravel() for axis in np.mgrid[:side, :side])
        array = np.column_stack([row + self.first_row // fold, col + self.first_col // fold]).astype(np.int64)
        return Bins(size_um, array, to_pixels((array[:, ::-1] + 0.5) * size_um), in_tissue.astype(np.int64), counts)

    def cell_counts(self) -> NDArray[np.int64]:
        """Counts (cells, genes) of the bins in each cell's box."""
        boxes = self.cells.values()
        return np.array([self.counts[r0:r1, c0:c1].sum(axis=(0, 1)) for r0, r1, c0, c1 in boxes], dtype=np.int64)

    def owners(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The cell (rows, columns) of each 2 um bin, 0 for none, and whether it is in the nucleus: less a rim."""
        owner = np.zeros((SIDE, SIDE), dtype=np.int64)
        nucleus = np.zeros((SIDE, SIDE), dtype=bool)
        for number, (r0, r1, c0, c1) in self.cells.items():
            owner[r0:r1, c0:c1] = number
            nucleus[r0 + 1 : r1 - 1, c0 + 1 : c1 - 1] = True
        return owner, nucleus

    def cell_rings(self) -> dict[int, NDArray[np.float64]]:
        """Outline (5, 2) of each cell in px, closed."""
        rings = {}
        for number, (r0, r1, c0, c1) in self.cells.items():
            corners = np.array([(c0, r0), (c1, r0), (c1, r1), (c0, r1), (c0, r0)], dtype=np.float64)
            rings[number] = to_pixels((corners + np.array([self.first_col, self.first_row])) * BASE_UM)
        return rings


@dataclass(frozen=True)
class Bins:
    """Bins of one size, by (row, col): `array` (n, 2) row, col; `pixels` (n, 2) x, y; `in_tissue`; `counts`."""

    size_um: int
    array: NDArray[np.int64]
    pixels: NDArray[np.float64]
    in_tissue: NDArray[np.int64]
    counts: Any

    @functools.cached_property
    def names(self) -> list[str]:
        """As Space Ranger writes them."""
        return [f"s_{self.size_um:03d}um_{row:05d}_{col:05d}-1" for row, col in self.array.tolist()]


def to_pixels(um: NDArray[Any]) -> NDArray[np.float64]:
    """Places (n, 2) on the array, um, as px of the full-resolution picture: mirrored and turned."""
    turn = np.deg2rad(TURN_DEG)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    mirrored = um * (-1.0, 1.0) + (PICTURE_SIDE_UM, 0.0)
    return mirrored @ rotation.T / PIXEL_SIZE_UM + (150.0, 320.0)


def cell_id(number: int) -> str:
    """A cell's name in the matrix."""
    return f"cellid_{number:09d}-1"


def draw_truth(seed: int = 0) -> Truth:
    """Draw a corner of a capture area with tissue on one side, and boxes for cells."""
    rng = np.random.default_rng([20240301, seed])
    row, col = np.mgrid[:SIDE, :SIDE]
    in_tissue = row + 0.6 * col > 0.45 * SIDE
    counts = rng.binomial(2, 0.06, (SIDE, SIDE, GENES)) * in_tissue[:, :, None]
    counts[:, :, 0] = 0
    cells, number = {}, 0
    for r0 in range(24, SIDE - 7, 8):
        for c0 in range(24, SIDE - 7, 8):
            number += int(rng.integers(1, 4))
            cells[number] = (r0, r0 + int(rng.integers(4, 8)), c0, c0 + int(rng.integers(4, 8)))
    return Truth(counts.astype(np.int64), in_tissue, 1600, 2400, cells)


# --- files of a truth -----------------------------------------------------------------------------


def block_of(truth: Truth, units: list[str], counts: Any) -> Block:
    """A count matrix."""
    many = len(truth.genes)
    return Block(units, counts, truth.genes, truth.gene_ids, ["Gene Expression"] * many, ["GRCh38"] * many)


def write_counts(folder: Path, block: Block, *, name: str, form: str, software: str) -> Written:
    """A count matrix: `form` is `h5`, `h5.gz`, `mex` (packed) or `mex plain`."""
    if form.startswith("h5"):
        path = write_h5_layout_3(folder / f"{name}.h5", block)
        with h5py.File(path, "a") as file:
            file.attrs["software_version"] = software
        if form == "h5":
            return {"counts": path}
        packed = path.with_name(f"{path.name}.gz")
        packed.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()
        return {"counts": packed}
    inner = folder / name
    inner.mkdir(parents=True)
    return write_mex(inner, block, packed=form == "mex")


def position_table(bins: Bins, names: list[str] | None = None) -> pd.DataFrame:
    """`tissue_positions.parquet`: y before x."""
    values = (
        names or bins.names,
        bins.in_tissue.astype(np.int32),
        *bins.array.T.astype(np.int32),
        *bins.pixels.T[::-1],
    )
    return pd.DataFrame(dict(zip(HEADER, values, strict=True)))


def write_scalefactors(path: Path, bins: Bins | None, pixel_size_um: float = PIXEL_SIZE_UM, **others: float) -> Path:
    """`scalefactors_json.json` of a folder of bins, or of cells, which has no bin size."""
    content: dict[str, float] = {
        "microns_per_pixel": pixel_size_um,
        "tissue_hires_scalef": 0.25,
        "tissue_lowres_scalef": 0.025,
        "fiducial_diameter_fullres": 1205.15,
        "regist_target_img_scalef": 0.25,
    }
    if bins is not None:
        content |= {"spot_diameter_fullres": bins.size_um / pixel_size_um, "bin_size_um": float(bins.size_um)}
    path.write_text(json.dumps(content | others, indent=4))
    return path


def write_outlines(path: Path, truth: Truth, *, properties: Callable[[int], dict[str, Any]] | None = None) -> Path:
    """`cell_segmentations.geojson`."""
    say = properties or (lambda number: {"cell_id": number})
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring.tolist()]},
            "properties": say(number),
        }
        for number, ring in truth.cell_rings().items()
    ]
    content = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def write_mappings(path: Path, truth: Truth) -> Path:
    """`barcode_mappings.parquet`: every 2 um bin, the bins and the cell it is in."""
    owner, nucleus = truth.owners()
    bins = truth.bins(BASE_UM)
    columns: dict[str, Any] = {"square_002um": bins.names}
    for size in (8, 16):
        larger = bins.array // (size // BASE_UM)
        columns[f"square_{size:03d}um"] = [f"s_{size:03d}um_{row:05d}_{col:05d}-1" for row, col in larger.tolist()]
    columns["cell_id"] = [cell_id(number) if number else None for number in owner.ravel().tolist()]
    columns["in_nucleus"] = nucleus.ravel()
    columns["in_cell"] = owner.ravel() > 0
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


# --- layouts --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """A layout.

    `size_um` of the bins, None for cells; `counted` is `tissue` (filtered) or `every` (raw); `write(folder, truth)`
    returns the files by role.
    """

    description: str
    size_um: int | None = 16
    counted: str = "tissue"
    software: str = "spaceranger-3.1.3"
    options: dict[str, Any] = field(default_factory=dict)
    member: str | None = None

    def write(self, folder: Path, truth: Truth) -> Written:
        """Write the files, by role."""
        if self.size_um is None:
            return write_cells(folder, truth, software=self.software, **self.options)
        return write_bins(folder, truth.bins(self.size_um), truth, self, **self.options)


def write_bins(
    folder: Path,
    bins: Bins,
    truth: Truth,
    variant: Variant,
    *,
    form: str = "h5",
    positions: str = "tissue_positions.parquet",
    has_scalefactors: bool = True,
    before: str = "",
    after: str = "-1",
    other: str = "",
    is_shuffled: bool = False,
) -> Written:
    """The files of one folder of bins.

    `before` and `after` stand around the names in the matrix; `other` stands after the names of a second sample in it,
    which has the same bins and other counts.
    """
    where = folder / "binned_outputs" / f"square_{bins.size_um:03d}um"
    (where / "spatial").mkdir(parents=True)
    chosen = np.flatnonzero(bins.in_tissue) if variant.counted == "tissue" else np.arange(len(bins.names))
    rng = np.random.default_rng(5)
    if is_shuffled:
        chosen = rng.permutation(chosen)
    cores = [bins.names[i].removesuffix("-1") for i in chosen]
    units, counts = [f"{before}{core}{after}" for core in cores], bins.counts[chosen]
    if other:
        units, counts = [*units, *(core + other for core in cores)], np.concatenate([counts, counts[::-1] + 1])
    name = "filtered_feature_bc_matrix" if variant.counted == "tissue" else "raw_feature_bc_matrix"
    files = write_counts(where, block_of(truth, units, counts), name=name, form=form, software=variant.software)
    table = position_table(bins)
    if is_shuffled:
        table = table.iloc[rng.permutation(len(table))]
    files["spots"] = where / "spatial" / positions
    if positions.endswith(".parquet"):
        table.to_parquet(files["spots"], index=False)
    else:
        table.to_csv(files["spots"], index=False, lineterminator="\n")
    if has_scalefactors:
        files["scalefactors"] = write_scalefactors(
            where / "spatial" / "scalefactors_json.json", bins, truth.pixel_size_um
        )
    return files


def write_cells(
    folder: Path,
    truth: Truth,
    *,
    software: str,
    form: str = "h5",
    outlines: str = "cell_segmentations.geojson",
    has_names: bool = False,
    has_mappings: bool = True,
) -> Written:
    """The files of `segmented_outputs`; with `has_names` outlines carry the names of the matrix, not numbers."""
    where = folder / "segmented_outputs"
    (where / "spatial").mkdir(parents=True)
    units = [cell_id(number) for number in truth.cell_numbers]
    block = block_of(truth, units, truth.cell_counts())
    files = write_counts(where, block, name="filtered_feature_cell_matrix", form=form, software=software)
    named: Callable[[int], dict[str, Any]] = lambda number: {"cell_id": cell_id(number)}  # noqa: E731
    files["spots"] = write_outlines(where / outlines, truth, properties=named if has_names else None)
    files["scalefactors"] = write_scalefactors(where / "spatial" / "scalefactors_json.json", None, truth.pixel_size_um)
    if has_mappings:
        files["barcode_mappings"] = write_mappings(folder / "barcode_mappings.parquet", truth)
    return files


VARIANTS: dict[str, Variant] = {
    "square_016um": Variant("Space Ranger 3.1: filtered bins of 16 um, HDF5, parquet"),
    "square_008um": Variant("bins of 8 um", 8),
    "square_002um": Variant("bins of 2 um", 2),
    "raw": Variant("raw matrix: bins outside the tissue too", 8, "every"),
    "mex": Variant("Market Exchange, packed", options={"form": "mex"}),
    "mex_plain": Variant("Market Exchange, unpacked", 8, options={"form": "mex plain"}),
    "packed_h5": Variant("HDF5 packed once more, as GEO does", options={"form": "h5.gz"}),
    "positions_csv": Variant("positions as a table of text", 8, options={"positions": "tissue_positions.csv"}),
    "no_scalefactors": Variant("no scale factors", options={"has_scalefactors": False}),
    "shuffled": Variant("counts and positions in orders of their own", 8, options={"is_shuffled": True}),
    "without_suffix": Variant("names in the matrix without -1", options={"after": ""}),
    "with_prefix": Variant("names in the matrix behind that of a sample", options={"before": "A1_"}),
    "joint": Variant("one matrix of two samples", options={"after": "-1", "other": "-2"}, member="-1"),
    "early_software": Variant("Space Ranger 3.0, before the fix of the shift", software="spaceranger-3.0.1"),
    "cells": Variant("Space Ranger 4: cells, outlines by number, mappings", None, software="spaceranger-4.0.1"),
    "cells_mex": Variant("cells, Market Exchange", None, software="", options={"form": "mex", "has_mappings": False}),
    "cells_named": Variant(
        "cells, packed outlines by name",
        None,
        software="spaceranger-4.0.1",
        options={"outlines": "cell_segmentations.geojson.gz", "has_names": True},
    ),
}
