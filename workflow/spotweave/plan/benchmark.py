"""What the schemas cannot say of the tables of encoders, tasks and recipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spotweave.encoders import check_row
from spotweave.registry import Registry, nearest
from spotweave.tables.rows import Row


def encoder_faults(where: str, row: Row, builders: Registry) -> list[str]:
    """What is wrong with an encoder's row at `where` (`file:row`)."""
    unknown = builders.fault(row.get("builder", ""))
    return [
        *([f"{where}:builder: {unknown}"] if unknown else []),
        *(f"{where}:{column}: {fault}" for column, fault in check_row(row)),
    ]


def task_faults(
    where: str, row: Row, samples: Mapping[str, object], cohorts: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """What is wrong with a task's row: cohorts and samples that the tables do not have."""
    faults = []
    for cohort in row.get("cohorts", "").split():
        if cohort not in cohorts:
            faults.append(f"{where}:cohorts: {cohort!r} is not in the configuration, {nearest(cohort, cohorts)}")
    for sample in row.get("samples", "").split():
        if sample not in samples:
            faults.append(f"{where}:samples: {sample!r} is in no cohort table, {nearest(sample, samples)}")
    return faults


def recipe_faults(where: str, name: str, row: Row, encoders: Mapping[str, Row], config: Mapping[str, Any]) -> list[str]:
    """What is wrong with a recipe's row: its name is taken, its base cannot be trained, its task is not run."""
    faults = []
    if name in encoders:
        faults.append(f"{where}:recipe: {name!r} is an encoder already, allowed: a name of its own")
    if row.get("base_encoder") not in encoders:
        base = row.get("base_encoder", "")
        faults.append(f"{where}:base_encoder: {base!r} is in no table, {nearest(base, encoders)}")
    elif encoders[row["base_encoder"]].get("builder") != "timm_model":
        faults.append(f"{where}:base_encoder: {row['base_encoder']!r} cannot be trained, allowed: a timm_model encoder")
    if row.get("task") not in config["tasks"]:
        faults.append(f"{where}:task: {row.get('task')!r} is not run, allowed: {', '.join(config['tasks'])}")
    return faults
