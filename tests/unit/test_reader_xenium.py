"""The Xenium reader and the files of a bundle, against simulated bundles of every version and real fragments."""

from __future__ import annotations

import gzip
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from real_data import DATA, NOT_HERE
from spotweave.deposits import arrow_tables
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices.read import read_matrix
from spotweave.matrices.reading import Reading
from spotweave.readers.xenium import read as xenium
from spotweave.simulate import xenium as simulate
from spotweave.simulate.count_files import Block, write_h5_layout_3
from spotweave.simulate.xenium import Truth, draw_truth
from spotweave.simulate.xenium_files import matrix_block, write_alignment, write_keypoints, write_table
from spotweave.simulate.xenium_layouts import VARIANTS, Variant
from spotweave.xenium import transcripts
from spotweave.xenium.alignment import read_he_alignment
from spotweave.xenium.boundaries import read_boundaries
from spotweave.xenium.cells import read_cells
from spotweave.xenium.experiment import read_experiment
from spotweave.xenium.features import control_kind

FRAGMENTS = DATA / "xenium_fragments"
needs_fragments = pytest.mark.skipif(not FRAGMENTS.exists(), reason=f"{NOT_HERE}{FRAGMENTS}")
every_variant = pytest.mark.parametrize("name", sorted(VARIANTS))


def raw(path: Path) -> RawFile:
    return RawFile(path.name, path)


def write(name: str, folder: Path, truth: Truth | None = None) -> dict[str, RawFile]:
    return {role: raw(path) for role, path in VARIANTS[name].write(folder, truth or draw_truth()).items()}


def simulated_sample(folder: Path) -> dict[str, RawFile]:
    return write("xoa_3_0", folder)


def write_text(path: Path, *lines: str) -> RawFile:
    path.write_text("".join(f"{line}\n" for line in lines))
    return raw(path)


def rewrite(file: RawFile, change: Any) -> None:
    """Put a changed table in the place of a parquet file."""
    pyarrow.parquet.write_table(change(pyarrow.parquet.read_table(file.path)), file.path)


def expected_obs(truth: Truth, names: list[str]) -> pd.DataFrame:
    obs = pd.DataFrame(
        {
            "x_um": truth.xy_um[:, 0],
            "y_um": truth.xy_um[:, 1],
            "x_px": truth.xy_um[:, 0] / 0.2125,
            "y_px": truth.xy_um[:, 1] / 0.2125,
            "in_tissue": np.ones(len(names), dtype=np.int64),
            "cell_area_um2": truth.cell_area_um2,
            "nucleus_area_um2": truth.nucleus_area_um2,
        },
        index=pd.Index(names, dtype=object),
    )
    return obs.loc[sorted(names)]


def assert_same(reading: Reading, truth: Truth, variant: Variant) -> None:
    names = variant.names(truth)
    order = np.argsort(np.array(names))
    adata = reading.adata
    pd.testing.assert_frame_equal(adata.obs, expected_obs(truth, names), check_exact=True, check_index_type=False)
    assert list(adata.var_names) == truth.genes
    assert list(adata.var["gene_id"]) == truth.gene_ids
    assert (adata.X.toarray() == truth.counts[order]).all()
    assert list(reading.spots["spot_id"]) == sorted(names)
    assert (reading.spots["total_counts"].to_numpy() == truth.counts[order].sum(axis=1)).all()
    assert reading.spots["array_row"].isna().all()


# --- the reader on every layout -------------------------------------------------------------------


def test_there_are_layouts_of_every_version() -> None:
    assert len(VARIANTS) >= 12
    assert len({variant.description for variant in VARIANTS.values()}) == len(VARIANTS)
    assert {variant.version.software[7:10] for variant in VARIANTS.values()} >= {"1.0", "1.3", "2.0", "3.0", "4.0"}


@every_variant
def test_every_layout_is_read_to_the_same_cells_and_counts(name: str, tmp_path: Path) -> None:
    truth = draw_truth(3)
    reading = xenium.read(write(name, tmp_path, truth))
    assert_same(reading, truth, VARIANTS[name])
    report = reading.report
    assert report["total_counts"] == truth.counts.sum()
    assert sum(report["controls_left_out"].values()) == len(VARIANTS[name].version.controls)
    assert report["cells_with_other_sum"] == 0
    assert report["cells_without_nucleus"] == 2
    assert report["zero_spots"] == (truth.counts.sum(axis=1) == 0).sum() >= 1
    assert report["pixel_size_um"] == 0.2125
    assert report["panel"]["organism"] == "Human"


