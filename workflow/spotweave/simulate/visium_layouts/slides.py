"""Layouts of other slides and instruments, and of deposits without positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spotweave.simulate.count_files import Written, write_h5_layout_3, write_h5ad, write_mex
from spotweave.simulate.visium import Truth, block_of
from spotweave.simulate.visium_files import (
    HEADER,
    position_rows,
    write_barcode_list,
    write_loupe,
    write_positions,
    write_scalefactors,
)
from spotweave.simulate.visium_layouts.samples import three_samples
from spotweave.simulate.visium_layouts.variant import LISTS, Variants, write_filtered

LAYOUTS = Variants()


@LAYOUTS.add("11 mm capture area", capture_area="11 mm")
def _eleven_mm(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "tissue_positions.csv", position_rows(truth, truth.every), HEADER)
    scalefactors = write_scalefactors(folder / "scalefactors_json.json", truth)
    return {"counts": write_filtered(folder, truth), "spots": spots, "scalefactors": scalefactors}


@LAYOUTS.add("CytAssist: alignment in px of the instrument's picture, its scale among the factors")
def _cytassist(folder: Path, truth: Truth) -> Written:
    turn = np.array([[0.0, -0.2, 2900.0], [0.2, 0.0, 40.0], [0.0, 0.0, 1.0]])
    return {
        "counts": write_filtered(folder, truth),
        "spots": write_positions(folder / "tissue_positions.csv", position_rows(truth, truth.every), HEADER),
        "scalefactors": write_scalefactors(folder / "scalefactors_json.json", truth, regist_target_img_scalef=0.2),
        "alignment": write_loupe(folder / "alignment.json", truth, transform=turn, serial_number="V42A20-353"),
    }


SERIAL_OF = {"6.5 mm": "V10A13-001", "11 mm": "V52Y10-337"}


@LAYOUTS.add_without_positions("no positions: filtered HDF5 alone", positions_from="barcode list")
def _filtered_alone(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    return {"counts": write_filtered(folder, truth)}


@LAYOUTS.add_without_positions(
    "no positions: raw HDF5 alone, every barcode",
    counted="every",
    positions_from="barcode list",
    in_tissue="counted",
    in_tissue_known=False,
)
def _raw_alone(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    return {"counts": write_h5_layout_3(folder / "raw_feature_bc_matrix.h5", block_of(truth, truth.every))}


@LAYOUTS.add_without_positions(
    "no positions: raw HDF5 alone, no barcodes without reads",
    counted="counted",
    positions_from="barcode list",
    in_tissue="counted",
    in_tissue_known=False,
)
def _raw_counted_alone(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    return {"counts": write_h5_layout_3(folder / "raw_feature_bc_matrix.h5", block_of(truth, truth.counted))}


@LAYOUTS.add_without_positions(
    "no positions: one matrix of several samples, told by the number behind the barcode",
    member="-3",
    positions_from="barcode list",
)
def _joint_alone(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    block = three_samples(truth, (("", "-1"), ("", "-3"), ("", "-2")))
    return {"counts": write_h5_layout_3(folder / "aggr.h5", block)}


@LAYOUTS.add_without_positions("no positions: raw HDF5 and Loupe alignment", counted="every", positions_from="loupe")
def _loupe_and_raw(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    return {
        "counts": write_h5_layout_3(folder / "raw_feature_bc_matrix.h5", block_of(truth, truth.every)),
        "alignment": write_loupe(folder / "alignment.json", truth, serial_number=SERIAL_OF[truth.capture_area]),
    }


@LAYOUTS.add_without_positions(
    "no positions: filtered Market Exchange and CytAssist's Loupe alignment", positions_from="loupe", genome=False
)
def _loupe_of_cytassist(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    turn = np.array([[0.0, -0.25, 2900.0], [0.25, 0.0, 40.0], [0.0, 0.0, 1.0]])
    loupe = write_loupe(folder / "alignment.json", truth, transform=turn, serial_number=SERIAL_OF[truth.capture_area])
    return {**write_mex(folder, block_of(truth, truth.tissue)), "alignment": loupe}


@LAYOUTS.add_without_positions("AnnData as the counts and no positions in it", positions_from="barcode list")
def _h5ad_alone(folder: Path, truth: Truth) -> Written:
    write_barcode_list(folder / LISTS, truth)
    path = write_h5ad(folder / "a.h5ad", block_of(truth, truth.tissue))
    return {"counts": path, "spots": path}
