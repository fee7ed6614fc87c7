"""Names of spots, bins and cells as deposits write them, the one name behind them, and the samples they tell apart.

A Visium barcode is 16 nucleotides; copies of it carry `-1`, `_1`, R's `.1` or nothing, and, where a table holds
several samples, something of the sample before (`A1_ACGT…-1`) or after it (`ACGT…-3`, `ACGT…-1_3`). What is before and
after is kept: it tells the samples of a joint table apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.errors import Refusal

# A nucleotide barcode, a bin or a cell of Visium HD; what is around it must not be a letter.
CORE = re.compile(
    r"(?P<before>|.*[^A-Za-z])(?P<core>[ACGTN]{14,}|s_\d{3}um_\d+_\d+|cellid_\d+)(?P<after>|[^A-Za-z].*)", re.DOTALL
)
FIRST = re.compile(r"^[-_.]1(?!\d)")  # what a lone sample's barcodes end with
SEPARATORS = "-_.:|#/ "
MEMBERS_SHOWN = 20


@dataclass(frozen=True)
class Barcodes:
    """Names taken apart: `before` + `core` + `after` = `names`, one of each per name.

    Where most names hold no barcode at all, a core is the whole name.
    """

    names: list[str]
    before: list[str]
    core: list[str]
    after: list[str]

    @cached_property
    def groups(self) -> dict[tuple[str, str], int]:
        """How many names have the same (`before`, `after`); names without a barcode among others with are left out."""
        counted = Counter(zip(self.before, self.after, strict=True))
        if len(counted) > 1 and ("", "") in counted:
            alone = zip(self.before, self.after, self.core, strict=True)
            counted["", ""] = sum(looks_like_barcode(core) for before, after, core in alone if not before + after)
        return {group: count for group, count in sorted(counted.items()) if count}

    @property
    def forms(self) -> dict[str, int]:
        """Formats in use, such as `BARCODE-1`, and how many names have each."""
        return {f"{before}BARCODE{after}": count for (before, after), count in self.groups.items()}

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: NDArray[np.intp]) -> Barcodes:
        """Some of the names, in the order of `rows`."""
        return Barcodes(*([part[i] for i in rows] for part in (self.names, self.before, self.core, self.after)))


def parse(names: Sequence[str]) -> Barcodes:
    """Take names apart."""
    found = [CORE.fullmatch(name) for name in names]
    if sum(match is not None for match in found) <= 0.5 * len(found):
        blank = [""] * len(names)
        return Barcodes(list(names), blank, list(names), blank)
    parts = [
        (match["before"], match["core"], match["after"]) if match else ("", name, "")
        for match, name in zip(found, names, strict=True)
    ]
    before, core, after = (list(part) for part in zip(*parts, strict=True))
    return Barcodes(list(names), before, core, after)


def looks_like_barcode(name: str) -> bool:
    """Whether a name holds a barcode of a spot, a bin or a cell."""
    return CORE.fullmatch(name) is not None


def canonical(core: str) -> str:
    """The name of a unit as Space Ranger writes it for a lone sample: the barcode and `-1`."""
    return f"{core}-1" if CORE.fullmatch(core) else core


def telling(groups: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
    """The part of each group (`before`, `after`) that tells it from the others; of a lone group, all but `-1`."""
    every = list(groups)
    befores, afters = {before for before, _ in every}, {after for _, after in every}
    if len(every) == 1:
        return {(before, after): (before, FIRST.sub("", after)) for before, after in every}
    return {
        (before, after): (before if len(befores) > 1 else "", after if len(afters) > 1 else "")
        for before, after in every
    }


def label(before: str, after: str) -> str:
    """What a person would call the sample of a group: `A1` for (`A1_`, `-1`), `3` for (``, `-3`) or (``, `-1_3`)."""
    start = before.strip(SEPARATORS)
    end = FIRST.sub("", after)
    return " ".join(part for part in (start, end.strip(SEPARATORS)) if part)


def matches(before: str, after: str, member: str) -> bool:
    """Whether a person may call a group by `member`: its label, or what tells it, as written or without separators."""
    wanted = member.strip(SEPARATORS)
    own = {label(before, after), before, after, before.strip(SEPARATORS), after.strip(SEPARATORS)} - {""}
    return member in own or wanted in own


def rows_of(
    name: str, names: Barcodes, columns: Mapping[str, list[str]], member: str | None
) -> NDArray[np.intp] | None:
    """The rows a member names, by what is around the barcodes or by a column; None if it names none here."""
    if member is None:
        return None
    found: dict[str, NDArray[np.intp]] = {}
    for group, own in telling(names.groups).items():
        if matches(*own, member):
            inside = [pair == group for pair in zip(names.before, names.after, strict=True)]
            found["{}BARCODE{}".format(*group)] = np.flatnonzero(inside)
    wanted_column, is_pair, wanted_value = member.partition("=")
    for column, values in columns.items():
        is_named = bool(is_pair) and column == wanted_column
        inside = [value == (wanted_value if is_named else member) for value in values]
        if any(inside):
            found[f"{column}={wanted_value if is_named else member}"] = np.flatnonzero(inside)
    distinct = {tuple(rows.tolist()) for rows in found.values()}
    if len(distinct) > 1:
        raise Refusal(
            f"{name}: the member {member!r} may be any of"
            f" {', '.join(f'{what} ({len(rows):,} spots)' for what, rows in found.items())}; write it so",
            measured=len(distinct),
            threshold=1,
        )
    return next(iter(found.values()), None)


def members(names: Barcodes, columns: Mapping[str, list[str]]) -> str:
    """The samples a joint table may be split into, with their numbers of spots; empty if there is one."""
    listed = []
    if len(names.groups) > 1:
        for group, (before, after) in telling(names.groups).items():
            member = label(before, after) or after or "(barcodes alone)"
            listed.append(f"{member} ({names.groups[group]:,} spots)")
    for column, values in columns.items():
        counted = Counter(values)
        pairs = Counter(zip(values, names.core, strict=True))
        if 1 < len(counted) <= MEMBERS_SHOWN and max(pairs.values(), default=0) == 1:
            listed += [f"{column}={value} ({count:,} spots)" for value, count in sorted(counted.items())]
    more = f" and {len(listed) - MEMBERS_SHOWN:,} more" if len(listed) > MEMBERS_SHOWN else ""
    return ", ".join(listed[:MEMBERS_SHOWN]) + more


def several(name: str, names: Barcodes, columns: Mapping[str, list[str]]) -> Refusal:
    """The refusal of a table that is not one sample."""
    listed = members(names, columns)
    core, times = Counter(names.core).most_common(1)[0]
    if listed:
        return Refusal(
            f"{name}: the table holds several samples: {listed}; name one as the member of the row",
            measured=listed.count(" spots)"),
            threshold=1,
        )
    same = [full for full, own in zip(names.names, names.core, strict=True) if own == core]
    return Refusal(
        f"{name}: barcode {core} comes {times} times ({', '.join(same[:3])}) and nothing tells the rows apart; give the"
        " table of one sample",
        measured=times,
        threshold=1,
    )


@dataclass(frozen=True)
class Listed:
    """The names of one file, with further columns of theirs, and the rows that a member names (None: none here)."""

    name: str
    names: Barcodes
    columns: Mapping[str, list[str]]
    named: NDArray[np.intp] | None

    @property
    def rows(self) -> NDArray[np.intp]:
        """Those that the member names, or all."""
        return np.arange(len(self.names)) if self.named is None else self.named


def listed(name: str, names: Sequence[str], columns: Mapping[str, list[str]], member: str | None) -> Listed:
    """Names taken apart, and the rows of a member; refused if it may mean several."""
    parsed = parse(names)
    return Listed(name, parsed, columns, rows_of(name, parsed, columns, member))


@dataclass(frozen=True)
class Pair:
    """One sample in two files.

    Attributes
    ----------
    position_rows
        (N,) rows of the positions.
    spot_ids
        (N,) their names, as Space Ranger writes them.
    count_rows
        (N,) row of the counts of each, -1 without one.
    lone_units
        Names of the sample's rows of the counts that have no position.
    report
        JSON-ready: `member`, `units_of_other_members`, `positions_of_other_members`, `rows_in_counts`, `joined_by`,
        `barcodes_in_counts` and `barcodes_in_positions` by format.
    """

    position_rows: NDArray[np.intp]
    spot_ids: list[str]
    count_rows: NDArray[np.intp]
    lone_units: list[str]
    report: dict[str, Any]


def pair(counts: Listed, positions: Listed, member: str | None) -> Pair:
    """The rows of counts and positions that are the sample, joined by barcode.

    Raises
    ------
    Refusal
        A file holds several samples and nothing says which, or the two have no barcode in common.
    """
    if member is not None and counts.named is None and positions.named is None:
        there = members(counts.names, counts.columns) or members(positions.names, positions.columns)
        said = f"it holds {there}" if there else "it holds one sample; leave the member out"
        raise Refusal(f"{counts.name}: there is no member {member!r}; {said}")
    units = counts.names.take(counts.rows)
    if len(set(units.core)) < len(units) or (member is None and len(units.groups) > 1):
        raise several(counts.name, units, {k: [v[i] for i in counts.rows] for k, v in counts.columns.items()})
    position_rows = positions.rows
    places = positions.names.take(position_rows)
    if len(set(places.core)) < len(places):  # positions of several samples: those under the very names of the counts
        names = set(units.names)
        position_rows = np.array([i for i in position_rows if positions.names.names[i] in names], dtype=np.intp)
        narrowed = positions.names.take(position_rows)
        if not position_rows.size or len(set(narrowed.core)) < len(narrowed):
            raise several(positions.name, places, positions.columns if positions.named is None else {})
        places = narrowed
    report = {
        "member": member,
        "units_of_other_members": len(counts.names) - len(units),
        "positions_of_other_members": len(positions.names) - len(places),
        "rows_in_counts": len(units),
        "joined_by": "barcode",
        "barcodes_in_counts": units.forms,
        "barcodes_in_positions": places.forms,
    }
    spot_of = {core: spot for spot, core in enumerate(places.core)}
    found = np.array([spot_of.get(core, -1) for core in units.core], dtype=np.int64)
    joined = np.flatnonzero(found >= 0)
    if not joined.size:
        raise Refusal(
            f"{counts.name} and {positions.name} have no barcode in common: the counts have {units.names[0]!r}, the"
            f" positions {places.names[0]!r}; check that both are of the same slide",
            measured=0,
            threshold=1,
        )
    count_rows = np.full(len(places), -1, dtype=np.intp)
    count_rows[found[joined]] = counts.rows[joined]
    lone_units = [units.names[row] for row in np.flatnonzero(found < 0)]
    return Pair(position_rows, [canonical(core) for core in places.core], count_rows, lone_units, report)
