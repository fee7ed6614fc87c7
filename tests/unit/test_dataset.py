"""What a sample becomes in the release, and what the release keeps and drops."""

import csv
import json
import subprocess

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
from scipy import sparse

from spotweave.dataset import describe, layout, provenance, release
from spotweave.dataset.spots import release_spots, slide_positions

HEST_COLUMNS = """
dataset_title id image_filename organ disease_state oncotree_code species patient st_technology data_publication_date
license study_link download_page_link1 inter_spot_dist spot_diameter spots_under_tissue preservation_method nb_genes
treatment_comment pixel_size_um_embedded pixel_size_um_estimated magnification fullres_px_width fullres_px_height
tissue disease_comment subseries hest_version_added
"""


ALIGNMENT = {
    "spots_to_image_scale": 0.5,
    "is_placed_by_frame": False,
    "spot_diameter_um": 100.0,
    "pixel_size_um": 0.7,
    "image_width_px": 2000,
    "image_height_px": 1000,
}


def reading():
    counts = sparse.csr_matrix(np.array([[0, 3, 1], [2, 0, 0], [0, 0, 5]], dtype=np.float32))
    obs = pd.DataFrame(
        {
            "array_col": [1, 2, 3],
            "array_row": [4, 4, 5],
            "x_px": [200.0, 600.0, 3000.0],
            "y_px": [400.0, 400.0, 800.0],
            "in_tissue": [1, 1, 0],
        },
        index=["1x4", "2x4", "3x5"],
    )
    return anndata.AnnData(X=counts, obs=obs, var=pd.DataFrame(index=["A", "B", "C"]))


def test_released_spots_are_in_slide_pixels_x_first():
    spots = release_spots(reading(), ALIGNMENT, np.ones(3), np.zeros((500, 1000, 3), np.uint8))
    np.testing.assert_array_equal(spots.obsm["spatial"], [[100, 200], [300, 200], [1500, 400]])
    np.testing.assert_array_equal(spots.obs["pxl_col_in_fullres"], [100, 300, 1500])
    np.testing.assert_array_equal(spots.obs["pxl_row_in_fullres"], [200, 200, 400])
    assert spots.obs["in_tissue"].tolist() == [True, True, False]
    assert spots.obs["total_counts"].tolist() == [4, 2, 5]
    scales = spots.uns["spatial"]["ST"]["scalefactors"]
    assert scales["spot_diameter_fullres"] == pytest.approx(100 / 0.7)
    assert scales["tissue_downscaled_fullres_scalef"] == 0.5


def test_the_released_file_is_raw_counts_that_scanpy_reads(tmp_path):
    spots = release_spots(reading(), ALIGNMENT, np.ones(3), np.zeros((500, 1000, 3), np.uint8))
    spots.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    again = scanpy.read_h5ad(tmp_path / "a.h5ad")
    assert sparse.isspmatrix_csr(again.X)
    np.testing.assert_array_equal(again.X.toarray(), reading().X.toarray())
    first = (tmp_path / "a.h5ad").read_bytes()
    spots.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    assert (tmp_path / "a.h5ad").read_bytes() == first


def test_the_table_starts_with_the_28_columns_of_hest():
    assert list(describe.COLUMNS)[:28] == HEST_COLUMNS.split()


def test_what_harmonising_names_reaches_the_released_table():
    row = {
        "sample_id": "s",
        "technology": "Visium",
        "tissue": "Rectum",
        "oncotree_code": "READ",
        "licence": "CC-BY-NC-SA-4.0",
    }
    stages = ("align_array", "assemble_sample", "build_pyramid", "segment_tissue", "extract_patches")
    line = describe.table_row(row, {stage: {} for stage in stages})
    assert list(line) == describe.columns()
    assert (line["tissue_label"], line["oncotree_tissue"]) == ("rectum", "Bowel")
    assert line["assay_label"] == "Visium Spatial Gene Expression"
    assert (line["licence_share_alike"], line["licence_redistribution"]) == ("yes", "yes")


def test_donors_that_contradict_each_other_have_a_line_for_each_sample():
    rows = {
        "b2": {"donor": "P1", "species": "Mus musculus", "cohort": "second"},
        "a1": {"donor": "P1", "species": "Homo sapiens", "cohort": "first"},
        "c3": {"donor": "P2", "species": "Homo sapiens", "cohort": "first"},
    }
    found = describe.metadata_findings(rows)
    assert [(line["sample_id"], line["cohort"], line["code"]) for line in found] == [
        ("a1", "first", "donor-of-two-species"),
        ("a1", "first", "donor-in-two-cohorts"),
        ("b2", "second", "donor-of-two-species"),
        ("b2", "second", "donor-in-two-cohorts"),
    ]
    assert found[0]["finding"] == "samples of donor P1 are of Homo sapiens and Mus musculus"
    assert all(tuple(line) == describe.FINDING_COLUMNS for line in found)
    assert found == describe.metadata_findings(dict(reversed(rows.items())))


