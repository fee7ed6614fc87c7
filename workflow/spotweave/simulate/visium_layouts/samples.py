"""Layouts that differ in what stands around the barcodes, and tables of several samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spotweave.simulate.count_files import Block, Written, stacked, write_h5_layout_3, write_h5ad, write_table
from spotweave.simulate.visium import Truth, block_of
from spotweave.simulate.visium_files import HEADER, position_rows, write_positions
from spotweave.simulate.visium_layouts.variant import Variants, write_filtered, write_list

LAYOUTS = Variants()


@LAYOUTS.add("barcodes without -1 in the counts")
def _no_suffix(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "counts.h5", block_of(truth, truth.tissue, after=""))
    return {"counts": counts, "spots": write_list(folder, truth)}


@LAYOUTS.add("barcodes without -1 in the positions")
def _positions_no_suffix(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "tissue_positions_list.csv", position_rows(truth, truth.every, after=""))
    return {"counts": write_filtered(folder, truth), "spots": spots}


@LAYOUTS.add("barcodes that end with _1")
def _underscore_suffix(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "counts.h5", block_of(truth, truth.tissue, after="_1"))
    return {"counts": counts, "spots": write_list(folder, truth)}


@LAYOUTS.add("barcodes with the name of an assay behind them")
def _assay_suffix(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "counts.h5", block_of(truth, truth.tissue, after="-1_Assay1"))
    return {"counts": counts, "spots": write_list(folder, truth)}


@LAYOUTS.add("barcodes with the sample before them, in one sample's own matrix")
def _sample_prefix(folder: Path, truth: Truth) -> Written:
    counts = write_h5_layout_3(folder / "counts.h5", block_of(truth, truth.tissue, before="P12_A1_"))
    return {"counts": counts, "spots": write_list(folder, truth)}


def three_samples(truth: Truth, marks: Sequence[tuple[str, str]]) -> Block:
    """The truth between two other samples with the same barcodes and other counts; `marks` are before and after."""
    (first, middle, last) = marks
    other = replace(truth, counts=truth.counts[::-1] % 50 + 1)
    third = replace(truth, counts=truth.counts[:, ::-1] % 50 + 2)
    return stacked(
        block_of(other, truth.tissue[: len(truth.tissue) // 2], *first),
        block_of(truth, truth.tissue, *middle),
        block_of(third, truth.tissue[5:], *last),
    )


@LAYOUTS.add("a joint matrix whose samples differ in the number behind the barcode", member="-3")
def _joint_suffix(folder: Path, truth: Truth) -> Written:
    block = three_samples(truth, (("", "-1"), ("", "-3"), ("", "-2")))
    return {"counts": write_h5_layout_3(folder / "aggr.h5", block), "spots": write_list(folder, truth)}


@LAYOUTS.add("a joint matrix whose samples differ in a number behind -1", member="2")
def _joint_numbered(folder: Path, truth: Truth) -> Written:
    block = three_samples(truth, (("", "-1_1"), ("", "-1_2"), ("", "-1_3")))
    return {"counts": write_h5_layout_3(folder / "merged.h5", block), "spots": write_list(folder, truth)}


@LAYOUTS.add("a joint table whose samples are named before the barcode", member="A1", ids=False, genome=False)
def _joint_prefix(folder: Path, truth: Truth) -> Written:
    block = three_samples(truth, (("B1_", "-1"), ("A1_", "-1"), ("C1_", "-1")))
    return {"counts": write_table(folder / "merged.csv.gz", block), "spots": write_list(folder, truth)}


@LAYOUTS.add("joint counts and joint positions, samples named before the barcode", member="A1")
def _joint_positions(folder: Path, truth: Truth) -> Written:
    block = three_samples(truth, (("B1_", "-1"), ("A1_", "-1"), ("C1_", "-1")))
    moved = replace(truth, pixels=truth.pixels + 100)
    rows = [*position_rows(moved, truth.every, "B1_"), *position_rows(truth, truth.every, "A1_")]
    spots = write_positions(folder / "positions.csv", [*rows, *position_rows(moved, truth.every, "C1_")], HEADER)
    return {"counts": write_h5_layout_3(folder / "merged.h5", block), "spots": spots}


@LAYOUTS.add("joint counts, and joint positions with the same barcodes and a column that names the sample", member="A1")
def _joint_positions_by_column(folder: Path, truth: Truth) -> Written:
    block = three_samples(truth, (("B1_", "-1"), ("A1_", "-1"), ("C1_", "-1")))
    moved = replace(truth, pixels=truth.pixels + 100)
    rows = [[*row, "A1"] for row in position_rows(truth, truth.every)]
    rows += [[*row, "B1"] for row in position_rows(moved, truth.every)]
    spots = write_positions(folder / "positions.csv", rows, [*HEADER, "sample"])
    return {"counts": write_h5_layout_3(folder / "merged.h5", block), "spots": spots}


@LAYOUTS.add("an AnnData file of several samples, told by a column of obs", member="library_id=A1")
def _joint_h5ad(folder: Path, truth: Truth) -> Written:
    block = three_samples(truth, (("", "-1-0"), ("", "-1-1"), ("", "-1-2")))
    half, whole = len(truth.tissue) // 2, len(truth.tissue)
    obs = {"library_id": ["B1"] * half + ["A1"] * whole + ["C1"] * (whole - 5)}
    return {"counts": write_h5ad(folder / "all.h5ad", block, obs=obs), "spots": write_list(folder, truth)}
