"""The folds of a task, and folds within its training spots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave import splitting
from spotweave.splitting import DEFAULT, Asked, Member, NoFolds
from spotweave.splitting._groups import balanced_folds

MAX_INNER_FOLDS = 5
MIN_INNER_SPOTS = 10


def make_splits(
    task: str, n_folds: int | None, members: Iterable[Member], way: str = DEFAULT, asked: Asked | None = None
) -> dict[str, Any]:
    """Split the accepted samples of a task.

    Parameters
    ----------
    task
        Its name.
    n_folds
        Folds; None, or as many as groups and more, gives one fold a group.
    members
        Every sample of the task, the refused ones included.
    way
        A module of `splitting`.
    asked
        What else the way is asked for; `n_folds` goes over it.

    Returns
    -------
    splits
        `task`; `donors` (accepted sample id -> donor); `folds`, each with `fold` (numbered from 0 without gaps),
        `test_donors`, `train` and `test` (sample ids, sorted), and what a way over parts adds; `left_out`, each a
        `sample_id` or `donor` with a `reason`; `reason`, why there is no fold, else None; `split`, the way, unless
        whole donors are held out.
    """
    everyone = sorted(members, key=lambda member: member.sample_id)
    accepted = [member for member in everyone if member.spots is not None]
    left_out = [
        {"sample_id": member.sample_id, "reason": f"refused: {member.reason}"}
        for member in everyone
        if member.spots is None
    ]
    there = {member.donor for member in accepted}
    refused: dict[str, list[str]] = defaultdict(list)
    for member in everyone:
        if member.donor not in there:
            refused[member.donor].append(member.sample_id)
    left_out += [
        {"donor": donor, "reason": f"all its samples were refused: {', '.join(names)}"}
        for donor, names in sorted(refused.items())
    ]
    reason, folds = None, []
    try:
        folds = splitting.load(way).split(accepted, replace(asked or Asked(), n_folds=n_folds))
    except NoFolds as why:
        reason = str(why)
    return {
        "task": task,
        "donors": {member.sample_id: member.donor for member in sorted(accepted, key=lambda one: one.donor)},
        "folds": [{"fold": number, **fold} for number, fold in enumerate(folds)],
        "left_out": left_out,
        "reason": reason,
        **({} if way == DEFAULT else {"split": way}),
    }


def inner_folds(
    samples: Sequence[str], donors: Sequence[str], positions_px: NDArray[np.float64]
) -> tuple[NDArray[np.int64], str]:
    """Folds within the training spots, held out in turn when a setting is chosen.

    Parameters
    ----------
    samples, donors
        (N,) names, one for each training spot.
    positions_px
        (N, 2) x and y, used where there is one sample only.

    Returns
    -------
    folds
        (N,) int, from 0; at most five, and (but for blocks of a very small sample) none of fewer than ten spots, in
        which a correlation would be noise: smaller groups join a larger one.
    kind
        What is held out together: `donor` (two donors or more), `sample` (one donor, two samples or more), or
        `block` (one sample: bands of equal spot number across its longest axis, so that neighbours mostly stay
        together).
    """
    for kind, names in (("donor", np.asarray(donors)), ("sample", np.asarray(samples))):
        groups, counts = np.unique(names, return_counts=True)
        large = int((counts >= MIN_INNER_SPOTS).sum())
        if large > 1:
            sizes = dict(zip(groups.tolist(), counts.tolist(), strict=True))
            folds = balanced_folds(sizes, min(MAX_INNER_FOLDS, large))
            number = {group: fold for fold, members in enumerate(folds) for group in members}
            return np.array([number[name] for name in names.tolist()], dtype=np.int64), kind
    return _bands(positions_px), "block"


def _bands(positions_px: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N,) band of each spot along the principal axis of the positions; bands differ by one spot at most."""
    centred = positions_px - positions_px.mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    order = np.lexsort((positions_px[:, 1], positions_px[:, 0], centred @ axis))
    number = min(MAX_INNER_FOLDS, max(2, len(order) // MIN_INNER_SPOTS))
    bands = np.empty(len(order), dtype=np.int64)
    bands[order] = np.arange(len(order)) * number // len(order)
    return bands
