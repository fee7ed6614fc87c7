"""Visium (Space Ranger 1-4; direct placement and CytAssist; 6.5 and 11 mm): counts and a table of positions.

The two are joined by the nucleotides of the barcodes, never by the order of their rows; whatever pipelines and
authors put around a barcode is taken off, and told apart where a matrix holds several samples. Spots are named in
the plain form, `AAACAACGAATAGTTC-1`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from numpy.typing import NDArray

from spotweave import barcodes
from spotweave.errors import Refusal
from spotweave.matrices import Matrix, read_matrix
from spotweave.positions import Positions, read_positions
from spotweave.raw import RawFile
from spotweave.readers import SPOT_COLUMNS, Reading

ROLES = ("counts", "spots")
OPTIONAL = ("features", "barcodes", "scalefactors", "alignment", "cytassist_image", "hires_image")

# Rows and half-columns of the arrays (10x Genomics, spatial gene expression slides).
SLIDES = {"6.5 mm": (78, 128), "11 mm": (128, 224)}
EXAMPLES = 5
HDF5 = b"\x89HDF"


def read(files: Mapping[str, RawFile], *, member: str | None = None) -> Reading:
    """Read one section.

    Parameters
    ----------
    files
        Roles `counts` and `spots`, for Market Exchange also `features` and `barcodes`; `scalefactors` are reported. An
        h5ad with array places and `obsm["spatial"]` may be its own table of spots.
    member
        The section to take from a joint matrix: what stands before or after its barcodes (`A1`, `-3`, `_2`), or
        `column=value` of an h5ad's obs.
    """
    matrix = read_matrix(files["counts"], features=files.get("features"), barcodes=files.get("barcodes"))
    rows, parsed, members = _select_member(matrix, member)
    places = _places(files["spots"])
    slide = _slide(places)
    table = places.table.sort_values(["array_row", "array_col"], kind="stable").reset_index(drop=True)
    spots = _spot_bases(table["barcode"], places.name)
    row_of = _rows_by_base(parsed, rows, matrix)
    row_of_spot = np.array([row_of.get(base, -1) for base in spots], dtype=np.int64)
    kept = np.flatnonzero(row_of_spot >= 0)
    if not kept.size:
        raise Refusal(
            f"{matrix.name} and {places.name} have no spot in common: counts have {parsed.names[0]!r}, the positions"
            f" {table['barcode'].iloc[0]!r}; check that both belong to the same section",
            measured=0,
            threshold=1,
        )
    known = set(spots)
    without_spot = [parsed.names[i] for i, base in enumerate(parsed.bases) if base not in known]
    without_counts = [barcodes.plain(spots[i]) for i in np.flatnonzero(row_of_spot < 0)]
    adata = _assemble(matrix, row_of_spot[kept], table.iloc[kept], [barcodes.plain(spots[i]) for i in kept])
    report = {
        "unit": "spot",
        "container": matrix.container,
        "barcode_form_in_counts": parsed.form,
        "barcode_form_in_spots": barcodes.parse(list(table["barcode"])).form,
        "members_in_counts": members,
        "rows_in_counts": len(rows),
        "rows_in_spots": len(table),
        "spots_kept": len(kept),
        "spots_in_tissue": int(table["in_tissue"].sum()),
        "counts_without_spot": len(without_spot),
        "counts_without_spot_examples": without_spot[:EXAMPLES],
        "spots_without_counts": len(without_counts),
        "spots_without_counts_examples": without_counts[:EXAMPLES],
        "spots_in_tissue_without_counts": int(table["in_tissue"].to_numpy()[row_of_spot < 0].sum()),
        "duplicate_keys": 0,
        "slide": slide,
        "genes": adata.n_vars,
        "genes_by_genome": dict(sorted(Counter(matrix.genomes).items())) if any(matrix.genomes) else {},
        "total_counts": int(adata.X.sum(dtype=np.float64)),
        "zero_genes": int((np.asarray(adata.X.sum(axis=0)).ravel() == 0).sum()),
        **places.report,
        **matrix.report,
        **_scalefactors(files.get("scalefactors")),
    }
    return Reading(adata, _spot_table(table, spots, kept, adata), report)


def _places(raw: RawFile) -> Positions:
    """The positions: a table, or an h5ad that has them."""
    with open(raw.path, "rb") as handle:
        is_hdf5 = handle.read(4) == HDF5
    if not is_hdf5:
        return read_positions(raw)
    matrix = read_matrix(raw)
    needed = ("array_row", "array_col", "spatial_x", "spatial_y")
    missing = [name for name in needed if name not in matrix.unit_columns]
    if missing:
        raise Refusal(f"{raw.name}: as a table of spots it lacks {', '.join(missing)}; give a table of positions")
    columns = {name: [float(value) for value in matrix.unit_columns[name]] for name in needed}
    in_tissue = [float(value) for value in matrix.unit_columns.get("in_tissue", ["1"] * len(matrix.unit_names))]
    table = pd.DataFrame(
        {
            "barcode": matrix.unit_names,
            "in_tissue": np.array(in_tissue, dtype=np.int64),
            "array_row": np.array(columns["array_row"], dtype=np.int64),
            "array_col": np.array(columns["array_col"], dtype=np.int64),
            "x_px": columns["spatial_x"],
            "y_px": columns["spatial_y"],
        }
    )
    return Positions(raw.name, table, {"positions_format": "h5ad", "positions_rows": len(table)})


def _slide(places: Positions) -> str:
    """Which array the places belong to; refused where they belong to none.

    On both arrays rows are shifted by half a column: row and half-column are both even or both odd.
    """
    row, col = places.table["array_row"].to_numpy(), places.table["array_col"].to_numpy()
    odd = int(((row + col) % 2 != 0).sum())
    if odd:
        raise Refusal(
            f"{places.name}: {odd:,} of {len(row):,} spots stand where Visium has none (row and column must both be even"
            " or both odd); is it a table of another technology, or of hexagonal coordinates?",
            measured=odd,
            threshold=0,
        )
    for name, (rows, columns) in SLIDES.items():
        if row.min() >= 0 and col.min() >= 0 and row.max() < rows and col.max() < columns:
            return name
    swapped = [name for name, (rows, columns) in SLIDES.items() if row.max() < columns and col.max() < rows]
    hint = "array_row and array_col seem to be swapped" if swapped else "check that it is a table of Visium spots"
    raise Refusal(
        f"{places.name}: places up to row {int(row.max())}, column {int(col.max())}; the largest array has 128 rows and"
        f" 224 half-columns; {hint}",
        measured=int(max(row.max(), col.max())),
        threshold=223,
    )


def _select_member(matrix: Matrix, member: str | None) -> tuple[NDArray[np.intp], barcodes.Barcodes, list[str]]:
    """Rows of the section, their barcodes, and the sections there are."""
    parsed = barcodes.parse(matrix.unit_names)
    if member and "=" in member:
        column, _, value = member.partition("=")
        if column not in matrix.unit_columns:
            there = ", ".join(sorted(matrix.unit_columns)) or "none"
            raise Refusal(f"{matrix.name}: member {member!r}: there is no column {column!r}; it has {there}")
        labels = matrix.unit_columns[column]
        rows = np.flatnonzero([label == value for label in labels])
        sections = _sections(labels)
    else:
        labels = parsed.members
        sections = _sections(labels)
        if member is None:
            rows = _only_section(matrix, parsed, sections)
        else:
            wanted = {member, member.strip("_-"), f"-{member}", f"_{member}"}
            rows = np.flatnonzero([label in wanted or (not label and member == "-1") for label in labels])
    if not rows.size:
        raise Refusal(f"{matrix.name}: there is no member {member!r}; the matrix holds {_listed(sections)}")
    chosen = barcodes.Barcodes(
        [parsed.names[i] for i in rows], [parsed.bases[i] for i in rows], [parsed.members[i] for i in rows], parsed.form
    )
    return rows, chosen, sorted(name for name in sections if name)


def _only_section(matrix: Matrix, parsed: barcodes.Barcodes, sections: Mapping[str, int]) -> NDArray[np.intp]:
    """All rows, if they can be of one section: one name around the barcodes, or no barcode twice."""
    if len(sections) > 1 and len(set(parsed.bases)) < len(parsed.bases):
        columns = ", ".join(sorted(matrix.unit_columns)[:10])
        also = f", or column=value ({columns})" if columns else ""
        raise Refusal(
            f"{matrix.name}: the matrix holds {len(sections)} sections: {_listed(sections)}; name one as the member{also}",
            measured=len(sections),
            threshold=1,
        )
    return np.arange(len(parsed.names))


def _sections(labels: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(labels).items()))


def _listed(sections: Mapping[str, int]) -> str:
    shown = [f"{name or '(plain)'} ({count:,} spots)" for name, count in list(sections.items())[:20]]
    return ", ".join(shown) + (f" and {len(sections) - 20} more" if len(sections) > 20 else "")


def _spot_bases(names: pd.Series, file: str) -> list[str]:
    parsed = barcodes.parse(list(names))
    if len(set(parsed.bases)) < len(parsed.bases):
        twice = next(base for base, count in Counter(parsed.bases).items() if count > 1)
        raise Refusal(
            f"{file}: the barcode {twice} is there for several samples; split the table", measured=2, threshold=1
        )
    return parsed.bases


def _rows_by_base(parsed: barcodes.Barcodes, rows: NDArray[np.intp], matrix: Matrix) -> dict[str, int]:
    row_of = dict(zip(parsed.bases, rows.tolist(), strict=True))
    if len(row_of) < len(parsed.bases):
        twice = next(base for base, count in Counter(parsed.bases).items() if count > 1)
        examples = [name for name, base in zip(parsed.names, parsed.bases, strict=True) if base == twice][:2]
        raise Refusal(
            f"{matrix.name}: {len(parsed.bases) - len(row_of):,} barcodes are there twice, first"
            f" {' and '.join(examples)}; name the member to read, or correct the file",
            measured=len(parsed.bases) - len(row_of),
            threshold=0,
        )
    return row_of


def _assemble(matrix: Matrix, rows: NDArray[np.int64], table: pd.DataFrame, names: list[str]) -> AnnData:
    gene_names, genomes = _without_genome_prefix(matrix)
    obs = pd.DataFrame(
        {name: table[name].to_numpy() for name in ("array_col", "array_row", "x_px", "y_px", "in_tissue")},
        index=pd.Index(names, dtype=object),
    )
    var = pd.DataFrame(
        {"gene_id": matrix.gene_ids, "genome": genomes}, index=make_index_unique(pd.Index(gene_names, dtype=object))
    )
    return AnnData(X=matrix.counts[rows].tocsr(), obs=obs, var=var)


def _without_genome_prefix(matrix: Matrix) -> tuple[list[str], list[str]]:
    """Gene names less the genome that a matrix of two genomes puts before them (`GRCh38_TP53`, `mm10___Trp53`)."""
    genomes = sorted(set(matrix.genomes) - {""}) or ["GRCh38", "mm10", "GRCm39", "hg19"]
    names, found = [], []
    for name, genome in zip(matrix.gene_names, matrix.genomes, strict=True):
        prefix = next((one for one in genomes if name.startswith(f"{one}_")), None)
        names.append(name.removeprefix(prefix).lstrip("_") if prefix else name)
        found.append(genome or prefix or "")
    return names, found


def _scalefactors(raw: RawFile | None) -> dict[str, Any]:
    """The vendor's scale factors, as far as they are numbers."""
    if raw is None:
        return {}
    try:
        import gzip

        data = raw.path.read_bytes()
        content = json.loads(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
        numbers = {name: float(value) for name, value in content.items() if isinstance(value, int | float)}
    except (OSError, EOFError, ValueError, AttributeError) as error:
        raise Refusal(f"{raw.name}: not Space Ranger's scale factors ({error}); download the file again") from error
    return {"scalefactors": dict(sorted(numbers.items()))}


def _spot_table(table: pd.DataFrame, spots: list[str], kept: NDArray[np.intp], adata: AnnData) -> pd.DataFrame:
    total = pd.array([pd.NA] * len(table), dtype="Int64")
    total[kept] = np.asarray(adata.X.astype(np.float64).sum(axis=1)).ravel().astype(np.int64)
    nothing = np.full(len(table), np.nan)
    columns = (
        [barcodes.plain(base) for base in spots],
        table["array_col"].to_numpy(),
        table["array_row"].to_numpy(),
        nothing,
        nothing,
        table["x_px"].to_numpy(),
        table["y_px"].to_numpy(),
        table["in_tissue"].to_numpy(),
        total,
    )
    return pd.DataFrame(dict(zip(SPOT_COLUMNS, columns, strict=True)))
