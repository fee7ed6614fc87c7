"""A protocol as a configuration writes it: the name of one, and what is switched in it.

    strict+genes=all+penalty=100

`strict` is a module of `protocols/`; every switch follows a `+`, each once and in the order of `SWITCHES`, so that a
protocol has one name. The name is in the path and in every row of what was scored under it. Nothing here imports more
than the standard library: names are checked before the first job.
"""

from __future__ import annotations

import math
import re
from typing import Final

from spotweave.addresses import without_secrets
from spotweave.registry import LONGEST, nearest

MARK = "+"
# Switch -> the words it takes. What they mean is in `protocols.switched`.
SWITCHES: Final[dict[str, tuple[str, ...]]] = {
    "scale": ("log1p", "log_share", "counts"),
    "genes": ("all", "train", "train_hvg"),
    "penalty": ("published", "nested"),
    "over": ("pooled", "sample"),
}
NUMBERED: Final = "penalty"
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?(e-?[0-9]+)?")


def base_of(name: str) -> str:
    """The protocol that is switched: `strict` of `strict+genes=all`."""
    return name.partition(MARK)[0]


def switches_of(name: str) -> dict[str, str]:
    """Switch -> word or number, of a name without faults; none, of a protocol as it is.

    Raises
    ------
    ValueError
        With the fault, where there is one.
    """
    found = fault(name)
    if found is not None:
        raise ValueError(found)
    return dict(_parts(name))


def fault(name: str) -> str | None:
    """What is wrong with the switches of a name, in one line; None where nothing is. The base is not looked up."""
    said = repr(without_secrets(name)[:LONGEST])
    order, before = list(SWITCHES), -1
    for switch, value in _parts(name):
        if switch not in SWITCHES:
            return f"{said}: {switch[:LONGEST]!r} is no switch of a protocol, {nearest(switch, SWITCHES)}"
        if not _allows(switch, value):
            number = ", or a number above 0" if switch == NUMBERED else ""
            words = ", ".join(SWITCHES[switch])
            return f"{said}: {switch} is {value[:LONGEST]!r}, allowed: {words}{number}"
        if order.index(switch) <= before:
            return f"{said}: write each switch once, in the order {', '.join(order)}"
        before = order.index(switch)
    return None


def _parts(name: str) -> list[tuple[str, str]]:
    return [(switch, value) for switch, _, value in (part.partition("=") for part in name.split(MARK)[1:])]


def _allows(switch: str, value: str) -> bool:
    if switch == NUMBERED and _NUMBER.fullmatch(value):
        return 0 < float(value) < math.inf
    return value in SWITCHES[switch]
