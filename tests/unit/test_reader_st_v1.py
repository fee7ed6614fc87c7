"""The STv1 reader against simulated tables in every layout, real sections, and every kind of bad table."""

from __future__ import annotations

import csv
import decimal
import gzip
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import read_expression
from hypothesis import example, given, settings
from hypothesis import strategies as st

from real_data import DATA, NOT_HERE
from spotweave import readers
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.io import is_refused, read_json, write_json, write_refused
from spotweave.matrices.count_table import read_counts
from spotweave.matrices.reading import Reading
from spotweave.readers import pick_files
from spotweave.readers.st_v1 import read as st_v1
from spotweave.readers.st_v1.places import nearest

HER2ST = DATA / "her2st"
MOB = DATA / "mob"
needs_her2st = pytest.mark.skipif(not HER2ST.exists(), reason=f"{NOT_HERE}{HER2ST}")
needs_mob = pytest.mark.skipif(not MOB.exists(), reason=f"{NOT_HERE}{MOB}")

Place = tuple[int, int]


# --- simulation: the truth first, then files of it ------------------------------------------------


@dataclass
class Truth:
    """A simulated section: what a reader must find in any file written of it."""

    counts: dict[Place, list[int]]
    genes: list[str]
    gene_ids: list[str]
    spots: dict[Place, dict[str, float]]


def simulate(seed: int = 0, columns: int = 5, rows: int = 4, genes: int = 7) -> Truth:
    """Every place of a small lattice is in the spot file; counts are sparse, with one large number."""
    draw = random.Random(seed)
    spots, counts = {}, {}
    for x in range(8, 8 + columns):
        for y in range(3, 3 + rows):
            spots[x, y] = {
                "new_x": round(x + draw.uniform(-0.3, 0.3), 3),
                "new_y": round(y + draw.uniform(-0.3, 0.3), 3),
                "pixel_x": round(280 * x + draw.uniform(-20, 20), 2),
                "pixel_y": round(280 * y + draw.uniform(-20, 20), 2),
                "selected": draw.choice([0, 1]),
            }
            counts[x, y] = [draw.choice([0, 0, 1, 3, 12]) for _ in range(genes)]
    counts[8, 3][0] = 1 << 24
    symbols = [f"GENE{i}.1" for i in range(genes - 1)] + ["HLA-A"]
    return Truth(counts, symbols, [f"ENSG{i:011d}" for i in range(genes)], spots)


@dataclass(frozen=True)
class Counts:
    """How a count table is written."""

    mark: str = "\t"
    key: Callable[[Place, Truth], str] = lambda place, truth: f"{place[0]}x{place[1]}"
    gene: Callable[[int, Truth], str] = lambda i, truth: truth.genes[i]
    cell: Callable[[int], str] = str
    corner: str | None = ""
    transposed: bool = False
    quoted: bool = False
    end: str = "\n"
    before: bytes = b""
    packed: bool = False
    others: dict[str, list[int]] = field(default_factory=dict)

    def grid(self, truth: Truth) -> list[list[str]]:
        names = [self.gene(i, truth) for i in range(len(truth.genes))]
        body = [[self.key(place, truth), *map(self.cell, row)] for place, row in truth.counts.items()]
        body += [[key, *map(self.cell, row)] for key, row in self.others.items()]
        grid = [[self.corner or "", *names], *body]
        if self.transposed:
            grid = [list(line) for line in zip(*grid, strict=True)]
        if self.quoted:
            grid = [[f'"{cell}"' if i == 0 or j == 0 else cell for j, cell in enumerate(r)] for i, r in enumerate(grid)]
        if self.corner is None:
            del grid[0][0]
        return grid

    def write(self, path: Path, truth: Truth) -> RawFile:
        return write_grid(path, self.grid(truth), mark=self.mark, end=self.end, before=self.before, packed=self.packed)


@dataclass(frozen=True)
class Spots:
    """How a spot file is written: its columns, and a first column of keys if `key` is given."""

    columns: tuple[str, ...] = ("x", "y", "new_x", "new_y", "pixel_x", "pixel_y", "selected")
    mark: str = "\t"
    key: str | None = None
    quoted: bool = False
    end: str = "\n"
    before: bytes = b""
    packed: bool = False

    def grid(self, truth: Truth) -> list[list[str]]:
        said = {"X": "pixel_x", "Y": "pixel_y"}
        lines = [list(self.columns)]
        for (x, y), spot in truth.spots.items():
            known: dict[str, Any] = {"x": x, "y": y, **spot, "label": "tumour"}
            lines.append([str(known[said.get(column, column)]) for column in self.columns])
        if self.key is not None:
            keys = [self.key, *(f"{x}x{y}" for x, y in truth.spots)]
            lines = [[key, *line] for key, line in zip(keys, lines, strict=True)]
        if self.quoted:
            lines = [[f'"{cell}"' for cell in line] for line in lines]
        return lines

    def write(self, path: Path, truth: Truth) -> RawFile:
        return write_grid(path, self.grid(truth), mark=self.mark, end=self.end, before=self.before, packed=self.packed)


def write_grid(
    path: Path, grid: list[list[str]], *, mark: str = "\t", end: str = "\n", before: bytes = b"", packed: bool = False
) -> RawFile:
    content = before + "".join(mark.join(line) + end for line in grid).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    return RawFile(path.name, path)


def simulated_sample(folder: Path) -> dict[str, RawFile]:
    """A sample for the contract that holds for all readers."""
    truth = simulate()
    return {
        "counts": Counts(packed=True).write(folder / "S1.tsv.gz", truth),
        "spots": Spots().write(folder / "S1_selection.tsv", truth),
    }


def read_simulated(folder: Path, truth: Truth, counts: Counts, spots: Spots, member: str | None = None) -> Reading:
    files = {"counts": counts.write(folder / "counts", truth), "spots": spots.write(folder / "spots", truth)}
    return st_v1.read(files, member=member)


def assert_is_the_truth(reading: Reading, truth: Truth, *, selected: bool = True, measured: bool = True) -> None:
    """Every count, place and pixel by key, straight from the simulation."""
    places = sorted((place for place in truth.counts if place in truth.spots), key=lambda place: place[::-1])
    adata = reading.adata
    assert list(adata.obs_names) == [f"{x}x{y}" for x, y in places]
    expected = np.array([truth.counts[place] for place in places], dtype=np.float32)
    assert adata.X.format == "csr"
    assert adata.X.dtype == np.float32
    assert adata.X.toarray().tobytes() == expected.tobytes()
    assert adata.X.nnz == np.count_nonzero(expected)
    assert adata.obs["array_col"].tolist() == [x for x, _ in places]
    assert adata.obs["array_row"].tolist() == [y for _, y in places]
    assert adata.obs["x_px"].tolist() == [truth.spots[place]["pixel_x"] for place in places]
    assert adata.obs["y_px"].tolist() == [truth.spots[place]["pixel_y"] for place in places]
    assert adata.obs["in_tissue"].tolist() == [truth.spots[place]["selected"] if selected else 1 for place in places]
    table = reading.spots.set_index("spot_id")
    assert sorted(table.index) == sorted(f"{x}x{y}" for x, y in truth.spots)
    for (x, y), spot in truth.spots.items():
        row = table.loc[f"{x}x{y}"]
        assert (row.array_col, row.array_row, row.x_px, row.y_px) == (x, y, spot["pixel_x"], spot["pixel_y"])
        if measured:
            assert (row.array_x, row.array_y) == (spot["new_x"], spot["new_y"])
        else:
            assert pd.isna(row.array_x)
            assert pd.isna(row.array_y)
        if (x, y) in truth.counts:
            assert row.total_counts == sum(truth.counts[x, y])
        else:
            assert row.total_counts is pd.NA


