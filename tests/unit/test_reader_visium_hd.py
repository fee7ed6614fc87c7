"""The Visium HD reader against simulated bins and cells in every layout, a real folder's schema, and bad files."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from real_data import DATA, NOT_HERE
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices.read import read_matrix
from spotweave.matrices.reading import Reading
from spotweave.readers.visium_hd import read as visium_hd
from spotweave.simulate import visium_hd as simulate
from spotweave.simulate.count_files import Block, write_h5_layout_3
from spotweave.simulate.visium_hd import VARIANTS, Truth, Variant, cell_id, draw_truth
from spotweave.visium_hd import mappings, names, outlines, software, stripes

SCHEMA = DATA / "visium_hd_schema"
SQUARE = SCHEMA / "binned_outputs/square_002um"
needs_schema = pytest.mark.skipif(not SCHEMA.exists(), reason=f"{NOT_HERE}{SCHEMA}")
every_variant = pytest.mark.parametrize("name", sorted(VARIANTS))


def raw(path: Path) -> RawFile:
    return RawFile(path.name, path)


def write(name: str, folder: Path, truth: Truth | None = None) -> dict[str, RawFile]:
    return {role: raw(path) for role, path in VARIANTS[name].write(folder, truth or draw_truth()).items()}


def simulated_sample(folder: Path) -> dict[str, RawFile]:
    return write("square_008um", folder)


def write_text(path: Path, text: str) -> RawFile:
    path.write_text(text)
    return raw(path)


def assert_bins(reading: Reading, truth: Truth, variant: Variant) -> None:
    bins = truth.bins(variant.size_um or 0)
    kept = np.flatnonzero(bins.in_tissue) if variant.counted == "tissue" else np.arange(len(bins.names))
    want = pd.DataFrame(
        {
            "array_col": bins.array[kept, 1],
            "array_row": bins.array[kept, 0],
            "x_px": bins.pixels[kept, 0],
            "y_px": bins.pixels[kept, 1],
            "in_tissue": bins.in_tissue[kept],
        },
        index=pd.Index([bins.names[i] for i in kept], dtype=object),
    )
    # As text, decimals may be the next number beside the nearest.
    is_text = variant.options.get("positions", "").endswith(".csv")
    exact = {"rtol": 1e-15, "atol": 0.0} if is_text else {"check_exact": True}
    pd.testing.assert_frame_equal(reading.adata.obs, want, **exact)
    assert (reading.adata.X.toarray() == bins.counts[kept]).all()
    assert reading.spots["spot_id"].tolist() == bins.names
    assert reading.spots[["x_px", "y_px"]].to_numpy() == pytest.approx(bins.pixels, rel=1e-15 if is_text else 0, abs=0)
    totals = bins.counts.sum(axis=1)[kept]
    assert reading.spots["total_counts"].dropna().tolist() == totals.tolist()
    report = reading.report
    assert report["unit"] == "bin"
    assert report["bin_size_um"] == variant.size_um
    assert report["pixel_size_um_fitted"] == pytest.approx(simulate.PIXEL_SIZE_UM, rel=1e-6)
    assert report["array_mirrored"]
    assert report["array_residual_um"] < 1e-6


def assert_cells(reading: Reading, truth: Truth) -> None:
    rings = truth.cell_rings()
    boxes = {number: (r1 - r0, c1 - c0) for number, (r0, r1, c0, c1) in truth.cells.items()}
    assert list(reading.adata.obs_names) == [cell_id(number) for number in sorted(rings)]
    assert (reading.adata.X.toarray() == truth.cell_counts()).all()
    centres = np.array([ring[:4].mean(axis=0) for ring in rings.values()])  # a rectangle's, in closed form
    assert reading.adata.obs[["x_px", "y_px"]].to_numpy() == pytest.approx(centres)
    areas = [4.0 * rows * columns for rows, columns in boxes.values()]
    assert reading.adata.obs["cell_area_um2"].to_numpy() == pytest.approx(areas)
    assert reading.spots["array_row"].isna().all()
    assert reading.report["unit"] == "cell"
    assert "array_row" not in reading.adata.obs


# --- the reader on every layout -------------------------------------------------------------------


def test_there_are_layouts_of_all_sizes_and_cells() -> None:
    assert len(VARIANTS) >= 10
    assert {variant.size_um for variant in VARIANTS.values()} == {None, 2, 8, 16}
    assert len({variant.description for variant in VARIANTS.values()}) == len(VARIANTS)


@every_variant
def test_every_layout_is_read_to_the_same_units_and_counts(name: str, tmp_path: Path) -> None:
    truth, variant = draw_truth(2), VARIANTS[name]
    reading = visium_hd.read(write(name, tmp_path, truth), member=variant.member)
    if variant.size_um is None:
        assert_cells(reading, truth)
    else:
        assert_bins(reading, truth, variant)
    assert reading.adata.var_names.is_unique
    assert reading.adata.var["gene_id"].tolist() == truth.gene_ids
    assert reading.report["duplicate_gene_names"] == 1
    assert json.loads(json.dumps(reading.report, allow_nan=False)) == reading.report


def test_bins_of_all_sizes_hold_the_same_counts(tmp_path: Path) -> None:
    truth = draw_truth(7)
    totals = [
        visium_hd.read(write(f"square_{size:03d}um", tmp_path / str(size), truth)).adata.X.sum(axis=0)
        for size in (2, 8, 16)
    ]
    assert all((total == truth.counts.sum(axis=(0, 1))).all() for total in totals)


def test_the_second_sample_of_a_joint_matrix_is_another(tmp_path: Path) -> None:
    truth = draw_truth()
    files = write("joint", tmp_path, truth)
    bins = truth.bins(16)
    kept = np.flatnonzero(bins.in_tissue)
    second = visium_hd.read(files, member="2").adata
    assert (second.X.toarray() == bins.counts[kept][::-1] + 1).all()
    with pytest.raises(Refusal, match=r"2 samples: \(plain\), 2"):
        visium_hd.read(files)


@pytest.mark.parametrize(
    ("stated", "possible"),
    [
        ("spaceranger-3.0.1", True),
        ("spaceranger-3.1.1", True),
        ("spaceranger-3.1.2", False),
        ("spaceranger-4.0.1", False),
        ("spaceranger-3.1", True),
        ("", None),
    ],
)
def test_the_shift_of_early_versions_is_flagged(stated: str, possible: bool | None, tmp_path: Path) -> None:
    variant = Variant("", software=stated)
    files = {role: raw(path) for role, path in variant.write(tmp_path, draw_truth()).items()}
    report = visium_hd.read(files).report
    assert (report["software"], report["cytassist_shift_possible"]) == (stated, possible)


def test_the_version_is_known_from_the_comment_of_a_matrix_in_market_exchange_too(tmp_path: Path) -> None:
    comment = '%metadata_json: {"software_version": "spaceranger-3.0.0", "format_version": 2}'
    text = f"%%MatrixMarket matrix coordinate integer general\n{comment}\n1 1 0\n"
    found = software.describe(write_text(tmp_path / "matrix.mtx", text))
    assert found == {"software": "spaceranger-3.0.0", "cytassist_shift_possible": True}
    damaged = text.replace('"format', "format")
    assert software.describe(write_text(tmp_path / "m.mtx", damaged))["software"] == ""


@needs_schema
def test_a_real_folder_is_read() -> None:
    files = {
        "counts": raw(SQUARE / "filtered_feature_bc_matrix.h5"),
        "spots": raw(SQUARE / "spatial/tissue_positions.parquet"),
        "scalefactors": raw(SQUARE / "spatial/scalefactors_json.json"),
    }
    reading = visium_hd.read(files)
    filed = pd.read_parquet(files["spots"].path).sort_values(["array_row", "array_col"])
    assert reading.adata.shape == (10, 10)
    assert list(reading.adata.obs_names) == filed["barcode"].tolist()
    assert reading.adata.obs["x_px"].tolist() == filed["pxl_col_in_fullres"].tolist()
    report = reading.report
    assert report["bin_size_um"] == 2
    assert report["total_counts"] == 0
    assert report["array_mirrored"]
    assert report["pixel_size_um_fitted"] == pytest.approx(report["pixel_size_um_stated"], rel=1e-3)


@needs_schema
def test_names_in_quotes_as_r_writes_them_are_read() -> None:
    counts = SQUARE / "filtered_feature_bc_matrix"
    files = {
        "counts": raw(counts / "matrix.mtx.gz"),
        "features": raw(counts / "features.tsv.gz"),
        "barcodes": raw(counts / "barcodes.tsv.gz"),
        "spots": raw(SQUARE / "spatial/tissue_positions.parquet"),
    }
    assert visium_hd.read(files).adata.shape == (10, 10)


# --- the join -------------------------------------------------------------------------------------


@settings(derandomize=True, max_examples=25, deadline=None)
@given(data=st.data())
def test_shuffled_missing_and_additional_bins_never_move_counts(data: st.DataObject) -> None:
    truth = draw_truth(data.draw(st.integers(0, 4)))
    bins = truth.bins(16)
    every = list(range(len(bins.names)))
    counted = data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
    placed = data.draw(st.lists(st.sampled_from(every), min_size=3, unique=True))
    both = sorted(set(counted) & set(placed))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        units = [bins.names[i] for i in counted]
        block = simulate.block_of(truth, units, bins.counts[counted])
        files = {
            role: raw(path)
            for role, path in simulate.write_counts(folder, block, name="m", form="h5", software="").items()
        }
        simulate.position_table(bins).iloc[placed].to_parquet(folder / "p.parquet", index=False)
        files["spots"] = raw(folder / "p.parquet")
        if not both:
            with pytest.raises(Refusal, match="no bin in common"):
                visium_hd.read(files)
            return
        reading = visium_hd.read(files)
    assert list(reading.adata.obs_names) == [bins.names[i] for i in both]
    assert (reading.adata.X.toarray() == bins.counts[both]).all()
    assert (reading.adata.obs[["x_px", "y_px"]].to_numpy() == bins.pixels[both]).all()
    assert reading.report["counts_without_spot"] == len(counted) - len(both)
    assert reading.report["spots_without_counts"] == len(placed) - len(both)
    assert reading.spots["spot_id"].tolist() == [bins.names[i] for i in sorted(placed)]


@settings(derandomize=True, max_examples=20, deadline=None)
@given(data=st.data())
def test_shuffled_missing_and_additional_cells_never_move_counts(data: st.DataObject) -> None:
    truth = draw_truth(data.draw(st.integers(0, 4)))
    numbers = list(truth.cells)
    counted = data.draw(st.lists(st.sampled_from(numbers), min_size=1, unique=True))
    outlined = data.draw(st.lists(st.sampled_from(numbers), min_size=1, unique=True))
    both = sorted(set(counted) & set(outlined))
    counts = dict(zip(numbers, truth.cell_counts(), strict=True))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        block = simulate.block_of(truth, [cell_id(n) for n in counted], np.array([counts[n] for n in counted]))
        files = {
            role: raw(path)
            for role, path in simulate.write_counts(folder, block, name="m", form="h5", software="").items()
        }
        some = Truth(*(getattr(truth, f) for f in ("counts", "in_tissue", "first_row", "first_col")), {})
        some.cells.update({number: truth.cells[number] for number in outlined})
        files["spots"] = raw(simulate.write_outlines(folder / "cell_segmentations.geojson", some))
        if not both:
            with pytest.raises(Refusal, match="no cell in common"):
                visium_hd.read(files)
            return
        reading = visium_hd.read(files)
    assert list(reading.adata.obs_names) == [cell_id(number) for number in both]
    assert (reading.adata.X.toarray() == np.array([counts[number] for number in both])).all()
    assert reading.report["counts_without_spot"] == len(counted) - len(both)
    assert reading.report["spots_without_counts"] == len(outlined) - len(both)
    assert np.isnan(reading.adata.obs["cell_area_um2"]).all()  # nothing states the size of a pixel


# --- names ----------------------------------------------------------------------------------------


def test_a_name_is_taken_apart_in_any_dress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "NAMES_AT_ONCE", 2)
    dressed = [f"{before}s_008um_00012_00345{after}" for before in ("", "A1_") for after in ("", "-1", "_2", "-1_3")]
    found = names.take_apart("f", dressed)
    assert (found.kind, len(found)) == ("bin", 8)
    assert set(found.size_um) == {8}
    assert set(found.row) == {12}
    assert set(found.col) == {345}
    assert [found.groups[i] for i in found.group] == [
        (before, after) for before in ("", "A1_") for after in ("", "-1", "_2", "-1_3")
    ]


@settings(derandomize=True, max_examples=50, deadline=None)
@given(places=st.lists(st.tuples(st.integers(0, 99_999), st.integers(0, 99_999)), min_size=1))
def test_names_of_bins_come_back_as_they_were(places: list[tuple[int, int]]) -> None:
    row, col = (np.array(axis, dtype=np.int64) for axis in zip(*places, strict=True))
    made = names.bin_names(2, row, col).to_pylist()
    assert made == [f"s_002um_{r:05d}_{c:05d}-1" for r, c in places]
    found = names.take_apart("f", made)
    assert found.row.tolist() == row.tolist()
    assert found.col.tolist() == col.tolist()
    assert (np.argsort(found.key, kind="stable") == np.lexsort((col, row))).all()


@settings(derandomize=True, max_examples=200, deadline=None)
@given(at=st.integers(0, 20), letter=st.characters(min_codepoint=32, max_codepoint=126), other=st.booleans())
def test_plain_names_are_taken_apart_as_the_pattern_does(at: int, letter: str, other: bool) -> None:
    plain = "s_016um_00012_00345-1"
    given_names = ([plain] if other else []) + [plain[:at] + letter + plain[at + 1 :]]

    def read() -> Any:
        try:
            found = names.take_apart("f", given_names)
        except Refusal as refusal:
            return refusal.reason.split(" (")[0]
        groups = [found.groups[i] for i in found.group]
        return found.kind, found.size_um.tolist(), found.row.tolist(), found.col.tolist(), groups

    with pytest.MonkeyPatch.context() as patch:
        by_letters = read()
        patch.setattr(names, "_plain_bins", lambda block: None)
        assert read() == by_letters


def test_names_are_read_from_a_part_of_a_column() -> None:
    column = pd.Series(pd.array(names.bin_names(8, np.arange(10), np.arange(10)), dtype=pd.StringDtype("pyarrow")))
    assert names.take_apart("f", column.iloc[3:7]).row.tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("given_names", "message"),
    [
        (["AAACAACGAATAGTTC-1"], "read as the technology Visium"),
        (["s_008um_00012_00345-1", "x"], "'x' is neither a bin"),
        (["s_008um_00012_003456-1"], "is neither a bin"),
        (["s_008um_00012_00345-1", "cellid_000000001-1"], "bins and cells in one file"),
        ([], "there are no bins and no cells"),
    ],
)
def test_other_names_are_refused(given_names: list[str], message: str) -> None:
    with pytest.raises(Refusal, match=message):
        names.take_apart("f", given_names)


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (1, "cellid_000000001-1"),
        ("1", "cellid_000000001-1"),
        ("cellid_000000001", "cellid_000000001-1"),
        ("cellid_000000001-1", "cellid_000000001-1"),
    ],
)
def test_a_cell_has_the_name_of_the_matrix(cell: str | int, name: str) -> None:
    assert names.cell_name(cell) == name


# --- contradictions -------------------------------------------------------------------------------


def with_scalefactors(files: dict[str, RawFile], **others: float) -> dict[str, RawFile]:
    content = json.loads(files["scalefactors"].path.read_text()) | others
    return {**files, "scalefactors": write_text(files["scalefactors"].path, json.dumps(content))}


def test_a_bin_size_that_contradicts_the_names_is_refused(tmp_path: Path) -> None:
    files = with_scalefactors(write("square_008um", tmp_path), bin_size_um=16.0)
    with pytest.raises(Refusal, match=r"bins of several sizes.*8 um.*the scale factors: 16 um"):
        visium_hd.read(files)


def test_counts_and_positions_of_different_sizes_are_refused(tmp_path: Path) -> None:
    files = write("square_008um", tmp_path / "a")
    other = write("square_016um", tmp_path / "b")
    with pytest.raises(Refusal, match="bins of several sizes"):
        visium_hd.read({**files, "spots": other["spots"]})


def test_a_stated_pixel_size_that_contradicts_the_positions_is_refused(tmp_path: Path) -> None:
    files = write("square_008um", tmp_path)
    almost = visium_hd.read(with_scalefactors(files, microns_per_pixel=0.2738 * 1.005))
    assert almost.report["pixel_size_um_stated"] == pytest.approx(0.2738 * 1.005)
    with pytest.raises(Refusal, match=r"0\.2738 um per px, but the scale factors state 0\.3") as refusal:
        visium_hd.read(with_scalefactors(files, microns_per_pixel=0.3))
    assert refusal.value.threshold == 0.01


def changed_positions(files: dict[str, RawFile], change: Any) -> dict[str, RawFile]:
    table = pd.read_parquet(files["spots"].path)
    change(table).to_parquet(files["spots"].path, index=False)
    return files


def test_bins_that_are_not_where_their_names_say_are_refused(tmp_path: Path) -> None:
    files = write("square_008um", tmp_path)
    swapped = {"array_row": "array_col", "array_col": "array_row"}
    with pytest.raises(Refusal, match="array_row and array_col are swapped"):
        visium_hd.read(changed_positions(files, lambda table: table.rename(columns=swapped)))


def test_one_bin_elsewhere_is_refused_by_its_name(tmp_path: Path) -> None:
    def move(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[5, "array_row"] += 1000
        return table

    files = write("square_008um", tmp_path)
    with pytest.raises(Refusal, match=r"s_008um_00400_00605-1 stands at row 1400, column 605 \(1 such bins\)"):
        visium_hd.read(changed_positions(files, move))


def test_bins_twice_are_refused(tmp_path: Path) -> None:
    truth = draw_truth()
    bins = truth.bins(16)
    block = simulate.block_of(truth, [bins.names[0], bins.names[1], bins.names[0]], bins.counts[:3])
    files = write("square_016um", tmp_path)
    simulate.write_counts(tmp_path, block, name="twice", form="h5", software="")
    with pytest.raises(Refusal, match=r"twice\.h5: 1 bins come twice"):
        visium_hd.read({**files, "counts": raw(tmp_path / "twice.h5")})


def test_outlines_for_bins_and_positions_for_cells_are_refused(tmp_path: Path) -> None:
    bins, cells = write("square_016um", tmp_path / "a"), write("cells", tmp_path / "b")
    with pytest.raises(Refusal, match=r"outlines of cells for counts of bins; give tissue_positions\.parquet"):
        visium_hd.read({**bins, "spots": cells["spots"]})
    with pytest.raises(Refusal, match=r"cell_segmentations\.geojson"):
        visium_hd.read({**cells, "spots": bins["spots"]})


@pytest.mark.parametrize("content", ["[]", '{"a": 1, "microns_per_pixel": 0}', "{}", "<html>", '{"bin_size_um": null}'])
def test_bad_scale_factors_are_passed_over_and_named(content: str, tmp_path: Path) -> None:
    files = write("square_016um", tmp_path)
    bad = write_text(tmp_path / "scalefactors_json.json", content)
    report = visium_hd.read({**files, "scalefactors": bad}).report
    assert report["scalefactors"] == {}
    (note,) = report["optional_files_passed_over"]
    assert note.startswith("scalefactors_json.json: ")


def test_scale_factors_that_r_wrote_are_held_against_the_names_like_any_other(tmp_path: Path) -> None:
    files = write("square_008um", tmp_path)
    bad = write_text(tmp_path / "scalefactors_json.json", '{"bin_size_um": ["16.0"]}')
    with pytest.raises(Refusal, match="bins of several sizes"):
        visium_hd.read({**files, "scalefactors": bad})


def test_a_bad_map_of_barcodes_is_passed_over_and_named(tmp_path: Path) -> None:
    files = write("cells", tmp_path)
    report = visium_hd.read({**files, "barcode_mappings": write_text(tmp_path / "m.parquet", "PAR1garbage")}).report
    (note,) = report["optional_files_passed_over"]
    assert note.startswith("m.parquet: ")


@pytest.mark.parametrize("name", ["Total", "__no_feature", "N_unmapped"])
@pytest.mark.parametrize("layout", ["square_016um", "cells", "mex"])
def test_summaries_beside_bins_and_cells_are_left_out_and_named(layout: str, name: str, tmp_path: Path) -> None:
    files = write(layout, tmp_path)
    plain = visium_hd.read(files)
    lists = {role: files[role] for role in ("features", "barcodes") if role in files}
    matrix = read_matrix(files["counts"], **lists)
    block = Block(
        [*matrix.unit_names, name],
        np.pad(matrix.counts.toarray().astype(int), ((0, 1), (0, 1)), constant_values=9),
        [*matrix.gene_names, name],
        [*matrix.gene_ids, ""],
        [*matrix.feature_types, ""],
        ["GRCh38"] * (len(matrix.gene_names) + 1),
    )
    counts = RawFile("sums.h5", write_h5_layout_3(tmp_path / "sums.h5", block))
    found = visium_hd.read({**files, "counts": counts})
    assert found.adata.var_names.tolist() == plain.adata.var_names.tolist()
    assert found.adata.obs_names.tolist() == plain.adata.obs_names.tolist()
    assert (found.adata.X != plain.adata.X).nnz == 0
    assert found.report["summary_genes_left_out"] == found.report["summary_units_left_out"] == {name: 1}


def test_too_few_bins_for_a_fit_are_read_without_one(tmp_path: Path) -> None:
    files = changed_positions(write("square_016um", tmp_path), lambda table: table.iloc[-2:])
    report = visium_hd.read(files).report
    assert report["spots_kept"] == 2
    assert report["pixel_size_um_fitted"] is None


# --- outlines and mappings ------------------------------------------------------------------------


def geojson(*features: Any) -> str:
    return json.dumps({"type": "FeatureCollection", "features": list(features)})


def feature(number: Any, *ring: tuple[float, float]) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": [list(map(list, ring))]} if ring else None
    return {"type": "Feature", "geometry": geometry, "properties": {"cell_id": number}}


SQUARE_RING = [(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0), (0.0, 0.0)]
BOW_TIE = [(0.0, 0.0), (2.0, 2.0), (2.0, 0.0), (0.0, 3.0), (0.0, 0.0)]


def test_outlines_are_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = draw_truth()
    whole = raw(simulate.write_outlines(tmp_path / "a.geojson", truth))
    want = outlines.read_outlines(whole).table
    for size in (60, 137, 1000):
        monkeypatch.setattr(outlines, "CHARACTERS_AT_ONCE", size)
        monkeypatch.setattr(outlines, "FEATURES_AT_ONCE", 4)
        pd.testing.assert_frame_equal(outlines.read_outlines(whole).table, want)


def test_outlines_without_a_place_are_counted_and_crossing_ones_kept(tmp_path: Path) -> None:
    text = geojson(feature(3, *SQUARE_RING), feature(1), feature(2, *BOW_TIE))
    found = outlines.read_outlines(write_text(tmp_path / "a.geojson", text))
    assert found.table["spot_id"].tolist() == [cell_id(2), cell_id(3)]
    assert found.table["area_px2"].iloc[1] == 4
    assert found.report == {"outlines": 3, "outlines_empty": 1, "outlines_invalid": 1}


def test_a_cell_of_two_parts_lies_at_the_centroid_of_both(tmp_path: Path) -> None:
    shifted = [[x + 10, y] for x, y in SQUARE_RING]
    parts = {"type": "MultiPolygon", "coordinates": [[list(map(list, SQUARE_RING))], [shifted]]}
    text = geojson({"type": "Feature", "id": 7, "geometry": parts, "properties": {}})
    table = outlines.read_outlines(write_text(tmp_path / "a.geojson", text)).table
    assert table.iloc[0].tolist() == [cell_id(7), 6.0, 1.0, 8.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("{}", "no GeoJSON with features"),
        ("<html>", "no GeoJSON with features"),
        (geojson(), "there is no outline in it"),
        (geojson(feature(1, *SQUARE_RING))[:-8], "cut or damaged GeoJSON"),
        (geojson(feature(1, *SQUARE_RING), feature(1, *SQUARE_RING)), "cellid_000000001-1 is outlined twice"),
        (geojson(feature(None, *SQUARE_RING)), r"a feature without properties\.cell_id"),
        (geojson(5), r"a feature without properties\.cell_id"),
        (geojson(feature(1, (0.0, 0.0), (1.0, 1.0))), "an outline is no geometry"),
    ],
)
def test_bad_outlines_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=message) as refusal:
        outlines.read_outlines(write_text(tmp_path / "a.geojson", text))
    assert refusal.value.reason.startswith("a.geojson: ")


def test_bins_in_cells_are_counted(tmp_path: Path) -> None:
    truth = draw_truth()
    files = write("cells", tmp_path, truth)
    report = visium_hd.read(files).report
    boxes = [(r1 - r0, c1 - c0) for r0, r1, c0, c1 in truth.cells.values()]
    assert report["bins_mapped"] == 64 * 64
    assert report["bins_in_cells"] == sum(rows * columns for rows, columns in boxes)
    assert report["bins_in_nuclei"] == sum((rows - 2) * (columns - 2) for rows, columns in boxes)
    assert (report["cells_mapped"], report["cells_without_bins"]) == (len(boxes), 0)
    table = pyarrow.parquet.read_table(files["barcode_mappings"].path)
    first = cell_id(next(iter(truth.cells)))
    some = table.filter(pa.array([name != first for name in table["cell_id"].to_pylist()]))
    pyarrow.parquet.write_table(some, files["barcode_mappings"].path)
    assert visium_hd.read(files).report["cells_without_bins"] == 1


# --- the released map of bins and cells -----------------------------------------------------------


def manifest_of(folder: Path, mappings: Path | None) -> Path:
    files = [] if mappings is None else [("barcode_mappings", mappings)]
    entries = [
        {"role": role, "name": path.name, "path": str(path), "bytes": path.stat().st_size} for role, path in files
    ]
    return write_text(folder / "raw.json", json.dumps({"files": entries})).path


def test_the_map_of_bins_and_cells_is_that_of_the_truth(tmp_path: Path) -> None:
    truth = draw_truth()
    source = write("cells", tmp_path, truth)["barcode_mappings"].path
    report = mappings.write_map(manifest_of(tmp_path, source), tmp_path / "map.parquet")
    found = pd.read_parquet(tmp_path / "map.parquet")
    expected = {}
    for number, (r0, r1, c0, c1) in truth.cells.items():
        for row in range(r0, r1):
            for col in range(c0, c1):
                name = f"s_002um_{row + truth.first_row:05d}_{col + truth.first_col:05d}-1"
                expected[name] = (cell_id(number), r0 < row < r1 - 1 and c0 < col < c1 - 1)
    assert list(found) == ["bin_id", "cell_id", "in_nucleus"]
    assert dict(zip(found["bin_id"], zip(found["cell_id"], found["in_nucleus"], strict=True), strict=True)) == expected
    assert report["bins_mapped"] == 64 * 64 and report["bins_in_cells"] == len(expected) == len(found)
    assert report["bins_in_nuclei"] == sum(is_nucleus for _, is_nucleus in expected.values())
    assert report["note"] is None
    again = tmp_path / "again.parquet"
    mappings.write_map(manifest_of(tmp_path, source), again)
    assert again.read_bytes() == (tmp_path / "map.parquet").read_bytes()


@pytest.mark.parametrize("what", ["absent", "cut", "other columns"])
def test_without_a_good_map_the_table_is_empty_and_says_why(what: str, tmp_path: Path) -> None:
    source = write("cells", tmp_path)["barcode_mappings"].path
    if what == "cut":
        source.write_bytes(source.read_bytes()[:-100])
    elif what == "other columns":
        pyarrow.parquet.write_table(pa.table({"cell_id": ["a"]}), source)
    report = mappings.write_map(manifest_of(tmp_path, None if what == "absent" else source), tmp_path / "map.parquet")
    assert len(pd.read_parquet(tmp_path / "map.parquet")) == report["bins_in_cells"] == 0
    assert "barcode_mappings.parquet" in report["note"]
    assert ("passed over" in report["note"]) == (what != "absent")


def test_stripes_are_measured_and_chance_is_not_taken_for_them() -> None:
    rng = np.random.default_rng(3)
    side = 400
    row, col = (axis.ravel() for axis in np.mgrid[:side, :side])
    tissue = np.hypot(row - side / 2, col - side / 2) < side / 2.2
    level = 0.6 + 0.4 * np.sin(row / 50)
    by_row, by_col = np.exp(0.15 * rng.standard_normal(side)), np.exp(0.3 * rng.standard_normal(side))
    counts = rng.poisson(level * by_row[row] * by_col[col])
    found = stripes.measure((row, col), tissue, counts)
    assert found["row_stripes"] == pytest.approx(0.15, rel=0.25)
    assert found["column_stripes"] == pytest.approx(0.3, rel=0.25)
    even = stripes.measure((row, col), tissue, rng.poisson(level))
    assert even["row_stripes"] < 0.04 and even["column_stripes"] < 0.04
    few = stripes.measure((row, col), (row < 20) & (col < 20), counts)
    assert few["row_stripes"] is None and few["column_stripes_by_chance"] is None
