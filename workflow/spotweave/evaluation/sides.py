"""Spots split into those to learn from, those to choose by and those to test on, in three ways.

random    spots dealt out 8:1:1 whatever their slide, as published with STimage-1K4M: neighbours of test spots are
          learned from, so that position alone is worth something
donor     whole donors
blocks    bands of each slide with a guard band around them (`spotweave.splitting.blocks`)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spotweave import splitting
from spotweave.evaluation import Origins
from spotweave.splitting import Asked, Member, NoFolds, Places

Rows = NDArray[np.int64]

# Way -> what every number that comes of it must be read with.
WAYS = {
    "random": "leaks: spots of one slide are on all sides, so that the neighbours of test spots are learned from",
    "donor": "",
    "blocks": "parts of the same slides are on all sides, a guard band apart",
}
FOLDS = 5
LEARNED, CHOSEN_BY = 0.8, 0.1  # shares; the rest is tested on
GUARD_UM = 300.0  # more than one step of any array (200 um at most) and than a patch of 224 px at 0.5 um/px


class NoSides(Exception):
    """Spots cannot be split in that way; the message says why."""


@dataclass(frozen=True)
class Sides:
    """(n,) int64 rows each, sorted; disjoint. Spots of a guard band are on none of them."""

    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True)
class Round:
    """What choices are made for together: one fold, and its sides by seed (all the same where nothing is drawn)."""

    fold: int | None
    by_seed: dict[int, Sides]


def rounds(
    way: str,
    origins: Origins,
    seeds: Sequence[int],
    *,
    guard_um: float = GUARD_UM,
    tested: Collection[str] = (),
) -> list[Round]:
    """All splits of a way.

    Parameters
    ----------
    way
        One of `WAYS`.
    guard_um
        Of `blocks`: spots nearer than this to spots of another side are on none.
    tested
        Of `donor`: the samples whose donors are held out in one fold, where the embedding itself was learned from the
        others; empty for every donor in turn, in at most five folds.

    Raises
    ------
    NoSides
        There are too few spots or donors, or no positions in um.
    """
    if way == "random":
        return [Round(None, {seed: _random(len(origins), seed) for seed in seeds})]
    found = _donors(origins, tested) if way == "donor" else _blocks(origins, guard_um)
    return [Round(fold, dict.fromkeys(seeds, sides)) for fold, sides in enumerate(found)]


def without_validation(way: str, sides: Sides) -> Sides:
    """The same where nothing is chosen: the spots to choose by are tested on too (`random`: 80:20), or learned from."""
    none = np.zeros(0, dtype=np.int64)
    if way == "random":
        return Sides(sides.train, none, np.union1d(sides.validation, sides.test))
    return Sides(np.union1d(sides.train, sides.validation), none, sides.test)


def _random(count: int, seed: int) -> Sides:
    learned, chosen_by = int(LEARNED * count), int(CHOSEN_BY * count)
    if not chosen_by:
        raise NoSides(f"{count} spots cannot be dealt out 8:1:1; 10 or more can")
    order = np.random.default_rng(seed).permutation(count)
    parts = np.split(order, [learned, learned + chosen_by])
    return Sides(*(np.sort(part) for part in parts))


def _donors(origins: Origins, tested: Collection[str]) -> list[Sides]:
    if tested:
        held = [sorted(tested)]
        is_held = np.isin(origins.sample, held[0])
        both = sorted(set(origins.donor[is_held].tolist()) & set(origins.donor[~is_held].tolist()))
        if both:
            raise NoSides(f"donor {both[0]} is held out in part only")
        others = sorted(set(origins.donor[~is_held].tolist()))
        if not is_held.any() or not others:
            raise NoSides("no spots of donors that are held out, or none of others to learn from")
        # Of the donors learned from, the first by name chooses; with one alone, nothing is left to choose by.
        chooses = (origins.donor == others[0]) if len(others) > 1 else np.zeros(len(origins), dtype=bool)
        return [_sides(is_held, chooses, ~is_held & ~chooses)]
    donor_of = dict(zip(origins.sample.tolist(), origins.donor.tolist(), strict=True))
    members = [Member(name, donor_of[name], int((origins.sample == name).sum())) for name in origins.samples()]
    try:
        folds = splitting.load("donor").split(members, Asked(FOLDS))
    except NoFolds as error:
        raise NoSides(str(error)) from error
    tests = [np.isin(origins.sample, fold["test"]) for fold in folds]
    if len(tests) == 2:
        return [_sides(test, np.zeros(len(origins), dtype=bool), ~test) for test in tests]
    following = [*tests[1:], tests[0]]
    return [_sides(test, after, ~test & ~after) for test, after in zip(tests, following, strict=True)]


def _blocks(origins: Origins, guard_um: float) -> list[Sides]:
    if origins.position_um is None:
        raise NoSides("positions are not known in um: no pixel size")
    members, places = [], {}
    for name in origins.samples():
        rows = np.flatnonzero(origins.sample == name)
        members.append(Member(name, name, len(rows)))
        places[name] = Places([str(row) for row in rows.tolist()], origins.position_um[rows])
    try:
        folds = splitting.load("blocks").split(members, Asked(FOLDS, guard_um, places=places))
    except NoFolds as error:
        raise NoSides(str(error)) from error
    tests = [_rows(fold["test_spots"], len(origins)) for fold in folds]
    guards = [_rows(fold["unused_spots"], len(origins)) for fold in folds]
    in_any = np.any(tests, axis=0)  # slides of fewer spots than bands are left out
    found = []
    for at, test in enumerate(tests):
        after = (at + 1) % len(tests)
        # The next band chooses. Its guard band is on no side, and neither is what of it lies near the test band.
        chooses = tests[after] & ~guards[at]
        found.append(_sides(test, chooses, in_any & ~test & ~tests[after] & ~guards[at] & ~guards[after]))
    return found


def _rows(names: dict[str, list[str]], count: int) -> NDArray[np.bool_]:
    chosen = np.zeros(count, dtype=bool)
    chosen[[int(name) for listed in names.values() for name in listed]] = True
    return chosen


def _sides(test: NDArray[np.bool_], validation: NDArray[np.bool_], train: NDArray[np.bool_]) -> Sides:
    return Sides(*(np.flatnonzero(side) for side in (train, validation, test)))
