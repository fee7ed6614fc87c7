"""The Visium reader against one truth in every layout, real sections, and every kind of bad deposit."""

from __future__ import annotations

import functools
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata.utils import make_index_unique
from scipy.sparse import csc_matrix, csr_matrix

from real_data import DATA, NOT_HERE
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.intake import layouts
from spotweave.matrices.reading import Reading
from spotweave.readers.visium import read as visium
from spotweave.simulate import visium as simulated
from spotweave.simulate.count_files import Written, stacked, write_h5_layout_3, write_h5ad
from spotweave.simulate.visium import Truth
from spotweave.simulate.visium_deposit import Deposit, write_visium_deposit
from spotweave.simulate.visium_files import position_rows, write_loupe, write_positions
from spotweave.simulate.visium_layouts import LISTS, VARIANTS, Variant
from spotweave.visium import barcode_lists
from spotweave.visium.array import capture_area as array_of
from spotweave.visium.loupe import read_loupe
from spotweave.visium.positions import read_positions
from spotweave.visium.scalefactors import read_scalefactors
from spotweave.visium.tissue import SAME_SECTION_FROM

ANTERIOR = DATA / "visium_mouse_brain_anterior"
POSTERIOR = DATA / "visium_mouse_brain_posterior_outs"
DLPFC = DATA / "dlpfc"
needs_data = pytest.mark.skipif(not ANTERIOR.exists(), reason=f"{NOT_HERE}{ANTERIOR}")
every_variant = pytest.mark.parametrize("name", sorted(VARIANTS))


def raws(written: Written) -> dict[str, RawFile]:
    return {role: RawFile(path.name, path) for role, path in written.items()}


def simulated_sample(folder: Path) -> dict[str, RawFile]:
    """For the tests that hold for every reader."""
    variant = VARIANTS["raw_h5_counted"]
    return raws(variant.write(folder, variant.truth()))


def expected(variant: Variant, truth: Truth) -> tuple[anndata.AnnData, pd.DataFrame]:
    """The sample and its table of spots, put together from the truth alone."""
    placed, counted = getattr(truth, variant.placed), getattr(truth, variant.counted)
    in_tissue = np.isin(truth.every, getattr(truth, variant.in_tissue)).astype(np.int64)
    pixels = truth.pixels.astype(np.float64) if variant.positions_from != "barcode list" else truth.pixels * np.nan
    order = placed[np.lexsort((truth.array[placed, 1], truth.array[placed, 0]))]
    kept = order[np.isin(order, counted)]
    names = [f"{barcode}-1" for barcode in truth.barcodes]

    def columns(spots: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "array_col": truth.array[spots, 1],
            "array_row": truth.array[spots, 0],
            "x_px": pixels[spots, 1],
            "y_px": pixels[spots, 0],
            "in_tissue": in_tissue[spots],
        }

    obs = pd.DataFrame(columns(kept), index=pd.Index([names[spot] for spot in kept], dtype=object))
    var = pd.DataFrame(
        {
            "gene_id": truth.ids if variant.ids else [""] * len(truth.ids),
            "genome": truth.genomes if variant.genome else [""] * len(truth.ids),
        },
        index=make_index_unique(pd.Index(truth.names, dtype=object)),
        dtype=object,
    )
    X = csr_matrix(truth.counts[kept].astype(np.float32))
    X.eliminate_zeros()
    sums, has_counts = truth.counts.sum(axis=1), np.isin(np.arange(len(names)), counted)
    total = pd.array([sums[spot] if has_counts[spot] else pd.NA for spot in order], dtype="Int64")
    spots = pd.DataFrame({"spot_id": [names[spot] for spot in order], **columns(order)})
    spots = spots.assign(array_x=np.nan, array_y=np.nan, total_counts=total)
    return anndata.AnnData(X=X, obs=obs, var=var), spots


def assert_same(reading: Reading, truth: Truth, variant: Variant) -> None:
    want, spots = expected(variant, truth)
    got = reading.adata
    pd.testing.assert_frame_equal(got.obs, want.obs)
    pd.testing.assert_frame_equal(got.var, want.var)
    assert got.X.dtype == np.float32
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(got.X, part), getattr(want.X, part))
    assert got.X.has_canonical_format
    pd.testing.assert_frame_equal(reading.spots, spots[reading.spots.columns], check_dtype=False)


# --- every layout ---------------------------------------------------------------------------------


def test_there_are_enough_layouts_and_each_says_what_it_is() -> None:
    assert len(VARIANTS) >= 25
    assert all(variant.description and variant.technology == "Visium" for variant in VARIANTS.values())
    assert len({variant.description for variant in VARIANTS.values()}) == len(VARIANTS)


@functools.cache
def drawn(capture_area: str, two_species: bool, whole_array: bool) -> Truth:
    return simulated.draw_truth(capture_area=capture_area, two_species=two_species, whole_array=whole_array)


def truth_for(name: str, *, whole_array: bool = False) -> Truth:
    whole_array = whole_array or VARIANTS[name].positions_from != "positions file"
    return drawn(VARIANTS[name].capture_area, VARIANTS[name].two_species, whole_array)


