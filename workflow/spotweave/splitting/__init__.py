"""Ways of splitting a task into folds. One module is one way, named in the column `split` of the table of tasks.

A way is a module with

    split(members: Sequence[Member], asked: Asked) -> list[Fold]
        Folds of accepted samples, the same whatever their order. Raises `NoFolds`, with the reason, where there are
        none.
    FOLDS_OVER: str
        What a fold holds out: `donor`, `cohort` or `sample` (as many folds as there are of these, or as asked for), or
        `part` (of every sample: as asked for, or `FOLDS`).
    FOLDS: int
        The folds of a way over parts where none are asked for; others leave it out.
    COLUMNS: tuple[str, ...]
        The columns of the task's row that it reads beside `n_folds`; none, left out.
    REQUIRED: tuple[str, ...]
        Those of them that may not be blank; none, left out.
    LABEL: str
        What every score of such a task says of it, for people; blank, left out, where donors do not cross.

All but `split` are literals: they are read before the first job, without importing the module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from spotweave.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPLITTINGS = Registry("splitting", "way of splitting")
DEFAULT = "donor"
PART = "part"
# A fold of `splits.json`: `test_donors`, `train` and `test` (sample ids, sorted); of a way over parts, also
# `test_spots` and `unused_spots` (sample id -> names) and `nearest_um`, the least distance of a training spot from a
# test spot.
Fold = dict[str, Any]


class NoFolds(Exception):
    """Accepted samples make no folds; the message says why and stands in the leaderboard."""


@dataclass(frozen=True)
class Member:
    """A sample of a task.

    Attributes
    ----------
    sample_id, donor, cohort
        Who it is, whom it comes from, and in which table its row stands.
    spots
        In-tissue spots with a patch; None for a refused sample.
    reason
        Why it was refused, if it was.
    """

    sample_id: str
    donor: str
    spots: int | None
    reason: str = ""
    cohort: str = ""

    @classmethod
    def from_record(cls, sample_id: str, donor: str, record: Mapping[str, Any], cohort: str = "") -> Member:
        """From the record of the stage that cuts the patches, a sample's last before the benchmark."""
        if record["status"] == "accepted":
            return cls(sample_id, donor, int(record["measures"]["patches"]), cohort=cohort)
        reason = record.get("reason", "by an earlier stage; quarantine.csv says why")
        return cls(sample_id, donor, None, reason, cohort)


@dataclass(frozen=True)
class Places:
    """Where the spots of a sample lie: N names, unique, and their (N, 2) float64 x and y in um."""

    spots: Sequence[str]
    positions_um: NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """What a task's row asks of a way.

    Attributes
    ----------
    n_folds
        None for one a group.
    guard_um
        Training spots nearer than this to a test spot of their own sample are on neither side.
    order
        Sample ids as the row lists them; empty where it takes whole cohorts.
    places
        Sample id -> its spots; empty for a way that does not split samples.
    """

    n_folds: int | None = None
    guard_um: float = 0.0
    order: Sequence[str] = ()
    places: Mapping[str, Places] = field(default_factory=dict)


class Splitting(Protocol):
    """What a way's module offers."""

    def split(self, members: Sequence[Member], asked: Asked) -> list[Fold]:
        """Folds of accepted samples, without numbers."""


def load(way: str) -> Splitting:
    """The module of a way."""
    module: Splitting = SPLITTINGS.load(way)
    return module


def over(way: str) -> str:
    """What a fold of a way holds out; nothing is imported."""
    found: str = SPLITTINGS.constant(way, "FOLDS_OVER")
    return found


def fold_count(way: str, n_folds: int | None, groups: int) -> int:
    """The most folds that a task can have: as asked for, else one a group, and never more than groups.

    Parameters
    ----------
    groups
        How many donors, cohorts or samples (`over`) its samples come from; a way over parts does not ask.
    """
    if over(way) == PART:
        return n_folds or int(SPLITTINGS.constant(way, "FOLDS"))
    return min(n_folds or groups, groups)
