"""Splits of a task, where donors that share a person or a picture count as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spotweave.benchmark.splits import make_splits
from spotweave.benchmark.tasks import Task
from spotweave.identity import audit
from spotweave.io import is_refused, read_json
from spotweave.splitting import PART, Asked, Member, Places, over


@dataclass(frozen=True)
class SampleFiles:
    """What a split knows of one sample: of its row `donor` and `cohort`, and the files of its stages."""

    sample: str
    donor: str
    cohort: str
    record: Path
    fingerprint: Path
    expression: Path
    alignment: Path


def split_task(
    row: Mapping[str, str], samples: Sequence[SampleFiles], known: Iterable[Mapping[str, str]]
) -> dict[str, Any]:
    """Content of `splits.json`.

    Parameters
    ----------
    row
        The task's, of the tasks table.
    samples
        All of the task, refused ones included. Tables of expression and alignments are read only by ways of splitting
        that cut samples.
    known
        Rows of `resources/identities.csv`.
    """
    task = Task.from_row(row)
    donors = {one.sample: one.donor for one in samples}
    prints = {one.sample: read_json(one.fingerprint) for one in samples if not is_refused(one.fingerprint)}
    findings = [*audit.find(prints), *audit.known(known, donors)]
    # Copies and relatives under two donors' names would be trained on and tested on: they count as one donor.
    group = audit.donor_groups(donors, findings)
    members = [Member.from_record(one.sample, group[one.donor], read_json(one.record), one.cohort) for one in samples]
    accepted = {member.sample_id for member in members if member.spots is not None}
    cut = [one for one in samples if over(task.split) == PART and one.sample in accepted]
    asked = Asked(guard_um=task.guard_um, order=task.order, places={one.sample: _places(one) for one in cut})
    splits = make_splits(task.name, task.n_folds, members, task.split, asked)
    joined = [one for one in audit.table(audit.joining(findings), donors) if one["leaks"] == "yes"]
    return {**splits, "joined_donors": joined}


def _places(sample: SampleFiles) -> Places:
    from spotweave.expression.samples import read_places_px

    spots, positions_px = read_places_px(sample.expression)
    return Places(spots, positions_px * read_json(sample.alignment)["pixel_size_um"])