@every_variant
def test_every_layout_reads_as_the_same_sample(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(barcode_lists.VARIABLE, str(tmp_path / LISTS))
    variant = VARIANTS[name]
    truth = truth_for(name)
    written = variant.write(tmp_path, truth)
    first = {role: path.read_bytes() for role, path in written.items()}
    reading = visium.read(raws(written), member=variant.member)
    assert_same(reading, truth, variant)
    report = reading.report
    assert report["features_left_out"] == variant.left_out
    assert report["capture_area"] == variant.capture_area
    assert report["positions_from"] == variant.positions_from
    assert report.get("in_tissue_known", True) == variant.in_tissue_known
    assert report["rows_in_spots"] - report["spots_kept"] == report["spots_without_counts"]
    assert report["rows_in_counts"] - report["spots_kept"] == report["counts_without_spot"]
    json.dumps(report, allow_nan=False)
    assert first == {role: path.read_bytes() for role, path in variant.write(tmp_path, truth).items()}


def test_the_same_truth_is_drawn_again() -> None:
    one, two, other = (simulated.draw_truth(seed) for seed in (0, 0, 1))
    assert one.barcodes == two.barcodes
    assert (one.counts == two.counts).all()
    assert one.barcodes[0] != other.barcodes[0]


# --- what is found is counted ---------------------------------------------------------------------


def read(folder: Path, name: str = "space_ranger_1", truth: Truth | None = None, **files: Path) -> Reading:
    variant = VARIANTS[name]
    written = variant.write(folder, truth or truth_for(name))
    return visium.read(raws({**written, **files}), member=variant.member)


def test_counts_without_a_position_are_counted_and_named(tmp_path: Path) -> None:
    report = read(tmp_path, "barcodes_without_position").report
    assert report["counts_without_spot"] == 2
    assert report["counts_without_spot_examples"] == ["A" * 16 + "-1", "C" * 16 + "-1"]
    assert report["summary_units_left_out"] == {"unmapped": 1}


def test_barcodes_that_a_raw_matrix_lacks_are_counted(tmp_path: Path) -> None:
    truth = truth_for("raw_h5_counted")
    report = read(tmp_path, "raw_h5_counted", truth).report
    silent = len(truth.barcodes) - len(truth.counted)
    assert silent > 300
    assert report["spots_without_counts"] == silent
    assert report["spots_in_tissue"] == truth.in_tissue.sum()


def test_a_raw_matrix_keeps_the_spots_beside_the_tissue_and_says_which_they_are(tmp_path: Path) -> None:
    truth = truth_for("raw_h5", whole_array=True)
    obs = read(tmp_path, "raw_h5", truth).adata.obs
    assert len(obs) == 4992
    assert obs["in_tissue"].sum() == truth.in_tissue.sum()


def test_both_species_of_a_xenograft_are_kept_and_counted(tmp_path: Path) -> None:
    truth = truth_for("two_species_mex")
    report = read(tmp_path, "two_species_mex", truth).report
    assert report["genes_by_genome"] == {"GRCh38": 30, "mm10": 30}
    own = truth.counts[truth.tissue]
    assert report["counts_by_genome"] == {"GRCh38": int(own[:, :30].sum()), "mm10": int(own[:, 30:].sum())}


def test_the_scale_factors_and_the_software_spot_are_reported(tmp_path: Path) -> None:
    report = read(tmp_path).report
    assert report["scalefactors"]["spot_diameter_fullres"] == 130.0
    assert report["software_spot_diameter_um"] == pytest.approx(65, abs=0.1)


def test_in_an_eleven_mm_area_the_software_spot_is_60_um(tmp_path: Path) -> None:
    report = read(tmp_path, "eleven_mm").report
    assert report["capture_area_told_by"] == "rows and columns"
    assert report["software_spot_diameter_um"] == pytest.approx(60, rel=0.01)


def test_a_corner_of_an_eleven_mm_area_is_told_by_its_spots(tmp_path: Path) -> None:
    truth = truth_for("eleven_mm")
    corner = (truth.array[:, 0] < 70) & (truth.array[:, 1] < 100)
    rows = position_rows(truth, np.flatnonzero(corner & (truth.in_tissue == 1)))
    spots = write_positions(tmp_path / "corner.csv", rows)
    report = read(tmp_path, "eleven_mm", truth, spots=spots).report
    assert report["capture_area"] == "11 mm"
    assert report["capture_area_told_by"] == "spot_diameter_fullres"


def test_a_loupe_alignment_names_the_slide_and_lies_on_the_positions(tmp_path: Path) -> None:
    truth = truth_for("cytassist", whole_array=True)
    report = read(tmp_path, "cytassist", truth).report
    assert report["slide_serial_number"] == "V42A20-353"
    assert report["is_cytassist"]
    assert report["alignment_spots"] == 4992
    assert report["alignment_offset_px"] == pytest.approx(0, abs=1e-6)


def test_a_loupe_alignment_of_another_picture_shows_in_the_offset(tmp_path: Path) -> None:
    truth = truth_for("space_ranger_1")
    elsewhere = write_loupe(tmp_path / "a.json", replace(truth, pixels=truth.pixels + np.array([30, 40])))
    assert read(tmp_path, alignment=elsewhere).report["alignment_offset_px"] == pytest.approx(50)


@pytest.mark.parametrize("transform", [None, np.array([[0.0, -0.3, 2000.0], [0.3, 0.0, 7.0], [0.0, 1e-6, 1.0]])])
def test_spots_of_a_loupe_alignment_lie_in_the_picture_of_the_tissue(tmp_path: Path, transform: Any) -> None:
    truth = truth_for("space_ranger_1")
    path = write_loupe(tmp_path / "a.json", truth, transform=transform)
    loupe = read_loupe(RawFile("a.json", path))
    order = np.lexsort((truth.array[:, 1], truth.array[:, 0]))
    assert loupe.table[["array_row", "array_col"]].to_numpy().tolist() == truth.array[order].tolist()
    assert loupe.table["in_tissue"].tolist() == truth.in_tissue[order].tolist()
    np.testing.assert_allclose(loupe.table[["y_px", "x_px"]].to_numpy(), truth.pixels[order], atol=1e-6)
    assert loupe.is_cytassist == (transform is not None)


# --- joint tables ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("joint_suffix", ["-3", "3"]),
        ("joint_numbered", ["2", "_2", "-1_2"]),
        ("joint_prefix", ["A1", "A1_"]),
        ("joint_positions", ["A1"]),
        ("joint_h5ad", ["library_id=A1", "A1", "1"]),
    ],
)
def test_a_member_may_be_named_in_several_ways(name: str, members: Sequence[str], tmp_path: Path) -> None:
    variant = VARIANTS[name]
    truth = truth_for(name)
    files = raws(variant.write(tmp_path, truth))
    for member in members:
        assert_same(visium.read(files, member=member), truth, variant)


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("joint_suffix", ["-1 (", "2 (", "3 ("]),
        ("joint_numbered", ["1 (", "2 (", "3 ("]),
        ("joint_prefix", ["A1 (", "B1 (", "C1 ("]),
        ("joint_h5ad", ["library_id=A1 (", "library_id=B1 (", "library_id=C1 ("]),
    ],
)
@pytest.mark.parametrize("member", [None, "Z9"])
def test_without_its_member_a_joint_table_is_refused_and_lists_what_it_holds(
    name: str, listed: Sequence[str], member: str | None, tmp_path: Path
) -> None:
    variant = VARIANTS[name]
    truth = truth_for(name)
    with pytest.raises(Refusal) as refusal:
        visium.read(raws(variant.write(tmp_path, truth)), member=member)
    assert all(text in refusal.value.reason for text in listed), refusal.value.reason
    assert f"{len(truth.tissue):,} spots" in refusal.value.reason
    assert member is None or member in refusal.value.reason


