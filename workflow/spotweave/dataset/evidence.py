"""What a row and the measures of its stages say of a sample: terms of its cells, its slide, its free text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from spotweave.tables import vocabulary
from spotweave.tables.vocabulary import Term

Row = Mapping[str, str]
Measured = Mapping[str, Mapping[str, Any]]
SERIAL_NUMBER = re.compile(r"(?<![A-Za-z0-9])(V[1-5](?=\d[A-Z]\d\d-\d{3})|H1(?=-[A-Z0-9]{7}))")


def term_of(name: str, text: str | None) -> Term | None:
    """The term that a text is a spelling of, in the vocabulary of a name."""
    return vocabulary.load(name).find(text) if text else None


def terms_of(name: str, text: str | None) -> tuple[Term, ...]:
    """The terms of a text that may name several."""
    return vocabulary.load(name).find_all(text) if text else ()


def name_of(name: str, text: str | None) -> str | None:
    """The vocabulary's own word for a text."""
    term = term_of(name, text)
    return term.name if term else None


def organs_of(row: Row) -> tuple[Term, ...]:
    """Organs of the row; where the cell names a tissue or is blank, the organ that the tissue is filed under."""
    terms = terms_of("organs", row.get("organ")) or terms_of("organs", row.get("tissue"))
    return tuple(term_of("organs", term.cells["organ"]) or term for term in terms)


def tissue_of_code(code: Term) -> Term:
    """The tissue that a code of OncoTree belongs to."""
    return vocabulary.load("oncotree_tissues").spellings[vocabulary.normalised(code.cells["tissue"])]


def number_in(row: Row, *names: str) -> float | None:
    """The first of these cells that is a positive number."""
    for name in names:
        try:
            value = float(row.get(name, ""))
        except ValueError:
            continue
        if math.isfinite(value) and value > 0:
            return value
    return None


def words_in(row: Row, *names: str) -> str:
    """The words of some cells, with blanks for underscores."""
    return " ".join(row.get(name, "") for name in names).replace("_", " ")


def free_text(row: Row) -> str:
    """What the source says in free text, in small letters; our own `notes` are no evidence."""
    names = ("dataset_title", "disease_comment", "treatment_comment", "subseries", "accession", "tissue")
    return words_in(row, *names).lower()


def serial_prefix(row: Row, measured: Measured) -> str | None:
    """The first letters of the slide's serial number, which name its kind."""
    serial = measured.get("read_expression", {}).get("slide_serial_number") or ""
    match = SERIAL_NUMBER.search(f"{serial} {words_in(row, 'subseries', 'accession')}")
    return match[1] if match else None


def capture_area(row: Row, measured: Measured) -> str:
    """`6.5 mm` or `11 mm`, by the places of the spots or else by the title; empty where nothing tells."""
    measured_area = measured.get("read_expression", {}).get("capture_area", "")
    return measured_area or ("11 mm" if re.search(r"\b11 ?mm\b", free_text(row)) else "")


def cytassist(row: Row, measured: Measured) -> str:
    """`yes` or `no`; empty where nothing tells."""
    reading = measured.get("read_expression", {})
    found = measured.get("fetch_sample", {}).get("found", {})
    if (
        reading.get("is_cytassist")
        or "cytassist_image" in found
        or "regist_target_img_scalef" in reading.get("scalefactors", {})
        or "cytassist" in free_text(row)
    ):
        return "yes"
    is_absent = reading.get("is_cytassist") is False or reading.get("positions_layout") == "text"
    return "no" if is_absent else ""
