"""Visium HD (Space Ranger 3 and 4): bins of 2, 8 or 16 um, or the cells that Space Ranger 4 outlines.

Bins are named by their size and place (`s_016um_00012_00345-1`); names, positions and scale factors each state both,
and must agree. Cells (`cellid_000000001-1`) have outlines in pixels instead of an array. 2 um bins are eleven
million: nothing here goes through them one by one.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.matrices import Matrix, read_matrix
from spotweave.positions import read_positions
from spotweave.raw import RawFile
from spotweave.readers import SPOT_COLUMNS, Reading

ROLES = ("counts", "spots")
OPTIONAL = (
    "features",
    "barcodes",
    "scalefactors",
    "cell_segmentations",
    "barcode_mappings",
    "cytassist_image",
    "hires_image",
)

BIN = r"^s_(\d{3})um_(\d{5})_(\d{5})(?:-1)?$"
CELL = r"^cellid_(\d+)(?:-1)?$"
EXAMPLES = 5


def read(files: Mapping[str, RawFile], *, member: str | None = None) -> Reading:
    """Read the bins of one size, or the cells, of one sample.

    Parameters
    ----------
    files
        `counts`; `spots` is the table of positions for bins and the GeoJSON of outlines for cells.
    member
        Not used: a deposit holds one sample; the unit is chosen by the files.
    """
    if member is not None:
        raise Refusal(f"{files['counts'].name}: there is no member {member!r}; a Visium HD deposit holds one sample")
    matrix = read_matrix(files["counts"], features=files.get("features"), barcodes=files.get("barcodes"))
    scale = _scalefactors(files.get("scalefactors"))
    if matrix.unit_names and matrix.unit_names[0].startswith("cellid_"):
        table, more = _cells(files["spots"])
        unit = "cell"
    else:
        table, more = _bins(files["spots"], matrix, scale)
        unit = "bin"
    names = pd.Index(_without_suffix(pd.Series(matrix.unit_names, dtype=object)))
    if not names.is_unique:
        raise Refusal(f"{matrix.name}: {int(names.duplicated().sum()):,} names are there twice; download it again")
    row_of_spot = names.get_indexer(pd.Index(_without_suffix(table["name"])))
    kept = np.flatnonzero(row_of_spot >= 0)
    if not kept.size:
        raise Refusal(
            f"{matrix.name} and {files['spots'].name} have no {unit} in common: counts have {_first(matrix.unit_names)},"
            f" positions {_first(list(table['name'][:1]))}; check that both are of the same size and sample",
            measured=0,
            threshold=1,
        )
    adata = _assemble(matrix, row_of_spot[kept], table.iloc[kept], unit)
    without_counts = table["name"].to_numpy()[row_of_spot < 0]
    report = {
        "unit": unit,
        "container": matrix.container,
        "rows_in_counts": len(matrix.unit_names),
        "rows_in_spots": len(table),
        "spots_kept": len(kept),
        "spots_in_tissue": int(table["in_tissue"].sum()),
        "counts_without_spot": len(matrix.unit_names) - len(kept),
        "spots_without_counts": len(without_counts),
        "spots_without_counts_examples": without_counts[:EXAMPLES].tolist(),
        "duplicate_keys": 0,
        "genes": adata.n_vars,
        "total_counts": int(adata.X.sum(dtype=np.float64)),
        "zero_genes": int((np.asarray(adata.X.sum(axis=0)).ravel() == 0).sum()),
        **more,
        **matrix.report,
        **({"scalefactors": scale} if scale else {}),
    }
    return Reading(adata, _spot_table(table, kept, adata), report)


def _first(names: list[Any]) -> str:
    return repr(names[0]) if names else "none at all"


def _without_suffix(names: pd.Series) -> pd.Series:
    return names.astype(str).str.removesuffix("-1")


def _bins(raw: RawFile, matrix: Matrix, scale: Mapping[str, float]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Positions of bins, held against what their names say."""
    positions = read_positions(raw)
    table = positions.table.rename(columns={"barcode": "name"})
    parts = table["name"].str.extract(BIN)
    if parts[0].isna().any():
        wrong = table["name"][parts[0].isna()]
        raise Refusal(
            f"{raw.name}: {len(wrong):,} names are no bins such as s_016um_00012_00345-1, first {wrong.iloc[0]!r}; a table"
            " of Visium spots is read as the technology Visium",
            measured=len(wrong),
            threshold=0,
        )
    numbers = parts.astype(np.int64)
    wrong_place = (numbers[1] != table["array_row"]) | (numbers[2] != table["array_col"])
    if wrong_place.any():
        first = table.loc[wrong_place].iloc[0]
        raise Refusal(
            f"{raw.name}: {int(wrong_place.sum()):,} bins are not where their names say, first {first['name']} at row"
            f" {first['array_row']}, column {first['array_col']}; are the columns swapped?",
            measured=int(wrong_place.sum()),
            threshold=0,
        )
    sizes = sorted(set(numbers[0]))
    stated = scale.get("bin_size_um")
    in_counts = pd.Series(matrix.unit_names[:1], dtype=object).str.extract(BIN)[0].dropna().astype(float).tolist()
    found = {*map(float, sizes), *([float(stated)] if stated else []), *in_counts}
    if len(found) > 1:
        raise Refusal(
            f"{raw.name}: bins of {' and '.join(f'{size:g}' for size in sorted(found))} um in the positions, the counts and"
            " the scale factors; all must be of one folder (square_016um)",
            measured=len(found),
            threshold=1,
        )
    table = table.sort_values(["array_row", "array_col"], kind="stable").reset_index(drop=True)
    return table, {"bin_size_um": float(next(iter(found))), **positions.report}