def test_a_value_that_two_columns_hold_for_different_spots_is_refused(tmp_path: Path) -> None:
    truth = truth_for("space_ranger_1")
    block = simulated.block_of(truth, truth.tissue)
    half, many = len(block.units) // 2, len(block.units)
    obs = {"slide": ["1"] * half + ["2"] * (many - half), "batch": ["2"] * half + ["1"] * (many - half)}
    counts = write_h5ad(tmp_path / "a.h5ad", block, obs=obs)
    files = {**VARIANTS["space_ranger_1"].write(tmp_path, truth), "counts": counts}
    with pytest.raises(Refusal, match=r"slide=1 .*batch=1 .*write it so"):
        visium.read(raws(files), member="1")


# --- what is refused ------------------------------------------------------------------------------


def positions(folder: Path, truth: Truth, change: Any) -> Path:
    """Positions without header after a change of their rows."""
    return write_positions(folder / "changed.csv", change(position_rows(truth, truth.every)))


def refused(folder: Path, change: Any, match: str) -> Refusal:
    truth = truth_for("space_ranger_1", whole_array=True)
    with pytest.raises(Refusal, match=match) as refusal:
        read(folder, truth=truth, spots=positions(folder, truth, change))
    assert "changed.csv" in refusal.value.reason
    assert "\n" not in refusal.value.reason
    return refusal.value


def test_positions_of_another_slide_are_refused_with_an_example_of_both(tmp_path: Path) -> None:
    other = simulated.draw_truth(9)
    refusal = refused(tmp_path, lambda rows: position_rows(other, other.every), "no barcode in common")
    assert f"{other.barcodes[0]}-1" in refusal.reason
    assert refusal.measured == 0
    truth = truth_for("space_ranger_1", whole_array=True)
    assert f"{truth.barcodes[int(truth.tissue[0])]}-1" in refusal.reason


def test_positions_of_another_section_with_the_same_barcodes_are_refused(tmp_path: Path) -> None:
    def moved_tissue(rows: list[list[str]]) -> list[list[str]]:
        flags = np.roll([row[1] for row in rows], 640)
        return [[row[0], str(flag), *row[2:]] for row, flag in zip(rows, flags, strict=True)]

    assert refused(tmp_path, moved_tissue, "different sections").threshold == SAME_SECTION_FROM


