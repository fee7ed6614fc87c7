"""Bins of an array, or cells, pooled into the spots of grids: on the slide by their centres, or on the array itself.

All units with counts are pooled, in tissue or not: what is left out has no place on the slide, lies off the picture, or
between round spots. A spot is in tissue where bins in tissue cover half of it, or where it holds a cell. Counts are
read a block at a time and never held as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from anndata import AnnData
from anndata.io import read_elem
from numpy.typing import NDArray
from scipy import sparse
from tqdm import tqdm

from spotweave.geometry import apply
from spotweave.io import read_json
from spotweave.pool import units as placed
from spotweave.pool.sums import Sums
from spotweave.pooling import BY_VENDOR, GRID, PARTIAL, Options, Parts, Pooled, describe_grid

if TYPE_CHECKING:
    from spotweave.pool.grids import Grid

GRIDS = True
HAS_BINS = True

ENTRIES_AT_ONCE = 1 << 23
NAMES_COMPARED = 1000
OFF_A_BIN = 0.01  # of a bin, how far the place of a bin computed back from its map may lie off a whole number


@dataclass(frozen=True)
class _Counts:
    """What stands beside the counts: `rows` (K,) of the units that have some, in the order of the counts."""

    var: pd.DataFrame
    rows: NDArray[np.int64]


def pool(parts: Parts, grids: Sequence[Grid], options: Options) -> Pooled:
    """Pool a sample's bins or cells into each grid, in one pass over its counts.

    Raises
    ------
    Refusal
        A grid is finer than the bins, or no multiple of them where it lies on the array, or cells have no array.
    ValueError
        A unit with counts is in no row of the table of units: a bug.
    """
    alignment = read_json(parts.alignment)
    units, names = _read_units(parts.units, alignment)
    assigned = [placed.assign(grid, units) for grid in grids]
    with h5py.File(parts.expression, "r") as file:
        counts = _Counts(read_elem(file["var"]), _join(file, units, names))
        sizes = [len(found.spots) + len(placed.REASONS) for found in assigned]
        sums = [
            Sums(found.spot[counts.rows], size, len(counts.var)) for found, size in zip(assigned, sizes, strict=True)
        ]
        counts_in = np.zeros(len(counts.var), dtype=np.int64)
        for block in _blocks(file["X"]):
            by_gene = np.bincount(block.indices, block.data, len(counts_in)).astype(np.int64)
            counts_in += by_gene
            for one in sums:
                one.add(block, int(by_gene.sum()))
    pools, excluded, measures = {}, {}, {}
    for grid, found, one in zip(grids, assigned, sums, strict=True):
        summed = one.result()
        number = len(found.spots)
        pools[grid.name] = _pool(grid, found, summed[:number], counts.var)
        excluded[grid.name] = {
            reason: pd.Series(summed[number + k].toarray().ravel().astype(np.int64), index=counts.var.index)
            for k, reason in enumerate(placed.REASONS)
        }
        measures[grid.name] = _describe(found, pools[grid.name])
    what = {"units_in": len(counts.rows), "units_listed": len(names), "spots": measures}
    return Pooled(pools, pd.Series(counts_in, index=counts.var.index), excluded, what)


def _read_units(path: Path, alignment: Mapping[str, Any]) -> tuple[placed.Units, Any]:
    """All units, and their names as Arrow has them."""
    table = pq.read_table(path, columns=["unit_id", "in_tissue", "x_px", "y_px", "modelled_x_px", "modelled_y_px"])
    xy_px, modelled_px = (
        np.column_stack([table[f"{of}{axis}_px"].to_numpy() for axis in "xy"]) for of in ("", "modelled_")
    )
    size_um, array = alignment["bin_size_um"], None
    if size_um is not None:
        matrix = np.array(alignment["transforms"][0]["matrix"], dtype=np.float64)
        array = placed.Array(size_um, _places(modelled_px, matrix, size_um), matrix)
    size_px = (alignment["image_width_px"], alignment["image_height_px"])
    in_tissue = table["in_tissue"].to_numpy() == 1
    return placed.Units(xy_px, in_tissue, size_px, alignment["pixel_size_um"], array), table["unit_id"]


def _places(modelled_px: NDArray[np.float64], matrix: NDArray[np.float64], size_um: float) -> NDArray[np.int64]:
    """(U, 2) column and row of each bin: where the map has it, undone."""
    places = apply(np.asarray(np.linalg.inv(matrix), dtype=np.float64), modelled_px) / size_um - 0.5
    whole = np.rint(places)
    if len(places) and float(np.abs(places - whole).max()) > OFF_A_BIN:
        raise ValueError("the modelled pixels of the units are not those of whole bins")
    return whole.astype(np.int64)


def _join(file: h5py.File, units: placed.Units, names: Any) -> NDArray[np.int64]:
    """Rows of the units that the counts are of: bins by their place on the array, cells by name."""
    index = file["obs"].attrs["_index"]
    if units.array is None:
        known = pd.Index(names.to_pandas())
        rows = np.asarray(known.get_indexer(pd.Index(read_elem(file["obs"][index]))), dtype=np.int64)
    else:
        at = units.array.column_row
        wanted = np.column_stack([read_elem(file["obs"][f"array_{axis}"]) for axis in ("col", "row")])
        high = np.maximum(at.max(axis=0, initial=0), wanted.max(axis=0, initial=0)) + 1
        row_of = np.full((high[1], high[0]), -1, dtype=np.int64)
        row_of[at[:, 1], at[:, 0]] = np.arange(len(at))
        rows = row_of[wanted[:, 1], wanted[:, 0]]
    some = np.linspace(0, len(rows) - 1, min(NAMES_COMPARED, len(rows))).astype(np.int64)
    filed = file["obs"][index].asstr()[some] if len(some) else []
    if (rows < 0).any() or any(names[int(row)].as_py() != name for row, name in zip(rows[some], filed, strict=True)):
        raise ValueError(f"{int((rows < 0).sum())} units with counts are not among the placed ones, or others are")
    return rows


def _blocks(group: h5py.Group) -> Iterator[sparse.csr_matrix]:
    """The counts, some millions of entries at a time."""
    starts, genes = group["indptr"][:], group.attrs["shape"][1]
    first, units = 0, len(starts) - 1
    with tqdm(desc="pool", total=units, unit=" units", unit_scale=True, disable=None) as progress:
        while first < units:
            last = int(np.searchsorted(starts, starts[first] + ENTRIES_AT_ONCE, side="right")) - 1
            last = min(max(last, first + 1), units)
            entries = slice(starts[first], starts[last])
            rows = starts[first : last + 1] - starts[first]
            parts = (group["data"][entries], group["indices"][entries], rows)
            yield sparse.csr_matrix(parts, shape=(last - first, genes))
            progress.update(last - first)
            first = last


def _pool(grid: Grid, found: placed.Assigned, counts: sparse.csr_matrix, var: pd.DataFrame) -> AnnData:
    """The spots of one grid as `pooling.Pooled` describes them."""
    spots = found.spots
    obs = pd.DataFrame(
        {
            "in_tissue": spots["in_tissue"],
            **{f"{of}{axis}_px": spots[f"{axis}_px"] for of in ("", "modelled_") for axis in "xy"},
            **{f"vendor_{axis}_px": np.full(len(spots), np.nan) for axis in "xy"},
            "array_row": spots["array_row"],
            "array_col": spots["array_col"],
            PARTIAL: spots["is_partial"],
            "units": spots["units"],
            "units_in_tissue": spots["units_in_tissue"],
        }
    )
    obs.index = pd.Index(spots["name"].tolist(), dtype=object)
    of_grid = describe_grid(grid, found.origin_um, BY_VENDOR)
    return AnnData(X=counts, obs=obs, var=var, uns={GRID: of_grid})


def _describe(found: placed.Assigned, pooled: AnnData) -> dict[str, Any]:
    """How many units went into a spot, and what of the spots is whole."""
    whole = found.spots.loc[~found.spots["is_partial"], "units"]
    return {
        "spots": pooled.n_obs,
        "spots_in_tissue": int(pooled.obs["in_tissue"].sum()),
        "spots_partial": int(pooled.obs[PARTIAL].sum()),
        "units_per_whole_spot": [int(whole.min()), float(whole.median()), int(whole.max())] if len(whole) else None,
    }