# --- layouts --------------------------------------------------------------------------------------


def near(place: Place, truth: Truth) -> str:
    """The place to two decimals, not digit by digit the one in the spot file."""
    return f"{truth.spots[place]['new_x'] + 0.004:.2f}x{truth.spots[place]['new_y'] - 0.004:.2f}"


def exact(place: Place, truth: Truth) -> str:
    return f"{truth.spots[place]['new_x']}x{truth.spots[place]['new_y']}"


OTHER_SECTION = {"B2x9x4": [5] * 7, "B2x40x41": [6] * 7}
PLAIN = Spots()
COUNT_LAYOUTS = {
    "tab": Counts(),
    "comma": Counts(mark=","),
    "gzip, whatever the suffix": Counts(packed=True),
    "no name over the rows, as R writes it": Counts(corner=None),
    "a name over the rows": Counts(corner="spot"),
    "names in quotes": Counts(quoted=True),
    "names in quotes, comma, as R writes it": Counts(quoted=True, mark=",", corner=None),
    "Windows line ends": Counts(end="\r\n"),
    "old Macintosh line ends": Counts(end="\r"),
    "byte order mark": Counts(before=b"\xef\xbb\xbf", corner="spot"),
    "whole numbers with a decimal point": Counts(cell=lambda count: f"{count}.0"),
    "numbers in quotes": Counts(cell=lambda count: f'"{count}"'),
    "blanks around": Counts(cell=lambda count: f" {count} ", gene=lambda i, truth: f" {truth.genes[i]}  "),
    "keys X_Y": Counts(key=lambda place, truth: f"{place[0]}_{place[1]}"),
    "keys with the measured place": Counts(key=exact),
    "keys near the measured place": Counts(key=near),
    "keys behind a section, MxXxY": Counts(key=lambda place, truth: f"A1x{place[0]}x{place[1]}"),
    "keys behind a section, M_XxY": Counts(key=lambda place, truth: f"L8_D2_{place[0]}x{place[1]}"),
    "keys behind a section, M_X_Y": Counts(key=lambda place, truth: f"L8_D2_{place[0]}_{place[1]}"),
    "keys behind R's X": Counts(key=lambda place, truth: f"X{exact(place, truth)}", transposed=True),
    "genes x spots": Counts(transposed=True),
    "genes x spots, comma, no name over the rows": Counts(transposed=True, mark=",", corner=None),
    "genes x spots, keys X_Y, gzip": Counts(
        transposed=True, packed=True, key=lambda place, truth: f"{place[0]}_{place[1]}"
    ),
    "blank lines at the end": Counts(end="\n\n"),
}
SPOT_LAYOUTS = {
    "comma": Spots(mark=","),
    "gzip": Spots(packed=True),
    "quoted, comma": Spots(quoted=True, mark=","),
    "byte order mark and Windows line ends": Spots(before=b"\xef\xbb\xbf", end="\r\n"),
    "columns in another order, and one more": Spots(
        columns=("label", "selected", "pixel_y", "pixel_x", "new_y", "new_x", "y", "x")
    ),
    "keys and all columns": Spots(key="spot"),
    "without selected": Spots(columns=("x", "y", "new_x", "new_y", "pixel_x", "pixel_y")),
    "He 2020: keys, X and Y in pixels": Spots(columns=("X", "Y"), key="", mark=","),
    "keys, pixel_x and pixel_y": Spots(columns=("pixel_x", "pixel_y", "selected"), key="id"),
    "no measured place": Spots(columns=("x", "y", "pixel_x", "pixel_y", "selected")),
}


@pytest.mark.parametrize("layout", COUNT_LAYOUTS, ids=str)
def test_counts_in_every_layout_are_the_same_reading(tmp_path: Path, layout: str) -> None:
    truth = simulate()
    reading = read_simulated(tmp_path, truth, COUNT_LAYOUTS[layout], PLAIN)
    assert_is_the_truth(reading, truth)
    assert list(reading.adata.var_names) == truth.genes
    assert reading.report["spots_kept"] == len(truth.counts)
    assert reading.report["total_counts"] == sum(map(sum, truth.counts.values()))


@pytest.mark.parametrize("layout", SPOT_LAYOUTS, ids=str)
def test_spots_in_every_layout_are_the_same_reading(tmp_path: Path, layout: str) -> None:
    truth = simulate()
    spots = SPOT_LAYOUTS[layout]
    reading = read_simulated(tmp_path, truth, Counts(), spots)
    given = {"selected": "selected" in spots.columns, "measured": "new_x" in spots.columns}
    assert_is_the_truth(reading, truth, **given)
    assert reading.report["in_tissue_given"] == given["selected"]


def test_layouts_in_files_are_byte_for_byte_the_same_outputs(tmp_path: Path) -> None:
    truth = simulate()
    written = set()
    for layout in ("tab", "genes x spots", "names in quotes, comma, as R writes it", "keys with the measured place"):
        read_simulated(tmp_path, truth, COUNT_LAYOUTS[layout], PLAIN).write(tmp_path / "e.h5ad", tmp_path / "s.csv")
        written.add(((tmp_path / "e.h5ad").read_bytes(), (tmp_path / "s.csv").read_bytes()))
    assert len(written) == 1


@pytest.mark.parametrize(
    ("gene", "names", "ids", "form"),
    [
        (lambda i, truth: truth.genes[i], lambda truth: truth.genes, lambda truth: [""] * 7, "symbol (7)"),
        (
            lambda i, truth: f"{truth.gene_ids[i]}.{i}",
            lambda truth: [f"{gene_id}.{i}" for i, gene_id in enumerate(truth.gene_ids)],
            lambda truth: truth.gene_ids,
            "Ensembl (7)",
        ),
        (
            lambda i, truth: f"{truth.genes[i]} {truth.gene_ids[i]}.3",
            lambda truth: truth.genes,
            lambda truth: truth.gene_ids,
            "symbol and Ensembl (7)",
        ),
    ],
    ids=["symbols", "Ensembl with version", "both"],
)
def test_gene_names_and_ids_are_told_apart(tmp_path: Path, gene: Any, names: Any, ids: Any, form: str) -> None:
    truth = simulate()
    reading = read_simulated(tmp_path, truth, Counts(gene=gene), PLAIN)
    assert list(reading.adata.var_names) == names(truth)
    assert reading.adata.var["gene_id"].tolist() == ids(truth)
    assert reading.report["gene_names"] == form


