"""What a dry run costs, against Snakemake alone on the same graph: the same rules, files and commands, spelt out.

The bare Snakefile is written from what our own dry run of one sample says, so that it follows the workflow as it grows.
"""

from __future__ import annotations

import csv
import re
import shutil
import statistics
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from measure import Cost, cost_of

TREE = ("Snakefile", "config", "workflow", "scripts", "envs", "resources", "profiles")
COHORT = 50
PART = re.compile(r"^    (input|output|log|benchmark): (.+)$", re.MULTILINE)
COMMAND = re.compile(r"^Shell command: (.+)$", re.MULTILINE)
STORE = "results/her2st"


def make_tree(folder: Path, samples: int) -> None:
    """A copy of the project in `folder` with a configuration, `config/many.yaml`, of many samples in cohorts of 50."""
    for name in TREE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    with open(ROOT / "config/cohorts/her2st.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    names = []
    for first in range(0, samples, COHORT):
        names.append(f"config/cohorts/c{first}.csv")
        with open(folder / names[-1], "w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            for number in range(first, min(first + COHORT, samples)):
                row = {**rows[number % len(rows)], "sample_id": f"s{number}", "donor": f"d{number // 4}"}
                writer.writerow(row)
    settings = f"cohorts: [{', '.join(names)}]\ntasks: []\nencoders: []\nrecipes: []\n"
    (folder / "config/many.yaml").write_text(settings)


def make_bare(folder: Path, said: str, samples: int) -> None:
    """A Snakefile in `folder` with the graph of `samples` samples, and nothing but strings in it.

    Parameters
    ----------
    said
        What a dry run of one sample, `s0`, printed.
    """
    blocks = said.partition("Job stats:")[2].split("\nrule ")[1:]
    rules: dict[str, str] = {}
    for block in blocks:
        name = re.match(r"\w+", block)[0]  # type: ignore[index]
        parts = {part: paths.split(", ") for part, paths in PART.findall(block)}
        command = COMMAND.search(block)
        if f"{STORE}/samples/s0/" in ", ".join(parts.get("output", [])):
            rules[name] = _rule(name, parts, command[1] if command else "true")
    cohorts = range(0, samples, COHORT)
    text = f"S = range({samples})\nC = range(0, {samples}, {COHORT})\n\n\n"
    text += "wildcard_constraints:\n    sample=r'[A-Za-z0-9][A-Za-z0-9-]*',\n    cohort=r'\\d+',\n\n\n"
    every = f"expand('{STORE}/cohorts/{{cohort}}.json', cohort=C)"
    text += f"rule all:\n    input:\n        '{STORE}/dataset.csv', '{STORE}/identity.csv', '{STORE}/quality.html'\n\n\n"
    text += "\n\n".join(rules.values())
    members = f"lambda w: ['{STORE}/samples/s%d/metadata.json' % n for n in S if n // {COHORT} * {COHORT} == int(w.cohort)]"
    text += "\n\n" + _gather("assemble_cohort", members, "cohorts/{cohort}.json")
    text += _gather("audit_identity", f"expand('{STORE}/samples/s{{n}}/fingerprint.json', n=S)", "identity.csv")
    text += _gather("assemble_dataset", every, "dataset.csv") + _gather("summarise_quality", every, "quality.html")
    assert len(cohorts)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Snakefile").write_text(text)


def _rule(name: str, parts: dict[str, list[str]], command: str) -> str:
    lines = [f"rule {name}:"]
    for part, paths in parts.items():
        lines += [f"    {part}:", *(f"        {path.replace('/s0', '/{sample}')!r}," for path in paths)]
    command = command.replace("{", "{{").replace("}", "}}").replace("/s0", "/{wildcards.sample}")
    lines += ["    threads: 1", "    resources:", "        mem_mb=4000,", "        runtime=30,", f"    shell: {command!r}"]
    return "\n".join(lines) + "\n"


def _gather(name: str, inputs: str, output: str) -> str:
    return f"rule {name}:\n    input: {inputs}\n    output: '{STORE}/{output}'\n    shell: 'true'\n\n\n"


def counts(said: str) -> Counter[str]:
    """Rule -> jobs that a dry run announces."""
    table = said.partition("Job stats:")[2].partition("total")[0]
    return Counter({name: int(jobs) for name, jobs in re.findall(r"^(\w+)\s+(\d+)\s*$", table, re.MULTILINE)})


def dry_run(folder: Path, *options: str) -> Cost:
    """One dry run in a folder, in a process of its own."""
    return cost_of([sys.executable, "-m", "snakemake", "--cores", "1", "-n", *options], folder)


def prepare(folder: Path, samples: int) -> tuple[Path, Path]:
    """Our tree and the bare one, of `samples` samples each."""
    ours, one, bare = folder / "ours", folder / "one", folder / "bare"
    for tree, size in ((ours, samples), (one, 1)):
        tree.mkdir(parents=True)
        make_tree(tree, size)
    make_bare(bare, dry_run(one, "-p", "--configfile", "config/many.yaml").said, samples)
    return ours, bare


def bench_dry_run(folder: Path, samples: int = 1229, repeats: int = 3) -> list[str]:
    """Rows for the table: with every job listed, and as a summary, ours and the bare one in turn."""
    ours, bare = prepare(folder, samples)
    rows = []
    for what, options in (("every job listed (`-n`)", ()), ("a summary (`-n -q`)", ("-q",))):
        pairs = [
            (dry_run(ours, *options, "--configfile", "config/many.yaml"), dry_run(bare, *options))
            for _ in range(repeats)
        ]
        jobs = counts(pairs[0][0].said).total()
        ratios = [mine.cpu_s / alone.cpu_s for mine, alone in pairs]
        mine, alone = (min(pair[side].cpu_s for pair in pairs) for side in (0, 1))
        rows.append(
            f"| dry run, {samples:,} samples, {jobs:,} jobs, {what} | {mine:.1f} CPU s, {mine / jobs * 1000:.2f} ms a job,"
            f" {pairs[0][0].peak_mb:,.0f} MB: {statistics.median(ratios):.2f} times"
            f" ({min(ratios):.2f} to {max(ratios):.2f}, n={repeats}) Snakemake alone on the same graph"
            f" ({alone:.1f} CPU s, {pairs[0][1].peak_mb:,.0f} MB) |"
        )
    return rows


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        size, times = (int(word) for word in (sys.argv[1:] + ["1229", "3"])[:2])
        print("\n".join(bench_dry_run(Path(made), size, times)))
