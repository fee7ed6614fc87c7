"""What a sample becomes in the release, and what the release keeps and drops."""

import csv
import json
import subprocess
from fnmatch import fnmatch

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scanpy
from scipy import sparse

from spotweave.dataset import describe, layout, provenance, release
from spotweave.dataset.spots import release_spots, write
from spotweave.io import write_json, write_refused

HEST_COLUMNS = """
dataset_title id image_filename organ disease_state oncotree_code species patient st_technology data_publication_date
license study_link download_page_link1 inter_spot_dist spot_diameter spots_under_tissue preservation_method nb_genes
treatment_comment pixel_size_um_embedded pixel_size_um_estimated magnification fullres_px_width fullres_px_height
tissue disease_comment subseries hest_version_added
"""


ALIGNMENT = {
    "spot_diameter_um": 100.0,
    "pixel_size_um": 0.7,
    "image_width_px": 2000,
    "image_height_px": 1000,
}
PICTURE = np.zeros((500, 1000, 3), np.uint8)


def reading():
    counts = sparse.csr_matrix(np.array([[0, 3, 1], [2, 0, 0], [0, 0, 5]], dtype=np.float32))
    obs = pd.DataFrame(
        {
            "array_col": [1, 2, 3],
            "array_row": [4, 4, 5],
            "in_tissue": [1, 1, 0],
            "x_px": [100.0, 300.0, 1500.0],
            "y_px": [200.0, 200.0, 400.0],
            "vendor_x_px": [100.0, 300.0, 1500.0],
            "vendor_y_px": [200.0, 200.0, 400.0],
        },
        index=["1x4", "2x4", "3x5"],
    )
    return anndata.AnnData(X=counts, obs=obs, var=pd.DataFrame(index=["A", "B", "C"]))


def test_released_spots_are_in_slide_pixels_x_first():
    spots = release_spots(reading(), ALIGNMENT, np.ones(3), PICTURE)
    np.testing.assert_array_equal(spots.obsm["spatial"], [[100, 200], [300, 200], [1500, 400]])
    np.testing.assert_array_equal(spots.obs["pxl_col_in_fullres"], [100, 300, 1500])
    np.testing.assert_array_equal(spots.obs["pxl_row_in_fullres"], [200, 200, 400])
    assert spots.obs["in_tissue"].tolist() == [True, True, False]
    assert spots.obs["total_counts"].tolist() == [4, 2, 5]
    scales = spots.uns["spatial"]["ST"]["scalefactors"]
    assert scales["spot_diameter_fullres"] == pytest.approx(100 / 0.7)
    assert scales["tissue_downscaled_fullres_scalef"] == 0.5


def test_a_spot_off_the_picture_is_not_in_tissue():
    off = reading()
    off.obs["in_tissue"] = 1
    off.obs.loc["3x5", "x_px"] = 2000.0  # of a picture 2,000 px wide
    spots = release_spots(off, ALIGNMENT, np.ones(3), PICTURE)
    assert spots.obs["in_tissue"].tolist() == [True, True, False]


def test_where_other_positions_are_used_the_vendors_stay_beside_them():
    placed = reading()
    placed.obs[["x_px", "y_px"]] = [[157.0, 409.0], [307.0, 409.0], [457.0, 509.0]]
    placed.obs.loc["2x4", ["vendor_x_px", "vendor_y_px"]] = np.nan
    spots = release_spots(placed, ALIGNMENT, np.ones(3), PICTURE)
    np.testing.assert_array_equal(spots.obsm["spatial"], [[157, 409], [307, 409], [457, 509]])
    np.testing.assert_array_equal(spots.obs["vendor_pxl_col_in_fullres"], [100, np.nan, 1500])
    np.testing.assert_array_equal(spots.obs["vendor_pxl_row_in_fullres"], [200, np.nan, 400])
    placed.obs[["vendor_x_px", "vendor_y_px"]] = np.nan
    without = release_spots(placed, ALIGNMENT, np.ones(3), PICTURE)
    assert "vendor_pxl_col_in_fullres" not in without.obs
    assert "vendor_pxl_col_in_fullres" not in release_spots(reading(), ALIGNMENT, np.ones(3), PICTURE).obs