@every_variant
def test_every_layout_has_the_same_transcripts(name: str, tmp_path: Path) -> None:
    truth = draw_truth(4)
    variant = VARIANTS[name]
    files = write(name, tmp_path, truth)
    with transcripts.stream(files["transcripts"]) as stream:
        batches = list(stream)
    found = pa.Table.from_batches(batches).to_pandas()
    calls = simulate.calls_of(truth, variant.version)
    want = calls[(calls["control"] == "") & (calls["qv"] >= 20)].reset_index(drop=True)
    names = variant.names(truth)
    assert found["feature_name"].tolist() == want["feature"].tolist()
    assert (found[["x_um", "y_um", "z_um", "qv"]].to_numpy() == want[["x", "y", "z", "qv"]].to_numpy()).all()
    assert found["cell_id"].tolist() == [names[cell - 1] if cell else None for cell in want["cell"]]
    assert found["overlaps_nucleus"].tolist() == want["in_nucleus"].tolist()
    tally = stream.tally
    assert tally.rows == len(calls) == tally.kept + tally.low_quality + tally.controls.total() + tally.no_position
    assert tally.low_quality == ((calls["control"] == "") & (calls["qv"] < 20)).sum()
    controls = calls[calls["control"] != ""]
    assert tally.controls.total() == len(controls)
    assert tally.controls_of_quality.total() == (controls["qv"] >= 20).sum()
    assert tally.outside_cells == (want["cell"] == 0).sum()
    assert tally.in_nuclei == want["in_nucleus"].sum()


@every_variant
def test_the_stream_adds_up_to_the_vendors_count_matrix(name: str, tmp_path: Path) -> None:
    files = write(name, tmp_path)
    adata = xenium.read(files).adata
    with transcripts.stream(files["transcripts"]) as stream:
        calls = pa.Table.from_batches(stream).to_pandas().dropna(subset="cell_id")
    summed = np.zeros(adata.shape)
    places = adata.obs_names.get_indexer(calls["cell_id"]), adata.var_names.get_indexer(calls["feature_name"])
    np.add.at(summed, places, 1)
    assert (summed == adata.X.toarray()).all()


@every_variant
def test_every_layout_has_the_same_outlines(name: str, tmp_path: Path) -> None:
    truth = draw_truth(5)
    variant = VARIANTS[name]
    files = write(name, tmp_path, truth)
    names = variant.names(truth)
    for what in ("cell", "nucleus"):
        want = truth.outlines(what)
        found = read_boundaries(files[f"{what}_boundaries"])
        assert found.cell_id.tolist() == [names[number - 1] for number, _ in want]
        assert shapely.equals(found.polygons, [shapely.Polygon(ring) for _, ring in want]).all()
        assert found.report["polygons_degenerate"] == found.report["polygons_invalid"] == 0
        twins = int((truth.nuclei == 2).sum()) if what == "nucleus" else 0
        assert found.report["cells_with_several_polygons"] == twins
        assert found.report["polygons_split"] == (0 if variant.version.has_labels else twins)
        assert (found.label_id is not None) == variant.version.has_labels


@every_variant
def test_every_alignment_puts_the_cells_where_they_are_on_the_slide(name: str, tmp_path: Path) -> None:
    truth = draw_truth(6)
    files = write(name, tmp_path, truth)
    if "alignment" not in files:
        assert xenium.read(files).report["alignment_kind"] is None
        return
    alignment = read_he_alignment(files["alignment"])
    adata = xenium.read(files).adata
    found = alignment.um_to_he(adata.obs[["x_um", "y_um"]].to_numpy(), 0.2125)
    want = truth.he_xy_px[np.argsort(np.array(VARIANTS[name].names(truth)))]
    assert np.abs(found - want).max() < 1e-6
    assert np.abs(adata.obs[["x_px", "y_px"]].to_numpy() - want).max() > 100  # the frame of DAPI, and said to be it
    assert alignment.he_pixel_size_um(0.2125) == pytest.approx(0.34)
    assert alignment.mirrored


def test_the_versions_of_the_bundle_and_of_a_new_segmentation_are_told_apart(tmp_path: Path) -> None:
    plain = xenium.read(write("xoa_2_0", tmp_path / "a")).report
    again = xenium.read(write("segmented_again", tmp_path / "b")).report
    assert (plain["xoa_version"], plain["xenium_ranger_version"], plain["segmented_again"]) == ("2.0.0.6", "", False)
    assert (again["xoa_version"], again["xenium_ranger_version"]) == ("2.0.0.6", "3.1.0.4")
    assert again["segmented_again"]
    assert read_experiment(write("segmented_again", tmp_path / "c")["experiment"]).version == "3.1.0.4"
    assert read_experiment(write("xoa_1_0", tmp_path / "d")["experiment"]).version == "1.0.1"


@pytest.mark.parametrize(
    ("content", "version", "stated", "again"),
    [
        ({"analysis_sw_version": "R&D", "major_version": 4, "minor_version": 0}, "4.0", "R&D", False),
        ({"analysis_sw_version": "R&D"}, "", "R&D", False),
        ({"analysis_sw_version": None}, "", "", False),
        ({"analysis_sw_version": "xenium-3.1.0.1", "xenium_ranger": {"version": "R&D"}}, "3.1.0.1", None, True),
        ({"analysis_sw_version": "R&D", "xenium_ranger": "xeniumranger-4.0.1"}, "4.0.1", "R&D", True),
    ],
)
def test_a_version_without_a_number_is_told_as_far_as_it_can_be(
    content: dict[str, Any], version: str, stated: str | None, again: bool, tmp_path: Path
) -> None:
    found = read_experiment(write_text(tmp_path / "experiment.xenium", json.dumps({"pixel_size": 0.2125, **content})))
    assert (found.version, found.segmented_again) == (version, again)
    assert found.onboard_stated == (content["analysis_sw_version"] if stated is None else stated)


