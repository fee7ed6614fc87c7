"""Whole samples are held out, whoever they come from: a donor with two sections is on both sides."""

from __future__ import annotations

from collections.abc import Sequence

from spotweave.splitting import Asked, Fold, Member
from spotweave.splitting._groups import hold_out

FOLDS_OVER = "sample"
LABEL = "sections of one donor are trained and tested on: no score says what another donor's section would get"


def split(members: Sequence[Member], asked: Asked) -> list[Fold]:
    """One fold a sample, or samples dealt into folds of nearly equal numbers of spots."""
    return hold_out(members, {member.sample_id: member.sample_id for member in members}, asked.n_folds, "sample")
