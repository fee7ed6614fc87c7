"""A dataset the size of HEST-1k: planned in bounded memory, with command lines that the kernel takes."""

import csv
import itertools
import re
import sys

from measure import cost_of
from project import ROOT, SMALL, Project, plan

sys.path.insert(0, str(ROOT / "tests/bench"))
from dry_run import make_tree

SAMPLES = 1229
# Far below the kernel's 2 MB for a command line, and still readable in a log.
COMMAND_LIMIT_BYTES = 64 * 1024


def test_a_dry_run_of_1229_samples_stays_small(tmp_path):
    cohort = ROOT / "config/cohorts/her2st.csv"
    with open(cohort, newline="") as handle:
        rows = list(csv.DictReader(handle))
    config = {**SMALL, "dataset": "many", "cohorts": ["config/cohorts/demo.csv"], "tasks": ["demo"]}
    project = Project(tmp_path, tmp_path / "deposit", config)
    with open(project.folder / "config/cohorts/demo.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        for number in range(SAMPLES):
            writer.writerow({**rows[number % len(rows)], "sample_id": f"sample-{number}", "donor": f"d{number // 4}"})
    command = [sys.executable, "-m", "snakemake", "-n", "-p", "--cores", "1", "--configfile", "config/try.yaml"]
    cost = cost_of(command, project.folder)
    commands = [line for line in cost.said.splitlines() if line.startswith("Shell command: ")]
    assert sum("scripts/extract_patches.py" in line for line in commands) == SAMPLES
    assert max(map(len, commands)) < COMMAND_LIMIT_BYTES
    assert cost.peak_mb < 1024


COUNTING = """
import cProfile
from snakemake.dag import DAG as _DAG
_calls = cProfile.Profile()
def _say(dag, check=_DAG.check_directory_outputs):
    check(dag)
    _calls.disable()
    print("planned", len(list(dag.jobs)), "jobs in", sum(one.callcount for one in _calls.getstats()), "calls")
_DAG.check_directory_outputs = _say
_calls.enable()
"""


def test_what_is_done_for_a_job_does_not_grow_with_the_number_of_samples(tmp_path):
    """Calls of functions, which no load of the machine changes: as many for a third six samples as for a second."""
    figures = []
    for samples in (6, 12, 18):
        folder = tmp_path / str(samples)
        folder.mkdir()
        make_tree(folder, samples, cohort=3)
        text = (folder / "Snakefile").read_text()
        (folder / "Snakefile").write_text(text.replace("\n\nreport:", f"\n{COUNTING}\n\nreport:", 1))
        done = plan(folder, "-q", "all", "--configfile", "config/many.yaml")
        assert done.returncode == 0, done.stderr[-2000:]
        figures.append([int(one) for one in re.search(r"planned (\d+) jobs in (\d+) calls", done.stdout).groups()])
    (first, second), jobs = [later[1] - earlier[1] for earlier, later in itertools.pairwise(figures)], figures[2][0]
    assert jobs > 18 * 8
    assert abs(second - first) < 0.02 * first
