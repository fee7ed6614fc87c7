"""Whole cohorts are held out: another laboratory, protocol and scanner. Cohorts that share a donor count as one."""

from __future__ import annotations

from collections.abc import Sequence

from spotweave.splitting import Asked, Fold, Member
from spotweave.splitting._groups import hold_out

FOLDS_OVER = "cohort"


def split(members: Sequence[Member], asked: Asked) -> list[Fold]:
    """One fold a cohort, or cohorts dealt into folds of nearly equal numbers of spots."""
    joined = _joined(members)
    return hold_out(members, {member.sample_id: joined[member.cohort] for member in members}, asked.n_folds, "cohort")


def _joined(members: Sequence[Member]) -> dict[str, str]:
    """Cohort -> the names of all cohorts that it is tied to by donors, one after the other."""
    of_donor: dict[str, set[str]] = {}
    for member in members:
        of_donor.setdefault(member.donor, set()).add(member.cohort)
    groups: list[set[str]] = []
    for cohorts in of_donor.values():
        tied = [group for group in groups if group & cohorts]
        groups = [group for group in groups if not group & cohorts] + [cohorts.union(*tied)]
    return {cohort: "+".join(sorted(group)) for group in groups for cohort in group}
