"""Whole donors are held out: no donor is on both sides."""

from __future__ import annotations

from collections.abc import Sequence

from spotweave.splitting import Asked, Fold, Member
from spotweave.splitting._groups import hold_out

FOLDS_OVER = "donor"


def split(members: Sequence[Member], asked: Asked) -> list[Fold]:
    """One fold a donor, or donors dealt into folds of nearly equal numbers of spots."""
    return hold_out(members, {member.sample_id: member.donor for member in members}, asked.n_folds, "donor")
