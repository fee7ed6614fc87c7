"""Whatever is killed, deleted or damaged, the next run puts right: the same manifest, and then nothing to do."""

import itertools
import json
import os
import re
from pathlib import Path

import pytest

from project import SMALL
from spotweave.codehash import closure, code_hash

A, B, C = "samples/demo-a1", "samples/demo-b1", "samples/demo-c1"
PREDICTIONS = "predictions/demo/strict/handcrafted+ridge"


# What a script's option says about the modules it loads by name.
LOADED = {
    "reader": lambda given: [f"readers/{given}/layout", f"readers/{given}/read"],
    "protocol": lambda given: [f"protocols/{given}"],
    "probe": lambda given: [f"probes/{given}"],
    "metrics": lambda given: [f"metrics/{name}" for name in given],
    "placing": lambda given: [f"placing/{given}"],
    "pooling": lambda given: [f"pooling/{given}"],
    "method": lambda given: [f"tissue/methods/{given}"],
    "predictor": lambda given: [f"methods/{as_row(given)['kind']}"],
    "spec": lambda given: [f"encoders/{as_row(given)['builder']}"],
    "request": lambda given: [f"sources/{as_row(given)['source']}", f"readers/{as_row(given)['reader']}/layout"],
}


def as_row(given):
    return json.loads(given) if isinstance(given, str) else given