def test_genes_of_one_name_are_both_kept_and_counted(tmp_path: Path) -> None:
    truth = simulate()
    truth.genes[4] = truth.genes[6] = truth.genes[1]
    reading = read_simulated(tmp_path, truth, Counts(), PLAIN)
    assert_is_the_truth(reading, truth)
    assert reading.report["duplicate_gene_names"] == 2
    assert list(reading.adata.var_names)[1] == truth.genes[1]
    assert reading.adata.var_names.is_unique


def test_decimal_points_of_whole_numbers_are_reported(tmp_path: Path) -> None:
    truth = simulate()
    reading = read_simulated(tmp_path, truth, COUNT_LAYOUTS["whole numbers with a decimal point"], PLAIN)
    assert reading.report["whole_numbers_with_decimal_point"] == 20 * 7


def test_spots_without_pixels_are_read_with_none(tmp_path: Path) -> None:
    reading = read_simulated(tmp_path, simulate(), Counts(), Spots(columns=("x", "y", "selected")))
    assert reading.adata.obs[["x_px", "y_px"]].isna().all().all()
    assert reading.report["spots_with_pixels"] == 0


def test_spots_at_fractional_places_only_are_rounded_and_kept_as_measured(tmp_path: Path) -> None:
    truth = simulate()
    grid = [["x", "y", "pixel_x", "pixel_y"]]
    grid += [[str(s[name]) for name in ("new_x", "new_y", "pixel_x", "pixel_y")] for s in truth.spots.values()]
    for counts in (Counts(), Counts(key=exact)):
        files = {"counts": counts.write(tmp_path / "counts", truth), "spots": write_grid(tmp_path / "spots", grid)}
        assert_is_the_truth(st_v1.read(files), truth, selected=False)


def test_a_member_of_a_joint_table_is_read_alone(tmp_path: Path) -> None:
    truth = simulate()
    joint = Counts(key=lambda place, truth: f"A1x{place[0]}x{place[1]}", others=OTHER_SECTION)
    reading = read_simulated(tmp_path, truth, joint, PLAIN, member="A1")
    assert_is_the_truth(reading, truth)
    assert reading.report["members_in_counts"] == ["A1", "B2"]
    assert reading.report["rows_in_counts"] == 20
    other = read_simulated(tmp_path, truth, joint, PLAIN, member="B2")
    assert list(other.adata.obs_names) == ["9x4"]
    assert other.adata.X.toarray().tolist() == [OTHER_SECTION["B2x9x4"]]
    assert other.report["counts_without_spot_examples"] == ["B2x40x41"]


def test_a_joint_spot_file_gives_the_same_member(tmp_path: Path) -> None:
    truth = simulate()
    grid = Spots(columns=("X", "Y"), key="").grid(truth)
    joint = [grid[0], *([f"A1_{line[0]}", *line[1:]] for line in grid[1:]), ["B2_9x4", "1", "2"]]
    counts = Counts(key=lambda place, truth: f"A1_{place[0]}x{place[1]}", others={"B2_9x4": [1] * 7})
    files = {"counts": counts.write(tmp_path / "counts", truth), "spots": write_grid(tmp_path / "spots", joint)}
    assert_is_the_truth(st_v1.read(files, member="A1"), truth, selected=False, measured=False)


# --- joining --------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_rows_in_any_order_missing_or_added_are_joined_by_place(data: st.DataObject) -> None:
    truth = simulate(seed=1, columns=3, rows=3, genes=4)
    places = list(truth.counts)
    counts_there = data.draw(st.lists(st.sampled_from(places), unique=True, min_size=1))
    spots_there = data.draw(st.lists(st.sampled_from(places), unique=True, min_size=1))
    transposed = data.draw(st.booleans())
    common = set(counts_there) & set(spots_there)
    part = Truth(
        {place: truth.counts[place] for place in counts_there},
        truth.genes,
        truth.gene_ids,
        {place: truth.spots[place] for place in spots_there},
    )
    with tempfile.TemporaryDirectory() as folder:
        if not common:
            with pytest.raises(Refusal, match="no spot in common"):
                read_simulated(Path(folder), part, Counts(transposed=transposed), PLAIN)
            return
        reading = read_simulated(Path(folder), part, Counts(transposed=transposed), PLAIN)
    assert_is_the_truth(reading, part)
    assert reading.report["spots_kept"] == len(common)
    assert reading.report["counts_without_spot"] == len(counts_there) - len(common)
    assert reading.report["spots_without_counts"] == len(spots_there) - len(common)
    assert reading.report["rows_in_counts"] == len(counts_there)
    assert reading.report["rows_in_spots"] == len(spots_there)
    assert reading.report["total_counts"] == sum(sum(truth.counts[place]) for place in common)


def test_measured_places_over_half_a_step_off_are_not_rounded(tmp_path: Path) -> None:
    truth = simulate()
    for (x, y), spot in truth.spots.items():
        spot["new_x"], spot["new_y"] = round(x + 0.61, 3), round(y - 0.55, 3)
    reading = read_simulated(tmp_path, truth, Counts(key=exact), PLAIN)
    assert_is_the_truth(reading, truth)
    assert reading.report["joined_by"] == "measured place"


def test_a_measured_place_shared_by_two_spots_decides_nothing(tmp_path: Path) -> None:
    truth = simulate()
    truth.spots[9, 4] |= {"new_x": 8.9, "new_y": 4.1}
    truth.spots[9, 5] |= {"new_x": 8.9, "new_y": 4.1}
    del truth.counts[9, 5]
    reading = read_simulated(tmp_path, truth, Counts(key=exact), PLAIN)
    assert reading.report["joined_by"] == "rounded place"
    assert_is_the_truth(reading, truth)


def test_row_names_that_only_look_like_spots_do_not_outweigh_the_columns(tmp_path: Path) -> None:
    truth = simulate()
    grid = PLAIN.grid(truth)
    grid = [["name", *grid[0]], *([f"{1000 + i}x{i}", *line] for i, line in enumerate(grid[1:]))]
    files = {"counts": Counts().write(tmp_path / "c", truth), "spots": write_grid(tmp_path / "s", grid)}
    assert_is_the_truth(st_v1.read(files), truth)


def test_rounded_places_are_reported_with_the_largest_offset(tmp_path: Path) -> None:
    truth = simulate()
    key = {place: f"{place[0] + 0.02:.2f}x{place[1]}" for place in truth.counts}
    key[9, 4] = "9x4.41"
    reading = read_simulated(tmp_path, truth, Counts(key=lambda place, _: key[place]), PLAIN)
    assert_is_the_truth(reading, truth)
    assert reading.report["joined_by"] == "rounded place"
    assert reading.report["largest_offset_array_steps"] == 0.41
    assert reading.report["key_format"] == "X.0xY.0"


