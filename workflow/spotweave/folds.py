"""A fold of a task, as `splits.json` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Side = Literal["train", "test"]


class NoSuchFold(LookupError):
    """The tables promise a fold that the accepted samples do not make: a donor fell away."""


def split_of(splits: Mapping[str, Any], fold: int) -> Mapping[str, Any]:
    """The fold of that number: `fold`, `test_donors`, `train` and `test` (sample ids), perhaps `test_spots`
    and `unused_spots`.

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


def shared_samples(split: Mapping[str, Any]) -> list[str]:
    """Samples that a fold both trains and tests on, spot by spot, sorted; none where it holds out whole samples."""
    return sorted(set(split["train"]) & set(split["test"]))


def rows_of(split: Mapping[str, Any], side: Side, sample: str, spots: Sequence[str]) -> list[int]:
    """Which spots of a sample of one side a fold trains or tests on: their rows among `spots`.

    All of them; but of a sample on both sides those that the fold's `test_spots` (sample -> names) lists are tested on,
    and all others are trained on, without those of `unused_spots` (sample -> names), a band between the two.

    Raises
    ------
    ValueError
        If a sample on both sides has no list, or a list names a spot that it does not have.
    """
    if sample not in shared_samples(split):
        return list(range(len(spots)))
    listed = split.get("test_spots", {}).get(sample)
    if listed is None:
        raise ValueError(
            f"fold {split['fold']}: {sample} is on both sides, and test_spots does not say which spots are"
        )
    tested, unused = set(listed), set(split.get("unused_spots", {}).get(sample, ()))
    for key, names in (("test_spots", tested), ("unused_spots", unused)):
        strangers = sorted(names - set(spots))
        if strangers:
            raise ValueError(f"fold {split['fold']}: {sample} has no spot {strangers[0]!r}, which {key} lists")
    if side == "test":
        return [row for row, name in enumerate(spots) if name in tested]
    return [row for row, name in enumerate(spots) if name not in tested and name not in unused]