@pytest.mark.parametrize("size", ["0.2125", "0,2125", [0.2125], ["0.2125"]])
def test_a_pixel_size_that_r_wrote_is_read(size: Any, tmp_path: Path) -> None:
    file = write_text(tmp_path / "experiment.xenium", json.dumps({"pixel_size": size}))
    assert read_experiment(file).pixel_size_um == 0.2125


@pytest.mark.parametrize("name", ["Total", "__no_feature", "N_unmapped"])
def test_a_bundle_of_research_software_with_summaries_is_read_to_the_same_cells(name: str, tmp_path: Path) -> None:
    truth = simulate.draw_truth()
    variant = VARIANTS["xoa_4_0"]
    files = {role: raw(path) for role, path in variant.write(tmp_path, truth).items()}
    plain = xenium.read(files)
    content = json.loads(files["experiment"].path.read_text())
    write_text(files["experiment"].path, json.dumps({**content, "analysis_sw_version": "R&D"}))
    block = matrix_block(truth, variant.version)
    with_sums = replace(
        block,
        units=[*block.units, name],
        names=[*block.names, name],
        ids=[*block.ids, ""],
        types=[*block.types, ""],
        genomes=[*block.genomes, ""],
        counts=np.pad(block.counts, ((0, 1), (0, 1)), constant_values=9),
    )
    found = xenium.read({**files, "counts": raw(write_h5_layout_3(tmp_path / "sums.h5", with_sums))})
    assert found.adata.var_names.tolist() == plain.adata.var_names.tolist()
    assert (found.adata.X != plain.adata.X).nnz == 0
    assert found.report["xoa_version"] == "4.0"
    assert found.report["summary_genes_left_out"] == found.report["summary_units_left_out"] == {name: 1}
    assert found.report["controls_left_out"] == plain.report["controls_left_out"]


def test_controls_are_counted_by_kind_and_as_a_share(tmp_path: Path) -> None:
    truth = draw_truth()
    report = xenium.read(write("xoa_3_0", tmp_path, truth)).report
    good = truth.transcripts[(truth.transcripts["qv"] >= 20) & (truth.transcripts["cell"] > 0)]
    good = good[~good["control"].isin(["antisense", "blank"])]  # which this version does not have
    by_kind = good["control"].value_counts()
    assert report["control_counts"] == {
        "control_probe_counts": by_kind["probe"],
        "control_codeword_counts": by_kind["codeword"],
        "genomic_control_counts": by_kind["genomic"],
        "unassigned_codeword_counts": by_kind["unassigned"],
        "deprecated_codeword_counts": by_kind["deprecated"],
    }
    assert report["control_rate"] == pytest.approx((by_kind["probe"] + by_kind["codeword"]) / len(good))
    assert report["controls_left_out"] == {
        "Deprecated Codeword": 1,
        "Genomic Control": 1,
        "Negative Control Codeword": 1,
        "Negative Control Probe": 1,
        "Unassigned Codeword": 1,
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NegControlProbe_00042", "negative_control_probe"),
        ("NegControlProbe-00042", "negative_control_probe"),
        ("NegControlCodeword_0500", "negative_control_codeword"),
        ("antisense_PROKR2", "antisense_control"),
        ("BLANK_0069", "blank_codeword"),
        ("UnassignedCodeword_0037", "unassigned_codeword"),
        ("DeprecatedCodeword_0321", "deprecated_codeword"),
        ("Intergenic_Region_2124", "genomic_control_probe"),
        ("GenomicControl_1", "genomic_control_probe"),
        ("ACTB", None),
        ("HLA-A", None),
        ("BLANK1", None),
        ("NEGR1", None),
    ],
)
def test_a_control_is_known_by_its_name(name: str, kind: str | None) -> None:
    assert control_kind(name) == kind


# --- the join -------------------------------------------------------------------------------------


