"""What the schema cannot say of the table of tasks, and of the names in the configuration."""

from __future__ import annotations

from collections.abc import Mapping

from spotweave.expression.gene_lists import VARIABLE, list_fault
from spotweave.registry import Registry, nearest
from spotweave.tables.rows import Row

# Entries that configurations of before may name: (registry, name) -> what to write instead.
GONE = {("probes", "mean"): "it said the same over every encoder; methods: [mean_expression] says it once"}


def entry_faults(where: str, registry: Registry, name: str) -> list[str]:
    """What is wrong with a name that should be an entry of a registry."""
    unknown = registry.fault(name)
    if unknown and (registry.package, name) in GONE:
        unknown = f"{name!r} is no {registry.what} any more: {GONE[registry.package, name]}"
    return [f"{where}: {unknown}"] if unknown else []


def task_faults(
    where: str, row: Row, samples: Mapping[str, object], cohorts: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """What is wrong with a task's row: cohorts, samples and genes that there are not."""
    faults = []
    for cohort in row.get("cohorts", "").split():
        if cohort not in cohorts:
            faults.append(f"{where}:cohorts: {cohort!r} is not in the configuration, {nearest(cohort, cohorts)}")
    for sample in row.get("samples", "").split():
        if sample not in samples:
            faults.append(f"{where}:samples: {sample!r} is in no cohort table, {nearest(sample, samples)}")
    unlisted = list_fault(row.get("genes", VARIABLE))
    return [*faults, f"{where}:genes: {unlisted}"] if unlisted else faults
