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
from scipy.sparse import csr_matrix

from spotweave.deposits.raw import RawFile
from spotweave.deposits.redundancy import counts_off_tissue, places_missing
from spotweave.errors import Refusal
from spotweave.geometry import LatticeFit, fit_lattice
from spotweave.matrices import barcodes
from spotweave.matrices.barcodes import Pair
from spotweave.matrices.genes import gene_table
from spotweave.matrices.matrix import Matrix
from spotweave.matrices.read import read_matrix
from spotweave.matrices.reading import Reading, measures, spot_table, totals_of
from spotweave.visium.array import NAMES, SOFTWARE_SPOT_UM, SPOT_RADIUS_UM, CaptureArea, capture_area, refuse_twins
from spotweave.visium.barcode_lists import positions_by_list
from spotweave.visium.loupe import Loupe, read_loupe
from spotweave.visium.positions import Positions, read_positions
from spotweave.visium.positions_columns import NoPositions
from spotweave.visium.scalefactors import read_scalefactors
from spotweave.visium.tissue import FROM_COUNTS, refuse_other_section, tissue_by_counts

PITCH_UM = capture_area("6.5 mm").pitch_um  # between half-columns and rows; the other array's does not matter here
# With rows and columns confused, um per px along x and y differ (87/50)^2 = 3.03-fold; half way, on a log scale:
LARGEST_AXIS_RATIO = 1.74
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
    units = barcodes.listed(matrix.name, matrix.unit_names, matrix.unit_columns, member)
    spots = files.get("spots")
    # The h5ad of the counts stands in for a positions file that is missing; one that holds none is none.
    is_stand_in = spots is not None and spots.path == files["counts"].path and matrix.container == "h5ad"
    positions = None
    try:
        if spots is not None:
            positions = read_positions(spots)
            positions.report["positions_from"] = FILED
    except NoPositions:
        if not is_stand_in:
            raise
    scalefactors, notes = read_scalefactors(files.get("scalefactors"))
    loupe = None
    try:
        if "alignment" in files:
            loupe = read_loupe(files["alignment"])
    except Refusal as refusal:  # positions that are not its own do without it
        if positions is None:
            raise
        notes.append(f"{refusal.reason}; passed over")
    if positions is None:
        cores = [units.names.core[row] for row in units.rows]
        positions = positions_by_list(matrix.name, cores, loupe)
    places = barcodes.listed(positions.name, positions.table["barcode"].tolist(), positions.unit_columns, member)
    pair = barcodes.pair(units, places, member)
    return _reading(matrix, positions, pair, loupe, scalefactors, notes)


def _reading(
    matrix: Matrix,
    positions: Positions,
    pair: Pair,
    loupe: Loupe | None,
    scalefactors: Mapping[str, float],
    notes: list[str],
) -> Reading:
    """The sample's counts on its places, after these were held against the array and the counts."""
    table = positions.table.iloc[pair.position_rows].reset_index(drop=True)
    table["spot_id"] = pair.spot_ids
    refuse_twins(positions.name, table)
    lattice = _fit(table)
    _refuse_swapped(positions.name, lattice)
    slide, area = _slide(positions.name, table, lattice, scalefactors)
    order = np.lexsort((table["array_col"], table["array_row"]))
    table = table.iloc[order].reset_index(drop=True)
    alignment = _alignment(loupe, table if positions.report["positions_from"] == FILED else table.iloc[:0], lattice)

    row_of_spot = pair.count_rows[order]
    kept = np.flatnonzero(row_of_spot >= 0)
    refuse_other_section(matrix.name, positions.name, table["in_tissue"].to_numpy(), kept)
    counts = csr_matrix(matrix.counts[row_of_spot[kept]])
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
    var, gene_report = gene_table(matrix)
    genomes = sorted(set(var["genome"])) if len(gene_report["genes_by_genome"]) > 1 else []
    without_counts = table["spot_id"][row_of_spot < 0].tolist()
    report = {
        "unit": "spot",
        **matrix.report,
        **positions.report,
        **pair.report,
        "rows_in_spots": len(table),
        "spots_kept": len(kept),
        "spots_in_tissue": int(table["in_tissue"].sum()),
        "spots_kept_in_tissue": int(table["in_tissue"].iloc[kept].sum()),
        "counts_without_spot": len(pair.lone_units),
        "counts_without_spot_examples": pair.lone_units[:EXAMPLES],
        "spots_without_counts": len(without_counts),
        "spots_without_counts_in_tissue": int(table["in_tissue"][row_of_spot < 0].sum()),
        "counts_off_tissue": counts_off_tissue(table["in_tissue"].to_numpy(), kept),
        "array_places_missing": places_missing(table["in_tissue"].to_numpy(), area.rows * area.columns // 2),
        "spots_without_counts_examples": without_counts[:EXAMPLES],
        "duplicate_keys": 0,  # they are refused
        **gene_report,
        **measures(counts, totals),
        **slide,
        **alignment,
        "scalefactors": scalefactors,
        "optional_files_passed_over": notes,
    }
    if genomes:
        report["counts_by_genome"] = {
            genome: int(counts[:, (var["genome"] == genome).to_numpy()].sum(dtype=np.float64)) for genome in genomes
        }
    obs = table.loc[kept, ["array_col", "array_row", "x_px", "y_px", "in_tissue"]]
    obs.index = pd.Index(table["spot_id"].iloc[kept].tolist(), dtype=object)
    return Reading(AnnData(X=counts, obs=obs, var=var), spots, report)


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
) -> tuple[dict[str, Any], CaptureArea]:
    """Which capture area the places are of, for the report and itself, after they were held against its array."""
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
    areas = {slide: capture_area(slide) for slide in NAMES}
    sizes = {slide: (area.rows, area.columns) for slide, area in areas.items()}
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
    return report, areas[slide]


def _alignment(loupe: Loupe | None, table: pd.DataFrame, lattice: LatticeFit | None) -> dict[str, Any]:
    """What a Loupe alignment says of the slide, and how far its spots lie from those of a table.

    The table is empty where the positions are the alignment's own: no offset is not an offset of 0.
    """
    if loupe is None:
        return {}
    both = table.merge(loupe.table, on=["array_row", "array_col"], suffixes=("", "_loupe"))
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
