"""What the schema cannot say of the table of tasks, and of the names in the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spotweave.expression.gene_lists import VARIABLE, list_fault
from spotweave.registry import Registry, nearest
from spotweave.splitting import DEFAULT, SPLITTINGS
from spotweave.tables import selection, switches
from spotweave.tables.rows import Row

# Entries that configurations of before may name: (registry, name) -> what to write instead.
GONE = {("probes", "mean"): "it said the same over every encoder; methods: [mean_expression] says it once"}


def entry_faults(where: str, registry: Registry, name: str) -> list[str]:
    """What is wrong with a name that should be an entry of a registry; a protocol's may have switches."""
    if registry.package == "protocols":
        unknown = registry.fault(switches.base_of(name)) or switches.fault(name)
    else:
        unknown = registry.fault(name)
    if unknown and (registry.package, name) in GONE:
        unknown = f"{name!r} is no {registry.what} any more: {GONE[registry.package, name]}"
    return [f"{where}: {unknown}"] if unknown else []


def task_faults(
    where: str,
    row: Row,
    samples: Mapping[str, tuple[str, Row]],
    cohorts: Mapping[str, tuple[str, ...]],
    columns: Iterable[str],
) -> list[str]:
    """What is wrong with a task's row: cohorts and samples that the tables do not have, a query, genes, a way of
    splitting.

    Parameters
    ----------
    samples
        Sample id -> where its row stands, and the row.
    columns
        The columns that a query may name.
    """
    faults = [*_split_faults(where, row), *_query_faults(where, row, samples, columns)]
    unlisted = list_fault(row.get("genes", VARIABLE))
    faults += [f"{where}:genes: {unlisted}"] if unlisted else []
    for cohort in row.get("cohorts", "").split():
        if cohort not in cohorts:
            faults.append(f"{where}:cohorts: {cohort!r} is not in the configuration, {nearest(cohort, cohorts)}")
    for sample in row.get("samples", "").split():
        if sample not in samples:
            faults.append(f"{where}:samples: {sample!r} is in no cohort table, {nearest(sample, samples)}")
    return faults


# Columns of the table of tasks that belong to some ways of splitting only.
OF_A_WAY = ("guard_um",)


def _split_faults(where: str, row: Row) -> list[str]:
    way = row.get("split", DEFAULT)
    unknown = SPLITTINGS.fault(way)
    if unknown:
        return [f"{where}:split: {unknown}"]
    has, needs = SPLITTINGS.constant(way, "COLUMNS", ()), SPLITTINGS.constant(way, "REQUIRED", ())
    faults = [
        f"{where}:{name}: blank, allowed: a value, as split {way!r} needs it" for name in needs if name not in row
    ]
    return faults + [
        f"{where}:{name}: {row[name]!r} means nothing to split {way!r}, allowed: blank"
        for name in OF_A_WAY
        if name in row and name not in has
    ]


def _query_faults(where: str, row: Row, samples: Mapping[str, tuple[str, Row]], columns: Iterable[str]) -> list[str]:
    if "query" not in row:
        return []
    try:
        query = selection.parse_query(row["query"], columns)
    except ValueError as error:
        return [f"{where}:query: {error}"]
    rows = {name: own for name, (_, own) in samples.items() if own.get("cohort") in row.get("cohorts", "").split()}
    if rows and not selection.choose(rows, query, ())[0]:
        there = selection.values_there(rows, query)
        return [f"{where}:query: no sample of its cohorts meets it, allowed: a choice of what they have ({there})"]
    return []
