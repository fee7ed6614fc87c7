"""What each method costs: the eleven made small and the floors on real sections, one published step of each.

    python tests/bench/methods.py --out docs/methods-cost-measured.md

It fits the fold of one donor's sections anew, C2 to C4 for C5, from patches that were built before (sections, not
methods): `snakemake --configfile config/methods_local.yaml`. Every job is a process of its own, one after another, on
one thread, with the command line of the workflow; its peak is its own.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

from measure import Cost, cost_of

RESULTS = ROOT / "results/her2st_methods"
TASK, PROTOCOL, FOLD, SEED = "her2st-c", "strict", 3, 1
SAMPLES = tuple(f"her2st-c{number}" for number in range(2, 6))
METHODS = (
    *("st_net", "deep_pt", "deep_space", "histogene", "hist2st", "thitogene"),
    *("tcgn", "egnv1", "egnv2", "istar", "genecoder"),
)
FLOORS = ("colour_ridge", "mean_expression")
FROZEN = "handcrafted"
LIMIT_GB = 12
# As many as the benchmark of eleven methods times; whatever a preset has, and without waiting for held-out spots.
EPOCHS = 10
# What a quiet and a busy machine take unlike CPU seconds for: as many products of two matrices of so many rows.
PRODUCTS, ROWS = 20, 1000
# A second step is measured where the first took less CPU: it begins in memory that is already there.
QUICK_S = 30.0


@dataclass(frozen=True)
class Row:
    """One method: what its jobs cost together, what its prediction says of itself, CPU seconds of the products then."""

    name: str
    cost: Cost
    said: Mapping[str, Any]
    products_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--only", choices=["reduced", "published"], help="the rows of one of the two tables")
    parser.add_argument("--step", choices=METHODS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(published_step(args.step)))
        return
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    missing = [name for name in SAMPLES if not (RESULTS / f"samples/{name}/patches.h5").is_file()]
    if missing:
        sys.exit(f"no patches of {', '.join(missing)} in {RESULTS}: snakemake --configfile config/methods_local.yaml")
    page = PAGE if args.only is None else {"reduced": "{reduced}", "published": "{published}"}[args.only]
    reduced = [] if args.only == "published" else made_small(args.methods)
    said = {
        "reduced": "\n".join(map(line, reduced)),
        "published": "" if args.only == "reduced" else "\n".join(map(step_line, args.methods)),
        "spots": int(reduced[0].said["n_train_spots"]) if reduced else 0,
        "limit": LIMIT_GB,
        "products": PRODUCTS,
        "rows": ROWS,
    }
    if args.out is None:
        print(page.format(**said))
    else:
        args.out.write_text(page.format(**said), encoding="utf-8")


def made_small(methods: Sequence[str]) -> list[Row]:
    """The rows `<method>-reduced`, and the floors."""
    with tempfile.TemporaryDirectory() as folder:
        floors = [*(fitted(method, Path(folder)) for method in FLOORS), frozen(Path(folder))]
        return [*(fitted(f"{method}-reduced", Path(folder)) for method in methods), *floors]


def fitted(method: str, folder: Path) -> Row:
    """A row of the table of methods, fitted and asked by the script of the workflow; its network is kept nowhere."""
    row = row_of("methods", "method", method)
    if row.get("preset"):
        row["epochs"] = str(EPOCHS)
    out = folder / f"{method}.h5"
    command = script("fit_method", fold=FOLD, protocol=PROTOCOL, predictor=json.dumps(row), seed=SEED, prediction=out)
    command += ["--samples", *SAMPLES, "--patches", str(RESULTS / "samples/{sample}/patches.h5")]
    return reported(method, [command], out, folder)


def row_of(table: str, column: str, name: str) -> dict[str, str]:
    """A row of a table of `config/`, as scripts are given it: without remarks and empty cells."""
    with open(ROOT / f"config/{table}.csv", encoding="utf-8", newline="") as file:
        found = next(row for row in csv.DictReader(file) if row[column] == name)
    return {key: cell for key, cell in found.items() if cell and key != "notes"}


def frozen(folder: Path) -> Row:
    """Ridge over frozen features: those of every section, then the probe."""
    commands, files = [], []
    spec = json.dumps(row_of("encoders", "encoder", FROZEN))
    for name in SAMPLES:
        files.append((folder / f"{name}.h5", folder / f"{name}.json"))
        command = script("embed_patches", sample=name, encoder=FROZEN, spec=spec, embeddings=files[-1][0])
        commands.append(
            [*command, "--patches", str(RESULTS / f"samples/{name}/patches.h5"), "--record", str(files[-1][1])]
        )
    out = folder / "frozen.h5"
    command = script(
        "fit_probe", fold=FOLD, protocol=PROTOCOL, probe="ridge", encoder=FROZEN, seed=SEED, prediction=out
    )
    command += ["--samples", *SAMPLES, "--embeddings", *(str(one) for one, _ in files)]
    return reported(
        f"{FROZEN}+ridge", [*commands, [*command, "--records", *(str(one) for _, one in files)]], out, folder
    )


def script(name: str, **options: Any) -> list[str]:
    """The command of a rule's script; what reads a task's files is given them."""
    command = [sys.executable, str(ROOT / f"scripts/{name}.py")]
    if name.startswith("fit_"):
        task = RESULTS / f"benchmark/{TASK}"
        options |= {"splits": task / "splits.json", "targets": task / PROTOCOL / "targets.h5"}
    return command + [part for option, value in options.items() for part in (f"--{option}", str(value))]


def reported(name: str, commands: Sequence[list[str]], prediction: Path, folder: Path) -> Row:
    """Jobs one after another: times add up, the peak is that of the largest."""
    import h5py

    before_s = products_s()
    costs = [cost_of(command, folder) for command in commands]
    with h5py.File(prediction, "r") as file:
        said = dict(file.attrs)
    if said["status"] != "predicted":
        raise RuntimeError(f"{name}: {said['reason']}")
    total = Cost(
        sum(one.cpu_s for one in costs), sum(one.wall_s for one in costs), max(one.peak_mb for one in costs), ""
    )
    row = Row(name, total, said, (before_s + products_s()) / 2)
    print(line(row), file=sys.stderr, flush=True)
    return row


def products_s() -> float:
    """CPU seconds of arithmetic that is always the same."""
    import numpy as np

    one = np.random.default_rng(0).normal(size=(ROWS, ROWS))
    start = time.process_time()
    for _ in range(PRODUCTS):
        one @ one
    return time.process_time() - start


def line(row: Row) -> str:
    """A row of the first table."""
    parameters = f"{int(row.said['parameters']):,}" if "parameters" in row.said else ""
    cost = row.cost
    return (
        f"| `{row.name}` | {cost.wall_s:.0f} | {cost.cpu_s:.1f} | {row.products_s:.2f} |"
        f" {cost.cpu_s / row.products_s:.0f} | {cost.peak_mb / 1024:.2f} | {parameters} |"
    )


def published_step(kind: str) -> dict[str, Any]:
    """CPU seconds of one training step of a method as published, in this process; of GeneCodeR, of its sweep.

    A step lasts from the first module that is called with gradients to the end of the optimiser's own. The network is
    begun as the workflow begins it, on spots of one section, or two where exemplars are taken from others.
    """
    import torch
    from torch.nn.modules.module import register_module_forward_pre_hook
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from spotweave import methods
    from spotweave.spots import Job

    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_GB * 2**30,) * 2)
    module = methods.METHODS.load(kind)
    preset = module.PRESETS["published"]
    seconds: list[float] = []
    begun: list[float] = []
    found = {"batch": "", "parameters": 0}

    def starts(of: torch.nn.Module, _: object) -> None:
        if of.training and torch.is_grad_enabled() and not begun:
            begun.append(time.process_time())

    def ends(optimiser: torch.optim.Optimizer, *_: object) -> None:
        seconds.append(time.process_time() - begun.pop())
        found["parameters"] = sum(one.numel() for group in optimiser.param_groups for one in group["params"])
        if len(seconds) == 2 or seconds[0] > QUICK_S:
            raise Enough

    register_module_forward_pre_hook(starts)
    register_optimizer_step_post_hook(ends)
    exemplars = "exemplars" in preset
    training = sections(2 if exemplars else 1, preset.get("batch") if not exemplars else None)
    count = sum(len(one.totals) for one in training.samples)
    if kind == "istar":
        found["batch"] = f"{-(-count // 16)} spots, a sixteenth of a section"
    elif "batch" in preset:
        found["batch"] = f"{preset['batch']} patches"
    else:
        found["batch"] = f"a section, {len(training.samples[0].totals)} spots"
    try:
        before = time.process_time()
        fitted = module.fit(training, {"kind": kind, "preset": "published", "epochs": "2"}, Job(SEED))
        # Nothing is stepped: two sweeps with all that comes before them.
        seconds.append(time.process_time() - before)
        found |= {"parameters": fitted.details["parameters"], "batch": f"all {count} spots, two sweeps from the start"}
    except Enough:
        pass
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        return {**found, "cpu_s": None}
    return {**found, "cpu_s": seconds[-1]}


class Enough(Exception):
    """What was to be measured has been."""


def sections(count: int, spots: int | None) -> Any:
    """Spots of sections to learn from, all of one inner fold: nothing is held out, so that an epoch is only steps."""
    import numpy as np

    from spotweave import protocols
    from spotweave.benchmark.targets import Targets
    from spotweave.spots import Pictures, Sample, Training, TrainingSample

    known = []
    with Targets(RESULTS / f"benchmark/{TASK}/{PROTOCOL}/targets.h5") as targets:
        genes, scale = targets.fold(FOLD).genes, protocols.load(PROTOCOL).target
        for name in SAMPLES[:count]:
            own = targets.spots(name).at(np.arange(spots or len(targets.spots(name).names)))
            sample = Sample(name, "C", own.names, own.positions_px, Pictures(RESULTS / f"samples/{name}/patches.h5"))
            inner = np.zeros(len(own.names), np.int64)
            known.append(TrainingSample(sample, own.on_scale(scale, genes), own.counts_of(genes), own.totals, inner))
    return Training(known, genes, scale, "sample")


def step_line(kind: str) -> str:
    """A row of the second table."""
    with tempfile.TemporaryDirectory() as folder:
        cost = cost_of([sys.executable, str(Path(__file__).resolve()), "--step", kind], Path(folder))
    said = json.loads(cost.said.splitlines()[-1])
    found = f"not run: more than {LIMIT_GB} GB | | |"
    if said["cpu_s"] is not None:
        found = f"{said['cpu_s']:.1f} | {cost.peak_mb / 1024:.1f} | {int(said['parameters']):,} |"
    found = f"| `{kind}` | {said['batch']} | {found}"
    print(found, file=sys.stderr, flush=True)
    return found


PAGE = """# What methods cost, measured
Written by `make bench-methods`, each table in one run: every job a process of its own, one after another, on one
thread of a machine without a GPU that others use too, where a CPU second is worth more or less by what the others do.
*Products*: CPU seconds of {products} products of matrices of {rows:,} rows, in float64, before and after a job; CPU
seconds divided by these can be compared, seconds of the clock hardly.