def test_repeated_counts_off_the_spot_file_are_counted_and_do_no_harm(tmp_path: Path) -> None:
    truth = simulate()
    counts = Counts(key=near, others={"30.02x31": [1] * 7, "29.98x31": [2] * 7})
    reading = read_simulated(tmp_path, truth, counts, PLAIN)
    assert_is_the_truth(reading, truth)
    assert reading.report["duplicate_keys"] == 1
    assert reading.report["counts_without_spot"] == 2


# --- bad tables: one line that says which file, where, and what to do -----------------------------


def with_cell(row: int, column: int, text: str) -> Callable[[Path, Truth], dict[str, RawFile]]:
    """The plain tables, with one cell of the counts replaced (row and column counted from 1)."""

    def write(folder: Path, truth: Truth) -> dict[str, RawFile]:
        grid = Counts().grid(truth)
        grid[row - 1][column - 1] = text
        return {"counts": write_grid(folder / "c.tsv", grid), "spots": PLAIN.write(folder / "s.tsv", truth)}

    return write


def with_spots(change: Callable[[list[list[str]]], Any], **style: Any) -> Callable[[Path, Truth], dict[str, RawFile]]:
    def write(folder: Path, truth: Truth) -> dict[str, RawFile]:
        grid = PLAIN.grid(truth)
        change(grid)
        return {"counts": Counts().write(folder / "c.tsv", truth), "spots": write_grid(folder / "s.tsv", grid, **style)}

    return write


def with_counts(change: Callable[[list[list[str]]], Any], **style: Any) -> Callable[[Path, Truth], dict[str, RawFile]]:
    def write(folder: Path, truth: Truth) -> dict[str, RawFile]:
        grid = Counts().grid(truth)
        change(grid)
        return {"counts": write_grid(folder / "c.tsv", grid, **style), "spots": PLAIN.write(folder / "s.tsv", truth)}

    return write


def with_bytes(change: Callable[[bytes], bytes], role: str = "counts") -> Callable[[Path, Truth], dict[str, RawFile]]:
    def write(folder: Path, truth: Truth) -> dict[str, RawFile]:
        files = {"counts": Counts().write(folder / "c.tsv", truth), "spots": PLAIN.write(folder / "s.tsv", truth)}
        files[role].path.write_bytes(change(files[role].path.read_bytes()))
        return files

    return write


def with_layout(counts: Counts, spots: Spots = PLAIN) -> Callable[[Path, Truth], dict[str, RawFile]]:
    return lambda folder, truth: {
        "counts": counts.write(folder / "c.tsv", truth),
        "spots": spots.write(folder / "s.tsv", truth),
    }


def put(row: int, column: int, text: str) -> Callable[[list[list[str]]], None]:
    def change(grid: list[list[str]]) -> None:
        grid[row - 1][column - 1] = text

    return change


