"""Whatever is killed, deleted or damaged, the next run puts right: the same manifest, and then nothing to do."""

import os

import pytest

from project import SMALL, Project

A, B = "samples/demo-a1", "samples/demo-b1"
CELL = "benchmark/demo/strict/handcrafted/ridge"


@pytest.fixture(scope="module")
def project(tmp_path_factory, deposit):
    """A finished build of two samples, through to a leaderboard."""
    made = Project(tmp_path_factory.mktemp("faults"), deposit, SMALL)
    table = made.folder / "config/cohorts/demo.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if not line.startswith("demo-c1")))
    made.snakemake()
    return made


@pytest.fixture(scope="module")
def untouched(project):
    return contents(project)


def contents(project):
    """Every released or ranked byte."""
    paths = [path for path in project.results.rglob("*") if path.is_file() and ".ledger" not in path.parts]
    return {path.relative_to(project.results).as_posix(): path.read_bytes() for path in paths if is_result(path)}


def is_result(path):
    return path.suffix != ".png" or "samples" not in path.parts


def state(project):
    """Names, sizes and times of every file that a run could write."""
    roots = [project.results, project.folder / "data", project.folder / "logs"]
    found = [path for root in roots for path in sorted(root.rglob("*")) if path.is_file()]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ino) for path in found}


def delete(path):
    path.unlink()


def empty(path):
    os.truncate(path, 0)


def halve(path):
    os.truncate(path, path.stat().st_size // 2)


def raw(project):
    (path,) = (project.folder / "data/raw").rglob("demo-a1.jpg")
    return path


# Runs, each over several faults: (file, below the results unless it is a function of the project; how it is damaged;
# rule that makes it again).
RUNS = {
    "release": [
        ("wsis/demo-a1.tif", delete, "assemble_dataset"),
        ("MANIFEST.sha256", empty, "assemble_dataset"),
        ("demo.csv", halve, "assemble_dataset"),
        ("identity.csv", empty, "audit_identity"),
        ("benchmark/leaderboard.csv", empty, "rank_encoders"),
        ("report/quality.html", halve, "summarise_quality"),
    ],
    "tables": [
        ("cohorts/demo.json", empty, "assemble_cohort"),
        ("benchmark/demo/splits.json", delete, "make_splits"),
        (f"{CELL}/fold0.json", empty, "fit_probe"),
        ("benchmark/leaderboard.png", delete, "rank_encoders"),
    ],
    "late stages": [
        (f"{A}/metadata.json", delete, "describe_sample"),
        (f"{A}/embeddings/handcrafted.h5", delete, "embed_patches"),
        (f"{B}/embeddings/handcrafted.h5", halve, "embed_patches"),
        (f"{A}/fingerprint.json", halve, "fingerprint_sample"),
        (f"{CELL}/scores.csv", delete, "fit_probe"),
    ],
    "counts and patches": [
        (f"{A}/st.h5ad", empty, "assemble_sample"),  # and, by its link, in the release
        (f"{B}/patches.h5", halve, "extract_patches"),
        (f"{B}/records/extract_patches.json", empty, "extract_patches"),
    ],
    "pictures": [
        (f"{A}/slide.tif", halve, "build_pyramid"),
        (f"{A}/tissue.geojson", delete, "segment_tissue"),
        (f"{B}/st.h5ad", delete, "assemble_sample"),
    ],
    "downloads and readings": [
        (raw, empty, "fetch_sample"),
        (f"{A}/raw.json", delete, "fetch_sample"),
        (f"{A}/alignment.json", empty, "align_array"),
        (f"{B}/expression.h5ad", delete, "read_expression"),
    ],
}


@pytest.mark.parametrize("run", RUNS)
def test_the_next_run_puts_it_right(project, untouched, run):
    rules = set()
    paths = [where(project) if callable(where) else project.results / where for where, _, _ in RUNS[run]]
    for path, (_, damage, rule) in zip(paths, RUNS[run], strict=True):
        damage(path)
        rules.add(rule)

    before = state(project)
    dry = project.snakemake("--dry-run")
    assert state(project) == before, "a dry run writes nothing"
    said = dry.stdout + dry.stderr
    for path, (_, damage, _) in zip(paths, RUNS[run], strict=True):
        assert f"{path.relative_to(project.folder)} has {'gone' if damage is delete else ''}" in said
    assert all(f"\nrule {rule}:" in said or f"\nlocalrule {rule}:" in said for rule in rules), said

    project.snakemake()
    assert contents(project) == untouched
    assert project.planned() == {}


def test_a_rerun_that_fails_is_not_forgotten(project, untouched):
    """The change that made the job run is taken back after it has failed: what it left is still not the dataset."""
    script = project.folder / "scripts/assemble_sample.py"
    text = script.read_text()
    script.write_text(text.replace("    import anndata\n", "    raise OSError('disk full')\n", 1))
    failed = project.snakemake("--keep-going", check=False)
    script.write_text(text)
    assert failed.returncode != 0
    assert not (project.results / A / "st.h5ad").exists()
    assert project.planned()["assemble_sample"] == 2
    project.snakemake()
    assert contents(project) == untouched
    assert project.planned() == {}
