"""Words of the cohort tables on public vocabularies: NCBITaxon, UBERON, EFO, OncoTree, SPDX.

The vocabularies are small tables in `resources/vocabulary/`, each row a term, its identifier where one is certain, and
the spellings met in deposits. Only the standard library is used: tables are validated with this before the DAG.
"""

from __future__ import annotations

import csv
import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "resources/vocabulary"
# Column of a cohort table -> vocabulary its cells must be in, if there are any.
CHECKED = {"organ": "organs", "licence": "licences"}


@dataclass(frozen=True)
class Term:
    """A term: `name` as the tables write it, `id` in the public vocabulary (empty if none is certain), its `cells`."""

    name: str
    id: str
    cells: Mapping[str, str]

    def listed(self, column: str) -> tuple[str, ...]:
        """A cell that holds several values, joined by `|`."""
        return tuple(part for part in self.cells.get(column, "").split("|") if part)


@dataclass(frozen=True)
class Vocabulary:
    """Terms by every spelling, normalised."""

    name: str
    terms: tuple[Term, ...]
    spellings: Mapping[str, Term]

    def find(self, text: str) -> Term | None:
        """The term of a spelling, whatever its case, blanks and punctuation; None if there is none."""
        return self.spellings.get(normalised(text))

    def nearest(self, text: str) -> str | None:
        """The term whose spelling comes closest."""
        close = difflib.get_close_matches(normalised(text), list(self.spellings), n=1)
        return self.spellings[close[0]].name if close else None


def normalised(text: str) -> str:
    """Lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]+", "", text.lower())


@functools.cache
def load(name: str) -> Vocabulary:
    """Read one vocabulary.

    Raises
    ------
    ValueError
        Two terms share a spelling.
    """
    terms: list[Term] = []
    spellings: dict[str, Term] = {}
    with open(FOLDER / f"{name}.csv", newline="", encoding="utf-8") as handle:
        for cells in csv.DictReader(handle):
            term = Term(cells["term"], cells.get("id", ""), cells)
            terms.append(term)
            for spelling in (term.name, *term.listed("synonyms")):
                if spellings.setdefault(normalised(spelling), term) is not term:
                    raise ValueError(f"vocabulary {name}: {spelling!r} is a spelling of two terms")
    return Vocabulary(name, tuple(terms), spellings)


def faults(row: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Cells of a cohort row that are not the vocabulary's own words: column, and what is wrong and allowed.

    Spellings that are understood are refused too: one word for one thing in a released table.
    """
    for column, name in CHECKED.items():
        cell = row.get(column)
        if cell is None or cell == "?":
            continue
        vocabulary = load(name)
        term = vocabulary.find(cell)
        if term is None:
            near = vocabulary.nearest(cell)
            hint = f"did you mean {near!r}?" if near else f"allowed: a term of resources/vocabulary/{name}.csv"
            yield column, f"{cell!r}, {hint}"
        elif term.name != cell:
            yield column, f"{cell!r}, allowed: {term.name!r}"
