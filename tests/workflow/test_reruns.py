"""What a second run does: the promises that make a growing dataset cheap."""

import contextlib
import json
import os
import time

import anndata
import h5py
import hest_client
import numpy as np
import pytest
import shapely

from project import SMALL, Project

EVERY_SAMPLE = {
    "fetch_sample",
    "read_expression",
    "align_array",
    "build_pyramid",
    "segment_tissue",
    "assemble_sample",
    "extract_patches",
    "describe_sample",
    "fingerprint_sample",
    "embed_patches",
}
RELEASE = {"assemble_cohort": 1, "assemble_dataset": 1, "summarise_quality": 1, "all": 1}
AUDIT = {"audit_identity": 1}
# A fold a donor; genes are chosen once, whatever the encoders, and scores are read from predictions that are there.
METRICS = {"score_predictions": 1, "rank_predictors": 1, "all": 1}
SCORES = {"fit_probe": 3, **METRICS}
METHODS = {"fit_method": 3, **METRICS}  # which no encoder touches
GENES = {"choose_genes": 1, **SCORES, **METHODS}
AGGREGATES = {**RELEASE, **GENES, "make_splits": 1, "list_embeddings": 1}


@contextlib.contextmanager
def edited(path, text):
    before = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)


def test_a_finished_build_has_nothing_to_do(built):
    assert built.planned() == {}


def test_the_release_is_read_the_way_hest_reads_its_own(built, tmp_path):
    samples = hest_client.load(built.results)
    table = {row["id"]: row for row in built.rows("demo.csv")}
    assert list(samples) == sorted(table)
    for name, sample in samples.items():
        known = {column: "" if value is None else str(value) for column, value in sample.meta.items()}
        assert {column: known[column] for column in table[name]} == table[name]
        assert sample.slide.dimensions == (sample.meta["fullres_px_width"], sample.meta["fullres_px_height"])
        assert float(sample.slide.properties["openslide.mpp-x"]) == pytest.approx(sample.pixel_size, rel=1e-3)
        assert sample.adata.obs["in_tissue"].sum() == sample.meta["spots_under_tissue"]
        assert sample.adata.n_vars == sample.meta["nb_genes"]
        # The reduced picture and its scale are the slide's; so are the spots and their diameter.
        thumbnail = sample.slide.get_thumbnail(sample.reduced.size)
        assert np.abs(np.asarray(thumbnail, float) - np.asarray(sample.reduced, float)).mean() < 4
        assert sample.reduced.width == pytest.approx(sample.slide.dimensions[0] * sample.reduced_scale, abs=0.01)
        scales = sample.adata.uns["spatial"]["ST"]["scalefactors"]
        diameter_um = scales["spot_diameter_fullres"] * sample.pixel_size
        assert diameter_um == pytest.approx(sample.meta["spot_diameter"], rel=1e-3)
        on_tissue = shapely.contains_xy(
            shapely.union_all(list(sample.contours.values())), *sample.adata.obsm["spatial"].T
        )
        assert (on_tissue == sample.adata.obs["in_tissue"]).mean() > 0.7

        with h5py.File(built.results / "patches" / f"{name}.h5") as file:
            barcodes = [barcode.decode() for barcode in file["barcode"][:, 0]]
            images, corners = file["img"][:], file["coords"][:]
            # Its own reader of patches takes the grid from the places, its datasets from the pictures.
            assert dict(file["coords"].attrs) == dict(file["img"].attrs)
        inside = [row for row in range(0, len(barcodes), 5) if (images[row] != 255).all(axis=2).mean() > 0.99]
        cut = sample.patches([barcodes[row] for row in inside])
        assert len(cut) > 0.8 * len(inside)
        for row in inside:
            corner, patch = cut.get(barcodes[row], (corners[row], images[row]))
            assert np.abs(np.subtract(corner, corners[row])).max() <= 1
            # Not the same pixels: whole px there, exact ones and antialiasing here. A patch 5 px off has .77.
            assert np.corrcoef(patch.ravel(), images[row].ravel())[0, 1] > 0.85

        sample.save(tmp_path / name)
        again = json.loads((tmp_path / name / "metrics.json").read_text())
        assert again["pixel_size_um_estimated"] == sample.pixel_size
        assert anndata.read_h5ad(tmp_path / name / "aligned_adata.h5ad").shape == sample.adata.shape


