"""Folds that hold out a part of every sample, with a band around it that is on neither side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.splitting import Asked, Fold, Member, NoFolds

Labels = NDArray[np.int64]


def hold_out_parts(
    members: Sequence[Member], asked: Asked, count: int, label: Callable[[NDArray[np.float64], int], Labels]
) -> list[Fold]:
    """One fold a part: it tests on that part of every sample and trains on the others, but for the band.

    Parameters
    ----------
    label
        Takes (N, 2) positions in um and how many parts are wanted, gives the part of each spot, from 0.

    Raises
    ------
    NoFolds
        If no sample has as many spots as parts, or the band leaves a fold nothing to train on.
    """
    names = sorted(member.sample_id for member in members if len(asked.places[member.sample_id].spots) >= count)
    if not names:
        raise NoFolds(f"no accepted sample has {count} spots or more, one for each part")
    donors = sorted({member.donor for member in members if member.sample_id in names})
    parts = {name: label(asked.places[name].positions_um, count) for name in names}
    folds = []
    for part in range(count):
        fold: Fold = {"test_donors": donors, "train": names, "test": names}
        cut = {name: _cut(parts[name] == part, asked.places[name].positions_um, asked.guard_um) for name in names}
        if not any(trained.any() for trained, _ in cut.values()):
            raise NoFolds(f"a band of {asked.guard_um:g} um around part {part} leaves no spot to train on")
        for key, chosen in (
            ("test_spots", {name: parts[name] == part for name in names}),
            ("unused_spots", {name: ~cut[name][0] & (parts[name] != part) for name in names}),
        ):
            fold[key] = {name: _names(asked.places[name].spots, rows) for name, rows in chosen.items()}
        nearest = min(distance for _, distance in cut.values())
        folds.append(fold | {"nearest_um": round(nearest, 1)})
    return folds


def _cut(tested: NDArray[np.bool_], positions_um: NDArray[np.float64], guard_um: float) -> tuple[Any, float]:
    """Which spots are trained on, (N,) bool, and how near the nearest of them is to a test spot, um."""
    from scipy.spatial import KDTree

    if not tested.any():
        return ~tested, np.inf
    distance_um = KDTree(positions_um[tested]).query(positions_um)[0]
    trained = ~tested & (distance_um >= guard_um)
    return trained, float(distance_um[trained].min()) if trained.any() else np.inf


def _names(spots: Sequence[str], rows: NDArray[np.bool_]) -> list[str]:
    return [name for name, row in zip(spots, rows.tolist(), strict=True) if row]
