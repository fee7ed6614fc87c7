"""Tasks that are read from HEST-Benchmark's released folder, held against the configuration before the DAG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spotweave.errors import Refusal
from spotweave.expression.gene_lists import VARIABLE
from spotweave.released import GENES_FILE
from spotweave.released.folder import NotThere, ReleasedTask, read_task
from spotweave.splitting import DEFAULT
from spotweave.tables import switches
from spotweave.tables.rows import Row

__all__ = ["COLUMN", "GENES_FILE", "KEY", "read"]

COLUMN = "released"
KEY = "released_dir"
TRAIN_HVG = "train_hvg"  # a switch of protocols that overrules a task's genes
# What the folder says itself -> what a blank cell stands for.
OF_THE_FOLDER = {"samples": "", "query": "", "genes": VARIABLE, "n_folds": "", "split": DEFAULT, "guard_um": ""}


def read(
    config: Mapping[str, Any],
    source: str,
    tasks: Mapping[str, Row],
    recipes: Mapping[str, Row],
    rows_at: Mapping[tuple[str, str], str],
) -> tuple[dict[str, ReleasedTask], dict[str, str], list[str]]:
    """Read the csv files and lists of genes of the chosen tasks that name a folder.

    Parameters
    ----------
    tasks
        The whole table, those of our own included.
    rows_at
        (`tasks`, name) -> `file:row`.

    Returns
    -------
    read
        Task -> what its folder says.
    left_out
        Task -> why what its folder says cannot be believed: the others go on.
    faults
        What has to be downloaded or written otherwise before anything starts, a line each.
    """
    chosen = {name: tasks[name] for name in config["tasks"] if name in tasks}
    named = {name: row for name, row in chosen.items() if COLUMN in row}
    faults = _config_faults(config, source, list(named), chosen, recipes)
    found: dict[str, ReleasedTask] = {}
    left_out: dict[str, str] = {}
    root = config.get(KEY, "")
    for name, row in named.items():
        where = rows_at["tasks", name]
        faults += [
            f"{where}:{column}: {row[column]!r} means nothing to a released task, allowed: blank"
            for column, blank in OF_THE_FOLDER.items()
            if row.get(column, blank) != blank
        ]
        if not root:
            continue
        try:
            found[name] = read_task(Path(root).expanduser(), row[COLUMN])
        except NotThere as missing:
            faults.append(f"{where}:{COLUMN}: {missing.reason}")
        except Refusal as refusal:
            left_out[name] = f"the released task is left out: {refusal.reason}"
    return found, left_out, faults


def _config_faults(
    config: Mapping[str, Any],
    source: str,
    named: Sequence[str],
    tasks: Iterable[str],
    recipes: Mapping[str, Row],
) -> list[str]:
    faults = []
    own = sorted(set(tasks) - set(named))
    if not config["cohorts"] and (own or not named):
        whose = f" of task {own[0]}" if own else ""
        faults.append(f"{source}:cohorts: none, allowed: the cohort tables{whose}; none where every task is released")
    if not named:
        return faults
    if not config.get(KEY):
        faults.append(f"{source}:{KEY}: blank, allowed: the folder that holds IDC, PRAD and others, for {named[0]}")
    faults += [
        f"{source}:protocols: {name!r} chooses genes, which task {named[0]} has from its folder, allowed: protocols"
        f" without genes={TRAIN_HVG}"
        for name in config["protocols"]
        if switches.fault(name) is None and switches.switches_of(name).get("genes") == TRAIN_HVG
    ]
    faults += [
        f"{source}:recipes: {name!r} is trained on task {recipes[name]['task']}, allowed: recipes of tasks of our own"
        for name in config["recipes"]
        if name in recipes and recipes[name]["task"] in named
    ]
    return faults