def test_swapped_rows_and_columns_of_the_array_are_refused(tmp_path: Path) -> None:
    refusal = refused(tmp_path, lambda rows: [[*r[:2], r[3], r[2], *r[4:]] for r in rows], "are swapped")
    assert refusal.measured == pytest.approx((87 / 50) ** 2, rel=0.01)


def test_swapped_pixel_columns_show_as_a_mirrored_array(tmp_path: Path) -> None:
    truth = truth_for("space_ranger_1")
    spots = positions(tmp_path, truth, lambda rows: [[*r[:4], r[5], r[4]] for r in rows])
    assert read(tmp_path, truth=truth, spots=spots).report["lattice_mirrored"]
    assert not read(tmp_path, truth=truth).report["lattice_mirrored"]


def one(at: int, column: int, text: str) -> Any:
    """A change of one field."""

    def change(rows: list[list[str]]) -> list[list[str]]:
        rows[at][column] = text
        return rows

    return change


def one_in_tissue(column: int, text: str) -> Any:
    """A change of one field of the first spot in tissue."""
    return lambda rows: one(next(at for at, row in enumerate(rows) if row[1] == "1"), column, text)(rows)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (one(4, 2, "3"), r"both must be even or both odd"),
        (one(4, 2, "300"), r"rows 0 to 300 .* are on no array"),
        (one(4, 2, "-2"), r"rows -2 to"),
        (one(4, 1, "2"), r"row 5, in_tissue: '2' is neither 0 nor 1"),
        (one(4, 2, "1.5"), r"row 5, array_row: '1.5' is no whole number"),
        (one_in_tissue(4, "NA"), r"row \d[\d,]*, pxl_row_in_fullres: 'NA' is no number"),
        (one_in_tissue(5, ""), r"row \d[\d,]*, pxl_col_in_fullres: '' is no number"),
        (one(4, 5, "inf"), r"'inf' is no number"),
        (lambda rows: [*rows, rows[7]], r"comes twice"),
        (lambda rows: [*rows, ["A" * 16 + "-1", *rows[7][1:]]], r"two spots are at row 0, column 14"),
        (lambda rows: [row[:4] for row in rows], r"unknown layout"),
        (lambda rows: [*rows[:9], rows[9][:3], *rows[10:]], r"row 10 has 3 fields where 6 are expected"),
        (lambda rows: [[*r[:2], str(int(r[2]) + 1), str(int(r[3]) + 1), *r[4:]] for r in rows], r"count from 1"),
    ],
)
def test_wrong_positions_are_refused_by_their_place(change: Any, match: str, tmp_path: Path) -> None:
    refused(tmp_path, change, match)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"<!DOCTYPE html><html></html>", "not a table of positions"),
        (b"\x00\x01\x02\x03" * 99, "not a table of positions"),
        (b"\xff\xfe\x00", "not a table of positions in text"),
        (b"PAR1garbage", "damaged parquet"),
        (b"\x89HDF\r\n\x1a\nrest", "damaged or incomplete HDF5"),
        (gzip.compress(b"A" * 999)[:-9], "gzip stream is cut"),
        (b"barcode,in_tissue,array_row,array_col\nA,1,0,0\n", "no column for pxl_row_in_fullres, pxl_col_in_fullres"),
        (b"in_tissue,barcode,in_tissue\n1,A,1\n", "two columns are called 'in_tissue'"),
        (b"barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres\n", "cut or damaged|no rows"),
    ],
)
def test_a_file_that_is_no_table_of_positions_is_refused(content: bytes, match: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(Refusal, match=match) as refusal:
        read_positions(RawFile("bad.csv", path))
    assert "bad.csv" in refusal.value.reason


BAD_SCALES = {
    "one-element lists of R": ({"spot_diameter_fullres": [130.0], "tissue_hires_scalef": [0.17]}, (130.0, 0.17)),
    "text": ({"spot_diameter_fullres": "130.0", "tissue_hires_scalef": " 0.17 "}, (130.0, 0.17)),
    "decimal commas": ({"spot_diameter_fullres": "130,0", "tissue_hires_scalef": "1,7e-1"}, (130.0, 0.17)),
    "lists of text": ([{"spot_diameter_fullres": [["130"]], "tissue_hires_scalef": [0.17]}], (130.0, 0.17)),
    "null": ({"spot_diameter_fullres": None, "tissue_hires_scalef": 0.17}, (None, 0.17)),
    "NA of R": ({"spot_diameter_fullres": "NA", "tissue_hires_scalef": 0.17}, (None, 0.17)),
    "NaN": ({"spot_diameter_fullres": float("nan"), "tissue_hires_scalef": 0.17}, (None, 0.17)),
    "infinity": ({"spot_diameter_fullres": float("inf"), "tissue_hires_scalef": 0.17}, (None, 0.17)),
    "400 digits": ({"spot_diameter_fullres": int("9" * 400), "tissue_hires_scalef": 0.17}, (None, 0.17)),
    "400 digits of text": ({"spot_diameter_fullres": "9" * 400, "tissue_hires_scalef": 0.17}, (None, 0.17)),
    "two numbers": ({"spot_diameter_fullres": [130.0, 131.0], "tissue_hires_scalef": 0.17}, (None, 0.17)),
    "truth": ({"spot_diameter_fullres": True, "tissue_hires_scalef": 0.17}, (None, 0.17)),
    "below 0": ({"spot_diameter_fullres": -130.0, "tissue_hires_scalef": 0.17}, (None, 0.17)),
    "none of them": ({"a": 1}, (None, None)),
    "nothing": ({}, (None, None)),
    "a list": ([1], (None, None)),
    "a number": (5, (None, None)),
}


@pytest.mark.parametrize("what", BAD_SCALES)
def test_scale_factors_are_read_or_passed_over_and_never_refuse(what: str, tmp_path: Path) -> None:
    content, (diameter, scale) = BAD_SCALES[what]
    path = tmp_path / "scalefactors_json.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    numbers, notes = read_scalefactors(RawFile(path.name, path))
    assert (numbers.get("spot_diameter_fullres"), numbers.get("tissue_hires_scalef")) == (diameter, scale)
    assert bool(notes) == (diameter is None)
    assert all(note.startswith(path.name) and "\n" not in note for note in notes)


@pytest.mark.parametrize(
    ("role", "content", "match"),
    [
        ("scalefactors", b"{", "not JSON"),
        ("scalefactors", b"<html>", "not JSON"),
        ("scalefactors", b"", "not JSON"),
        ("alignment", b'{"a": 1}', "no list 'oligo'"),
        ("alignment", b'{"oligo": [{"row": 1}]}', "lack row, col, imageX or imageY"),
    ],
)
def test_a_bad_optional_file_beside_the_positions_is_passed_over_and_named(
    role: str, content: bytes, match: str, tmp_path: Path
) -> None:
    path = tmp_path / "beside.json"
    path.write_bytes(content)
    truth = simulated.draw_truth()
    written = VARIANTS["mex"].write(tmp_path, truth)
    report = visium.read(raws({**written, role: path})).report
    (note,) = report["optional_files_passed_over"]
    assert re.search(rf"beside.json: .*{match}.*passed over", note)
    assert report["spots_kept"] == len(truth.tissue)


def test_a_bad_alignment_that_the_positions_would_come_from_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(barcode_lists.VARIABLE, str(tmp_path / LISTS))
    written = VARIANTS["loupe_and_raw"].write(tmp_path, truth_for("loupe_and_raw"))
    written["alignment"].write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(Refusal, match="no list 'oligo'"):
        visium.read(raws(written))


HEADER = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")


def by_hand(rows: list[list[str]], mark: str = ",", header: Sequence[str] | None = HEADER) -> str:
    return "".join(mark.join(row) + "\n" for row in ([list(header)] if header else []) + rows)


HANDS: dict[str, Any] = {
    "sep= and semicolons": lambda rows: ("sep=;\n" + by_hand(rows, ";")).encode(),
    "sep= and tabs": lambda rows: ("sep=\t\n" + by_hand(rows, "\t")).encode(),
    "sep= in quotes, no header": lambda rows: ('"sep=,"\r\n' + by_hand(rows, header=None)).encode(),
    "semicolons, no header": lambda rows: by_hand(rows, ";", header=None).encode(),
    "a comment": lambda rows: ("# exported 2024, by hand; see notes\n" + by_hand(rows)).encode(),
    "comments of another program": lambda rows: ("% a\n//b\n\n" + by_hand(rows)).encode(),
    "a header like a comment": lambda rows: ("#" + by_hand(rows)).encode(),
    "a comment, no header": lambda rows: ("#exported\n" + by_hand(rows, header=None)).encode(),
    "sums below": lambda rows: (by_hand(rows) + "Total,461,1,2,3,4\n" + "Sum,,,,,\n").encode(),
    "a comment at the end": lambda rows: (by_hand(rows) + "# 461 spots\n").encode(),
    "a title": lambda rows: ("Positions of section A\n\n" + by_hand(rows)).encode(),
    "blanks": lambda rows: by_hand(rows, " ").encode(),
    "aligned blanks": lambda rows: by_hand([[f"{field:>8}" for field in row] for row in rows], "  ").encode(),
    "blanks, no header": lambda rows: by_hand(rows, " ", header=None).encode(),
    "blanks around the fields": lambda rows: by_hand([[f" {field} " for field in row] for row in rows]).encode(),
    "blank rows": lambda rows: (
        by_hand(rows[:9]) + ",,,,,\n\n  \n" + by_hand(rows[9:], header=None) + ",,,,,\n" * 3
    ).encode(),
    "blank columns": lambda rows: by_hand([[*row, "", ""] for row in rows], header=(*HEADER, "", "")).encode(),
    "separators behind the rows": lambda rows: by_hand([[*row, ""] for row in rows]).encode(),
    "one more column": lambda rows: by_hand([[*row, "x"] for row in rows], header=(*HEADER, "cluster")).encode(),
    "UTF-16": lambda rows: by_hand(rows, "\t").encode("utf-16"),
    "UTF-16, the other way round": lambda rows: b"\xfe\xff" + by_hand(rows, "\t").encode("utf-16-be"),
    "UTF-16 without its mark": lambda rows: by_hand(rows, "\t").encode("utf-16-le"),
    "UTF-16, packed": lambda rows: gzip.compress(by_hand(rows).encode("utf-16")),
    "a mark before UTF-8": lambda rows: by_hand(rows).encode("utf-8-sig"),
    "umlauts of Windows": lambda rows: ("# für Prüfung\n" + by_hand(rows)).encode("cp1252"),
    "Windows": lambda rows: by_hand(rows).replace("\n", "\r\n").encode(),
    "old Mac": lambda rows: by_hand(rows).replace("\n", "\r").encode(),
    "quotes": lambda rows: by_hand([[f'"{field}"' for field in row] for row in rows]).encode(),
    "quotes and tabs": lambda rows: by_hand([[f'"{field}"' for field in row] for row in rows], "\t").encode(),
    "capitals": lambda rows: by_hand(rows, header=[name.upper() for name in HEADER]).encode(),
    "words with blanks": lambda rows: by_hand(
        rows, header=[name.replace("_", " ").title() for name in HEADER]
    ).encode(),
    "words with points": lambda rows: by_hand(rows, header=[name.replace("_", ".") for name in HEADER]).encode(),
    "decimal commas": lambda rows: by_hand([[*row[:4], *(f"{x},0" for x in row[4:])] for row in rows], ";").encode(),
    "decimal commas and tabs": lambda rows: by_hand(
        [[*row[:4], *(f"{x},00" for x in row[4:])] for row in rows], "\t"
    ).encode(),
    "yes and no": lambda rows: by_hand([[row[0], "no" if row[1] == "0" else "Yes", *row[2:]] for row in rows]).encode(),
    "TRUE and FALSE": lambda rows: by_hand(
        [[row[0], "FALSE" if row[1] == "0" else "TRUE", *row[2:]] for row in rows]
    ).encode(),
}


@pytest.mark.parametrize("hand", HANDS)
def test_positions_that_went_through_a_hand_are_read(hand: str, tmp_path: Path) -> None:
    truth = truth_for("space_ranger_1", whole_array=True)
    plain = write_positions(tmp_path / "plain.csv", position_rows(truth, truth.every[:200]))
    path = tmp_path / "by_hand.txt"
    path.write_bytes(HANDS[hand](position_rows(truth, truth.every[:200])))
    found, expected = read_positions(RawFile(path.name, path)), read_positions(RawFile(plain.name, plain))
    pd.testing.assert_frame_equal(found.table, expected.table)
    assert found.report["position_rows_blank"] == {"blank rows": 6, "a comment at the end": 1}.get(hand, 0)
    assert found.report["positions_without_numbers"] == 0


@pytest.mark.parametrize(
    ("container", "missing"), [("csv", "NA"), ("csv", ""), ("no header", "nan"), ("csv", "-"), ("parquet", "None")]
)
def test_spots_off_the_tissue_without_numbers_are_left_out_and_counted(
    container: str, missing: str, tmp_path: Path
) -> None:
    truth = truth_for("space_ranger_1", whole_array=True)
    rows = position_rows(truth, truth.every)
    off = [at for at, row in enumerate(rows) if row[1] == "0"][:7]
    for at in off:
        rows[at][4:] = [missing, missing]
    rows[off[0]][1:] = [missing] * 5
    path = tmp_path / "changed"
    if container == "parquet":
        frame = pd.DataFrame(rows, columns=list(HEADER))
        frame[list(HEADER[1:])] = frame[list(HEADER[1:])].apply(pd.to_numeric, errors="coerce")
        frame.to_parquet(path)
    else:
        write_positions(path, rows, header=HEADER if container == "csv" else None)
    positions = read_positions(RawFile("changed", path))
    assert positions.report["positions_without_numbers"] == 7
    assert positions.table["barcode"].tolist() == [row[0] for at, row in enumerate(rows) if at not in off]
    reading = read(tmp_path, truth=truth, spots=path)
    assert reading.report["spots_kept"] == len(truth.tissue)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (
            lambda rows: by_hand([[*row[:4], *(f'"{int(x):,}"' for x in row[4:])] for row in rows]),
            "thousands or dec",
        ),
        (lambda rows: by_hand(rows, "|"), "unknown layout, expected are barcode"),
        (lambda rows: by_hand([[*row, "x"] for row in rows], header=None), "unknown layout"),
        (lambda rows: "a title\n" * 99, "unknown layout"),
        (lambda rows: "sep=;\n", "unknown layout"),
        (lambda rows: "# nothing\n", "unknown layout"),
        (lambda rows: by_hand(rows).replace("array_row", "array_line"), "no column for array_row"),
    ],
)
def test_positions_by_hand_that_cannot_be_read_say_what_is_wrong(content: Any, match: str, tmp_path: Path) -> None:
    truth = truth_for("space_ranger_1", whole_array=True)
    path = tmp_path / "by_hand.csv"
    path.write_text(content(position_rows(truth, truth.every)), encoding="utf-8")
    with pytest.raises(Refusal, match=f"by_hand.csv: .*{match}") as refusal:
        read_positions(RawFile(path.name, path))
    assert "\n" not in refusal.value.reason


