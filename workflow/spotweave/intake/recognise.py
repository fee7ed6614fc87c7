"""Which technology the names of a deposit look like."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from spotweave import readers
from spotweave.deposits.naming import plain


@dataclass(frozen=True)
class Recognition:
    """The reader that a set of names calls for, and by which name; no reader if none is recognised."""

    reader: str | None
    why: str


def recognise(names: Iterable[str]) -> Recognition:
    """The technology a set of names looks like, by the most telling name.

    Files of a layout tell more than words, and of two layouts the one with the lesser order is told first. A count
    matrix alone tells nothing: single cells without a place have one too.
    """
    plain_names = {name: plain(name) for name in sorted(set(names))}
    layouts = sorted(((readers.layout(one), one) for one in readers.READERS.names()), key=lambda pair: pair[0].order)
    signs = [(layout.signs, reader) for layout, reader in layouts]
    words = [(layout.words, reader) for layout, reader in layouts]
    for pattern, reader in (*signs, *words):
        for name, text in plain_names.items():
            if pattern and re.search(pattern, text):
                return Recognition(reader, f"{name} is a file of {reader}")
    return Recognition(None, "no name is one of a known layout")
