"""Folds in which no donor is on both sides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_INNER_FOLDS = 5
MIN_INNER_SPOTS = 10


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


@dataclass(frozen=True)
class Member:
    """A sample of a task.

    Attributes
    ----------
    sample_id, donor
        Who it is, and whom it comes from.
    spots
        In-tissue spots with a patch; None for a refused sample.
    reason
        Why it was refused, if it was.
    """

    sample_id: str
    donor: str
    spots: int | None
    reason: str = ""

    @classmethod
    def from_record(cls, sample_id: str, donor: str, record: Mapping[str, Any]) -> Member:
        """From the record of the stage that cuts the patches, a sample's last before the benchmark."""
        if record["status"] == "accepted":
            return cls(sample_id, donor, int(record["measures"]["patches"]))
        return cls(sample_id, donor, None, record.get("reason", "by an earlier stage; quarantine.csv says why"))


def make_splits(task: str, n_folds: int | None, members: Iterable[Member]) -> dict[str, Any]:
    """Split the accepted samples of a task by donor.

    Parameters
    ----------
    task
        Its name.
    n_folds
        Folds; None, or as many as donors and more, gives one fold per donor.
    members
        Every sample of the task, the refused ones included.

    Returns
    -------
    splits
        `task`; `donors` (accepted sample id -> donor); `folds`, each with `fold` (numbered from 0 without gaps),
        `test_donors`, `train` and `test` (sample ids, sorted); `left_out`, each a `sample_id` or `donor` with a
        `reason`; `reason`, why there is no fold, else None.
    """
    accepted: dict[str, dict[str, int]] = defaultdict(dict)
    refused: dict[str, list[str]] = defaultdict(list)
    left_out: list[dict[str, str]] = []
    for member in sorted(members, key=lambda member: member.sample_id):
        if member.spots is None:
            left_out.append({"sample_id": member.sample_id, "reason": f"refused: {member.reason}"})
            refused[member.donor].append(member.sample_id)
        else:
            accepted[member.donor][member.sample_id] = member.spots
    left_out += [
        {"donor": donor, "reason": f"all its samples were refused: {', '.join(names)}"}
        for donor, names in sorted(refused.items())
        if donor not in accepted
    ]
    reason = None
    folds: list[list[str]] = []
    if len(accepted) < 2:
        given = f"only donor {next(iter(accepted))}" if accepted else "no donor"
        reason = f"{given} has accepted samples; a fold needs a donor to train on and another to test on"
    elif n_folds is None or n_folds >= len(accepted):
        folds = [[donor] for donor in sorted(accepted)]
    else:
        folds = balanced_folds({donor: sum(spots.values()) for donor, spots in accepted.items()}, n_folds)
    return {
        "task": task,
        "donors": {name: donor for donor in sorted(accepted) for name in accepted[donor]},
        "folds": [_fold(number, donors, accepted) for number, donors in enumerate(folds)],
        "left_out": left_out,
        "reason": reason,
    }


def _fold(number: int, test_donors: list[str], accepted: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    sides: dict[bool, list[str]] = {True: [], False: []}
    for donor, samples in accepted.items():
        sides[donor in test_donors].extend(samples)
    return {
        "fold": number,
        "test_donors": test_donors,
        "train": sorted(sides[False]),
        "test": sorted(sides[True]),
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
