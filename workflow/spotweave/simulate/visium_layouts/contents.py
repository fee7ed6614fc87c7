"""Layouts that hold more or other than one species' genes in the order of the positions, and AnnData."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from spotweave.simulate.count_files import (
    ANTIBODIES,
    Written,
    gzipped,
    prefixed,
    with_antibodies,
    write_h5_layout_2,
    write_h5_layout_3,
    write_h5ad,
    write_mex,
)
from spotweave.simulate.visium import Truth, block_of
from spotweave.simulate.visium_files import position_rows, write_positions
from spotweave.simulate.visium_layouts.variant import Variants, write_list

LAYOUTS = Variants()


@LAYOUTS.add("AnnData with counts in X")
def _h5ad(folder: Path, truth: Truth) -> Written:
    return {"counts": write_h5ad(folder / "a.h5ad", block_of(truth, truth.tissue)), "spots": write_list(folder, truth)}


@LAYOUTS.add("AnnData with normalised X and counts in a layer")
def _h5ad_layer(folder: Path, truth: Truth) -> Written:
    counts = write_h5ad(folder / "a.h5ad", block_of(truth, truth.tissue), place="layers")
    return {"counts": counts, "spots": write_list(folder, truth)}


@LAYOUTS.add("AnnData with X normalised and cut to variable genes, and counts in raw")
def _h5ad_raw(folder: Path, truth: Truth) -> Written:
    counts = write_h5ad(folder / "a.h5ad", block_of(truth, truth.tissue), place="raw")
    return {"counts": counts, "spots": write_list(folder, truth)}


@LAYOUTS.add("AnnData with a dense X, packed with gzip")
def _h5ad_dense(folder: Path, truth: Truth) -> Written:
    counts = write_h5ad(folder / "a.h5ad", block_of(truth, truth.tissue), dense=True)
    return {"counts": gzipped(counts), "spots": write_list(folder, truth)}


@LAYOUTS.add(
    "AnnData that carries the positions itself: array places in obs, pixels in obsm['spatial']", placed="tissue"
)
def _h5ad_with_positions(folder: Path, truth: Truth) -> Written:
    chosen = truth.tissue
    array = truth.array[chosen]
    obs = {"in_tissue": truth.in_tissue[chosen], "array_row": array[:, 0], "array_col": array[:, 1]}
    pixels = truth.pixels[chosen][:, ::-1]
    path = write_h5ad(folder / "a.h5ad", block_of(truth, chosen), obs=obs, spatial=pixels)
    return {"counts": path, "spots": path}


@LAYOUTS.add("antibodies beside the genes (HDF5)", left_out={"Antibody Capture": len(ANTIBODIES)})
def _antibodies_h5(folder: Path, truth: Truth) -> Written:
    block = with_antibodies(block_of(truth, truth.tissue))
    return {"counts": write_h5_layout_3(folder / "counts.h5", block), "spots": write_list(folder, truth)}


@LAYOUTS.add(
    "antibodies beside the genes (Market Exchange)", genome=False, left_out={"Antibody Capture": len(ANTIBODIES)}
)
def _antibodies_mex(folder: Path, truth: Truth) -> Written:
    block = with_antibodies(block_of(truth, truth.tissue))
    return {**write_mex(folder, block), "spots": write_list(folder, truth)}


@LAYOUTS.add("genes of two species (xenograft), prefixed, HDF5", two_species=True)
def _two_species_h5(folder: Path, truth: Truth) -> Written:
    block = prefixed(block_of(truth, truth.tissue))
    return {"counts": write_h5_layout_3(folder / "counts.h5", block), "spots": write_list(folder, truth)}


@LAYOUTS.add("genes of two species, one group each, HDF5 of Cell Ranger 2", two_species=True)
def _two_species_layout_2(folder: Path, truth: Truth) -> Written:
    block = prefixed(block_of(truth, truth.tissue))
    return {"counts": write_h5_layout_2(folder / "counts.h5", block), "spots": write_list(folder, truth)}


@LAYOUTS.add("genes of two species, prefixed, Market Exchange", two_species=True)
def _two_species_mex(folder: Path, truth: Truth) -> Written:
    return {**write_mex(folder, prefixed(block_of(truth, truth.tissue))), "spots": write_list(folder, truth)}


@LAYOUTS.add("rows of counts and positions in another order each")
def _shuffled_rows(folder: Path, truth: Truth) -> Written:
    rng = np.random.default_rng(5)
    counts = write_h5_layout_3(folder / "counts.h5", block_of(truth, rng.permutation(truth.tissue)))
    rows = position_rows(truth, rng.permutation(truth.every))
    return {"counts": counts, "spots": write_positions(folder / "tissue_positions_list.csv", rows)}


@LAYOUTS.add("counts of barcodes that have no position, and of none like one")
def _barcodes_without_position(folder: Path, truth: Truth) -> Written:
    block = block_of(truth, truth.tissue)
    units = [*block.units, "A" * 16 + "-1", "C" * 16 + "-1", "unmapped"]
    block = replace(block, units=units, counts=np.concatenate([block.counts, block.counts[5:8] + 1]))
    return {"counts": write_h5_layout_3(folder / "counts.h5", block), "spots": write_list(folder, truth)}