BAD = {
    "a fraction": (
        with_cell(3, 4, "2.5"),
        ["c.tsv: row 3 (8x4), column 4 (GENE2.1): 2.5 is not a whole number;", "raw"],
    ),
    "a tiny fraction": (with_cell(3, 4, "1e-05"), ["row 3", "column 4", "1e-05 is not a whole number"]),
    "a normalised table": (
        with_layout(Counts(cell=lambda count: str(count / 3))),
        ["row 2 (8x3), column 2 (GENE0.1)", "not a whole number", "more such cells", "not normalised"],
    ),
    "a negative count": (with_cell(21, 8, "-1"), ["row 21", "column 8 (HLA-A)", "-1 is negative", "raw counts"]),
    "a word": (
        with_cell(2, 3, "many"),
        ["row 2 (8x3), column 3 (GENE1.1): 'many' is not a number", "first column only"],
    ),
    "NA": (with_cell(2, 3, "NA"), ["row 2", "column 3", "'NA' is not a number", "0 where nothing was counted"]),
    "NaN": (with_cell(2, 3, "NaN"), ["row 2", "column 3", "'NaN' is not a number"]),
    "infinity": (with_cell(2, 3, "inf"), ["row 2", "column 3", "'inf' is not a number"]),
    "underscores in a number": (with_cell(2, 3, "1_0"), ["row 2", "column 3", "'1_0' is not a number"]),
    "digits of another script": (with_cell(2, 3, "\u0661"), ["row 2", "column 3", "is not a number"]),
    "a number cut in two": (with_cell(2, 3, "1 2"), ["row 2", "column 3", "'1 2' is not a number"]),
    "an empty cell": (with_cell(5, 6, ""), ["c.tsv: row 5", "column 6 (GENE4.1): the cell is empty"]),
    "an empty last cell": (with_cell(5, 8, ""), ["row 5", "column 8 (HLA-A): the cell is empty"]),
    "a cell of blanks": (with_cell(5, 6, "  "), ["row 5", "column 6", "the cell is empty"]),
    "a count beyond float32": (
        with_cell(4, 2, "16777217"),
        ["row 4", "column 2 (GENE0.1): 16777217 is beyond 2^24 = 16,777,216", "float32"],
    ),
    "a count beyond int64": (with_cell(4, 2, "9" * 30), ["row 4", "column 2", "is beyond 2^24"]),
    "several bad cells": (
        with_counts(lambda grid: [put(r, c, "-2")(grid) for r, c in ((3, 5), (3, 7), (9, 2))]),
        ["row 3", "column 5", "-2 is negative (and 2 more such cells)"],
    ),
    "a short row": (
        with_counts(lambda grid: grid[6].pop()),
        ["c.tsv: row 7 (9x4) has 7 fields where 8 are expected;", "download"],
    ),
    "long rows": (
        with_counts(lambda grid: [grid[i].append("1") for i in (6, 8)]),
        ["row 7 (9x4) has 9 fields where 8 are expected (and 1 more such rows)"],
    ),
    "a table cut in a row": (with_bytes(lambda text: text[:-9]), ["row 21", "has ", "8 are expected", "cut"]),
    "one column": (with_counts(lambda grid: [line.__delitem__(slice(1, None)) for line in grid[1:]]), ["c.tsv: row 2"]),
    "no delimiter": (with_layout(Counts(mark="|")), ["c.tsv: row 1 has fewer than 2 columns", "tabs or commas"]),
    "a header and no rows": (
        with_counts(lambda grid: grid.__delitem__(slice(1, None))),
        ["c.tsv", "no rows", "download"],
    ),
    "an empty file": (with_bytes(lambda _: b""), ["c.tsv: the file is empty; download it again"]),
    "an empty spot file": (with_bytes(lambda _: b"\n\n", "spots"), ["s.tsv: the file is empty; download it again"]),
    "a web page": (
        with_bytes(lambda _: b"\n <!DOCTYPE html><html><body>Sign in</body></html>"),
        ["c.tsv: the file is a web page or XML, not a table", "download again"],
    ),
    "a packed web page": (with_bytes(lambda _: gzip.compress(b"<html></html>")), ["c.tsv: the file is a web page"]),
    "a Git LFS pointer": (
        with_bytes(lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        ["Git LFS pointer", "download the file itself"],
    ),
    "a workbook": (with_bytes(lambda _: b"PK\x03\x04\x14\x00"), ["zip archive or an Excel workbook", "save it as"]),
    "UTF-16, damaged": (with_bytes(lambda _: b"\xff\xfe\x00\xdcA\x00"), ["UTF-16 text that is cut or damaged"]),
    "UTF-16 without its mark": (
        with_bytes(lambda text: text.decode().encode("utf-16-le")),
        ["UTF-16 text without its mark; save it as UTF-8"],
    ),
    "binary": (with_bytes(lambda _: b"\x01\x00\x02\x00"), ["c.tsv: the file is binary"]),
    "a cut gzip file": (
        with_bytes(lambda text: gzip.compress(text)[:-20]),
        ["c.tsv: the gzip stream is cut or damaged", "download the file again"],
    ),
    "a damaged gzip file": (
        with_bytes(lambda text: (packed := gzip.compress(text))[:40] + b"\xff" * 9 + packed[49:]),
        ["c.tsv: the gzip stream is cut or damaged", "download the file again"],
    ),
    "a name in Latin-1": (
        with_bytes(lambda text: text.replace(b"9x4", b"9\xd74")),
        ["c.tsv: row 7, column 1: byte 0xd7 is not UTF-8 text; save the file as UTF-8"],
    ),
    "a header in Latin-1": (
        with_bytes(lambda text: text.replace(b"HLA-A", b"HLA\xb5")),
        ["row 1, column 8: byte 0xb5"],
    ),
    "an unclosed quote": (with_counts(put(3, 4, '"' + "1" * 200_000)), ["c.tsv: row 3", "field larger", "quotes"]),
    "neither rows nor columns are spots": (
        with_layout(Counts(key=lambda place, truth: f"AAAC{place[0]}-{place[1]}")),
        ["c.tsv: unknown layout", "such as 10x14", "rows start with 'AAAC8-3'", "columns with 'GENE0.1'"],
    ),
    "both rows and columns are spots": (
        with_layout(Counts(gene=lambda i, truth: f"1x{i}")),
        ["c.tsv: unknown layout", "rows start with '8x3', '8x4', columns with '1x0', '1x1'"],
    ),
    "rows that are no spots": (
        with_counts(lambda grid: grid.extend([["blanks", *"1234567"], ["other", *"1234567"]])),
        ["c.tsv: row 22: 'blanks' is no spot such as 10x14 (and 1 more such names)", "remove"],
    ),
    "a gene without a name": (with_cell(1, 5, " "), ["c.tsv: column 5 has no gene name", "remove its counts"]),
    "a spot counted twice": (
        with_counts(put(4, 1, "8x3")),
        ["c.tsv: row 2 (8x3) and row 4 (8x3) both are spot 8x3; remove the wrong one"],
    ),
    "two places round to one spot": (
        with_layout(Counts(key=near, others={"9.12x4.1": [0] * 7})),
        ["c.tsv: row ", "row 22 (9.12x4.1) both are spot 9x4", "measured places"],
    ),
    "a spot counted twice in columns": (
        with_layout(Counts(transposed=True, others={"9x4": [1] * 7})),
        ["c.tsv: column 7 (9x4) and column 22 (9x4) both are spot 9x4"],
    ),
    "several sections and none named": (
        with_layout(Counts(key=lambda place, truth: f"A1x{place[0]}x{place[1]}", others=OTHER_SECTION)),
        ["c.tsv: the table holds 2 sections: A1 (20 spots), B2 (2 spots); name one as the member"],
    ),
    "another section's spots": (
        with_spots(lambda grid: [put(row, 1, str(50 + row))(grid) for row in range(2, 22)]),
        ["c.tsv and s.tsv have no spot in common", "'8x3'", "'52x3'", "same section"],
    ),
    "a spot twice": (
        with_spots(lambda grid: grid.append(list(grid[4]))),
        ["s.tsv: rows 5 and 22 both are spot 8x6; remove the wrong one"],
    ),
    "several spots twice": (
        with_spots(lambda grid: grid.extend([list(grid[4]), list(grid[1])])),
        ["s.tsv: rows 2 and 23 both are spot 8x3 (and 1 more such rows)"],
    ),
    "a spot without a pixel": (
        with_spots(put(6, 5, "")),
        ["s.tsv: row 6, column 5 (pixel_x): the cell is empty, a number is expected; correct"],
    ),
    "places that are words": (
        with_spots(lambda grid: [put(6, 2, "north")(grid), put(8, 2, "south")(grid)]),
        ["s.tsv: row 6, column 2 (y): 'north' is not a number, a number is expected (and 1 more such rows)"],
    ),
    "a selected that is no flag": (
        with_spots(put(6, 7, "2")),
        ["s.tsv: row 6, column 7 (selected): '2' is neither 0 nor 1; correct"],
    ),
    "spot columns nobody knows": (
        with_spots(put(1, 1, "col")),
        ["s.tsv: unknown layout: expected columns x, y", "found col, y, new_x"],
    ),
    "a spot file without a header": (
        with_spots(lambda grid: grid.pop(0)),
        ["s.tsv: unknown layout: expected columns x, y", "found 8, 3,"],
    ),
    "a column twice": (with_spots(put(1, 3, "X")), ["s.tsv: unknown layout", "found x, y, X"]),
    "a spot row cut short": (with_spots(lambda grid: grid[9].pop()), ["s.tsv: row 10 (10) has 6 fields where 7"]),
    "a spot header and no rows": (with_spots(lambda grid: grid.__delitem__(slice(1, None))), ["s.tsv", "no rows"]),
    "a spot file of one column": (with_spots(lambda _: None, mark="|"), ["s.tsv: row 1 has fewer than 2 columns"]),
}


@pytest.mark.parametrize("fault", BAD, ids=str)
def test_a_bad_table_is_refused_with_one_line_that_says_where(tmp_path: Path, fault: str) -> None:
    write, fragments = BAD[fault]
    files = write(tmp_path, simulate())
    with pytest.raises(Refusal) as refusal:
        st_v1.read(files)
    reason = refusal.value.reason
    assert "\n" not in reason
    assert str(tmp_path) not in reason
    assert len(reason) < 500
    for fragment in fragments:
        assert fragment in reason
    json.dumps([refusal.value.measured, refusal.value.threshold])


SUMMARIES = ("Total", "sum", "Mean", "__no_feature", "no_feature", "N_unmapped", "N_noFeature", "library_size")


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("value", ["7", "2.5", "", "99999999"])
def test_summaries_among_genes_and_spots_are_left_out_and_named(tmp_path: Path, transposed: bool, value: str) -> None:
    truth = simulate()
    grid = Counts().grid(truth)
    for at, name in enumerate(SUMMARIES):
        for line in grid:
            line.insert(2 + at, value)
        grid[0][2 + at] = name
        grid.insert(3 + at, [name, *[value] * (len(grid[0]) - 1)])
    for at in range(len(SUMMARIES)):  # as long as all others, though written before the last columns were
        grid[3 + at] = [grid[3 + at][0], *[value] * (len(grid[0]) - 1)]
    grid = [list(line) for line in zip(*grid, strict=True)] if transposed else grid
    files = {"counts": write_grid(tmp_path / "c.tsv", grid), "spots": PLAIN.write(tmp_path / "s.tsv", truth)}
    reading = st_v1.read(files)
    (tmp_path / "plain").mkdir()
    plain = read_simulated(tmp_path / "plain", truth, Counts(transposed=transposed), PLAIN)
    assert reading.adata.var_names.tolist() == plain.adata.var_names.tolist()
    assert (reading.adata.X != plain.adata.X).nnz == 0
    assert reading.report["summary_genes_left_out"] == dict.fromkeys(sorted(SUMMARIES), 1)
    assert reading.report["summary_units_left_out"] == dict.fromkeys(sorted(SUMMARIES), 1)
    assert reading.report["counts_without_spot"] == plain.report["counts_without_spot"]


def test_a_table_without_its_header_or_with_numbers_for_genes_is_refused(tmp_path: Path) -> None:
    truth = simulate()
    spots = PLAIN.write(tmp_path / "s.tsv", truth)
    for transposed, match in (
        (False, r"7 of 7 genes are called by numbers.*header"),
        (True, "header with their names"),
    ):
        counts = write_grid(tmp_path / "c.tsv", Counts(transposed=transposed).grid(truth)[1:])
        with pytest.raises(Refusal, match=match):
            st_v1.read({"counts": counts, "spots": spots})
    numbered = Counts(gene=lambda i, truth: str(i)).write(tmp_path / "n.tsv", truth)
    with pytest.raises(Refusal, match="called by numbers"):
        st_v1.read({"counts": numbered, "spots": spots})


HANDS: dict[str, Callable[[str], bytes]] = {
    "semicolons": lambda text: text.replace("\t", ";").encode(),
    "a line of Excel": lambda text: ("sep=;\n" + text.replace("\t", ";")).encode(),
    "blanks": lambda text: text.replace("\t", " ").encode(),
    "a comment": lambda text: ("# by hand\n" + text).encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "blank rows and columns": lambda text: (text.replace("\n", "\t\t\n") + "\t" * 8 + "\n\n").encode(),
    "capitals": lambda text: text.upper().encode(),
}


@pytest.mark.parametrize("hand", HANDS)
def test_spot_files_that_went_through_a_hand_are_read(tmp_path: Path, hand: str) -> None:
    truth = simulate()
    plain = PLAIN.write(tmp_path / "plain.tsv", truth)
    changed = RawFile("hand.tsv", tmp_path / "hand.tsv")
    changed.path.write_bytes(HANDS[hand](plain.path.read_text()))
    counts = Counts().write(tmp_path / "c.tsv", truth)
    expected, found = (st_v1.read({"counts": counts, "spots": spots}) for spots in (plain, changed))
    pd.testing.assert_frame_equal(found.spots, expected.spots)


@pytest.mark.parametrize("missing", ["NA", "", "nan"])
def test_spots_off_the_tissue_without_numbers_are_left_out_and_counted(tmp_path: Path, missing: str) -> None:
    truth = simulate()
    grid = PLAIN.grid(truth)
    off = [line for line in grid[1:] if line[-1] == "0"][:2]
    for line in off:
        line[4:6] = [missing, missing]
    counts, spots = Counts().write(tmp_path / "c.tsv", truth), write_grid(tmp_path / "s.tsv", grid)
    report = st_v1.read({"counts": counts, "spots": spots}).report
    assert (report["positions_without_numbers"], report["rows_in_spots"]) == (2, 18)
    next(line for line in grid[1:] if line[-1] == "1")[4] = missing
    with pytest.raises(Refusal, match=r"column 5 \(pixel_x\).*a number is expected"):
        st_v1.read({"counts": counts, "spots": write_grid(tmp_path / "s.tsv", grid)})


def test_a_member_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"no member 'C3'; the table holds \(no prefix\) \(20 spots\)"):
        read_simulated(tmp_path, simulate(), Counts(), PLAIN, member="C3")