@settings(derandomize=True, max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), data=st.data())
def test_shuffled_missing_and_additional_cells_never_move_counts(seed: int, data: st.DataObject) -> None:
    truth = draw_truth(seed % 5)
    variant = VARIANTS[data.draw(st.sampled_from(["xoa_1_0", "xoa_3_0"]))]
    number = len(truth.numbers)
    filed = data.draw(st.permutations(range(number)))
    dropped = data.draw(st.integers(0, number - 1))
    absent = set(data.draw(st.lists(st.integers(0, number - 1), max_size=5)))
    with tempfile.TemporaryDirectory() as folder:
        files = {role: raw(path) for role, path in variant.write(Path(folder), truth).items()}
        in_table = [i for i in filed if i not in absent]
        if not in_table:
            return
        rewrite(files["cells"], lambda table: table.take(pa.array(in_table)))
        block = matrix_block(truth, variant.version)
        rows = [i for i in reversed(filed) if i != dropped]
        units = [*(block.units[i] for i in rows), "999999"]
        counts = np.vstack([block.counts[rows], block.counts[:1] + 5])
        write_h5_layout_3(files["counts"].path, Block(units, counts, *_rest(block)))
        reading = xenium.read(files)
    names = variant.names(truth)
    kept = sorted((i for i in in_table if i != dropped), key=lambda i: names[i])
    assert list(reading.adata.obs_names) == [names[i] for i in kept]
    assert (reading.adata.X.toarray() == truth.counts[kept]).all()
    assert (reading.adata.obs[["x_um", "y_um"]].to_numpy() == truth.xy_um[kept]).all()
    report = reading.report
    assert report["spots_without_counts"] == (dropped in in_table)
    assert report["counts_without_spot"] == len(units) - len(kept)
    assert report["rows_in_spots"] == len(in_table)


def _rest(block: Block) -> tuple[Any, ...]:
    return block.names, block.ids, block.types, block.genomes


def test_counts_of_another_segmentation_are_refused_though_the_names_join(tmp_path: Path) -> None:
    files = write("xoa_1_0", tmp_path)
    other = {role: raw(path) for role, path in VARIANTS["xoa_1_0"].write(tmp_path / "b", draw_truth(99)).items()}
    with pytest.raises(Refusal, match="two segmentations") as refusal:
        xenium.read({**files, "cells": other["cells"]})
    assert refusal.value.threshold == 0.5


def test_cells_without_sums_are_joined_without_the_comparison(tmp_path: Path) -> None:
    files = write("xoa_1_0", tmp_path)
    rewrite(files["cells"], lambda table: table.select(["y_centroid", "cell_id", "x_centroid"]))
    report = xenium.read(files).report
    assert report["cells_with_other_sum"] is None
    assert report["control_rate"] is None
    assert report["cells_without_nucleus"] is None


@needs_fragments
def test_real_counts_and_cells_are_joined_whatever_their_order(tmp_path: Path) -> None:
    filed = pd.read_csv(FRAGMENTS / "xenium_data_coords.csv", index_col=0)
    filed_counts = pd.read_csv(FRAGMENTS / "xenium_data_counts.csv.gz", index_col=0)
    genes = list(filed_counts.columns)
    types = ["Gene Expression"] * len(genes)
    block = Block(list(filed_counts.index), filed_counts.to_numpy(), genes, genes, types, types)
    shuffled = filed.sample(frac=1, random_state=0)
    cells = pd.DataFrame({"cell_id": shuffled.index, "x_centroid": shuffled["x"], "y_centroid": shuffled["y_img"]})
    cells.to_csv(tmp_path / "cells.csv", index=False)
    files = {
        "counts": raw(write_h5_layout_3(tmp_path / "cell_feature_matrix.h5", block)),
        "cells": raw(tmp_path / "cells.csv"),
        "experiment": write_text(tmp_path / "experiment.xenium", '{"pixel_size": 0.2125}'),
    }
    adata = xenium.read(files).adata
    assert adata.shape == (2189, 313)
    assert (adata.X.toarray() == filed_counts.loc[adata.obs_names, adata.var_names].to_numpy()).all()
    assert (adata.obs["y_um"] == filed.loc[adata.obs_names, "y_img"]).all()


# --- transcripts ----------------------------------------------------------------------------------


@needs_fragments
def test_real_transcripts_are_sorted_out_as_by_hand() -> None:
    table = pd.read_parquet(FRAGMENTS / "transcripts.parquet")
    with transcripts.stream(raw(FRAGMENTS / "transcripts.parquet")) as stream:
        kept = sum(len(batch) for batch in stream)
    is_control = table["feature_name"].str.startswith(("NegControl", "BLANK_", "antisense_"))
    assert stream.tally.rows == 10_000
    assert kept == stream.tally.kept == (~is_control & (table["qv"] >= 20)).sum()
    assert dict(stream.tally.controls) == {
        "negative_control_codeword": 11,
        "blank_codeword": 10,
        "negative_control_probe": 4,
    }
    assert stream.tally.outside_cells == (~is_control & (table["qv"] >= 20) & (table["cell_id"] == "UNASSIGNED")).sum()


def transcript_file(path: Path, **columns: Any) -> RawFile:
    number = len(next(iter(columns.values())))
    base = {"feature_name": ["ACTB"] * number, "x_location": [1.0] * number, "y_location": [2.0] * number}
    pyarrow.parquet.write_table(pa.table({**base, "qv": [40.0] * number, **columns}), path)
    return raw(path)


def kept_names(file: RawFile, **options: Any) -> list[str]:
    with transcripts.stream(file, **options) as stream:
        return [name for batch in stream for name in batch.column("feature_name").to_pylist()]