def test_a_row_of_a_table_is_named_by_its_line_in_the_file(tmp_path: Path) -> None:
    truth = truth_for("space_ranger_1", whole_array=True)
    rows = one_in_tissue(4, "many")(position_rows(truth, truth.every))
    path = tmp_path / "by_hand.csv"
    path.write_text("# a comment\n\n" + by_hand(rows), encoding="utf-8")
    line = 1 + next(at for at, text in enumerate(path.read_text().splitlines()) if "many" in text)
    with pytest.raises(Refusal, match=f"row {line:,}, pxl_row_in_fullres: 'many' is no number"):
        read_positions(RawFile(path.name, path))


def test_an_h5ad_without_places_on_the_array_cannot_be_the_positions(tmp_path: Path) -> None:
    truth = truth_for("space_ranger_1")
    block = simulated.block_of(truth, truth.tissue)
    counts = VARIANTS["space_ranger_1"].write(tmp_path, truth)["counts"]
    path = write_h5ad(tmp_path / "a.h5ad", block)
    with pytest.raises(Refusal, match=r"a.h5ad: obs has no array_row and array_col, or .*tissue_positions.csv"):
        visium.read(raws({"counts": counts, "spots": path}))


@pytest.mark.parametrize("part", ["pixels", "places"])
def test_an_h5ad_of_counts_with_half_of_the_positions_is_refused_and_not_placed_without_them(
    part: str, tmp_path: Path
) -> None:
    truth = truth_for("space_ranger_1")
    array = truth.array[truth.tissue]
    obs = {"array_row": array[:, 0], "array_col": array[:, 1]} if part == "places" else None
    spatial = truth.pixels[truth.tissue][:, ::-1] if part == "pixels" else None
    path = write_h5ad(tmp_path / "a.h5ad", simulated.block_of(truth, truth.tissue), obs=obs, spatial=spatial)
    with pytest.raises(Refusal, match=r"a.h5ad: obs has no array_row and array_col, or .*tissue_positions.csv"):
        visium.read(raws({"counts": path, "spots": path}))


