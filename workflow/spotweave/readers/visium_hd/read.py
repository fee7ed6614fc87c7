"""Visium HD (Space Ranger 3 and 4): bins of 2, 8, 16 um or any other size, or the cells of Space Ranger 4.

Bins are named by their size and place (`s_016um_00012_00345-1`). Names, positions and scale factors each say what a
bin is, and must agree; counts and positions are joined by place, never by the order of their rows. Cells
(`cellid_000000001-1`) have outlines in px instead of an array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.deposits.opening import first_bytes
from spotweave.deposits.raw import RawFile
from spotweave.deposits.redundancy import counts_off_tissue, places_missing
from spotweave.errors import Refusal
from spotweave.geometry import LatticeFit, apply, fit_lattice
from spotweave.matrices import barcodes
from spotweave.matrices.genes import gene_table
from spotweave.matrices.read import read_matrix
from spotweave.matrices.reading import Reading, measures, spot_table, totals_of
from spotweave.visium.positions import read_positions
from spotweave.visium.scalefactors import read_scalefactors
from spotweave.visium_hd import mappings, software, stripes
from spotweave.visium_hd.names import Units, bin_names, cell_name, take_apart
from spotweave.visium_hd.outlines import read_outlines

BINS_TO_FIT = 100_000
# Scale factors and positions come of one registration; on a real sample they differ by 0.06 %.
MAX_PIXEL_SIZE_DIFFERENCE = 0.01
# A registration need not be quite affine: small bins of a whole area may lie a few um off one map.
OFF_LATTICE_UM = 8.0
EXAMPLES = 5


def read(files: Mapping[str, RawFile], *, member: str | None = None) -> Reading:
    """Read the bins of one size, or the cells, of one capture area.

    Parameters
    ----------
    files
        `counts`; `spots` is tissue_positions.parquet for bins, cell_segmentations.geojson for cells. `scalefactors` are
        held against the positions, `barcode_mappings` summed up for cells.
    member
        The sample to take from a joint matrix: what stands before or after the names of its bins.
    """
    matrix = read_matrix(files["counts"], features=files.get("features"), barcodes=files.get("barcodes"))
    units = take_apart(matrix.name, matrix.unit_names)
    rows = _rows_of_member(matrix.name, units, member)
    scale, notes = read_scalefactors(files.get("scalefactors"))
    read_units = _read_bins if units.kind == "bin" else _read_cells
    table, row_of_unit, more = read_units(files, units, rows, scale)
    kept = np.flatnonzero(row_of_unit >= 0)
    if not kept.size:
        raise Refusal(
            f"{matrix.name} and {files['spots'].name} have no {units.kind} in common: counts have "
            f"{matrix.unit_names[rows[0]]!r}, the spots {table['spot_id'].iloc[0]!r}; check that both are of one "
            "sample",
            measured=0,
            threshold=1,
        )
    counts = _take(matrix.counts, row_of_unit[kept])
    var, gene_report = gene_table(matrix)
    totals = totals_of(counts)
    is_left = np.zeros(len(units), dtype=bool)
    is_left[rows] = True
    is_left[row_of_unit[kept]] = False
    without_spot = np.flatnonzero(is_left)
    without_counts = np.flatnonzero(row_of_unit < 0)
    report = {
        "unit": units.kind,
        **matrix.report,
        **more,
        "member": member,
        "rows_in_counts": len(rows),
        "rows_in_spots": len(table),
        "spots_kept": len(kept),
        "spots_in_tissue": int(table["in_tissue"].sum()),
        "spots_without_counts_in_tissue": int(table["in_tissue"].to_numpy()[row_of_unit < 0].sum()),
        "counts_off_tissue": counts_off_tissue(table["in_tissue"].to_numpy(), kept),
        "counts_without_spot": len(without_spot),
        "counts_without_spot_examples": [matrix.unit_names[row] for row in without_spot[:EXAMPLES]],
        "spots_without_counts": len(without_counts),
        "spots_without_counts_examples": table["spot_id"].iloc[without_counts[:EXAMPLES]].tolist(),
        "duplicate_keys": 0,  # they are refused
        **gene_report,
        **measures(counts, totals),
        "scalefactors": scale,
        "optional_files_passed_over": notes,
        **software.describe(files["counts"]),
    }
    if units.kind == "bin":
        array = (table["array_row"].to_numpy()[kept], table["array_col"].to_numpy()[kept])
        report |= stripes.measure(array, table["in_tissue"].to_numpy()[kept] == 1, totals)
    obs = _obs(table, kept, units.kind)
    if units.kind == "cell" and "barcode_mappings" in files:
        try:
            report |= mappings.summarise(files["barcode_mappings"], obs.index)
        except Refusal as refusal:  # no count depends on it
            notes.append(f"{refusal.reason}; passed over")
    return Reading(AnnData(X=counts, obs=obs, var=var), _spots(table, units.kind, (kept, totals)), report)


def _rows_of_member(name: str, units: Units, member: str | None) -> NDArray[np.intp]:
    """Rows of the one sample there is, or of the one that is asked for."""
    if member is None and len(units.groups) == 1:
        return np.arange(len(units))
    labels = [barcodes.label(before, after) or "(plain)" for before, after in units.groups]
    listed = ", ".join(sorted(labels))
    if member is None:
        raise Refusal(
            f"{name}: the matrix holds {len(units.groups)} samples: {listed}; name one as the member to read",
            measured=len(units.groups),
            threshold=1,
        )
    chosen = [i for i, (before, after) in enumerate(units.groups) if barcodes.matches(before, after, member)]
    if len(chosen) != 1:
        raise Refusal(f"{name}: there is no member {member!r}, or more than one; the matrix holds {listed}")
    return np.flatnonzero(units.group == chosen[0])


def _read_bins(
    files: Mapping[str, RawFile], units: Units, rows: NDArray[np.intp], scale: Mapping[str, float]
) -> tuple[pd.DataFrame, NDArray[np.int64], dict[str, Any]]:
    """All bins by (row, column), the row of the counts of each (-1 without one), and what was found."""
    raw, counts = files["spots"], files["counts"].name
    if first_bytes(raw)[0].lstrip()[:1] == b"{":
        raise Refusal(f"{raw.name}: outlines of cells for counts of bins; give tissue_positions.parquet as the spots")
    positions = read_positions(raw)
    table = positions.table
    placed = take_apart(raw.name, table["barcode"])
    _refuse_elsewhere(raw.name, placed, table)
    size_um = _bin_size(counts, units.size_um[rows], raw.name, placed, scale)
    order = np.argsort(placed.key, kind="stable")
    keys = placed.key[order]
    _refuse_repeated(raw.name, keys)
    wanted = units.key[rows]
    _refuse_repeated(counts, np.sort(wanted))
    at = np.searchsorted(keys, wanted)
    is_there = keys[np.minimum(at, len(keys) - 1)] == wanted
    row_of_unit = np.full(len(keys), -1, dtype=np.int64)
    row_of_unit[at[is_there]] = rows[is_there]
    columns = ["array_col", "array_row", "x_px", "y_px", "in_tissue"]
    ordered = {name: table[name].to_numpy()[order] for name in columns}
    names = bin_names(size_um, ordered["array_row"], ordered["array_col"])
    table = pd.DataFrame({"spot_id": pd.array(names, dtype=pd.StringDtype("pyarrow")), **ordered})
    whole = math.prod(int(table[axis].max()) + 1 for axis in ("array_row", "array_col"))
    report = {
        **positions.report,
        "joined_by": "place",
        "bin_size_um": float(size_um),
        "array_places_missing": places_missing(ordered["in_tissue"], whole),
    }
    return table, row_of_unit, report | _pixel_size(raw.name, table, size_um, scale)


def _refuse_elsewhere(name: str, placed: Units, table: pd.DataFrame) -> None:
    """Refuse bins that are not where their names say."""
    if placed.kind != "bin":
        raise Refusal(f"{name}: positions of cells for counts of bins; give tissue_positions.parquet as the spots")
    row, col = table["array_row"].to_numpy(), table["array_col"].to_numpy()
    elsewhere = np.flatnonzero((placed.row != row) | (placed.col != col))
    if elsewhere.size:
        first = elsewhere[0]
        is_swapped = bool(((placed.row == col) & (placed.col == row)).all())
        hint = "array_row and array_col are swapped" if is_swapped else "the table is damaged"
        raise Refusal(
            f"{name}: {table['barcode'].iloc[first]} stands at row {row[first]}, column {col[first]} "
            f"({elsewhere.size:,} such bins); {hint}; give the vendor's own file",
            measured=int(elsewhere.size),
            threshold=0,
        )


def _bin_size(
    counts: str, in_counts: NDArray[np.int32], positions: str, placed: Units, scale: Mapping[str, float]
) -> int:
    """Size of the bins in um, by everything that states it."""
    stated: dict[str, list[Any]] = {
        counts: np.flatnonzero(np.bincount(in_counts)).tolist(),
        positions: np.flatnonzero(np.bincount(placed.size_um)).tolist(),
        "the scale factors": [scale["bin_size_um"]] if "bin_size_um" in scale else [],
    }
    sizes = {size for found in stated.values() for size in found}
    if len(sizes) > 1:
        said = "; ".join(
            f"{where}: {' and '.join(f'{size:g}' for size in found)} um" for where, found in stated.items() if found
        )
        raise Refusal(
            f"{counts}: bins of several sizes ({said}); give all files of one folder, such as square_016um",
            measured=len(sizes),
            threshold=1,
        )
    return int(sizes.pop())


def _refuse_repeated(name: str, keys: NDArray[np.int64]) -> None:
    again = int((np.diff(keys) == 0).sum())
    if again:
        raise Refusal(
            f"{name}: {again:,} bins come twice; download the file again, or name the member of a joint one",
            measured=again,
            threshold=0,
        )


def _pixel_size(name: str, table: pd.DataFrame, size_um: int, scale: Mapping[str, float]) -> dict[str, Any]:
    """um per px by the positions and by the scale factors; refused where they disagree."""
    fit = _fit(table, size_um)
    stated = scale.get("microns_per_pixel")
    report: dict[str, Any] = {"pixel_size_um_stated": stated, "pixel_size_um_fitted": None}
    if fit is None:
        return report
    report |= {
        "pixel_size_um_fitted": fit.pixel_size_um,
        "bins_fitted": fit.spots_fitted,
        "array_rotation_deg": fit.rotation_deg,
        "array_mirrored": fit.mirrored,
        "array_anisotropy": fit.anisotropy,
        "array_residual_um": fit.residual_um,
        "bins_off_lattice": _off_lattice(table, size_um, fit),
    }
    if stated is not None and abs(stated / fit.pixel_size_um - 1) > MAX_PIXEL_SIZE_DIFFERENCE:
        raise Refusal(
            f"{name}: bins of {size_um} um lie {size_um / fit.pixel_size_um:.4g} px apart, {fit.pixel_size_um:.4g} um "
            f"per px, but the scale factors state {stated:.4g}; give both of one folder and sample",
            measured=abs(stated / fit.pixel_size_um - 1),
            threshold=MAX_PIXEL_SIZE_DIFFERENCE,
        )
    return report


def _off_lattice(table: pd.DataFrame, size_um: int, fit: LatticeFit) -> int:
    """Bins whose pixels are not where the fitted array has them."""
    centres_um = (table[["array_col", "array_row"]].to_numpy(dtype=np.float64) + 0.5) * size_um
    off_px = np.linalg.norm(table[["x_px", "y_px"]].to_numpy(dtype=np.float64) - apply(fit.matrix, centres_um), axis=1)
    return int((off_px * fit.pixel_size_um > max(size_um / 2, OFF_LATTICE_UM)).sum())


def _fit(table: pd.DataFrame, size_um: int) -> LatticeFit | None:
    """The array laid onto the picture, by bins from all over it; None for too few or on one line."""
    every = slice(None, None, max(1, -(-len(table) // BINS_TO_FIT)))
    some = table.iloc[every]
    centres_um = (some[["array_col", "array_row"]].to_numpy(dtype=np.float64) + 0.5) * size_um
    try:
        return fit_lattice(centres_um, some[["x_px", "y_px"]].to_numpy(dtype=np.float64))
    except ValueError:
        return None


def _read_cells(
    files: Mapping[str, RawFile], units: Units, rows: NDArray[np.intp], scale: Mapping[str, float]
) -> tuple[pd.DataFrame, NDArray[np.int64], dict[str, Any]]:
    """All outlined cells by name, the row of the counts of each (-1 without one), and what was found."""
    outlines = read_outlines(files["spots"])
    cores = units.cores.take(pa.array(rows)).to_pylist()
    names = pd.Index([cell_name(core) for core in cores], dtype=object)
    twice = names.duplicated()
    if twice.any():
        raise Refusal(
            f"{files['counts'].name}: {names[twice][0]} comes twice ({int(twice.sum()):,} such cells); download the "
            "file again, or name the member of a joint one",
            measured=int(twice.sum()),
            threshold=0,
        )
    found = np.asarray(names.get_indexer(pd.Index(outlines.table["spot_id"], dtype=object)), dtype=np.int64)
    row_of_unit = np.where(found >= 0, rows[found], -1)
    pixel_size_um = scale.get("microns_per_pixel", np.nan)
    table = outlines.table.assign(in_tissue=np.int64(1), cell_area_um2=outlines.table["area_px2"] * pixel_size_um**2)
    report = {
        **outlines.report,
        "joined_by": "name",
        "pixel_size_um_stated": scale.get("microns_per_pixel"),
        "columns_not_given": ["cell_area_um2, for want of microns_per_pixel"] if np.isnan(pixel_size_um) else [],
        "median_cell_area_um2": None if np.isnan(pixel_size_um) else float(table["cell_area_um2"].median()),
    }
    return table, row_of_unit, report


def _take(counts: csr_matrix, rows: NDArray[np.int64]) -> csr_matrix:
    """Some rows; the matrix itself where they are all of them in their order, as Space Ranger files them."""
    if len(rows) == counts.shape[0] and (np.diff(rows) == 1).all():
        return counts
    return csr_matrix(counts[rows])


def _obs(table: pd.DataFrame, kept: NDArray[np.intp], kind: str) -> pd.DataFrame:
    array = ("array_col", "array_row") if kind == "bin" else ()
    last = () if kind == "bin" else ("cell_area_um2",)
    names = (*array, "x_px", "y_px", "in_tissue", *last)
    return pd.DataFrame(
        {name: table[name].to_numpy()[kept] for name in names},
        index=pd.Index(table["spot_id"].iloc[kept].to_numpy(dtype=object), dtype=object),
    )


def _spots(table: pd.DataFrame, kind: str, counted: tuple[NDArray[np.intp], NDArray[np.int64]]) -> pd.DataFrame:
    array = (table["array_col"], table["array_row"]) if kind == "bin" else None
    return spot_table(table["spot_id"], (table["x_px"], table["y_px"]), table["in_tissue"], counted, array=array)