def test_a_feature_is_a_gene_only_if_no_rule_speaks_against_it(tmp_path: Path) -> None:
    file = transcript_file(
        tmp_path / "t.parquet",
        feature_name=["A", "B", "C", "D", "BLANK_1", "E"],
        codeword_category=["predesigned_gene", "custom_gene", "unassigned_codeword", *["predesigned_gene"] * 2, None],
        is_gene=[True, True, True, False, True, None],
    )
    assert kept_names(file) == ["A", "B", "E"]
    with transcripts.stream(file) as stream:
        list(stream)
    assert stream.tally.controls == {"unassigned_codeword": 1, "other_control": 1, "blank_codeword": 1}


def test_the_limit_of_quality_is_kept_itself_and_can_be_set(tmp_path: Path) -> None:
    file = transcript_file(tmp_path / "t.parquet", feature_name=list("ABCD"), qv=[19.999, 20.0, 40.0, float("nan")])
    assert kept_names(file) == ["B", "C"]
    assert kept_names(file, min_qv=40) == ["C"]
    assert kept_names(file, min_qv=0) == ["A", "B", "C"]


def test_calls_without_a_place_are_left_out_and_counted(tmp_path: Path) -> None:
    file = transcript_file(tmp_path / "t.parquet", x_location=[1.0, None, float("inf"), 4.0])
    with transcripts.stream(file) as stream:
        assert sum(len(batch) for batch in stream) == 2
    assert stream.tally.no_position == 2


@pytest.mark.parametrize("kind", ["dictionary", "binary", "large_string"])
def test_names_of_features_may_be_bytes_or_categories(kind: str, tmp_path: Path) -> None:
    names = pa.array(["ACTB", "BLANK_0001"])
    column = {
        "dictionary": names.dictionary_encode(),
        "binary": names.cast(pa.binary()),
        "large_string": names.cast(pa.large_string()),
    }[kind]
    assert kept_names(transcript_file(tmp_path / "t.parquet", feature_name=column)) == ["ACTB"]


def test_a_large_file_is_read_in_batches_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_tables, "ROWS_AT_ONCE", 1000)
    monkeypatch.setattr(arrow_tables, "BYTES_AT_ONCE", 1 << 16)
    number = 20_000
    table = pa.table(
        {
            "feature_name": [f"GENE{i % 7}" for i in range(number)],
            "x_location": np.arange(number, dtype=np.float64),
            "y_location": np.arange(number, dtype=np.float64),
            "qv": np.full(number, 40.0),
        }
    )
    for name in ("t.parquet", "t.csv.gz"):
        write_table(tmp_path / name, table)
        with transcripts.stream(raw(tmp_path / name)) as stream:
            batches = list(stream)
        assert max(map(len, batches)) < number / 5
        assert np.concatenate([batch.column("x_um") for batch in batches]).tolist() == list(range(number))


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["A", "B", "BLANK_1", "NegControlProbe_2", "antisense_X"]),
            st.sampled_from([0.0, 19.9, 20.0, 40.0]),
            st.sampled_from(["UNASSIGNED", "aaaaaaab-1", "aaaaaaac-1"]),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_every_call_is_either_kept_or_counted(rows: list[tuple[str, float, str]]) -> None:
    names, qv, cells = (list(column) for column in zip(*rows, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        file = transcript_file(Path(folder) / "t.parquet", feature_name=names, qv=qv, cell_id=cells)
        with transcripts.stream(file) as stream:
            kept = [row for batch in stream for row in batch.to_pylist()]
    want = [row for row in rows if row[0] in "AB" and row[1] >= 20]
    assert [(row["feature_name"], row["qv"], row["cell_id"] or "UNASSIGNED") for row in kept] == want
    tally = stream.tally
    assert tally.rows == len(rows) == tally.kept + tally.low_quality + tally.controls.total()
    assert tally.kept == tally.in_cells + tally.outside_cells


def test_a_fault_of_the_caller_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    file = transcript_file(tmp_path / "t.parquet", qv=[40.0])
    with pytest.raises(OSError, match="disk full"), transcripts.stream(file) as stream:
        for _ in stream:
            raise OSError("disk full")


# --- outlines -------------------------------------------------------------------------------------


@needs_fragments
def test_real_nuclei_are_one_valid_polygon_each() -> None:
    filed = pd.read_parquet(FRAGMENTS / "nucleus_boundaries.parquet")
    found = read_boundaries(raw(FRAGMENTS / "nucleus_boundaries.parquet"))
    assert len(found.polygons) == filed["cell_id"].nunique() == 135
    assert found.report["polygons_split"] == found.report["polygons_degenerate"] == 0
    first = filed[filed["cell_id"] == found.cell_id[0]]
    assert found.polygons[0].equals(shapely.Polygon(first[["vertex_x", "vertex_y"]].to_numpy(dtype=np.float64)))


@needs_fragments
def test_real_nuclei_run_together_are_taken_apart_again(tmp_path: Path) -> None:
    filed = pyarrow.parquet.read_table(FRAGMENTS / "nucleus_boundaries.parquet")
    ids = filed["cell_id"].to_pylist()
    pairs = pa.array([ids[i - i % 26] for i in range(len(ids))])  # 13 vertices each, so two nuclei a cell
    merged = filed.set_column(0, "cell_id", pairs)
    pyarrow.parquet.write_table(merged, tmp_path / "n.parquet")
    whole, found = (read_boundaries(raw(p)) for p in (FRAGMENTS / "nucleus_boundaries.parquet", tmp_path / "n.parquet"))
    assert shapely.equals(whole.polygons, found.polygons).all()
    assert found.report["polygons_split"] == 67
    assert found.report["cells_with_several_polygons"] == 67


def boundary_file(path: Path, rings: list[tuple[str, list[tuple[float, float]]]], **columns: Any) -> RawFile:
    owners = [cell for cell, ring in rings for _ in ring]
    xy = [vertex for _, ring in rings for vertex in ring]
    x, y = zip(*xy, strict=True)
    pyarrow.parquet.write_table(pa.table({"cell_id": owners, "vertex_x": x, "vertex_y": y, **columns}), path)
    return raw(path)


def test_degenerate_and_crossing_outlines_are_counted(tmp_path: Path) -> None:
    square = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0)]
    bow_tie = [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)]
    line = [(0.0, 0.0), (1.0, 0.0), (0.0, 0.0)]
    file = boundary_file(tmp_path / "b.parquet", [("a", square), ("b", bow_tie), ("c", line), ("d", square[:-1])])
    found = read_boundaries(file)
    assert found.cell_id.tolist() == ["a", "b", "d"]
    assert (found.report["polygons_invalid"], found.report["polygons_degenerate"]) == (1, 1)
    assert shapely.area(found.polygons[[0, 2]]).tolist() == [1, 1]