def test_barcodes_twice_in_the_counts_are_refused_when_nothing_tells_them_apart(tmp_path: Path) -> None:
    truth = truth_for("space_ranger_1")
    block = simulated.block_of(truth, truth.tissue)
    counts = write_h5_layout_3(tmp_path / "twice.h5", stacked(block, block))
    with pytest.raises(Refusal, match=r"twice.h5: barcode [ACGT]{16} comes 2 times"):
        read(tmp_path, truth=truth, counts=counts)


# --- the deposit ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deposit(tmp_path_factory: pytest.TempPathFactory) -> Deposit:
    folder = tmp_path_factory.mktemp("deposit")
    return write_visium_deposit(folder, "GSM1_A_", 3, tissue_um=1200.0, pixel_size_um=2.0)


def test_the_deposit_is_recognised_and_read(deposit: Deposit) -> None:
    names = [path.name for path in deposit.files.values()]
    assignment = layouts.assign(names, "visium")
    assert assignment.missing == ()
    assert {role: assignment.roles[role] for role in deposit.files} == {r: p.name for r, p in deposit.files.items()}
    files = {role: raw for role, raw in raws(deposit.files).items() if role != "image"}
    assert_same(visium.read(files), deposit.truth, VARIANTS["space_ranger_1"])


def test_the_picture_is_dark_where_the_deposit_has_tissue(deposit: Deposit) -> None:
    from PIL import Image

    picture = np.asarray(Image.open(deposit.files["image"]).convert("L")).astype(float)
    y, x = deposit.truth.pixels.T
    grey = picture[y, x]
    inside = deposit.truth.in_tissue == 1
    assert inside.sum() > 50
    assert np.median(grey[inside]) < np.percentile(grey[~inside], 2)