def test_the_times_of_a_fresh_clone_rebuild_nothing(built):
    later = time.time() + 3600
    for name in ("workflow", "scripts", "config", "envs", "resources", "profiles"):
        for path in (built.folder / name).rglob("*"):
            os.utime(path, (later, later))
    os.utime(built.folder / "Snakefile", (later, later))
    assert built.planned() == {}


def test_a_new_row_builds_its_own_jobs_and_the_aggregates_only(built):
    table = built.folder / "config/cohorts/demo.csv"
    row = table.read_text().splitlines()[1].replace("demo-a1,", "demo-a2,", 1)
    with edited(table, table.read_text() + row + "\n"):
        assert built.planned() == {**dict.fromkeys(EVERY_SAMPLE, 1), **AGGREGATES, **AUDIT}


def test_a_changed_cell_rebuilds_what_reads_it(built):
    table = built.folder / "config/cohorts/demo.csv"
    with edited(table, table.read_text().replace("demo-a1,demo-A,", "demo-a1,demo-Z,")):
        aggregates = {job: number for job, number in AGGREGATES.items() if job != "list_embeddings"}
        assert built.planned() == {"describe_sample": 1, **aggregates, **AUDIT}


def test_rows_in_another_order_only_reorder_the_tables(built):
    table = built.folder / "config/cohorts/demo.csv"
    header, *rows = table.read_text().splitlines()
    with edited(table, "\n".join([header, *reversed(rows)]) + "\n"):
        assert built.planned() == RELEASE


def test_a_reworded_note_changes_the_description_and_no_score(built):
    table = built.folder / "config/cohorts/demo.csv"
    with edited(table, table.read_text().replace("Simulated sections (not real tissue)", "Simulated sections", 1)):
        assert built.planned() == {"describe_sample": 1, **RELEASE}


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("fetch", "attempts", 7, {}),
        (
            "limits",
            "spots_min",
            11,
            {
                "assemble_sample": 3,
                "extract_patches": 3,
                "describe_sample": 3,
                "embed_patches": 3,
                **AGGREGATES,
            },
        ),
        (
            "limits",
            "pixel_size_max_um",
            1.2,
            {**dict.fromkeys(EVERY_SAMPLE - {"fetch_sample", "read_expression"}, 3), **AGGREGATES, **AUDIT},
        ),
    ],
)
def test_a_changed_setting_rebuilds_from_the_stage_that_reads_it(built, section, key, value, expected):
    built.configure({**SMALL, section: {key: value}})
    try:
        assert built.planned() == expected
    finally:
        built.configure(SMALL)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (
            "slide/patches.py",
            {"extract_patches": 3, "describe_sample": 3, "embed_patches": 3, **AGGREGATES},
        ),
        ("protocols/strict.py", GENES),
        ("methods/mean_expression.py", METHODS),
        ("encoders/handcrafted.py", {"embed_patches": 3, "list_embeddings": 1, **SCORES}),
        ("readers/st_v1/layout.py", {**dict.fromkeys(EVERY_SAMPLE, 3), **AGGREGATES, **AUDIT}),
        ("readers/st_v1/read.py", {**dict.fromkeys(EVERY_SAMPLE - {"fetch_sample"}, 3), **AGGREGATES, **AUDIT}),
        ("readers/visium/layout.py", {}),
        ("identity/audit.py", {"make_splits": 1, **AUDIT, **GENES}),
        ("report/quality.py", {"summarise_quality": 1, "all": 1}),
    ],
)
def test_an_edited_module_rebuilds_exactly_what_depends_on_it(built, module, expected):
    path = built.folder / "workflow/spotweave" / module
    with edited(path, path.read_text() + "\n# changed\n"):
        assert built.planned() == expected


def test_edited_modules_that_no_job_here_uses_rebuild_nothing(built):
    unused = [
        "protocols/hest_exact.py",
        "methods/neighbours.py",
        "encoders/timm_model.py",
        "sources/file.py",
        "readers/visium/read.py",
        "sources/geo.py",
        "simulate/st_v1.py",
    ]
    with contextlib.ExitStack() as edits:
        for module in unused:
            path = built.folder / "workflow/spotweave" / module
            edits.enter_context(edited(path, path.read_text() + "\n# changed\n"))
        assert built.planned() == {}


