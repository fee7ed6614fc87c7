"""Words of the cohort tables on public vocabularies: NCBITaxon, UBERON, EFO, OncoTree, SPDX.

The vocabularies are small tables in `resources/vocabulary/`: each row a term, its identifier where one is certain, its
label in the public vocabulary, and the spellings met in deposits. Only the standard library is used: tables are
validated with this before the DAG.

OncoTree (Kundra et al. 2021, 10.1200/CCI.20.00108) is Memorial Sloan Kettering's, under CC BY 4.0; all of version
2026-05-21 is here, with the codes of earlier versions that published tables of samples still use.
"""

from __future__ import annotations

import csv
import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from spotweave.tables.sheets import shown

READS = ("resources/vocabulary/*.csv",)
FOLDER = Path(__file__).resolve().parents[3] / "resources/vocabulary"
# Column of a cohort table -> vocabulary of its cells.
VOCABULARIES = {
    "species": "species",
    "organ": "organs",
    "oncotree_code": "oncotree",
    "licence": "licences",
    "disease_state": "disease_states",
    "preservation": "preservation",
}
# Those whose few allowed words the table's schema does not list itself.
CHECKED = ("organ", "oncotree_code", "licence")
OPEN = "?"  # what a draft of a table holds where a person has to look
LONGEST = 100  # what is longer is not compared: the time grows with its square
USES = ("commercial", "derivatives", "share_alike", "redistribution")
CREATIVE_COMMONS = re.compile(r"https?://(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/([^?#]*)", re.I)


@dataclass(frozen=True)
class Term:
    """A term: `name` as the tables write it, `id` in the public vocabulary (empty if none is certain), its `cells`."""

    name: str
    id: str
    cells: Mapping[str, str]

    @property
    def label(self) -> str:
        """What the public vocabulary calls it; our word where there is none."""
        return self.cells.get("label") or self.name

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

    def find_all(self, text: str) -> tuple[Term, ...]:
        """The terms of a cell that may name several, as `Lung/Brain` of a tissue microarray; none if one is unknown."""
        whole = self.find(text)
        parts = [whole] if whole else [self.find(part) for part in re.split(r"[/;+]", text)]
        known = tuple(part for part in parts if part)
        return known if len(known) == len(parts) else ()

    def nearest(self, text: str) -> str | None:
        """The term whose spelling comes closest."""
        close = difflib.get_close_matches(normalised(text[:LONGEST]), list(self.spellings), n=1)
        return self.spellings[close[0]].name if close else None


@dataclass(frozen=True)
class Licence:
    """What may be done with data: `spdx` is the identifier, None where nothing is stated."""

    spdx: str | None
    term: Term

    def allows(self, use: str) -> bool | None:
        """Whether a use is allowed; None where nothing is stated.

        Parameters
        ----------
        use
            `commercial`, `derivatives` (handing on what was made of the data), `redistribution` (of unchanged copies);
            `share_alike` asks whether what is made of the data must be handed on under the same licence.
        """
        if use not in USES:
            raise ValueError(f"{use!r} is no use of data, allowed: {', '.join(USES)}")
        return {"yes": True, "no": False, "": None}[self.term.cells[use]]


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
        for cells in csv.DictReader(handle, strict=True):
            term = Term(cells["term"], cells.get("id", ""), cells)
            terms.append(term)
            for spelling in (term.name, *term.listed("synonyms")):
                if spellings.setdefault(normalised(spelling), term) is not term:
                    raise ValueError(f"vocabulary {name}: {spelling!r} is a spelling of two terms")
    return Vocabulary(name, tuple(terms), spellings)


def licence(text: str) -> Licence | None:
    """The licence of a deposit's words: a name, an SPDX identifier or an address of Creative Commons.

    What follows in brackets or after a semicolon is a remark. None for words that are not known; blank is unspecified.
    """
    words = load("licences")
    address = CREATIVE_COMMONS.search(text)
    if address:
        text = "CC " + " ".join(part for part in address[1].split("/") if part and not part.startswith("legalcode"))
    term = words.find(text or "unspecified") or words.find(re.split(r"[(;]", text)[0])
    return Licence(term.id or None, term) if term else None


def nearest_of(column: str, text: str) -> str | None:
    """The allowed word that a cell may mean; None where its column has no vocabulary, or nothing is near."""
    if column not in VOCABULARIES:
        return None
    words = load(VOCABULARIES[column])
    term = words.find(text)
    return term.name if term else words.nearest(text)


def words_of(column: str) -> tuple[str, ...]:
    """All allowed words of a column that has a vocabulary, in the vocabulary's order."""
    return tuple(term.name for term in load(VOCABULARIES[column]).terms)


def faults(row: Mapping[str, str], columns: Iterable[str] = CHECKED) -> Iterator[tuple[str, str]]:
    """Cells of a cohort row that are not the vocabulary's own words: column, and what is wrong and allowed.

    Spellings that are understood are refused too: one word for one thing in a released table.

    Parameters
    ----------
    row
        The non-blank cells.
    columns
        Which of `VOCABULARIES` to look at; the table's schema lists the words of the others.
    """
    for column in columns:
        cell = row.get(column)
        if cell is not None and cell != OPEN:
            message = _fault(load(VOCABULARIES[column]), cell)
            if message:
                yield column, f"{shown(cell)}, {message}"


def _fault(vocabulary: Vocabulary, cell: str) -> str | None:
    terms = vocabulary.find_all(cell)
    if vocabulary.name != "organs" and len(terms) > 1:
        terms = ()
    if not terms:
        near = vocabulary.nearest(cell)
        return f"did you mean {near!r}?" if near else f"allowed: a term of resources/vocabulary/{vocabulary.name}.csv"
    inside = next((term for term in terms if term.cells.get("organ")), None)
    if vocabulary.name == "organs" and inside:
        return f"a tissue, allowed: {inside.cells['organ']!r}, and {inside.name!r} as the tissue"
    allowed = "/".join(term.name for term in terms)
    return None if allowed == cell else f"allowed: {allowed!r}"