def test_units_without_an_array_are_released_without_rows_and_columns():
    cells = reading()
    cells.obs = cells.obs.drop(columns=["array_col", "array_row"])
    spots = release_spots(cells, ALIGNMENT, np.ones(3), PICTURE)
    assert not {"array_col", "array_row"} & set(spots.obs)
    np.testing.assert_array_equal(spots.obsm["spatial"], [[100, 200], [300, 200], [1500, 400]])


def test_the_released_file_is_raw_counts_that_scanpy_reads(tmp_path):
    spots = release_spots(reading(), ALIGNMENT, np.ones(3), PICTURE)
    write(tmp_path / "a.h5ad", spots)
    again = scanpy.read_h5ad(tmp_path / "a.h5ad")
    assert sparse.isspmatrix_csr(again.X)
    np.testing.assert_array_equal(again.X.toarray(), reading().X.toarray())
    first = (tmp_path / "a.h5ad").read_bytes()
    write(tmp_path / "a.h5ad", spots)
    assert (tmp_path / "a.h5ad").read_bytes() == first


def test_scanpy_plots_the_spots_on_the_picture_as_it_is_called(tmp_path):
    mpl.use("Agg")
    picture = np.random.default_rng(0).integers(0, 256, (500, 1000, 3), dtype=np.uint8)
    spots = release_spots(reading(), ALIGNMENT, np.ones(3), picture)
    write(tmp_path / "two.h5ad", spots)
    spots.write_h5ad(tmp_path / "one.h5ad", compression="gzip")
    one, two = ((tmp_path / f"{name}.h5ad").stat().st_size for name in ("one", "two"))
    assert two < 1.01 * one, "the second name is no second picture"

    released = scanpy.read_h5ad(tmp_path / "two.h5ad")
    (axes,) = scanpy.pl.spatial(released, color="total_counts", show=False)
    drawn = axes.images[0].get_array()
    np.testing.assert_array_equal(drawn, picture)
    outlines = [path.vertices for path in axes.collections[0].get_paths()]
    centres = sorted(((outline.min(axis=0) + outline.max(axis=0)) / 2).tolist() for outline in outlines)
    np.testing.assert_allclose(centres, [[50, 100], [150, 100], [750, 200]], atol=0.01)
    np.testing.assert_allclose([np.ptp(outline[:, 0]) for outline in outlines], 100 / 0.7 * 0.5, rtol=0.01)


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
    line = describe.table_row(row, {stage: {} for stage in STAGES})
    assert list(line) == describe.columns()
    assert (line["tissue_label"], line["oncotree_tissue"]) == ("rectum", "Bowel")
    assert line["assay_label"] == "Visium Spatial Gene Expression"
    assert (line["licence_share_alike"], line["licence_redistribution"]) == ("yes", "yes")


STAGES = ("align_array", "assemble_sample", "build_pyramid", "segment_tissue", "extract_patches")


def test_the_columns_stand_at_the_top_of_the_metadata_where_readers_of_hest_look(tmp_path):
    row = {"sample_id": "s1", "technology": "Visium", "donor": "d", "cohort": "c", "species": "Homo sapiens"}
    records = [{"stage": stage, "status": "accepted", "measures": {}} for stage in STAGES]
    records[0]["measures"] = {"pixel_size_um": 0.51, "pixel_size_embedded_um": None, "spot_pitch_um": 100.0}
    records[2]["measures"] = {"magnification": "20x", "width_px": 700, "height_px": 500}
    write_json(tmp_path / "s1.json", describe.sample_metadata("s1", row, records))
    found = json.loads((tmp_path / "s1.json").read_text())
    assert set(HEST_COLUMNS.split()) <= set(found)
    assert found["pixel_size_um_estimated"] == 0.51
    assert (found["id"], found["patient"], found["inter_spot_dist"]) == ("s1", "d", 100.0)
    assert (found["fullres_px_width"], found["fullres_px_height"]) == (700, 500)
    assert {column: found[column] for column in describe.columns()} == found["table"]
    assert (found["sample_id"], found["status"], found["refusal"], found["row"]) == ("s1", "accepted", None, row)
    # No column hides what stands beside them.
    own = {"sample_id", "status", "refusal", "row", "measured", "harmonised", "table"}
    assert set(found) == own | set(describe.columns())
    assert not own & set(describe.columns())


