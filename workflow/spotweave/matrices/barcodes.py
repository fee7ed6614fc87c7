"""Names of spots, bins and cells as deposits write them, and the one name behind them.

A Visium barcode is 16 nucleotides; copies of it carry `-1`, `_1`, R's `.1` or nothing, and, where a table holds
several samples, something of the sample before (`A1_ACGT…-1`) or after it (`ACGT…-3`, `ACGT…-1_3`). What is before and
after is kept: it tells the samples of a joint table apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

# A nucleotide barcode, a bin or a cell of Visium HD; what is around it must not be a letter.
CORE = re.compile(
    r"(?P<before>|.*[^A-Za-z])(?P<core>[ACGTN]{14,}|s_\d{3}um_\d+_\d+|cellid_\d+)(?P<after>|[^A-Za-z].*)", re.DOTALL
)
FIRST = re.compile(r"^[-_.]1(?!\d)")  # what a lone sample's barcodes end with
SEPARATORS = "-_.:|#/ "


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
