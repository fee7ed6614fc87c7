"""What every predictor of a fold begins with: the fold, its genes, and enough to train on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spotweave.benchmark.predictions import ABSENT, NotPredicted
from spotweave.benchmark.targets import Targets
from spotweave.folds import NoSuchFold, split_of

MIN_TRAIN_SPOTS = 10


def require_split(splits: Mapping[str, Any], fold: int) -> Mapping[str, Any]:
    """The fold of that number, as `folds.split_of` has it; `NotPredicted` where the task does not have it."""
    if not splits["folds"]:
        raise NotPredicted(splits["reason"] or "the task has no folds", ABSENT)
    try:
        return split_of(splits, fold)
    except NoSuchFold as why:
        raise NotPredicted(str(why), ABSENT) from None


def require_genes(targets: Targets, fold: int) -> list[str]:
    """The genes of a fold that the splits have; `NotPredicted` where none could be chosen."""
    chosen = targets.fold(fold)
    if chosen.reason:
        raise NotPredicted(chosen.reason)
    return chosen.genes


def require_enough(spots: int) -> None:
    """`NotPredicted` for a number of training spots from which nothing is learned."""
    if spots < MIN_TRAIN_SPOTS:
        raise NotPredicted(f"{spots} training spots, at least {MIN_TRAIN_SPOTS} are needed")


def sides_of(split: Mapping[str, Any]) -> dict[str, str]:
    """What a prediction's file says of its fold."""
    return {"test_donors": " ".join(split["test_donors"]), "train_samples": " ".join(split["train"])}