def _cells(raw: RawFile) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Centroids and areas of outlined cells, in pixels of the full-resolution picture."""
    import shapely

    try:
        data = raw.path.read_bytes()
        content = json.loads(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
        features = content["features"]
        ids = [_cell_name(feature) for feature in features]
        shapes = shapely.from_geojson([json.dumps(feature["geometry"]) for feature in features])
    except (OSError, EOFError, ValueError, KeyError, TypeError, shapely.errors.GEOSException) as error:
        raise Refusal(
            f"{raw.name}: not a GeoJSON of cell outlines ({type(error).__name__}: {error}); for cells, the spots are"
            " cell_segmentations.geojson"
        ) from error
    if len(set(ids)) < len(ids):
        raise Refusal(f"{raw.name}: {len(ids) - len(set(ids)):,} cells are there twice; download the file again")
    centres = shapely.centroid(shapes)
    table = pd.DataFrame(
        {
            "name": ids,
            "in_tissue": np.ones(len(ids), dtype=np.int64),
            "x_px": shapely.get_x(centres),
            "y_px": shapely.get_y(centres),
            "cell_area_px2": shapely.area(shapes),
        }
    )
    report = {"cells_with_invalid_outline": int((~shapely.is_valid(shapes)).sum())}
    return table.sort_values("name", kind="stable").reset_index(drop=True), report


def _cell_name(feature: Mapping[str, Any]) -> str:
    """The name that counts have for a cell, of a feature that has its number or its name."""
    cell = feature.get("properties", {}).get("cell_id", feature.get("id"))
    if cell is None:
        raise KeyError("a feature without properties.cell_id")
    text = str(cell)
    return text if text.startswith("cellid_") else f"cellid_{int(text):09d}-1"


def _assemble(matrix: Matrix, rows: NDArray[np.int64], table: pd.DataFrame, unit: str) -> AnnData:
    columns = ["x_px", "y_px", "in_tissue"]
    columns = ["array_col", "array_row", *columns] if unit == "bin" else [*columns, "cell_area_px2"]
    obs = pd.DataFrame({name: table[name].to_numpy() for name in columns}, index=pd.Index(table["name"], dtype=object))
    obs.index.name = None
    var = pd.DataFrame(
        {"gene_id": matrix.gene_ids, "genome": matrix.genomes},
        index=make_index_unique(pd.Index(matrix.gene_names, dtype=object)),
    )
    return AnnData(X=matrix.counts[rows].tocsr(), obs=obs, var=var)


def _scalefactors(raw: RawFile | None) -> dict[str, float]:
    if raw is None:
        return {}
    try:
        data = raw.path.read_bytes()
        content = json.loads(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
        return {name: float(value) for name, value in sorted(content.items()) if isinstance(value, int | float)}
    except (OSError, EOFError, ValueError, AttributeError) as error:
        raise Refusal(f"{raw.name}: not Space Ranger's scale factors ({error}); download the file again") from error


def _spot_table(table: pd.DataFrame, kept: NDArray[np.intp], adata: AnnData) -> pd.DataFrame:
    total = pd.array([pd.NA] * len(table), dtype="Int64")
    total[kept] = np.asarray(adata.X.astype(np.float64).sum(axis=1)).ravel().astype(np.int64)
    nothing = np.full(len(table), np.nan)
    none = pd.array([pd.NA] * len(table), dtype="Int64")
    values = {
        "spot_id": table["name"].to_numpy(),
        "array_col": table["array_col"].to_numpy() if "array_col" in table else none,
        "array_row": table["array_row"].to_numpy() if "array_row" in table else none,
        "array_x": nothing,
        "array_y": nothing,
        "x_px": table["x_px"].to_numpy(),
        "y_px": table["y_px"].to_numpy(),
        "in_tissue": table["in_tissue"].to_numpy(),
        "total_counts": total,
    }
    return pd.DataFrame({name: values[name] for name in SPOT_COLUMNS})
