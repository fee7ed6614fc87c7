"""Xenium (Onboard Analysis 1-4, also segmented again by Xenium Ranger): counts of cells and the table of cells.

Both are joined by the names of the cells (whole numbers before 1.3, `aaaacpbm-1` since), never by the order of their
rows. Only genes are kept: controls of every kind are left out and counted, by their feature type and by their name.
Cells are placed on the DAPI picture; `x_px` is `x_um / pixel_size`. The map to the H&E is read and
described here and applied where the H&E is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices.genes import gene_table
from spotweave.matrices.matrix import Matrix
from spotweave.matrices.read import read_matrix
from spotweave.matrices.reading import Reading, measures, spot_table, totals_of
from spotweave.xenium.alignment import read_he_alignment
from spotweave.xenium.cells import Cells, read_cells
from spotweave.xenium.experiment import Experiment, read_experiment
from spotweave.xenium.features import control_kinds

ZIP_MAGIC = b"PK\x03\x04"
EXAMPLES = 5
# Counts and cells of two segmentations join by chance names; then most sums differ.
MAX_SHARE_OF_OTHER_SUMS = 0.5


def read(files: Mapping[str, RawFile], *, member: str | None = None) -> Reading:
    """Read one region.

    Parameters
    ----------
    files
        Roles `counts` (`cell_feature_matrix.h5`, or a Market Exchange matrix with `features` and `barcodes`), `cells`
        and `experiment`; an `alignment` is described. Transcripts and boundaries are read by later steps.
    member
        There is none: a bundle is one region.
    """
    if member is not None:
        raise Refusal(
            f"{files['experiment'].name}: there is no member {member!r}: a Xenium bundle holds one region; leave the "
            "member blank and give each region its own row"
        )
    experiment = read_experiment(files["experiment"])
    cells = read_cells(files["cells"])
    _refuse_zarr(files["counts"])
    matrix = read_matrix(files["counts"], features=files.get("features"), barcodes=files.get("barcodes"))
    matrix, controls_by_name = _only_genes(matrix)
    row_of_cell = _join(matrix, cells)
    var, gene_report = gene_table(matrix)
    order = np.argsort(cells.table["cell_id"].to_numpy(dtype=str), kind="stable")
    kept = order[row_of_cell[order] >= 0]
    obs = _obs(cells.table.iloc[kept], experiment)
    adata = AnnData(X=matrix.counts[row_of_cell[kept]].tocsr(), obs=obs, var=var)
    totals = totals_of(adata.X)
    without_cell = np.setdiff1d(np.arange(len(matrix.unit_names)), row_of_cell)
    without_counts = order[row_of_cell[order] < 0]
    left_out = Counter(matrix.report.get("features_left_out", {})) + controls_by_name
    report = {
        "unit": "cell",
        "rows_in_counts": len(matrix.unit_names),
        "rows_in_spots": len(cells.table),
        "spots_kept": len(kept),
        "counts_without_spot": len(without_cell),
        "counts_without_spot_examples": [matrix.unit_names[i] for i in without_cell[:EXAMPLES]],
        "spots_without_counts": len(without_counts),
        "spots_without_counts_examples": cells.table["cell_id"].iloc[without_counts[:EXAMPLES]].tolist(),
        "duplicate_keys": 0,
        "cell_ids": _id_form(cells),
        **gene_report,
        "controls_left_out": dict(sorted(left_out.items())),
        **measures(adata.X, totals),
        "pixel_size_um": experiment.pixel_size_um,
        "xoa_version": experiment.onboard_version,
        "xoa_version_stated": experiment.onboard_stated,
        "xenium_ranger_version": experiment.ranger_version,
        "segmented_again": experiment.segmented_again,
        "panel": experiment.panel,
        "run": experiment.names,
        "cells_in_manifest": experiment.cells,
        **_compare_sums(files["counts"].name, cells, kept, totals),
        **cells.report,
        **{key: value for key, value in matrix.report.items() if key != "features_left_out"},
        **_alignment(files.get("alignment"), experiment),
    }
    return Reading(adata, _spot_table(cells.table, kept, totals, experiment), report)


def _refuse_zarr(raw: RawFile) -> None:
    with open(raw.path, "rb") as handle:
        is_zip = handle.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    if is_zip:
        raise Refusal(
            f"{raw.name}: a Zarr archive for Xenium Explorer, which is not read here; give cell_feature_matrix.h5, or "
            "the files of the folder cell_feature_matrix, of the same bundle"
        )


def _only_genes(matrix: Matrix) -> tuple[Matrix, Counter[str]]:
    """The matrix less the columns whose name says that they are controls, and these by kind.

    Matrices without feature types (dense tables, lists of two columns) name controls among the genes.
    """
    kinds = control_kinds(matrix.gene_names)
    found = Counter(kind for kind in kinds if kind is not None)
    genes = [i for i, kind in enumerate(kinds) if kind is None]
    if not genes:
        raise Refusal(
            f"{matrix.name}: no gene among its features; give the count matrix of the bundle, not a part of it",
            measured=0,
            threshold=1,
        )
    if not found:
        return matrix, found
    less = replace(
        matrix,
        gene_names=[matrix.gene_names[i] for i in genes],
        gene_ids=[matrix.gene_ids[i] for i in genes],
        feature_types=[matrix.feature_types[i] for i in genes],
        genomes=[matrix.genomes[i] for i in genes],
        counts=matrix.counts[:, genes],
    )
    return less, found


def _join(matrix: Matrix, cells: Cells) -> NDArray[np.int64]:
    """Row of the counts for each cell, -1 without one."""
    index = pd.Index(matrix.unit_names, dtype=object)
    if not index.is_unique:
        twice = index.duplicated()
        raise Refusal(
            f"{matrix.name}: cell {index[twice][0]} comes twice ({int(twice.sum()):,} such cells); are these several "
            "regions in one matrix? Give one region's",
            measured=int(twice.sum()),
            threshold=0,
        )
    rows = np.asarray(index.get_indexer(pd.Index(cells.table["cell_id"], dtype=object)), dtype=np.int64)
    if (rows < 0).all():
        raise Refusal(
            f"{matrix.name} and {cells.name} have no cell in common: counts have "
            f"{matrix.unit_names[0] if matrix.unit_names else 'no cells'!r}, the table of cells "
            f"{cells.table['cell_id'].iloc[0]!r}; check that both belong to the same bundle",
            measured=0,
            threshold=1,
        )
    return rows


def _id_form(cells: Cells) -> str:
    return "whole numbers" if cells.table["cell_id"].str.isdigit().all() else "text"


def _compare_sums(
    counts: str, cells: Cells, kept: NDArray[np.intp], totals: NDArray[np.int64]
) -> dict[str, int | None]:
    """Cells whose sum of counts is not the one that the table of cells states.

    Names of cells that are whole numbers join any two segmentations of a region without a complaint; sums do not.
    """
    stated = cells.table["transcript_counts"].to_numpy()[kept]
    known = np.isfinite(stated)
    if not known.any():
        return {"cells_with_other_sum": None}
    other = int((stated[known] != totals[known]).sum())
    if other > MAX_SHARE_OF_OTHER_SUMS * known.sum():
        raise Refusal(
            f"{counts} and {cells.name} are of two segmentations: {other:,} of {int(known.sum()):,} cells have another "
            "sum of counts than the table of cells states; give both from one bundle",
            measured=other / int(known.sum()),
            threshold=MAX_SHARE_OF_OTHER_SUMS,
        )
    return {"cells_with_other_sum": other}


def _obs(table: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    xy_um = table[["x_um", "y_um"]].to_numpy(dtype=np.float64)
    xy_px = xy_um / experiment.pixel_size_um
    return pd.DataFrame(
        {
            "x_um": xy_um[:, 0],
            "y_um": xy_um[:, 1],
            "x_px": xy_px[:, 0],
            "y_px": xy_px[:, 1],
            "in_tissue": np.ones(len(table), dtype=np.int64),
            "cell_area_um2": table["cell_area_um2"].to_numpy(),
            "nucleus_area_um2": table["nucleus_area_um2"].to_numpy(),
        },
        index=pd.Index(table["cell_id"].to_numpy(dtype=object), dtype=object),
    )


def _alignment(raw: RawFile | None, experiment: Experiment) -> dict[str, Any]:
    if raw is None:
        return {"alignment_kind": None}
    alignment = read_he_alignment(raw)
    return {**alignment.report(), "he_pixel_size_um": alignment.he_pixel_size_um(experiment.pixel_size_um)}


def _spot_table(
    table: pd.DataFrame, kept: NDArray[np.intp], totals: NDArray[np.int64], experiment: Experiment
) -> pd.DataFrame:
    """All cells, by name."""
    spots = spot_table(
        table["cell_id"].to_numpy(dtype=object),
        (table["x_um"].to_numpy() / experiment.pixel_size_um, table["y_um"].to_numpy() / experiment.pixel_size_um),
        np.ones(len(table), dtype=np.int64),
        (kept, totals),
    )
    order = np.argsort(spots["spot_id"].to_numpy(dtype=str), kind="stable")
    return spots.iloc[order].reset_index(drop=True)