def test_a_vertex_without_a_cell_is_refused(tmp_path: Path) -> None:
    file = boundary_file(tmp_path / "b.parquet", [("UNASSIGNED", [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)])])
    with pytest.raises(Refusal, match=r"b\.parquet: 3 vertices have no cell"):
        read_boundaries(file)


# --- alignment ------------------------------------------------------------------------------------


def matrix_file(path: Path, matrix: Any) -> RawFile:
    return raw(write_alignment(path, np.asarray(matrix, dtype=np.float64)))


@pytest.mark.parametrize(
    ("matrix", "point", "rotation", "mirrored", "scale"),
    [
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], (3, 4), 0, False, 1),
        ([[2, 0, 10], [0, 2, 20], [0, 0, 1]], (16, 28), 0, False, 2),
        ([[0, -1.5, 100], [1.5, 0, 7], [0, 0, 1]], (94, 11.5), 90, False, 1.5),
        ([[0, 1.5, 100], [-1.5, 0, 7], [0, 0, 1]], (106, 2.5), -90, False, 1.5),
        ([[-1, 0, 100], [0, -1, 50], [0, 0, 1]], (97, 46), 180, False, 1),
        ([[-1, 0, 100], [0, 1, 0], [0, 0, 1]], (97, 4), 0, True, 1),
        ([[0, 1.5, 0], [1.5, 0, 0], [0, 0, 1]], (6, 4.5), -90, True, 1.5),
    ],
)
def test_turns_and_flips_are_applied_and_described(
    matrix: Any, point: tuple[float, float], rotation: float, mirrored: bool, scale: float, tmp_path: Path
) -> None:
    found = read_he_alignment(matrix_file(tmp_path / "a.csv", matrix))
    um = found.he_to_um(np.array([[3.0, 4.0]]), 0.2125)
    assert um[0] == pytest.approx(np.array(point) * 0.2125)
    assert found.um_to_he(um, 0.2125)[0] == pytest.approx((3, 4))
    assert abs(found.rotation_deg) == pytest.approx(abs(rotation))
    assert np.cos(np.deg2rad(found.rotation_deg - rotation)) == pytest.approx(1)
    assert found.mirrored is mirrored
    assert found.scale == pytest.approx(scale)
    assert found.he_pixel_size_um(0.2125) == pytest.approx(0.2125 * scale)
    assert found.anisotropy == pytest.approx(0, abs=1e-12)
    assert found.shear_deg == pytest.approx(0, abs=1e-9)


def test_the_pixel_size_is_of_both_axes_not_of_one(tmp_path: Path) -> None:
    found = read_he_alignment(matrix_file(tmp_path / "a.csv", [[2.0, 0, 0], [0, 2.1, 0], [0, 0, 1]]))
    assert found.he_pixel_size_um(0.2125) == pytest.approx(0.2125 * (2 * 2.1) ** 0.5)
    assert found.anisotropy == pytest.approx(0.05)


def test_shear_is_the_angle_between_the_axes(tmp_path: Path) -> None:
    found = read_he_alignment(matrix_file(tmp_path / "a.csv", [[1, np.tan(np.deg2rad(2)), 0], [0, 1, 0], [0, 0, 1]]))
    assert found.shear_deg == pytest.approx(-2)
    assert 0 < found.anisotropy < 0.1


