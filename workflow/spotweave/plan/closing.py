"""What a finished run says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spotweave.plan.tables import Tables


def closing_lines(results: Path, tables: Tables, tasks_left_out: Mapping[str, str]) -> str:
    """Where the results are, how many samples were refused, and what was left out.

    Parameters
    ----------
    results
        Folder of the dataset, `results/<dataset>`.
    tables
        The tables of the run.
    tasks_left_out
        Task -> why it was not run.
    """
    quarantine = results / "quarantine.csv"
    without = [f"left out     task {task}: {why}" for task, why in tasks_left_out.items()]
    if not quarantine.exists():
        return "\n".join(["done", *without])
    refused = len(quarantine.read_text(encoding="utf-8").splitlines()) - 1
    whole = len(tables.samples)
    lines = [
        f"dataset      {results}/{results.name}.csv  ({whole - refused} of {whole} samples accepted)",
        f"quarantine   {quarantine}  ({refused} refused)",
    ]
    if tables.left_out:
        lines.append(f"left out     {results}/left_out.csv  ({len(tables.left_out)} samples not chosen)")
    return "\n".join([*lines, *without])