# --- real sections --------------------------------------------------------------------------------


def real(folder: Path, **counts: str) -> dict[str, RawFile]:
    files = {role: folder / path for role, path in counts.items()}
    spatial = folder / "spatial"
    files |= {"spots": spatial / "tissue_positions_list.csv", "scalefactors": spatial / "scalefactors_json.json"}
    return raws(files)


def anterior() -> dict[str, RawFile]:
    return real(ANTERIOR, counts="filtered_feature_bc_matrix.h5")


def posterior() -> dict[str, RawFile]:
    inside = "filtered_feature_bc_matrix"
    return real(
        POSTERIOR,
        counts=f"{inside}/matrix.mtx.gz",
        features=f"{inside}/features.tsv.gz",
        barcodes=f"{inside}/barcodes.tsv.gz",
    )


@needs_data
def test_a_real_section_as_hdf5_agrees_with_its_own_file(tmp_path: Path) -> None:
    reading = visium.read(anterior())
    assert reading.adata.shape == (2695, 100)
    with h5py.File(ANTERIOR / "filtered_feature_bc_matrix.h5") as file:
        group = file["matrix"]
        parts = tuple(group[key][:] for key in ("data", "indices", "indptr"))
        filed = csc_matrix(parts, shape=group["shape"][:]).T.toarray()
        barcodes = [barcode.decode() for barcode in group["barcodes"]]
        genes = [gene.decode() for gene in group["features/name"]]
    want = pd.DataFrame(filed, index=barcodes, columns=genes)
    got = pd.DataFrame(reading.adata.X.toarray(), index=reading.adata.obs_names, columns=reading.adata.var_names)
    pd.testing.assert_frame_equal(got, want.loc[got.index, got.columns], check_dtype=False)
    filed_places = pd.read_csv(ANTERIOR / "spatial/tissue_positions_list.csv", header=None, index_col=0)
    own = filed_places.loc[reading.adata.obs_names]
    for column, at in (("in_tissue", 1), ("array_row", 2), ("array_col", 3), ("y_px", 4), ("x_px", 5)):
        assert reading.adata.obs[column].tolist() == own[at].tolist()
    assert reading.report["software_spot_diameter_um"] == pytest.approx(65, abs=0.1)