def test_an_edited_vocabulary_describes_every_sample_again(built):
    path = built.folder / "resources/vocabulary/organs.csv"
    with edited(path, path.read_text() + "Nowhere,,,,,,a term that no sample has\n"):
        planned = built.planned()
    assert planned["describe_sample"] == 3
    assert not {"embed_patches", "make_splits", "fit_probe", "fit_method"} & set(planned)


def test_a_changed_row_of_an_encoder_embeds_and_scores_again(built):
    path = built.folder / "config/encoders.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()]
    (row,) = [line for line in lines if line[0] == "handcrafted"]
    row[lines[0].index("input_px")] = "112"
    with edited(path, "\n".join(map(",".join, lines)) + "\n"):
        assert built.planned() == {"embed_patches": 3, "list_embeddings": 1, **SCORES}


def test_a_new_encoder_embeds_and_scores_and_touches_no_sample(built):
    built.configure({**SMALL, "encoders": ["handcrafted", "resnet-tiny-random"]})
    try:
        assert built.planned() == {"embed_patches": 3, "list_embeddings": 1, **SCORES}
    finally:
        built.configure(SMALL)


def test_a_new_metric_is_one_name_and_refits_nothing(built):
    before = {path: path.stat().st_mtime_ns for path in (built.results / "predictions").rglob("*.h5")}
    built.configure({**SMALL, "metrics": ["pearson", "pearson_null95", "undefined_share", "spearman"]})
    try:
        assert built.planned() == METRICS
        built.snakemake("--until", "rank_predictors")
        probe, mean = built.rows("benchmark/leaderboard.csv")
        assert 0 < float(probe["spearman_mean"]) < 1
        assert (mean["predictor"], mean["encoder"], mean["spearman_mean"]) == ("mean_expression", "", "")
    finally:
        built.configure(SMALL)
    built.snakemake()
    assert {path: path.stat().st_mtime_ns for path in (built.results / "predictions").rglob("*.h5")} == before
    assert len(before) == 6
    assert built.planned() == {}


def test_a_metric_that_is_none_is_a_fault_before_any_job(built):
    built.configure({**SMALL, "metrics": ["pearson", "spaerman"]})
    try:
        done = built.snakemake("--dry-run", check=False)
    finally:
        built.configure(SMALL)
    assert done.returncode != 0
    assert "metrics: 'spaerman' is no metric, did you mean 'spearman'?" in done.stdout + done.stderr


def test_two_builds_have_the_same_manifest(finished, tmp_path, deposit):
    other = Project(tmp_path, deposit, SMALL)
    other.snakemake("dataset")
    manifests = [(project.results / "MANIFEST.sha256").read_text() for project in (finished, other)]
    assert manifests[0] == manifests[1]
    assert len(manifests[0].splitlines()) == 3 * 11 + 4


def test_a_removed_row_drops_out_of_the_aggregates(tmp_path, finished):
    project = finished.copy(tmp_path)
    project.configure({**SMALL, "tasks": []})
    assert project.planned() == {}
    table = project.folder / "config/cohorts/demo.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if not line.startswith("demo-b1")))
    assert project.planned() == {**RELEASE, **AUDIT}
    project.snakemake()
    assert [row["id"] for row in project.rows("demo.csv")] == ["demo-a1", "demo-c1"]
    released = [path for path in project.results.rglob("*demo-b1*") if "samples" not in path.parts]
    assert released == []
    assert "demo-b1" not in (project.results / "MANIFEST.sha256").read_text()


def test_downloads_are_not_fetched_again_when_their_job_is(finished, tmp_path):
    project = finished.copy(tmp_path)
    raw = sorted((project.folder / "data/raw").rglob("demo-a1.jpg"))
    before = [path.stat().st_mtime_ns for path in raw]
    done = project.snakemake("--forcerun", "fetch_sample", "--until", "fetch_sample")
    assert (done.stdout + done.stderr).count("rule fetch_sample:") == 3
    assert raw
    assert [path.stat().st_mtime_ns for path in raw] == before
