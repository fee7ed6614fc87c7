"""Splits by donor, where donors that share a person or a picture count as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from spotweave.benchmark.splits import Member, make_splits
from spotweave.benchmark.tasks import Task
from spotweave.identity import audit


def split_task(
    row: Mapping[str, str],
    donors: Mapping[str, str],
    prints: Mapping[str, Any],
    records: Mapping[str, Mapping[str, Any]],
    known: Iterable[Mapping[str, str]],
) -> dict[str, Any]:
    """Content of `splits.json`.

    Parameters
    ----------
    row
        The task's, of the tasks table.
    donors
        Sample -> its donor.
    prints
        Sample -> its fingerprint, of those that have one.
    records
        Sample -> the record of its patches.
    known
        Rows of `resources/identities.csv`.
    """
    task = Task.from_row(row)
    findings = [*audit.find(prints), *audit.known(known, donors)]
    # Copies and relatives under two donors' names would be trained on and tested on: they count as one donor.
    group = audit.donor_groups(donors, findings)
    members = [Member.from_record(sample, group[donor], records[sample]) for sample, donor in donors.items()]
    splits = make_splits(task.name, task.n_folds, members)
    joined = [one for one in audit.table(audit.joining(findings), donors) if one["leaks"] == "yes"]
    return {**splits, "joined_donors": joined}