@needs_data
def test_a_real_section_as_a_triplet_agrees_with_another_reader() -> None:
    reading = visium.read(posterior())
    folder = POSTERIOR / "filtered_feature_bc_matrix"
    lines = gzip.decompress((folder / "matrix.mtx.gz").read_bytes()).decode().splitlines()
    entries = np.array([list(map(int, line.split())) for line in lines if not line.startswith("%")][1:])
    barcodes = gzip.decompress((folder / "barcodes.tsv.gz").read_bytes()).decode().split()
    totals = pd.Series(np.bincount(entries[:, 1] - 1, weights=entries[:, 2], minlength=len(barcodes)), index=barcodes)
    spots = reading.spots.dropna(subset="total_counts").set_index("spot_id")["total_counts"]
    assert len(spots) == len(barcodes) == 3352
    assert (spots == totals[spots.index]).all()
    assert reading.report["duplicate_gene_names"] == 3


@needs_data
def test_a_real_table_of_a_seurat_object_is_joined_by_barcode() -> None:
    files = {**anterior(), "counts": RawFile("counts.csv.gz", ANTERIOR / "visium_data_counts.csv.gz")}
    reading = visium.read(files)
    with gzip.open(ANTERIOR / "visium_data_counts.csv.gz", "rt") as text:
        header, *lines = text.read().splitlines()
    filed = {line.partition(",")[0]: np.array(line.split(",")[1:], dtype=np.float32) for line in lines}
    assert reading.report["barcodes_in_counts"] == {"BARCODE-1_Assay1": 100}
    assert header.split(",")[1:] == list(reading.adata.var_names)
    for name, row in zip(reading.adata.obs_names, reading.adata.X.toarray(), strict=True):
        assert (row == filed[f"{name}_Assay1"]).all()


@needs_data
def test_the_same_section_counted_by_another_run_agrees_spot_by_spot() -> None:
    files = {**anterior(), "counts": RawFile("counts.csv.gz", ANTERIOR / "visium_data_counts.csv.gz")}
    table, matrix = visium.read(files).adata, visium.read(anterior()).adata
    genes = [gene for gene in matrix.var_names if gene in set(table.var_names)]
    assert len(genes) > 50
    one_run, other = table[:, genes].to_df().to_numpy(), matrix[table.obs_names, genes].to_df().to_numpy()
    per_spot = np.corrcoef(one_run.sum(axis=1), other.sum(axis=1))[0, 1]
    assert per_spot > 0.95
    assert np.corrcoef(one_run[:-1].sum(axis=1), other[1:].sum(axis=1))[0, 1] < per_spot - 0.2


@needs_data
@pytest.mark.parametrize("own", [anterior, posterior])
def test_a_real_matrix_with_the_positions_of_the_other_section_is_refused(own: Any) -> None:
    other = posterior() if own is anterior else anterior()
    with pytest.raises(Refusal, match="different sections"):
        visium.read({**own(), "spots": other["spots"]})


@needs_data
@pytest.mark.parametrize("section", ["151507", "151669", "151673", "151676"])
def test_real_positions_called_txt_without_header_are_read(section: str) -> None:
    raw = RawFile("tissue_positions_list.txt", DLPFC / section / "tissue_positions_list.txt")
    found = read_positions(raw)
    assert len(found.table) == 4992
    other = read_positions(RawFile("tissue_spot_counts.csv", DLPFC / section / "tissue_spot_counts.csv"))
    assert other.report["position_columns_unused"] == ["count"]
    pd.testing.assert_frame_equal(found.table, other.table)
    assert set(map(tuple, found.table[["array_row", "array_col"]].to_numpy())) == set(
        map(tuple, array_of("6.5 mm").places())
    )


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_bad_position_is_named_by_its_row_in_the_file(header: bool, bad: int, tmp_path: Path) -> None:
    rows = [f"{core}-1,1,{at},{at},{10 + at},{20 + at}" for at, core in enumerate(("A" * 16, "C" * 16, "G" * 16))]
    rows[bad] = rows[bad].rsplit(",", 1)[0] + ",x"
    names = ["barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"] if header else []
    (tmp_path / "p.csv").write_text("\n".join([*names, *rows]) + "\n")
    with pytest.raises(Refusal, match=rf"row {bad + 1 + header}, pxl_col"):
        read_positions(RawFile("p.csv", tmp_path / "p.csv"))