def test_the_first_refusal_in_the_order_of_the_stages_is_the_reason():
    def record(stage, status, **more):
        return {"stage": stage, "status": status, **more}

    records = [
        record("fetch_sample", "accepted", measures={}),
        record("align_array", "refused", reason="too coarse", measured=3.2, threshold=1.15),
        record("build_pyramid", "refused", reason="later", measured=None, threshold=None),
        record("extract_patches", "passed_on"),
    ]
    assert describe.first_refusal(records) == {
        "stage": "align_array",
        "reason": "too coarse",
        "measured": 3.2,
        "threshold": 1.15,
    }
    assert describe.first_refusal(records[:1]) is None


def test_every_released_file_has_a_place_of_its_own():
    paths = layout.released("s1")
    assert len(set(paths.values())) == len(paths)
    assert all("s1" in path for path in paths.values())


def test_placing_links_and_follows_a_rebuilt_file(tmp_path):
    source, target = tmp_path / "store" / "st.h5ad", tmp_path / "st" / "s1.h5ad"
    source.parent.mkdir()
    source.write_text("one")
    release.place(source, target)
    assert target.samefile(source)
    source.unlink()
    source.write_text("two")
    release.place(source, target)
    assert target.read_text() == "two"


def test_placing_copies_where_links_are_impossible(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError("cross-device link")

    monkeypatch.setattr(release.os, "link", no_links)
    (tmp_path / "a").write_text("content")
    release.place(tmp_path / "a", tmp_path / "st" / "b")
    assert (tmp_path / "st" / "b").read_text() == "content"


def test_only_files_of_no_accepted_sample_are_left_over(tmp_path):
    for name in ("st/s1.h5ad", "st/gone.h5ad", "wsis/gone.tif", "benchmark/x.csv", "samples/gone/st.h5ad"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = release.leftovers(tmp_path, ["st/s1.h5ad"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["st/gone.h5ad", "wsis/gone.tif"]


def test_the_manifest_is_what_sha256sum_checks(tmp_path):
    (tmp_path / "b.txt").write_text("b")
    (tmp_path / "a.txt").write_text("a")
    hashes = {name: release_hash(tmp_path / name) for name in ("b.txt", "a.txt")}
    release.write_manifest(tmp_path / "MANIFEST.sha256", hashes)
    checked = subprocess.run(
        ["sha256sum", "--check", "MANIFEST.sha256"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert checked.stdout.split() == ["a.txt:", "OK", "b.txt:", "OK"]


def release_hash(path):
    return subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]


def test_an_empty_quarantine_still_has_its_header(tmp_path):
    release.write_table(tmp_path / "quarantine.csv", [], release.QUARANTINE_COLUMNS)
    with open(tmp_path / "quarantine.csv") as handle:
        assert next(csv.reader(handle)) == ["sample_id", "stage", "reason", "measured", "threshold"]


def test_spots_that_the_frame_places_lie_by_column_along_x_and_by_row_along_y():
    spots = pd.DataFrame({"array_row": [0, 0, 3], "array_col": [0, 2, 1], "x_px": np.nan, "y_px": np.nan})
    matrix = [[0.5, 0.0, 10.0], [0.0, 0.5, 20.0], [0, 0, 1]]
    alignment = {"is_placed_by_frame": True, "matrix": matrix, "array_pitch_um": [50.0, 87.0]}
    np.testing.assert_allclose(slide_positions(spots, alignment), [[10, 20], [60, 20], [35, 20 + 3 * 43.5]])


def test_where_raw_files_lay_on_the_machine_that_built_is_not_released(tmp_path):
    entry = {"role": "counts", "name": "a.h5", "location": "https://x.invalid/a.h5", "bytes": 3, "sha256": "ab"}
    manifest = {"sample": "s", "files": [{**entry, "path": "/home/somebody/a.h5"}]}
    (tmp_path / "raw.json").write_text(json.dumps(manifest))
    assert provenance.describe_raw(tmp_path / "raw.json") == [entry]
    (tmp_path / "raw.json").write_text("")
    assert provenance.describe_raw(tmp_path / "raw.json") == []


@pytest.mark.parametrize(("licence", "told"), [("CC-BY-4.0", "CC-BY-4.0"), (None, "unspecified"), ("", "unspecified")])
def test_a_licence_that_nobody_states_is_said_to_be_unspecified(licence, told):
    records = [{"stage": "fetch_sample", "code": "abc"}, {"stage": "align_array"}]
    origin = provenance.describe_origin([], {}, records, {}, licence)
    assert origin["licence"] == told
    assert origin["code"] == {"fetch_sample": "abc", "align_array": None}
