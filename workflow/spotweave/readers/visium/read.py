"""Visium (6.5 mm and 11 mm capture areas, placed directly or by CytAssist): counts by barcode and their positions.

Counts: 10x HDF5, Market Exchange, h5ad or a table, of one sample or of several. Spots: Space Ranger's
tissue_positions in any of its forms, or the h5ad itself where it carries them. The two are joined by the 16
nucleotides of the barcodes, never by the order of their rows; what a barcode carries before and after them
(`-1`, a sample's prefix or number) only tells the samples of a joint table apart.

A deposit without positions is read by Space Ranger's own list of barcodes, if it is at hand: the list says where on
the array a barcode is, and the Loupe alignment, or else the aligner by the fiducial frame, where it is in the picture.

Names of spots are the barcode and `-1`, as Space Ranger writes them for a lone sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.deposits.raw import RawFile
from spotweave.deposits.redundancy import counts_off_tissue, places_missing
from spotweave.errors import Refusal
from spotweave.geometry import LatticeFit, fit_lattice
from spotweave.matrices import barcodes
from spotweave.matrices.barcodes import Barcodes
from spotweave.matrices.genes import gene_table
from spotweave.matrices.matrix import Matrix
from spotweave.matrices.read import read_matrix
from spotweave.matrices.reading import Reading, measures, spot_table, totals_of
from spotweave.visium.array import NAMES, SOFTWARE_SPOT_UM, SPOT_RADIUS_UM, capture_area
from spotweave.visium.loupe import read_loupe
from spotweave.visium.places import FROM_COUNTS, carries_positions, tissue_by_counts, without_positions
from spotweave.visium.positions import Positions, read_positions
from spotweave.visium.positions_columns import refuse_twins
from spotweave.visium.scalefactors import read_scalefactors

PITCH_UM = capture_area("6.5 mm").pitch_um  # between half-columns and rows; the other array's does not matter here
# With rows and columns confused, um per px along x and y differ (87/50)^2 = 3.03-fold; half way, on a log scale:
LARGEST_AXIS_RATIO = 1.74
# A filtered matrix holds spots in tissue only, a raw one holds them all. With the positions of another section,
# which has the same barcodes, neither is so.
SAME_SECTION_FROM = 0.95
SPOTS_TO_FIT = 20
FILED = "positions file"
EXAMPLES = 5


def read(files: Mapping[str, RawFile], *, member: str | None = None) -> Reading:
    """Read one capture area.

    Parameters
    ----------
    files
        Role `counts`; `spots`, without which Space Ranger's barcode lists are needed; `features` and `barcodes` beside
        a matrix in Market Exchange format; `scalefactors` and `alignment` for what they say of the slide.
    member
        The sample to take from joint tables: a prefix (`A1`) or suffix (`-3`) of its barcodes, or, of an h5ad, a value
        of a column of obs (`A1`, or `library_id=A1`).
    """
    matrix = read_matrix(files["counts"], features=files.get("features"), barcodes=files.get("barcodes"))
    positions = _positions(files, matrix, member)
    rows, units, position_rows, places, selected = _select(matrix, positions, member)
    table = positions.table.iloc[position_rows].reset_index(drop=True)
    table["spot_id"] = [barcodes.canonical(core) for core in places.core]
    refuse_twins(positions.name, table)
    lattice = _fit(table)
    _refuse_swapped(positions.name, lattice)
    scalefactors, notes = read_scalefactors(files.get("scalefactors"))
    slide = _slide(positions.name, table, lattice, scalefactors)
    area = capture_area(slide["capture_area"])

    order = np.lexsort((table["array_col"], table["array_row"]))
    table = table.iloc[order].reset_index(drop=True)
    row_of_spot, without_spot = barcodes.join(matrix.name, units, positions.name, places.take(order))
    kept = np.flatnonzero(row_of_spot >= 0)
    _refuse_other_section(matrix.name, positions.name, table, kept)
    counts = csr_matrix(matrix.counts[rows][row_of_spot[kept]])
    totals = totals_of(counts)
    if positions.report.get("in_tissue_from") == FROM_COUNTS:
        in_tissue, positions.report["in_tissue_known"] = tissue_by_counts(matrix.name, len(table), kept, totals)
        table["in_tissue"] = in_tissue
    spots = spot_table(
        table["spot_id"],
        (table["x_px"], table["y_px"]),
        table["in_tissue"],
        (kept, totals),
        array=(table["array_col"], table["array_row"]),
    )
    count_report = measures(counts, totals)
    adata, gene_report = _assemble(matrix, counts, table.iloc[kept])
    without_counts = table["spot_id"][row_of_spot < 0].tolist()
    report = {
        "unit": "spot",
        **matrix.report,
        **positions.report,
        **selected,
        "rows_in_counts": len(rows),
        "rows_in_spots": len(table),
        "spots_kept": len(kept),
        "spots_in_tissue": int(table["in_tissue"].sum()),
        "spots_kept_in_tissue": int(table["in_tissue"].iloc[kept].sum()),
        "counts_without_spot": len(without_spot),
        "counts_without_spot_examples": without_spot[:EXAMPLES],
        "spots_without_counts": len(without_counts),
        "spots_without_counts_in_tissue": int(table["in_tissue"][row_of_spot < 0].sum()),
        "counts_off_tissue": counts_off_tissue(table["in_tissue"].to_numpy(), kept),
        "array_places_missing": places_missing(table["in_tissue"].to_numpy(), area.rows * area.columns // 2),
        "spots_without_counts_examples": without_counts[:EXAMPLES],
        "duplicate_keys": 0,  # they are refused
        **gene_report,
        **count_report,
        **slide,
        "scalefactors": scalefactors,
        "optional_files_passed_over": notes,
    }
    is_compared = positions.report["positions_from"] == FILED
    try:
        report |= _alignment(files.get("alignment"), table, lattice, is_compared=is_compared)
    except Refusal as refusal:  # where the positions are not its own, they do without it
        if not is_compared:
            raise
        notes.append(f"{refusal.reason}; passed over")
    return Reading(adata, spots, report)


def _positions(files: Mapping[str, RawFile], matrix: Matrix, member: str | None) -> Positions:
    """The positions file's, or, without one, what the barcode lists and the Loupe alignment give.

    The h5ad of the counts stands in for a positions file that is missing; one that holds none is none.
    """
    spots = files.get("spots")
    is_stand_in = spots is not None and spots.path == files["counts"].path and matrix.container == "h5ad"
    if spots is None or (is_stand_in and not carries_positions(spots)):
        units = barcodes.parse(matrix.unit_names)
        rows = barcodes.rows_of(matrix.name, units, matrix.unit_columns, member)
        cores = units.core if rows is None else [units.core[row] for row in rows]
        return without_positions(matrix.name, cores, files.get("alignment"))
    positions = read_positions(spots)
    positions.report["positions_from"] = FILED
    return positions


def _select(
    matrix: Matrix, positions: Positions, member: str | None
) -> tuple[NDArray[np.intp], Barcodes, NDArray[np.intp], Barcodes, dict[str, Any]]:
    """Rows and barcodes of the counts and of the positions that are the sample, and how they were told."""
    in_counts, in_places = barcodes.parse(matrix.unit_names), barcodes.parse(positions.table["barcode"].tolist())
    rows = barcodes.rows_of(matrix.name, in_counts, matrix.unit_columns, member)
    position_rows = barcodes.rows_of(positions.name, in_places, positions.unit_columns, member)
    if member is not None and rows is None and position_rows is None:
        listed = barcodes.members(in_counts, matrix.unit_columns) or barcodes.members(in_places, positions.unit_columns)
        there = f"it holds {listed}" if listed else "it holds one sample; leave the member out"
        raise Refusal(f"{matrix.name}: there is no member {member!r}; {there}")
    chosen = np.arange(len(in_counts)) if rows is None else rows
    units = in_counts.take(chosen)
    if len(set(units.core)) < len(units) or (member is None and len(units.groups) > 1):
        raise barcodes.several(matrix.name, units, {k: [v[i] for i in chosen] for k, v in matrix.unit_columns.items()})
    placed = np.arange(len(in_places)) if position_rows is None else position_rows
    places = in_places.take(placed)
    if len(set(places.core)) < len(places):  # positions of several samples: those under the very names of the counts
        names = set(units.names)
        placed = np.array([i for i in placed if in_places.names[i] in names], dtype=np.intp)
        narrowed = in_places.take(placed)
        if not placed.size or len(set(narrowed.core)) < len(narrowed):
            raise barcodes.several(positions.name, places, positions.unit_columns if position_rows is None else {})
        places = narrowed
    report = {
        "member": member,
        "units_of_other_members": len(in_counts) - len(units),
        "positions_of_other_members": len(in_places) - len(places),
        "joined_by": "barcode",
        "barcodes_in_counts": units.forms,
        "barcodes_in_positions": places.forms,
    }
    return chosen, units, placed, places, report


def _refuse_other_section(counts: str, spots: str, table: pd.DataFrame, kept: NDArray[np.intp]) -> None:
    in_tissue = table["in_tissue"].to_numpy() == 1
    inside = int(in_tissue[kept].sum())
    share = max(inside / len(kept), inside / max(int(in_tissue.sum()), 1))
    if in_tissue.any() and share < SAME_SECTION_FROM:
        raise Refusal(
            f"{counts} and {spots} are of different sections: of {len(kept):,} spots with counts {inside:,} are among"
            f" the {int(in_tissue.sum()):,} in tissue; pair the matrix with the positions of its own section",
            measured=round(share, 4),
            threshold=SAME_SECTION_FROM,
        )


def _fit(table: pd.DataFrame) -> LatticeFit | None:
    """The array laid onto the pixels; None where too few spots have any, or all lie on a line."""
    table = table[np.isfinite(table[["x_px", "y_px"]]).all(axis=1)]
    if len(table) < SPOTS_TO_FIT:
        return None
    try:
        return fit_lattice(
            table[["array_col", "array_row"]].to_numpy(dtype=np.float64) * PITCH_UM, table[["x_px", "y_px"]].to_numpy()
        )
    except ValueError:
        return None


def _refuse_swapped(name: str, lattice: LatticeFit | None) -> None:
    if lattice is None or lattice.residual_um > min(PITCH_UM):  # off any lattice: the alignment says so
        return
    ratio = lattice.pixel_size_y_um / lattice.pixel_size_x_um
    if max(ratio, 1 / ratio) > LARGEST_AXIS_RATIO:
        raise Refusal(
            f"{name}: array_row and array_col are swapped: by the pixels, array_row counts places {PITCH_UM[0]:g} um"
            f" apart and array_col places {PITCH_UM[1]:g} um apart; swap the two columns",
            measured=round(max(ratio, 1 / ratio), 3),
            threshold=LARGEST_AXIS_RATIO,
        )


def _slide(
    name: str, table: pd.DataFrame, lattice: LatticeFit | None, scalefactors: Mapping[str, float]
) -> dict[str, Any]:
    """Which capture area the places are of, after they were held against its array."""
    rows, cols = table["array_row"].to_numpy(), table["array_col"].to_numpy()
    odd = np.flatnonzero((rows - cols) % 2)
    if odd.size:
        raise Refusal(
            f"{name}: {odd.size:,} of {len(table):,} places are none of the array's, such as row {rows[odd[0]]}, column"
            f" {cols[odd[0]]} ({table['spot_id'].iloc[odd[0]]}): both must be even or both odd; check the columns"
            " array_row and array_col",
            measured=int(odd.size),
            threshold=0,
        )
    sizes = {slide: (capture_area(slide).rows, capture_area(slide).columns) for slide in NAMES}
    fits = [
        slide
        for slide, (n_rows, n_cols) in sizes.items()
        if rows.min() >= 0 and cols.min() >= 0 and rows.max() < n_rows and cols.max() < n_cols
    ]
    n_rows, n_cols = sizes["6.5 mm"]
    if rows.min() == 1 and cols.min() == 1 and (rows.max() == n_rows or cols.max() == n_cols):
        raise Refusal(f"{name}: array_row and array_col count from 1; subtract 1 from both", measured=1, threshold=0)
    if not fits:
        raise Refusal(
            f"{name}: rows {rows.min()} to {rows.max()} and columns {cols.min()} to {cols.max()} are on no array"
            f" ({', '.join(f'{slide}: {r} x {c}' for slide, (r, c) in sizes.items())}); check array_row and array_col",
            measured=f"{rows.max()} x {cols.max()}",
            threshold="127 x 223",
        )
    slide, told_by = fits[0], "rows and columns"
    spot_um = None
    if lattice is not None and "spot_diameter_fullres" in scalefactors:
        spot_um = scalefactors["spot_diameter_fullres"] * lattice.pixel_size_um
        if len(fits) > 1 and len(table) < n_rows * n_cols // 2:
            slide = min(fits, key=lambda size: abs(SOFTWARE_SPOT_UM[size] - spot_um))
            told_by = "spot_diameter_fullres"
    report: dict[str, Any] = {"capture_area": slide, "capture_area_told_by": told_by}
    if lattice is not None:
        report |= {
            "lattice_rotation_deg": round(lattice.rotation_deg, 3),
            "lattice_mirrored": lattice.mirrored,
            "lattice_residual_um": round(lattice.residual_um, 3),
        }
    if spot_um is not None:
        report["software_spot_diameter_um"] = round(spot_um, 2)
    return report


def _alignment(
    raw: RawFile | None, table: pd.DataFrame, lattice: LatticeFit | None, *, is_compared: bool
) -> dict[str, Any]:
    """What a Loupe alignment says of the slide, and how far its spots lie from the positions.

    Not compared where the positions are its own: no offset is not an offset of 0.
    """
    if raw is None:
        return {}
    loupe = read_loupe(raw)
    compared = table if is_compared else table.iloc[:0]
    both = compared.merge(loupe.table, on=["array_row", "array_col"], suffixes=("", "_loupe"))
    distance = np.hypot(both["x_px"] - both["x_px_loupe"], both["y_px"] - both["y_px_loupe"]).dropna()
    offset_um = float(np.median(distance)) * lattice.pixel_size_um if len(distance) and lattice is not None else None
    return {
        "slide_serial_number": loupe.serial_number,
        "slide_area": loupe.area,
        "is_cytassist": loupe.is_cytassist,
        "alignment_spots": len(loupe.table),
        "alignment_offset_px": round(float(np.median(distance)), 3) if len(distance) else None,
        "alignment_offset_p95_px": round(float(np.percentile(distance, 95)), 3) if len(distance) else None,
        "alignment_offset_um": None if offset_um is None else round(offset_um, 2),
        "alignment_disagrees": offset_um is not None and offset_um > SPOT_RADIUS_UM,
    }


def _assemble(matrix: Matrix, counts: csr_matrix, kept: pd.DataFrame) -> tuple[AnnData, dict[str, Any]]:
    var, report = gene_table(matrix)
    obs = kept[["array_col", "array_row", "x_px", "y_px", "in_tissue"]].set_index(
        pd.Index(kept["spot_id"].tolist(), dtype=object)
    )
    if len(report["genes_by_genome"]) > 1:
        report["counts_by_genome"] = {
            genome: int(counts[:, (var["genome"] == genome).to_numpy()].sum(dtype=np.float64))
            for genome in sorted(set(var["genome"]))
        }
    return AnnData(X=counts, obs=obs, var=var), report