def test_all_keypoints_are_fitted_not_only_three(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    matrix = simulate.he_to_dapi(88.7)
    he_px = rng.uniform(0, 20_000, (200, 2))
    file = raw(write_keypoints(tmp_path / "k.csv", matrix, he_px, error_px=5.0))
    found = read_he_alignment(file)
    corners = np.array([[0.0, 0], [20_000, 0], [20_000, 20_000], [0, 20_000]])
    true_um = np.column_stack([corners, np.ones(4)]) @ matrix.T[:, :2] * 0.2125
    assert np.abs(found.he_to_um(corners, 0.2125) - true_um).max() < 0.6
    assert found.keypoints == 200
    assert found.residual_rms_px == pytest.approx(5 * 2**0.5, rel=0.15)
    assert found.residual_max_px > 10
    only_three = raw(write_keypoints(tmp_path / "3.csv", matrix, he_px[:3], error_px=5.0))
    assert read_he_alignment(only_three).residual_max_px == pytest.approx(0, abs=1e-6)


def test_keypoint_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    rows = [(0, 0, 5, 7), (10, 0, 25, 7), (0, 10, 5, 27), (10, 10, 25, 27)]
    lines = ["alignmentY,fixedX,id,fixedY,alignmentX", *(f"{y},{X},p,{Y},{x}" for x, y, X, Y in rows)]
    found = read_he_alignment(write_text(tmp_path / "k.csv", *lines))
    assert found.matrix == pytest.approx(np.array([[2, 0, 5], [0, 2, 7], [0, 0, 1]]))


@pytest.mark.parametrize(("count", "wrong"), [(4, 2), (5, 0), (9, 8)])
def test_of_more_than_three_keypoints_a_wrong_one_is_found(count: int, wrong: int, tmp_path: Path) -> None:
    he_px = np.random.default_rng(3).uniform(0, 20_000, (count, 2))
    path = write_keypoints(tmp_path / "k.csv", simulate.he_to_dapi(2.0), he_px, error_px=5.0)
    assert read_he_alignment(raw(path)).residual_rms_px < 20
    lines = path.read_text().splitlines()
    x, *others = lines[1 + wrong].split(",")
    lines[1 + wrong] = ",".join([str(float(x) + 4_000), *others])
    with pytest.raises(Refusal, match=rf"the {count} keypoints do not agree: .* px of DAPI apart") as refusal:
        read_he_alignment(write_text(tmp_path / "k.csv", *lines))
    assert refusal.value.measured > refusal.value.threshold


def test_keypoint_files_that_went_through_a_hand_are_read(tmp_path: Path) -> None:
    he_px = np.random.default_rng(3).uniform(0, 20_000, (6, 2))
    path = write_keypoints(tmp_path / "k.csv", simulate.he_to_dapi(2.0), he_px)
    text = path.read_text()
    plain = read_he_alignment(raw(path))
    for changed in (
        "# saved by hand\n" + text,
        text.replace("\n", "\r\n"),
        text.upper(),
        text.replace(",", ";"),
        text.replace(",", "\t"),
        text + ",,,\n\n",
        "\ufeff" + text,
    ):
        path.write_bytes(changed.encode())
        found = read_he_alignment(raw(path))
        assert found.keypoints == 6
        assert found.matrix == pytest.approx(plain.matrix, abs=1e-9)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,0,0", "0,1,0"], "neither a 3 x 3 matrix nor a table of keypoints"),
        (["1,0,0", "0,1,0", "5,7,1"], "it is transposed"),
        (["1,0,5", "0,1,7", "0.01,0,1"], "it is no affine map"),
        (["1,2,0", "2,4,0", "0,0,1"], "cannot be inverted"),
        (["0,0,0", "0,0,0", "0,0,1"], "cannot be inverted"),
        (["1,0,0", "0,1.2,0", "0,0,1"], "stretches one direction 20% more"),
        (["1,0,nan", "0,1,0", "0,0,1"], "missing or infinite"),
        (["1,0,x", "0,1,0", "0,0,1"], "rows of numbers are needed"),
        (["fixedX,fixedY,alignmentX,alignmentY", "0,0,0,0", "1,1,1,1"], "2 keypoints"),
        (["fixedX,fixedY,alignmentX,alignmentY", "0,0,0,0", "1,1,1,1", "2,2,2,2"], "3 keypoints"),
        (["fixedX,fixedY,alignmentX,alignmentY"], "0 keypoints"),
        (["fixedX,fixedY,alignmentX,alignmentY", "0,0,0"], "different lengths"),
        ([""], "empty"),
    ],
)
def test_what_is_no_alignment_is_refused(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=message) as refusal:
        read_he_alignment(write_text(tmp_path / "a.csv", *lines))
    assert refusal.value.reason.startswith("a.csv: ")


