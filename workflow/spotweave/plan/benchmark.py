"""What the schema cannot say of the table of tasks."""

from __future__ import annotations

from collections.abc import Mapping

from spotweave.registry import nearest
from spotweave.tables.rows import Row


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
