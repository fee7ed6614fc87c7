"""Nuclei looked for in a finished build: what runs for them, what is released, what of a model that cannot be run."""

import json

import anndata
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from project import SMALL

CHOSEN = {**SMALL, "nuclei": ["classical", "cellvit-256"], "select": "sample_id=demo-a1", "tasks": []}
CHOSEN |= {"biomarkers": {"genes": 8, "permutations": 99}}
OF_EACH_MODEL = ("segment_nuclei", "measure_spots")


@pytest.fixture(scope="module")
def counted(tmp_path_factory, finished):
    """The first of its samples, with nuclei by one model, and by another that its pixels are too coarse for."""
    project = finished.copy(tmp_path_factory.mktemp("counted"))
    project.configure(CHOSEN)
    planned = project.planned()
    project.snakemake()
    return project, planned


def test_nuclei_are_looked_for_and_nothing_learned_again(counted):
    """Patches, embeddings and tissue do not depend on nuclei."""
    _, planned = counted
    once = ("count_nuclei", "explore_biomarkers", "describe_sample", "assemble_cohort", "assemble_dataset")
    own = {**dict.fromkeys(OF_EACH_MODEL, 2), **dict.fromkeys(once, 1)}
    assert {job: planned.get(job) for job in own} == own
    assert not {"extract_patches", "embed_patches", "build_pyramid", "segment_tissue", "assemble_sample"} & set(planned)


def test_their_files_are_released_under_the_name_of_the_model(counted):
    project, _ = counted
    names = {path.relative_to(project.results).as_posix() for path in project.results.glob("*_seg/demo-a1_*")}
    made = {f"nuclei_seg/demo-a1_classical{ending}" for ending in (".geojson", ".parquet", "_spots.parquet")}
    assert {name for name in names if not name.startswith("tissue_seg")} == made
    for what in ("matrix", "heatmaps", "scatter"):
        assert (project.results / f"biomarkers_vis/demo-a1_{what}.png").stat().st_size > 5000


def test_a_model_that_cannot_be_run_says_why_and_harms_nothing(counted):
    project, _ = counted
    metadata = json.loads((project.results / "metadata/demo-a1.json").read_text())
    note = metadata["measured"]["segment_nuclei"]["cellvit-256"]["note"]
    assert "too coarse for cellvit-256: 0.6805 um a pixel" in note
    assert metadata["status"] == "accepted"


def test_the_spots_hold_what_the_outlines_say(counted):
    """Counted anew from the outlines' centroids, one spot at a time."""
    project, _ = counted
    st = anndata.read_h5ad(project.results / "st/demo-a1.h5ad")
    plain = anndata.read_h5ad(project.results / "samples/demo-a1/st.h5ad")
    assert [*st.obs] == [*plain.obs, "nuclei"]
    assert (st.X != plain.X).nnz == 0
    assert st.uns["nuclei"]["model"] == "classical"
    with h5py.File(project.results / "st/demo-a1.h5ad") as file:
        assert set(file["uns/spatial/ST/images"]) == {"downscaled_fullres", "lowres"}
    found = pq.read_table(project.results / "nuclei_seg/demo-a1_classical.parquet").to_pandas()
    radius_px = st.uns["spatial"]["ST"]["scalefactors"]["spot_diameter_fullres"] / 2
    for place, many in zip(st.obsm["spatial"], st.obs["nuclei"], strict=True):
        apart = np.hypot(found["x_px"] - place[0], found["y_px"] - place[1])
        assert (apart <= radius_px).sum() == many
    assert st.obs["nuclei"][st.obs["in_tissue"]].median() > 3
    row = project.rows("demo.csv")[0]
    assert (int(row["nuclei"]), row["nuclei_model"]) == (len(found), "classical")
