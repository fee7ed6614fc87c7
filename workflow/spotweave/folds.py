"""A fold of a task, as `splits.json` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class NoSuchFold(LookupError):
    """The tables promise a fold that the accepted samples do not make: a donor fell away."""


def split_of(splits: Mapping[str, Any], fold: int) -> Mapping[str, Any]:
    """The fold of that number: `fold`, `test_donors`, `train` and `test` (sample ids).

    Raises
    ------
    NoSuchFold
        If there is none; the message says which donors fell away, and why.
    """
    for split in splits["folds"]:
        if split["fold"] == fold:
            found: Mapping[str, Any] = split
            return found
    there = ", ".join(str(split["fold"]) for split in splits["folds"]) or "none"
    left_out = [f"{entry.get('donor') or entry.get('sample_id')} ({entry['reason']})" for entry in splits["left_out"]]
    why = f"; left out: {', '.join(left_out)}" if left_out else ""
    raise NoSuchFold(f"fold {fold} does not exist: task {splits['task']} has folds {there}{why}")


def samples_of(splits: Mapping[str, Any]) -> list[str]:
    """Ids of all samples of the folds, sorted."""
    return sorted({name for split in splits["folds"] for name in (*split["train"], *split["test"])})
