"""Places on the array as names of spots have them (`10x14`, `A1_10x14`, `10.98x7.02`), and the sections they name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.errors import Refusal

PLACE = re.compile(r"(?:(?P<member>.+?)[x_]|(?P<r>X))?(?P<x>\d+(?:\.\d+)?)(?P<mark>[x_])(?P<y>\d+(?:\.\d+)?)", re.ASCII)


@dataclass(frozen=True)
class Places:
    """Places on the array, one per name: `xy` float64 (names, 2), column first; `where` says where a name stands."""

    names: list[str]
    where: list[str]
    members: list[str]
    xy: NDArray[np.float64]
    format: str

    def keep(self, chosen: NDArray[np.intp]) -> Places:
        """Some of them."""
        return Places(
            [self.names[i] for i in chosen],
            [self.where[i] for i in chosen],
            [self.members[i] for i in chosen],
            self.xy[chosen],
            self.format,
        )


def share_of_places(names: Sequence[str]) -> float:
    """How many of the names hold a place, 0 to 1."""
    return sum(PLACE.fullmatch(name) is not None for name in names) / len(names)


def parse_places(file: str, names: list[str], where: list[str]) -> Places:
    """The places that names hold; refused if one holds none. `where` says where each name stands."""
    found = [PLACE.fullmatch(name) for name in names]
    if None in found:
        first, more = found.index(None), found.count(None) - 1
        also = f" (and {more:,} more such names)" if more else ""
        raise Refusal(
            f"{file}: {where[first]}: {names[first]!r} is no spot such as 10x14{also}; remove what is not a spot",
            measured=more + 1,
            threshold=0,
        )
    matches = [match for match in found if match is not None]
    xy = np.array([(float(match["x"]), float(match["y"])) for match in matches], dtype=np.float64).reshape(-1, 2)
    return Places(names, where, [match["member"] or "" for match in matches], xy, _name_formats(matches))


def _name_formats(matches: Sequence[re.Match[str]]) -> str:
    """The formats in use, as `XxY`, `X_Y`, `MEMBERxXxY`, `0.0x0.0` …, joined by ` and `."""

    def name(match: re.Match[str]) -> str:
        before = f"MEMBER{match.string[match.end('member')]}" if match["member"] else match["r"] or ""
        number = "{}.0" if "." in match["x"] + match["y"] else "{}"
        return f"{before}{number.format('X')}{match['mark']}{number.format('Y')}"

    return " and ".join(sorted({name(match) for match in matches}))


def select_member(
    counts: csr_matrix, places: Places, member: str | None, file: str
) -> tuple[csr_matrix, Places, list[str]]:
    """The rows of one member, and the members there are."""
    chosen, members = rows_of_member(places.members, member, file)
    return counts[chosen], places.keep(chosen), members


def rows_of_member(members: list[str], member: str | None, file: str) -> tuple[NDArray[np.intp], list[str]]:
    """The rows of one section, and the sections there are; refused if none is named and there are several."""
    there = Counter(members)
    listed = ", ".join(f"{name or '(no prefix)'} ({count:,} spots)" for name, count in sorted(there.items()))
    if member is None and len(there) > 1:
        raise Refusal(
            f"{file}: the table holds {len(there)} sections: {listed}; name one as the member to read",
            measured=len(there),
            threshold=1,
        )
    if member is not None and member not in there:
        raise Refusal(f"{file}: there is no member {member!r}; the table holds {listed}")
    chosen = [row for row, found in enumerate(members) if member is None or found == member]
    return np.array(chosen, dtype=np.intp), sorted(name for name in there if name)


def nearest(xy: NDArray[np.float64]) -> NDArray[np.int64]:
    """Nearest place of the array; halves go up."""
    return np.floor(xy + 0.5).astype(np.int64)
