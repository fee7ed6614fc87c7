"""Folds that hold out whole groups of samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from spotweave.splitting import Fold, Member, NoFolds


def balanced_folds(sizes: Mapping[str, int], n_folds: int) -> list[list[str]]:
    """Deal groups into folds of nearly equal size: the largest group goes to the lightest fold, and so on.

    The rule of scikit-learn's `GroupKFold`, with ties settled by name, so that the result never depends on the order
    of the groups. Folds are numbered by their first group in alphabetical order.

    Parameters
    ----------
    sizes
        Spots of each group.
    n_folds
        2 or more, at most the number of groups.
    """
    if not 2 <= n_folds <= len(sizes):
        raise ValueError(f"cannot deal {len(sizes)} groups into {n_folds} folds")
    folds: list[list[str]] = [[] for _ in range(n_folds)]
    weights = [0] * n_folds
    for group in sorted(sizes, key=lambda name: (-sizes[name], name)):
        # An empty fold first: a group without spots must not leave another fold without groups.
        lightest = min(range(n_folds), key=lambda fold: (bool(folds[fold]), weights[fold], fold))
        folds[lightest].append(group)
        weights[lightest] += sizes[group]
    return sorted(sorted(fold) for fold in folds)


def hold_out(members: Sequence[Member], group_of: Mapping[str, str], n_folds: int | None, what: str) -> list[Fold]:
    """Folds that each hold out whole groups.

    Parameters
    ----------
    group_of
        Sample id -> the name of its group.
    n_folds
        None, or as many as groups and more, gives one fold a group.
    what
        What a group is called in the reason for no folds.

    Raises
    ------
    NoFolds
        With fewer than two groups.
    """
    spots: dict[str, int] = defaultdict(int)
    for member in members:
        spots[group_of[member.sample_id]] += member.spots or 0
    if len(spots) < 2:
        given = f"only {what} {next(iter(spots))}" if spots else f"no {what}"
        raise NoFolds(f"{given} has accepted samples; a fold needs a {what} to train on and another to test on")
    if n_folds is None or n_folds >= len(spots):
        folds = [[group] for group in sorted(spots)]
    else:
        folds = balanced_folds(spots, n_folds)
    return [fold_of(members, {name for name in group_of if group_of[name] in held}) for held in folds]


def fold_of(members: Sequence[Member], tested: set[str]) -> Fold:
    """The fold that tests on these samples and trains on all others."""
    return {
        "test_donors": sorted({member.donor for member in members if member.sample_id in tested}),
        "train": sorted(member.sample_id for member in members if member.sample_id not in tested),
        "test": sorted(member.sample_id for member in members if member.sample_id in tested),
    }