@pytest.fixture(scope="module")
def project(tmp_path_factory, finished):
    """A finished build of three samples, through to a leaderboard."""
    return finished.copy(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def untouched(finished):
    return contents(finished)


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
# rule that makes it again), at most as many as a run shows. A fault upstream makes later jobs run whatever became of
# their own files: what is damaged stands alone or first, what lies behind it is deleted, as a job's reason names that.
BELOW = ("results/demo/wsis/demo-a1.tif",)  # of a folder that is the output
RUNS = {
    "release": [
        ("wsis/demo-a1.tif", delete, "assemble_dataset"),
        ("MANIFEST.sha256", empty, "assemble_dataset"),
        ("demo.csv", halve, "assemble_dataset"),
        ("identity.csv", empty, "audit_identity"),
        ("benchmark/leaderboard.csv", empty, "rank_predictors"),
        ("benchmark/scores.parquet", empty, "rank_predictors"),
        ("report/quality.html", halve, "summarise_quality"),
    ],
    "tables and scores": [
        ("cohorts/demo.json", empty, "assemble_cohort"),
        ("benchmark/demo/splits.json", delete, "make_splits"),
        (f"{A}/embeddings/handcrafted.h5", delete, "embed_patches"),
        (f"{B}/embeddings/handcrafted.h5", halve, "embed_patches"),
        (f"{PREDICTIONS}/fold1.h5", delete, "fit_probe"),
        ("benchmark/demo/strict/targets.h5", delete, "choose_genes"),
        ("benchmark/demo/strict/scores.parquet", delete, "score_predictions"),
        ("benchmark/leaderboard.png", delete, "rank_predictors"),
    ],
    "late stages": [
        (f"{A}/st.h5ad", empty, "assemble_sample"),  # and, by its link, in the release
        (f"{B}/st.h5ad", delete, "assemble_sample"),
        (f"{C}/patches.h5", halve, "extract_patches"),
        (f"{C}/records/extract_patches.json", empty, "extract_patches"),
        (f"{C}/metadata.json", delete, "describe_sample"),
        (f"{C}/fingerprint.json", halve, "fingerprint_sample"),
    ],
    "early stages": [
        (raw, empty, "fetch_sample"),
        (f"{A}/raw.json", delete, "fetch_sample"),
        (f"{A}/alignment.json", delete, "align_array"),
        (f"{B}/expression.h5ad", delete, "read_expression"),
        (f"{C}/slide.tif", halve, "build_pyramid"),
        (f"{C}/tissue.geojson", delete, "segment_tissue"),
    ],
}


@pytest.mark.parametrize("run", RUNS)
def test_the_next_run_puts_it_right(project, untouched, run):
    paths = [where(project) if callable(where) else project.results / where for where, _, _ in RUNS[run]]
    for path, (_, damage, _) in zip(paths, RUNS[run], strict=True):
        damage(path)

    before = state(project)
    dry = project.snakemake("--dry-run")
    assert state(project) == before, "a dry run writes nothing"
    said = dry.stdout + dry.stderr
    names = [path.relative_to(project.folder).as_posix() for path in paths]
    for name, (_, damage, rule) in zip(names, RUNS[run], strict=True):
        assert f"{name} has {'gone' if damage is delete else ''}" in said
        assert f"\nrule {rule}:" in said or f"\nlocalrule {rule}:" in said, said
        if damage is delete and name not in BELOW:
            assert name in missing_outputs(said, rule), (name, said)

    project.snakemake()
    assert contents(project) == untouched
    assert project.planned() == {}


def missing_outputs(said, rule):
    """The outputs for want of which a dry run says that jobs of a rule run, whatever runs before them."""
    found = re.findall(
        rf"^(?:local)?rule {rule}:\n(?:    .*\n)*?    reason: Missing output files: ([^;\n]*)", said, re.M
    )
    return {name for names in found for name in names.split(", ")}


def test_every_file_of_the_project_that_a_job_reads_is_in_its_hash(finished):
    """Opens as Python reports them, against the closure; and that closure's hash is one that Snakemake has kept."""
    kept = "".join(path.read_text() for path in (finished.folder / ".snakemake/metadata").rglob("*") if path.is_file())
    ours = [finished.folder / name for name in ("workflow", "scripts", "resources", "config", "envs")]
    seen = set()
    for path in finished.opened.glob("*.opened"):
        first, *opened = path.read_text().splitlines()
        words, given = json.loads(first)
        script = words[1]
        options = {word.removeprefix("--"): value for word, value in itertools.pairwise(words)} | given
        loaded = [
            entry_of(finished.folder / "workflow/spotweave" / module)
            for name, modules in LOADED.items()
            if name in options
            for module in modules(options[name])
        ]
        if Path(script).stem == "make_splits":  # others are given the task as well, and do not split it
            way = as_row(options["task"]).get("split", "donor")
            loaded.append(entry_of(finished.folder / "workflow/spotweave/splitting" / way))
        if Path(script).stem == "rank_predictors":
            looked_at = ["splitting/donor", *(f"protocols/{name}" for name in SMALL["protocols"])]
            loaded += [entry_of(finished.folder / "workflow/spotweave" / name) for name in looked_at]
        tables = [finished.folder / word for word in words if word.startswith("resources/")]
        entries = (finished.folder / script, *loaded, *tables)
        read = {source_of(Path(finished.folder, name)) for name in opened}
        read = {one for one in read if one.is_file() and any(one.is_relative_to(folder) for folder in ours)}
        assert read <= set(closure(finished.folder / "workflow", *entries)), script
        assert code_hash(finished.folder / "workflow", *entries) in kept, script
        seen.add(Path(script).stem)
    assert {"fetch_sample", "read_expression", "describe_sample", "embed_patches", "make_splits"} <= seen
    assert {"choose_genes", "fit_probe", "fit_method", "score_predictions", "rank_predictors"} <= seen


def entry_of(path):
    """The file of an entry, which may be a package."""
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def source_of(path):
    """The source of a compiled module."""
    return path.parent.parent / f"{path.name.partition('.')[0]}.py" if path.parent.name == "__pycache__" else path


def test_a_rerun_that_fails_is_not_forgotten(project, untouched):
    """The change that made the job run is taken back after it has failed: what it left is still not the dataset."""
    script = project.folder / "scripts/assemble_sample.py"
    text = script.read_text()
    failing = text.replace("def work(args):\n", "def work(args):\n    raise OSError('disk full')\n", 1)
    assert failing != text
    script.write_text(failing)
    failed = project.snakemake("--keep-going", check=False)
    script.write_text(text)
    assert failed.returncode != 0
    for sample in ("demo-a1", "demo-b1", "demo-c1"):
        log = f"logs/demo/assemble_sample/{sample}.log"
        assert f"failed       assemble_sample of {sample}, see {log}" in failed.stdout
    assert not (project.results / A / "st.h5ad").exists()
    assert project.planned()["assemble_sample"] == 3
    project.snakemake()
    assert contents(project) == untouched
    assert project.planned() == {}


HEAD_KILLED = """    import os, signal
    from pathlib import Path
    above = os.getppid()
    while b"-m\\0snakemake" not in Path(f"/proc/{above}/cmdline").read_bytes():
        above = int(Path(f"/proc/{above}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(above, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the head by way of /proc")
def test_after_a_killed_head_the_message_says_what_to_type_and_that_is_enough(project, untouched):
    script = project.folder / "scripts/make_splits.py"
    text = script.read_text()
    (project.results / "benchmark/demo/splits.json").unlink()
    script.write_text(text.replace("def work(args):\n", f"def work(args):\n{HEAD_KILLED}", 1))
    assert project.snakemake(check=False, own_process=True).returncode != 0
    script.write_text(text)
    locked = project.snakemake(check=False)
    assert locked.returncode != 0
    assert "type your command once with --unlock added" in locked.stderr
    project.snakemake("--unlock")
    project.snakemake("--rerun-incomplete")
    assert contents(project) == untouched
    assert project.planned() == {}