def independent_count(text: str) -> int | None:
    """A count by exact decimal arithmetic, None if it is none."""
    try:
        number = decimal.Decimal(text)
    except decimal.InvalidOperation:
        return None
    return int(number) if number == number.to_integral_value() and 0 <= number <= 1 << 24 else None


@settings(max_examples=150, deadline=None)
@given(
    cells=st.lists(
        st.one_of(st.integers(0, 99).map(str), st.text("0123456789.+-eE ", max_size=5)), min_size=2, max_size=4
    ),
    genes=st.integers(2, 4) | st.none(),
    mark=st.sampled_from("\t,"),
)
@example(cells=["3", "", "4"], genes=None, mark="\t")  # a lenient parser finds two numbers
@example(cells=["3", "", "4"], genes=2, mark="\t")
@example(cells=["3", ""], genes=None, mark="\t")
@example(cells=["3", ""], genes=None, mark=",")
@example(cells=["", "3"], genes=None, mark=",")
@example(cells=["1.0.0", "2"], genes=3, mark="\t")
@example(cells=["1.0.0", "2"], genes=None, mark="\t")
@example(cells=["", ""], genes=None, mark="\t")
def test_any_row_of_cells_is_read_cell_by_cell_or_refused(cells: list[str], genes: int | None, mark: str) -> None:
    expected = [independent_count(cell) for cell in cells]
    width = len(cells) if genes is None else genes
    with tempfile.TemporaryDirectory() as folder:
        grid = [["", *(f"G{i}" for i in range(width))], ["1x2", *["0"] * width], ["3x4", *cells]]
        raw = write_grid(Path(folder) / "c", grid, mark=mark)
        if width != len(cells):
            with pytest.raises(Refusal, match=rf"c: row 3 \(3x4\) has {len(cells) + 1} fields where {width + 1} are"):
                read_counts(raw)
        elif None in expected:
            with pytest.raises(Refusal, match=rf"c: row 3 \(3x4\), column {expected.index(None) + 2} "):
                read_counts(raw)
        else:
            assert read_counts(raw).counts.toarray().tolist() == [[0] * width, expected]


# --- real sections --------------------------------------------------------------------------------


def read_her2st(section: str, spots: str = "selection") -> Reading:
    names = {"counts": f"{section}.tsv.gz", "spots": f"{section}_{spots}.tsv"}
    return st_v1.read({role: RawFile(name, HER2ST / name) for role, name in names.items()})