## Made small, ten epochs
The fold of [real sections](methods.md#measured-on-real-sections) within one donor: trained on C2 to C4 ({spots} spots),
of which one section is held out, and asked for C5, 785 genes. Three sections, as both EGN need exemplars of others, of
which one can be held out. Ten epochs each, as the benchmark of eleven methods times: how many are needed is another
question ([epochs](methods.md#measured-on-real-sections)). From the start of Python to the prediction's file, patches
read, without keeping the network. Peaks are resident memory of the largest process, libraries included:
`mean_expression` is next to nothing beside them. GeneCodeR's epochs are its sweeps; floors have none.
`handcrafted+ridge` computes its features of all four sections first, which is most of it.

| method | seconds of the clock | CPU seconds | products | CPU seconds / products | peak, GB | parameters |
|---|---|---|---|---|---|---|
{reduced}

## As published, one step of training
The rows `<method>` of `config/methods.csv`: sizes, patches of 224 px (`thitogene` 112) and batches as published, 785
genes, random weights. CPU seconds are those of one step, forward, backward and the optimiser's; a second one where the
first took under half a minute. The peak is of the whole process, the frozen trunk of EGN and the patches included. A
process that asks for more than {limit} GB is stopped. Features that are made once, EGN's of its trunk and iStar's
tokens, are not in a step. GeneCodeR has no more components than spots less one: here 186 of its 500. Nothing was
trained further: of what such a network learns this says nothing.

| method | a step sees | CPU seconds | peak, GB | parameters |
|---|---|---|---|---|
{published}
"""


if __name__ == "__main__":
    main()
