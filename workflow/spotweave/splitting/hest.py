"""HEST-Benchmark's folds: whole patients, filled one after the other.

As many folds as patients, or as asked for (half as many in its task of kidney cancer): patients in the order in which
the row lists their samples, a fold closed once it holds its share of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from spotweave.splitting import Asked, Fold, Member, NoFolds
from spotweave.splitting._groups import fold_of

FOLDS_OVER = "donor"


def split(members: Sequence[Member], asked: Asked) -> list[Fold]:
    """Folds of whole patients.

    Raises
    ------
    NoFolds
        With fewer than two patients.
    """
    place = {name: number for number, name in enumerate(asked.order)}
    listed = sorted(members, key=lambda member: (place.get(member.sample_id, len(place)), member.sample_id))
    patients = list(dict.fromkeys(member.donor for member in listed))
    if len(patients) < 2:
        given = f"only donor {patients[0]}" if patients else "no donor"
        raise NoFolds(f"{given} has accepted samples; a fold needs a donor to train on and another to test on")
    count = min(asked.n_folds or len(patients), len(patients))
    bounds = [round(fold * len(patients) / count) for fold in range(count + 1)]
    held = [set(patients[start:end]) for start, end in itertools.pairwise(bounds)]
    return [fold_of(members, {member.sample_id for member in members if member.donor in out}) for out in held]