@needs_her2st
@pytest.mark.parametrize(
    ("section", "kept"), [("A1", 346), ("B4", 283), ("C2", 187), ("C3", 180), ("C4", 184), ("C5", 181)]
)
def test_a_real_breast_section_is_what_the_csv_module_reads(section: str, kept: int) -> None:
    reading = read_her2st(section)
    assert reading.report["spots_kept"] == reading.adata.n_obs == kept
    assert reading.report["counts_without_spot"] == 0
    with gzip.open(HER2ST / f"{section}.tsv.gz", "rt", newline="") as handle:
        genes = next(csv.reader(handle, delimiter="\t"))[1:]
        lines = {line.partition("\t")[0]: line for line in handle}
    assert list(reading.adata.var_names) == genes
    draw = random.Random(section)
    keys = draw.sample(sorted(lines), 40)
    table = {key: next(csv.reader([lines[key]], delimiter="\t"))[1:] for key in keys}
    ours = reading.adata[keys].X.toarray()
    assert ours.sum(axis=1).tolist() == [sum(map(int, table[key])) for key in keys]
    for row, key in zip(ours, keys, strict=True):
        assert row.tolist() == [float(cell) for cell in table[key]]
    with open(HER2ST / f"{section}_selection.tsv", newline="") as handle:
        spots = {f"{row['x']}x{row['y']}": row for row in csv.DictReader(handle, delimiter="\t")}
    assert len(reading.spots) == len(spots)
    for row in reading.spots.itertuples():
        given = spots[row.spot_id]
        assert (row.x_px, row.y_px) == (float(given["pixel_x"]), float(given["pixel_y"]))
        assert (row.array_x, row.array_y) == (float(given["new_x"]), float(given["new_y"]))
        assert (row.spot_id in lines) != (row.total_counts is pd.NA)


@needs_her2st
def test_total_counts_of_a_real_section_are_the_sum_of_its_cells() -> None:
    with gzip.open(HER2ST / "C3.tsv.gz", "rt") as handle:
        next(handle)
        total = sum(sum(map(int, line.split("\t")[1:])) for line in handle)
    reading = read_her2st("C3")
    assert reading.report["total_counts"] == total
    assert reading.spots["total_counts"].sum() == total


@needs_her2st
def test_a_real_spot_file_with_measured_places_only_gives_the_same_spots() -> None:
    """The pathologist's table: measured places as x and y, and row names that look like spots but are pixels."""
    by_selection, by_labels = read_her2st("A1"), read_her2st("A1", "labeled_coordinates")
    assert list(by_labels.adata.obs_names) == list(by_selection.adata.obs_names)
    assert (by_labels.adata.X != by_selection.adata.X).nnz == 0
    common = by_labels.spots.merge(by_selection.spots, on="spot_id", validate="1:1")
    assert len(common) == 348
    assert common["array_x_x"].tolist() == common["array_x_y"].tolist()
    assert common["array_y_x"].tolist() == common["array_y_y"].tolist()
    scale = common["x_px_x"] / common["x_px_y"]  # the table belongs to a smaller picture; pixels are passed through
    np.testing.assert_allclose(scale, scale.median(), rtol=1e-3)
    assert abs(scale.median() - 1) > 0.1
    assert by_labels.report["spot_file_columns_unused"] == ["Row.names", "label"]


def read_mob(section: int, counts: RawFile | None = None) -> Reading:
    names = {"counts": f"MOB{section}.tsv.gz", "spots": f"alignment_table_MOB{section}.tsv"}
    files = {role: RawFile(name, MOB / name) for role, name in names.items()}
    return st_v1.read(files | ({"counts": counts} if counts else {}))


@needs_mob
@pytest.mark.parametrize(("section", "spots", "selected"), [(1, 2068, 379), (2, 2070, 407), (3, 2067, 438)])
def test_a_real_olfactory_bulb_is_read_with_selected_and_ensembl_ids(section: int, spots: int, selected: int) -> None:
    reading = read_mob(section)
    with gzip.open(MOB / f"MOB{section}.tsv.gz", "rt") as handle:
        genes = next(handle).strip().split("\t")
        keys = {line.partition("\t")[0] for line in handle}
    with open(MOB / f"alignment_table_MOB{section}.tsv", newline="") as handle:
        there = {f"{row['x']}x{row['y']}": row["selected"] for row in csv.DictReader(handle, delimiter="\t")}
    assert set(reading.adata.obs_names) == keys & set(there)
    assert len(reading.spots) == reading.report["rows_in_spots"] == spots
    assert reading.report["spots_in_tissue"] == selected
    assert reading.report["counts_without_spot"] == len(keys - set(there))
    assert reading.report["spots_without_counts"] == len(set(there) - keys)
    assert reading.adata.obs["in_tissue"].tolist() == [int(there[spot]) for spot in reading.adata.obs_names]
    assert reading.adata.n_vars == 1000
    assert reading.adata.var["gene_id"].tolist() == [gene.split(".")[0] for gene in genes]


