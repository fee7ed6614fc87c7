"""Every technology from a folder or an accession through the workflow, and what a choice of rows builds."""

import csv
import json

import pytest
from PIL import Image

from project import SMALL, Project
from spotweave.simulate import visium_hd, xenium
from spotweave.simulate.xenium_layouts import VARIANTS

COLUMNS = ["sample_id", "donor", "dataset_title", "technology", "species", "organ", "licence", "source", "accession"]
CONFIG = {
    **SMALL,
    "cohorts": ["config/cohorts/demo.csv", "config/cohorts/demo_visium.csv", "config/cohorts/more.csv"],
    "tasks": [],
    "encoders": [],
}


@pytest.fixture(scope="module")
def ingested(tmp_path_factory, deposit):
    """The demo's Visium sample by its accession, and folders of Visium HD and Xenium."""
    project = Project(tmp_path_factory.mktemp("ingested"), deposit, CONFIG)
    raw = tmp_path_factory.mktemp("deposits") / "my data! 100%20"  # a path is written as it is
    raw.mkdir()
    written = {"xe1": "Xenium", "hd1": "Visium HD", "empty1": "Visium"}
    rows = []
    for sample, technology in written.items():
        (raw / sample).mkdir()
        row = {"sample_id": sample, "donor": sample, "dataset_title": "T", "technology": technology}
        row |= {"species": "Homo sapiens", "organ": "Breast", "source": "file", "accession": str(raw / sample)}
        rows.append({**row, "licence": "CC-BY-NC-4.0" if sample == "empty1" else "CC-BY-4.0"})
    VARIANTS["xoa_2_0"].write(raw / "xe1", xenium.draw_truth())
    visium_hd.VARIANTS["square_016um"].write(raw / "hd1", visium_hd.draw_truth())
    (raw / "xe1").rename(raw / "elsewhere")  # and links are followed
    (raw / "xe1").mkdir()
    (raw / "xe1/outs").symlink_to(raw / "elsewhere")
    for sample, name in (("xe1", "he_image.ome.tif"), ("hd1", "tissue_image.tif")):
        Image.new("RGB", (64, 64), "white").save(raw / sample / name)
    (raw / "empty1/readme.txt").write_text("nothing of use")
    with open(project.folder / "config/cohorts/more.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    project.configure({**CONFIG, "select": "technology=Visium,Xenium,'Visium HD'"})
    project.snakemake()
    return project


def record(project, sample, stage):
    return json.loads((project.results / f"samples/{sample}/records/{stage}.json").read_text())


def test_an_accession_alone_leads_to_a_released_sample(ingested):
    accepted = {row["id"]: row for row in ingested.rows("demo.csv")}
    assert set(accepted) == {"demo-v1"}
    assert abs(float(accepted["demo-v1"]["pixel_size_um_estimated"]) - 1.05) < 0.0005
    found = record(ingested, "demo-v1", "fetch_sample")["measures"]
    assert set(found["found"]) == {"counts", "spots", "scalefactors", "image"}
    raw = json.loads((ingested.results / "samples/demo-v1/raw.json").read_text())
    assert all(file["location"].startswith("geo:GSM9000000001/") for file in raw["files"])


@pytest.mark.parametrize(
    ("sample", "unit", "stage", "said"),
    [
        ("xe1", "cell", "register_sample", ""),
        ("hd1", "bin", "align_array", "outside tissue_image.tif (64 x 64 px)"),
    ],
)
def test_cells_and_bins_are_read_and_stop_where_the_picture_is_none_of_theirs(ingested, sample, unit, stage, said):
    assert record(ingested, sample, "read_expression")["measures"]["unit"] == unit
    refused = {row["sample_id"]: row for row in ingested.rows("quarantine.csv")}
    assert refused[sample]["stage"] == stage
    assert said in refused[sample]["reason"]


def test_a_folder_without_the_files_needed_is_refused_with_what_is_there(ingested):
    refused = {row["sample_id"]: row for row in ingested.rows("quarantine.csv")}
    assert refused["empty1"]["stage"] == "fetch_sample"
    assert "no file for counts, image" in refused["empty1"]["reason"]
    assert "readme.txt" in refused["empty1"]["reason"]


def test_what_the_query_leaves_out_is_listed(ingested):
    left_out = {row["sample_id"]: row["reason"] for row in ingested.rows("left_out.csv")}
    reason = "not selected: technology is Spatial Transcriptomics"
    assert left_out == dict.fromkeys(["demo-a1", "demo-b1", "demo-c1"], reason)


def test_a_licence_that_is_not_allowed_takes_its_samples_away(ingested):
    ingested.configure({**CONFIG, "allow_licences": ["CC-BY-4.0", "AGPL-3.0-or-later"]})
    try:
        # Of all rows one is not allowed, and three are built already.
        assert ingested.planned()["fetch_sample"] == 3
    finally:
        ingested.configure({**CONFIG, "select": "technology=Visium,Xenium,'Visium HD'"})


def test_a_second_run_has_nothing_to_do(ingested):
    assert ingested.planned() == {}


def test_a_new_file_in_a_sample_s_folder_is_noticed(ingested):
    folder = json.loads((ingested.results / "samples/xe1/raw.json").read_text())["files"][0]["path"].rpartition("/")[0]
    new = ingested.folder / folder / "another.txt"
    new.write_text("x")
    try:
        assert ingested.planned()["fetch_sample"] == 1
    finally:
        new.unlink()
