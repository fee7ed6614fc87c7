"""Which of some names fill the roles that a sample still lacks; doubt about one that it needs is a refusal."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from spotweave import readers
from spotweave.deposits.naming import LISTS
from spotweave.errors import Refusal
from spotweave.intake import layouts
from spotweave.intake.places import shown
from spotweave.intake.request import Request

log = logging.getLogger("spotweave")


@dataclass(frozen=True)
class Choice:
    """Role -> name, role -> how it was recognised, archives worth opening, role -> names it was left open for."""

    roles: Mapping[str, str]
    why: Mapping[str, str]
    archives: tuple[str, ...]
    left_open: Mapping[str, tuple[str, ...]]


def choose(names: Collection[str], request: Request, lacking: Collection[str], matrix: str | None) -> Choice:
    """Fill the roles in `lacking` from a set of names.

    Parameters
    ----------
    names
        Names of a listing or of an archive's members.
    request
        What the row asks for.
    lacking
        Roles without a file.
    matrix
        The one of the names that the row gives as the counts: the lists beside it are its own.

    Raises
    ------
    Refusal
        Several names fit a needed role equally well.
    """
    assigned = layouts.assign(names, request.reader, unit=request.unit)
    left_open = _left_open(assigned, request, lacking)
    found = {role: assigned.roles[role] for role in lacking if role in assigned.roles}
    if "counts" not in found:
        # Lists of another matrix than the row's would be wrong in silence.
        own = {} if matrix is None else _lists_of(matrix, names, request, lacking)
        found = {role: name for role, name in found.items() if role not in LISTS} | own
    return Choice(found, {role: assigned.why.get(role, "") for role in found}, assigned.archives, left_open)


def _left_open(assigned: layouts.Assignment, request: Request, lacking: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Several names for a needed role are refused; those for one that may stay open are reported."""
    roles = readers.layout(request.reader).roles
    left_open = {}
    for role, names in assigned.ambiguous.items():
        if role not in lacking:
            continue
        if role in (*roles.needed, *roles.either, *roles.wanted):
            raise Refusal(
                f"{request.sample}: {len(names)} files could be its {role}: {shown(names)}; name one in the column"
                f" '{role}', or narrow them with 'files'",
                measured=len(names),
                threshold=1,
            )
        log.warning("%s: left open, %s files could be it: %s", role, len(names), shown(names))
        left_open[role] = names
    return left_open


def _lists_of(matrix: str, names: Iterable[str], request: Request, lacking: Collection[str]) -> dict[str, str]:
    """The lists beside a matrix, by role."""
    words = [word for words in LISTS.values() for word in words.split("|")]
    lists = [name for name in names if any(word in name.lower() for word in words)]
    roles = layouts.assign([matrix, *lists], request.reader, unit=request.unit).roles
    if roles.get("counts") != matrix:
        return {}
    return {role: roles[role] for role in LISTS if role in roles and role in lacking}
