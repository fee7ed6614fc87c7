"""Layouts that differ in the container of the counts."""

from __future__ import annotations

from pathlib import Path

from spotweave.simulate.count_files import (
    Written,
    gzipped,
    put,
    write_h5_layout_2,
    write_h5_layout_3,
    write_mex,
    write_table,
)
from spotweave.simulate.visium import Truth, block_of
from spotweave.simulate.visium_files import position_rows, write_positions
from spotweave.simulate.visium_layouts.variant import Variants, write_list

LAYOUTS = Variants()


@LAYOUTS.add("raw HDF5 with every barcode of the array", counted="every")
def _raw_h5(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "raw_feature_bc_matrix.h5", block_of(truth, truth.every))
    return {"counts": counts, "spots": write_list(folder, truth)}


@LAYOUTS.add("raw HDF5 of Space Ranger 1.3 and later: no barcodes without reads", counted="counted")
def _raw_h5_counted(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "raw_feature_bc_matrix.h5", block_of(truth, truth.counted))
    return {"counts": counts, "spots": write_list(folder, truth)}


@LAYOUTS.add("HDF5 in the layout of Cell Ranger 2")
def _h5_layout_2(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_2(folder / "filtered_gene_bc_matrices_h5.h5", block_of(truth, truth.tissue))
    return {"counts": counts, "spots": write_list(folder, truth)}


@LAYOUTS.add("GEO: prefixed, HDF5 and positions packed with gzip once more")
def _geo_packed(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "GSM1_A_filtered_feature_bc_matrix.h5", block_of(truth, truth.tissue))
    rows = position_rows(truth, truth.every)
    spots = write_positions(folder / "GSM1_A_tissue_positions_list.csv.gz", rows)
    return {"counts": gzipped(counts), "spots": spots}


@LAYOUTS.add("Market Exchange of Space Ranger: features.tsv.gz with three columns", genome=False)
def _mex(folder: Path, truth: Truth) -> Written:
    return {**write_mex(folder, block_of(truth, truth.tissue)), "spots": write_list(folder, truth)}


@LAYOUTS.add("Market Exchange of Cell Ranger 2: genes.tsv with two columns, unpacked", genome=False)
def _mex_2(folder: Path, truth: Truth) -> Written:
    block = block_of(truth, truth.tissue)
    return {**write_mex(folder, block, columns=2, packed=False), "spots": write_list(folder, truth)}


@LAYOUTS.add("Market Exchange with GEO's prefixes", genome=False)
def _mex_prefixed(folder: Path, truth: Truth) -> Written:
    return {**write_mex(folder, block_of(truth, truth.tissue), prefix="GSM1_A_"), "spots": write_list(folder, truth)}


@LAYOUTS.add("Market Exchange the other way round: barcodes x genes", genome=False)
def _mex_turned(folder: Path, truth: Truth) -> Written:
    return {**write_mex(folder, block_of(truth, truth.tissue), turned=True), "spots": write_list(folder, truth)}


@LAYOUTS.add("Market Exchange whose lists R wrote: quotes, a header, row numbers", genome=False)
def _mex_by_r(folder: Path, truth: Truth) -> Written:
    block = block_of(truth, truth.tissue)
    files = write_mex(folder, block, packed=False)
    barcodes = '"","x"\n' + "".join(f'"{i}","{unit}"\n' for i, unit in enumerate(block.units, start=1))
    genes = '"","V1","V2"\n' + "".join(
        f'"{i}","{gene_id}","{name}"\n' for i, (gene_id, name) in enumerate(zip(block.ids, block.names, strict=True), 1)
    )
    files["barcodes"] = put(folder / "barcodes.csv", barcodes.encode())
    files["features"] = put(folder / "genes.csv", genes.encode())
    return {**files, "spots": write_list(folder, truth)}


@LAYOUTS.add("a table, genes x spots, commas", ids=False, genome=False)
def _csv_genes_by_spots(folder: Path, truth: Truth) -> Written:
    counts = write_table(folder / "counts.csv", block_of(truth, truth.tissue))
    return {"counts": counts, "spots": write_list(folder, truth)}


@LAYOUTS.add("a table, spots x genes, tabs, packed", ids=False, genome=False)
def _tsv_spots_by_genes(folder: Path, truth: Truth) -> Written:
    counts = write_table(folder / "counts.tsv.gz", block_of(truth, truth.tissue), mark="\t", by_unit=True)
    return {"counts": counts, "spots": write_list(folder, truth)}


@LAYOUTS.add("a table written by R: quotes, dots for dashes, no name over the row names", ids=False, genome=False)
def _csv_by_r(folder: Path, truth: Truth) -> Written:
    counts = write_table(folder / "counts.csv", block_of(truth, truth.tissue, after=".1"), corner=None, quoted=True)
    return {"counts": counts, "spots": write_list(folder, truth)}


@LAYOUTS.add("a table whose counts are written as 3.0", ids=False, genome=False)
def _csv_decimals(folder: Path, truth: Truth) -> Written:
    counts = write_table(folder / "counts.csv", block_of(truth, truth.tissue), cell=lambda count: f"{count}.0")
    return {"counts": counts, "spots": write_list(folder, truth)}