# --- bad files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "no pixel_size"),
        ('{"pixel_size": "small"}', "no pixel_size"),
        ('{"pixel_size": [0.2125, 0.2125]}', "no pixel_size"),
        ('{"pixel_size": NaN}', "no pixel_size"),
        ('{"pixel_size": true}', "no pixel_size"),
        ('{"pixel_size": 212.5}', "a pixel_size of 212.5"),
        ("[]", "not the manifest"),
        ("<html>", "not JSON"),
    ],
)
def test_a_bad_manifest_is_refused(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=message):
        read_experiment(write_text(tmp_path / "experiment.xenium", content))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["cell_id,x_centroid"], "no column y_centroid"),
        (["cell_id,x_centroid,y_centroid"], "no cells"),
        (["cell_id,x_centroid,y_centroid", "a,1,2", "a,3,4"], "cell a comes twice"),
        (["cell_id,x_centroid,y_centroid", "a,1,"], "cell a has no centroid"),
        (["cell_id,x_centroid,y_centroid", ",1,2"], "no cell_id"),
        (["cell_id,x_centroid,y_centroid", "a,1,x"], "damaged"),
        (["cell_id,x_centroid,y_centroid", "a,1"], "damaged"),
        (["cell_id,cell_id,x_centroid,y_centroid", "a,b,1,2"], "two columns"),
        (["<html><body>not found"], "no column cell_id, x_centroid, y_centroid"),
    ],
)
def test_a_bad_table_of_cells_is_refused(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=message) as refusal:
        read_cells(write_text(tmp_path / "cells.csv", *lines))
    assert "cells.csv" in refusal.value.reason


@pytest.mark.parametrize("role", ["cells", "transcripts", "nucleus_boundaries"])
@pytest.mark.parametrize("variant", ["xoa_3_0", "xoa_3_0_text"])
def test_a_cut_table_is_refused_by_its_name(role: str, variant: str, tmp_path: Path) -> None:
    file = write(variant, tmp_path)[role]
    content = file.path.read_bytes()
    file.path.write_bytes(content[: len(content) // 2])
    with pytest.raises(Refusal, match=f"{role}.*damaged"):
        if role == "cells":
            read_cells(file)
        elif role == "transcripts":
            with transcripts.stream(file) as stream:
                list(stream)
        else:
            read_boundaries(file)


def test_a_packed_parquet_is_read_like_the_plain_one(tmp_path: Path) -> None:
    plain = write("xoa_3_0", tmp_path)["cells"]
    packed = tmp_path / "cells.parquet.gz"
    packed.write_bytes(gzip.compress(plain.path.read_bytes()))
    pd.testing.assert_frame_equal(read_cells(plain).table, read_cells(raw(packed)).table)


def test_a_missing_file_is_trouble_of_the_world_and_no_refusal(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_cells(raw(tmp_path / "cells.parquet"))


def test_a_zarr_archive_of_counts_is_refused_with_advice(tmp_path: Path) -> None:
    files = write("xoa_2_0", tmp_path)
    files["counts"].path.write_bytes(b"PK\x03\x04" + b"\0" * 100)
    with pytest.raises(Refusal, match=r"Zarr archive.*give cell_feature_matrix\.h5"):
        xenium.read(files)


def test_counts_and_cells_of_different_bundles_are_refused(tmp_path: Path) -> None:
    files = write("xoa_1_0", tmp_path / "a")
    with pytest.raises(Refusal, match="no cell in common"):
        xenium.read({**files, "cells": write("xoa_3_0", tmp_path / "b")["cells"]})


def test_a_matrix_of_controls_only_is_refused(tmp_path: Path) -> None:
    files = write("xoa_1_0_genes_tsv", tmp_path)
    lines = files["features"].path.read_text().splitlines()
    names = [f"ENSG0{i}\tBLANK_{i:04d}" for i in range(len(lines))]
    write_text(files["features"].path, *names)
    with pytest.raises(Refusal, match="no gene among its features"):
        xenium.read(files)


def test_genes_of_the_matrix_are_known_by_type_and_by_name(tmp_path: Path) -> None:
    files = write("xoa_1_0_genes_tsv", tmp_path)
    matrix = read_matrix(files["counts"], features=files["features"], barcodes=files["barcodes"])
    assert len(matrix.gene_names) == len(simulate.GENES) + 4  # the container cannot tell
    report = xenium.read(files).report
    assert report["controls_left_out"] == {
        "antisense_control": 1,
        "blank_codeword": 1,
        "negative_control_codeword": 1,
        "negative_control_probe": 1,
    }


def test_the_report_is_json_and_counts_what_was_left_out(tmp_path: Path) -> None:
    report = xenium.read(simulated_sample(tmp_path)).report
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["alignment_kind"] == "keypoints"
    assert report["he_pixel_size_um"] == pytest.approx(0.34)
    assert report["cell_ids"] == "text"


def test_ids_of_cells_are_those_of_the_vendor() -> None:
    assert simulate.text_id(0) == "aaaaaaaa-1"
    assert simulate.text_id(255) == "aaaaaapp-1"
    assert pc.all(pc.match_substring_regex(pa.array([simulate.text_id(i) for i in range(50)]), "^[a-p]{8}-1$")).as_py()