def test_the_metadata_of_a_refused_sample_have_its_reason_and_no_columns():
    refused = {"stage": "align_array", "status": "refused", "reason": "coarse", "measured": 3.2, "threshold": 1.15}
    found = describe.sample_metadata("s1", {"sample_id": "s1"}, [refused, {"stage": "later", "status": "passed_on"}])
    assert (found["status"], found["table"], found["measured"]) == ("refused", None, {})
    assert found["refusal"]["reason"] == "coarse"
    assert "pixel_size_um_estimated" not in found


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


def test_what_a_model_could_not_make_is_not_released():
    def record(stage, **measures):
        return {"stage": stage, "status": "accepted", "measures": measures}

    records = [
        record("segment_nuclei", model="classical", nuclei=0, note=None),
        record("segment_nuclei", model="cellvit-256", nuclei=None, note="too coarse"),
        record("explore_biomarkers", pairs=0, note="too few"),
    ]
    names = ["st.h5ad", "nuclei/classical.parquet", "nuclei/cellvit-256.jpg", "biomarkers.parquet"]
    assert describe.empty_files(records, names) == {"nuclei/cellvit-256.jpg", "biomarkers.parquet"}
    assert describe.empty_files(records[:1], names) == set()


OF_A_MODEL = (".parquet", ".geojson", ".jpg", "_spots.parquet", "_cells.parquet")


def test_only_what_cellvit_made_has_its_name():
    assert layout.released("s1", "nuclei/cellvit-sam-h.geojson") == "cellvit_seg/s1_cellvit_seg.geojson"
    assert layout.released("s1", "nuclei/classical.parquet") == "nuclei_seg/s1_classical.parquet"
    made = {ending: layout.released("s1", f"nuclei/cellvitlike{ending}") for ending in OF_A_MODEL}
    assert not any("cellvit_seg" in path for path in made.values())
    assert {layout.model_of(f"nuclei/cellvit-256{ending}") for ending in OF_A_MODEL} == {"cellvit-256"}
    assert layout.model_of("pools/square_100um.h5ad") is None


def test_every_released_file_has_a_place_of_its_own():
    names = [*layout.RELEASE, "pools/square_100um.h5ad", "pools/hest_100um.h5ad", "patches_more/55um_224px.h5"]
    names += [f"nuclei/{model}{ending}" for model in ("cellvit-256", "classical") for ending in OF_A_MODEL]
    paths = {name: layout.released("s1", name) for name in names}
    assert paths.pop("st_nuclei.h5ad") == paths["st.h5ad"]  # one or the other
    assert len(set(paths.values())) == len(paths)
    folders = {path.partition("/")[0] for path in paths.values()}
    assert all("s1" in path for path in paths.values())
    assert all(any(fnmatch(folder, pattern) for pattern in layout.FOLDERS) for folder in folders)
    stores = [layout.store_name(("results", "x", "samples", "s1", *name.split("/"))) for name in names]
    assert stores == names


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


def test_where_raw_files_lay_on_the_machine_that_built_is_not_released(tmp_path):
    entry = {"role": "counts", "name": "a.h5", "location": "https://x.invalid/a.h5", "bytes": 3, "sha256": "ab"}
    manifest = {"sample": "s", "files": [{**entry, "path": "/home/somebody/a.h5"}]}
    (tmp_path / "raw.json").write_text(json.dumps(manifest))
    assert provenance.describe_raw(tmp_path / "raw.json") == [entry]
    write_refused(tmp_path / "raw.json")
    assert provenance.describe_raw(tmp_path / "raw.json") == []


@pytest.mark.parametrize(("licence", "told"), [("CC-BY-4.0", "CC-BY-4.0"), (None, "unspecified"), ("", "unspecified")])
def test_a_licence_that_nobody_states_is_said_to_be_unspecified(licence, told):
    records = [{"stage": "fetch_sample", "code": "abc"}, {"stage": "align_array"}]
    origin = provenance.describe_origin([], {}, records, {}, licence)
    assert origin["licence"] == told
    assert origin["code"] == {"fetch_sample": "abc", "align_array": None}