@needs_mob
def test_real_counts_named_by_measured_place_are_joined_where_rounding_would_fail(tmp_path: Path) -> None:
    """In MOB2 a spot lies 0.51 steps from its place."""
    with open(MOB / "alignment_table_MOB2.tsv", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert any(abs(float(row["new_x"]) - int(row["x"])) > 0.5 for row in rows)
    measured = {f"{row['x']}x{row['y']}": f"{row['new_x']}x{row['new_y']}" for row in rows}
    with gzip.open(MOB / "MOB2.tsv.gz", "rt") as handle:
        lines = list(handle)
    for i, line in enumerate(lines[1:], start=1):
        key, mark, cells = line.partition("\t")
        lines[i] = measured.get(key, key) + mark + cells
    renamed = tmp_path / "MOB2.tsv"
    renamed.write_text("".join(lines))
    plain, by_measure = read_mob(2), read_mob(2, RawFile("MOB2.tsv", renamed))
    assert by_measure.report["joined_by"] == "measured place"
    assert list(by_measure.adata.obs_names) == list(plain.adata.obs_names)
    assert (by_measure.adata.X != plain.adata.X).nnz == 0


# --- the script -----------------------------------------------------------------------------------


def run_script(folder: Path, files: dict[str, RawFile], *more: str) -> dict[str, Any]:
    manifest = {
        "sample": "S1",
        "licence": "CC0-1.0",
        "files": [
            {"role": role, "name": file.name, "location": "here", "path": str(file.path), "bytes": 1, "sha256": "0"}
            for role, file in files.items()
        ],
    }
    write_json(folder / "raw.json", manifest)
    read_expression.stage.run(read_expression.work, arguments(folder, *more))
    return read_json(folder / "record.json")


def arguments(folder: Path, *more: str) -> list[str]:
    paths = {"manifest": "raw.json", "expression": "e.h5ad", "spots": "s.csv", "record": "record.json"}
    given = [part for name, file in paths.items() for part in (f"--{name}", str(folder / file))]
    return [*given, "--sample", "S1", "--reader", "st_v1", *more]


def test_the_script_writes_both_tables_and_the_report(tmp_path: Path) -> None:
    import anndata

    truth = simulate()
    del truth.counts[9, 4]
    files = {"counts": Counts().write(tmp_path / "c", truth), "spots": PLAIN.write(tmp_path / "s", truth)}
    record = run_script(tmp_path, files)
    assert record["status"] == "accepted"
    assert record["measures"]["reader"] == "st_v1"
    assert record["measures"]["spots_kept"] == 19
    assert record["measures"]["spots_without_counts_examples"] == ["9x4"]
    spots = pd.read_csv(tmp_path / "s.csv")
    reread = Reading(anndata.read_h5ad(tmp_path / "e.h5ad"), spots.astype({"total_counts": "Int64"}), {})
    assert_is_the_truth(reread, truth)
    header = "spot_id,array_col,array_row,array_x,array_y,x_px,y_px,in_tissue,total_counts"
    assert (tmp_path / "s.csv").read_text().splitlines()[0] == header


def test_the_script_writes_the_same_bytes_again(tmp_path: Path) -> None:
    files = simulated_sample(tmp_path)
    written = []
    for _ in range(2):
        run_script(tmp_path, files)
        written.append([(tmp_path / name).read_bytes() for name in ("e.h5ad", "s.csv", "record.json")])
    assert written[0] == written[1]


def test_the_script_reads_the_named_member(tmp_path: Path) -> None:
    truth = simulate()
    joint = Counts(key=lambda place, truth: f"A1x{place[0]}x{place[1]}", others=OTHER_SECTION)
    files = {"counts": joint.write(tmp_path / "c", truth), "spots": PLAIN.write(tmp_path / "s", truth)}
    assert run_script(tmp_path, files, "--member", "B2")["measures"]["spots_kept"] == 1


def test_a_bad_table_leaves_refused_outputs_and_a_refused_record(tmp_path: Path) -> None:
    record = run_script(tmp_path, BAD["a fraction"][0](tmp_path, simulate()))
    assert record["status"] == "refused"
    assert record["reason"].startswith("c.tsv: row 3 (8x4), column 4 (GENE2.1)")
    assert (record["measured"], record["threshold"]) == (1, 0)
    assert is_refused(tmp_path / "e.h5ad") and is_refused(tmp_path / "s.csv")


def test_a_sample_without_a_spot_file_is_refused(tmp_path: Path) -> None:
    files = simulated_sample(tmp_path)
    del files["spots"]
    record = run_script(tmp_path, files)
    assert record["status"] == "refused"
    assert "S1.tsv.gz: there is neither a spot file nor a transformation" in record["reason"]


def test_two_count_files_are_refused() -> None:
    file = {"role": "counts", "name": "a.tsv", "path": "a.tsv"}
    with pytest.raises(Refusal, match="exactly one file of role 'counts' is needed, 2 given"):
        pick_files({"sample": "S1", "files": [file, file]}, readers.layout("st_v1").roles)


def test_the_manifest_of_another_sample_is_a_failure_not_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is the manifest of S1, not of S2"):
        run_script(tmp_path, simulated_sample(tmp_path), "--sample", "S2")


def test_a_refused_manifest_is_passed_on_with_exit_code_0(tmp_path: Path) -> None:
    write_refused(tmp_path / "raw.json")
    script = Path(read_expression.__file__)
    subprocess.run([sys.executable, str(script), *arguments(tmp_path)], check=True, capture_output=True)
    assert read_json(tmp_path / "record.json")["status"] == "passed_on"
    assert is_refused(tmp_path / "e.h5ad")


def test_a_section_without_a_spot_file_is_placed_by_its_transformation(tmp_path: Path) -> None:
    # A turn by 30 degrees, 290 px a step and a shift; the file holds the columns of the matrix.
    turn = np.deg2rad(30)
    matrix = np.array(
        [
            [290 * np.cos(turn), -290 * np.sin(turn), 500],
            [290 * np.sin(turn), 290 * np.cos(turn), 700],
            [0, 0, 1],
        ]
    )
    (tmp_path / "t.txt").write_text(" ".join(repr(float(value)) for value in matrix.T.ravel()))
    (tmp_path / "c.tsv").write_text("\tA\tB\n10.98x7.02\t1\t2\n3x9\t0\t4\n3x2\t5\t0\n")
    files = {"counts": RawFile("c.tsv", tmp_path / "c.tsv"), "transform": RawFile("t.txt", tmp_path / "t.txt")}
    reading = st_v1.read(files)
    assert list(reading.adata.obs_names) == ["3x2", "11x7", "3x9"]
    expected = (np.array([[3, 2, 1], [10.98, 7.02, 1], [3, 9, 1]]) @ matrix.T)[:, :2]
    np.testing.assert_allclose(reading.adata.obs[["x_px", "y_px"]], expected)
    assert reading.adata.X.toarray().tolist() == [[5, 0], [1, 2], [0, 4]]


@pytest.mark.parametrize("text", ["", "1 2 3", "1 0 0 0 1 0 5 5 x", "1 2 0 2 4 0 0 0 1", "1 0 5 0 1 5 0 0 1"])
def test_what_is_no_transformation_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    (tmp_path / "c.tsv").write_text("\tA\n3x9\t4\n3x2\t5\n")
    files = {"counts": RawFile("c.tsv", tmp_path / "c.tsv"), "transform": RawFile("t.txt", tmp_path / "t.txt")}
    with pytest.raises(Refusal, match=r"t\.txt: "):
        st_v1.read(files)


def test_counts_without_any_places_on_the_picture_are_refused(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text("\tA\n3x9\t4\n")
    with pytest.raises(Refusal, match="neither a spot file nor a transformation"):
        st_v1.read({"counts": RawFile("c.tsv", tmp_path / "c.tsv")})


def test_pixels_of_a_meta_table_are_taken_from_its_own_columns(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text("\tA\n01A_3x9\t4\n01A_3x2\t5\n02A_3x2\t7\n")
    (tmp_path / "m.tsv").write_text("\tradius\tHE_X\tHE_Y\n02A_3x2\t1\t9\t9\n01A_3x2\t1\t30\t20\n01A_3x9\t1\t31\t90\n")
    files = {"counts": RawFile("c.tsv", tmp_path / "c.tsv"), "spots": RawFile("m.tsv", tmp_path / "m.tsv")}
    reading = st_v1.read(files, member="01A")
    assert reading.adata.X.toarray().ravel().tolist() == [5, 4]
    assert reading.adata.obs[["x_px", "y_px"]].to_numpy().tolist() == [[30, 20], [31, 90]]


def test_few_counts_of_many_spots_are_joined_by_the_measured_place(tmp_path: Path) -> None:
    truth = simulate()
    for (x, y), spot in truth.spots.items():
        spot["new_x"], spot["new_y"] = round(x + 0.61, 3), round(y - 0.55, 3)
    for place in sorted(truth.counts)[::2] + sorted(truth.counts)[1::4]:
        del truth.counts[place]
    assert 0 < 2 * len(truth.counts) < len(truth.spots)
    reading = read_simulated(tmp_path, truth, Counts(key=exact), PLAIN)
    assert reading.report["joined_by"] == "measured place"
    assert_is_the_truth(reading, truth)


def test_halves_of_a_step_go_up() -> None:
    places = np.array([[2.5, 3.5], [0.49, -0.5], [4.5, 7.4999]])
    assert nearest(places).tolist() == [[3, 4], [0, 0], [5, 7]]
