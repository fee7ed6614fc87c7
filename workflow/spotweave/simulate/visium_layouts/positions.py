"""Layouts that differ in the positions: what each Space Ranger writes, and what R and spreadsheets make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from spotweave.simulate.count_files import Written
from spotweave.simulate.visium import Truth
from spotweave.simulate.visium_files import HEADER, position_rows, write_positions, write_scalefactors
from spotweave.simulate.visium_layouts.variant import Variants, write_filtered, write_list

LAYOUTS = Variants()


@LAYOUTS.add("Space Ranger 1: filtered HDF5, positions without header, scale factors")
def _space_ranger_1(folder: Path, truth: Truth) -> Written:
    scalefactors = write_scalefactors(folder / "scalefactors_json.json", truth)
    return {"counts": write_filtered(folder, truth), "spots": write_list(folder, truth), "scalefactors": scalefactors}


@LAYOUTS.add("Space Ranger 2 and later: positions with header")
def _space_ranger_2(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "tissue_positions.csv", position_rows(truth, truth.every), HEADER)
    return {"counts": write_filtered(folder, truth), "spots": spots}


@LAYOUTS.add("tissue_positions_list.csv that has a header all the same")
def _list_with_header(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "tissue_positions_list.csv", position_rows(truth, truth.every), HEADER)
    return {"counts": write_filtered(folder, truth), "spots": spots}


@LAYOUTS.add("positions as parquet")
def _positions_parquet(folder: Path, truth: Truth) -> Written:
    frame = pd.DataFrame(position_rows(truth, truth.every), columns=HEADER)
    frame[list(HEADER[1:4])] = frame[list(HEADER[1:4])].astype(np.int32)
    frame[list(HEADER[4:])] = frame[list(HEADER[4:])].astype(np.float64)
    frame.to_parquet(folder / "tissue_positions.parquet", index=False)
    return {"counts": write_filtered(folder, truth), "spots": folder / "tissue_positions.parquet"}


@LAYOUTS.add("positions called .txt, without header")
def _positions_txt(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "tissue_positions_list.txt", position_rows(truth, truth.every))
    return {"counts": write_filtered(folder, truth), "spots": spots}


@LAYOUTS.add("positions separated by tabs")
def _positions_tabs(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "positions.tsv", position_rows(truth, truth.every), HEADER, "\t")
    return {"counts": write_filtered(folder, truth), "spots": spots}


@LAYOUTS.add("positions separated by semicolons, decimals with commas, as a spreadsheet saves them")
def _positions_semicolons(folder: Path, truth: Truth) -> Written:
    rows = [[*row[:4], f"{row[4]},0", f"{row[5]},0"] for row in position_rows(truth, truth.every)]
    return {"counts": write_filtered(folder, truth), "spots": write_positions(folder / "p.csv", rows, HEADER, ";")}


@LAYOUTS.add("positions whose whole numbers are written as floats")
def _positions_floats(folder: Path, truth: Truth) -> Written:
    rows = [[row[0], *(f"{value}.0" for value in row[1:])] for row in position_rows(truth, truth.every)]
    return {
        "counts": write_filtered(folder, truth),
        "spots": write_positions(folder / "tissue_positions.csv", rows, HEADER),
    }


@LAYOUTS.add("positions with header and columns in another order, one more among them")
def _positions_other_order(folder: Path, truth: Truth) -> Written:
    order = (4, 0, 3, 5, 1, 2)
    header = [*(HEADER[i] for i in order), "cluster"]
    rows = [[*(row[i] for i in order), "7"] for row in position_rows(truth, truth.every)]
    return {
        "counts": write_filtered(folder, truth),
        "spots": write_positions(folder / "tissue_positions.csv", rows, header),
    }


@LAYOUTS.add("positions written by R: quotes, row numbers, a header")
def _positions_by_r(folder: Path, truth: Truth) -> Written:
    rows = [[f'"{i}"', f'"{row[0]}"', *row[1:]] for i, row in enumerate(position_rows(truth, truth.every), start=1)]
    spots = write_positions(folder / "positions.csv", rows, ['""', *(f'"{name}"' for name in HEADER)])
    return {"counts": write_filtered(folder, truth), "spots": spots}


@LAYOUTS.add("positions read by R without header and written with one: V1 to V6, row numbers")
def _positions_by_r_headless(folder: Path, truth: Truth) -> Written:
    rows = [[f'"{i}"', f'"{row[0]}"', *row[1:]] for i, row in enumerate(position_rows(truth, truth.every), start=1)]
    header = ['""', *(f'"V{i}"' for i in range(1, 7))]
    return {"counts": write_filtered(folder, truth), "spots": write_positions(folder / "positions.csv", rows, header)}


@LAYOUTS.add("coordinates out of a Seurat object: barcodes as row names, tissue, row, col, imagerow, imagecol")
def _positions_of_seurat(folder: Path, truth: Truth) -> Written:
    header = ['"tissue"', '"row"', '"col"', '"imagerow"', '"imagecol"']
    rows = [[f'"{row[0]}"', *row[1:]] for row in position_rows(truth, truth.every)]
    return {"counts": write_filtered(folder, truth), "spots": write_positions(folder / "coordinates.csv", rows, header)}


@LAYOUTS.add("positions of the spots in tissue only", placed="tissue")
def _positions_in_tissue(folder: Path, truth: Truth) -> Written:
    spots = write_positions(folder / "tissue_positions_list.csv", position_rows(truth, truth.tissue))
    return {"counts": write_filtered(folder, truth), "spots": spots}
