"""What the words of names and titles say of a sample: species, organ, state, preservation.

Words are the spellings of the vocabularies, and stems and phrases of titles that are no spellings.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence

from spotweave.tables import vocabulary

# Stems and phrases of titles that are no spellings of the vocabularies. States are told by these alone, as the
# spellings ("control", "treatment") say too little of a title.
STEMS = {
    "species": {"Homo sapiens": r"\bpatients?\b", "Mus musculus": r"\b(mice|murine)\b"},
    "organ": {
        "Bladder": r"\burothelial\b",
        "Bowel": r"\b(rectal|intestin\w+)\b",
        "Brain": r"\b(cort(ex|ical)|hippocamp\w+|cerebell\w+|glioblastoma|glioma)\b",
        "Breast": r"\bmammary\b",
        "Cervix": r"\bcervical\b",
        "Embryo": r"\bembryo\w+\b",
        "Eye": r"\bretina\w+\b",
        "Heart": r"\b(cardiac|myocardi\w+)\b",
        "Kidney": r"\brenal\b",
        "Liver": r"\bhepat\w+\b",
        "Lung": r"\bpulmonary\b",
        "Lymph node": r"\blymph nodes\b",
        "Ovary": r"\bovarian\b",
        "Pancreas": r"\bpancreatic\b",
        "Placenta": r"\bplacenta\w+\b",
        "Prostate": r"\bprostatic\b",
        "Skin": r"\bcutaneous\b",
        "Uterus": r"\b(uterine|endometri\w+)\b",
    },
    "disease_state": {
        "cancer": r"\b(cancer\w*|\w*carcinomas?|melanomas?|glioblastomas?|lymphomas?|leuka?emias?|sarcomas?)\b",
        "healthy": r"\b(healthy|normal|non ?diseased)\b",
    },
    "preservation": {"ffpe": r"\bformalin fixed\b", "fresh_frozen": r"\bfreshfrozen\b"},
}
TOO_LITTLE = {"frozen", "sigma"}  # spellings that say something else in a name as often


def words_of(text: str) -> str:
    """The words of a text in lower case, blanks between; `hPancreas` and `mFemur` are taken apart."""
    text = re.sub(r"(?<![A-Za-z])h(?=[A-Z][a-z])", "human ", text)
    text = re.sub(r"(?<![A-Za-z])m(?=[A-Z][a-z])", "mouse ", text)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return " ".join(re.split(r"[^A-Za-z0-9]+", text)).lower()


@functools.cache
def spellings(column: str) -> tuple[tuple[str, str], ...]:
    """Pattern and value of what names may say of a column: phrases of its vocabulary, stems, the vocabulary's words."""
    spelled: dict[str, str] = {}
    if column != "disease_state":
        for term in vocabulary.load(vocabulary.VOCABULARIES[column]).terms:
            for text in (term.name, *term.listed("synonyms")):
                words = words_of(text).strip()
                if words not in TOO_LITTLE:
                    spelled[words] = term.cells.get("organ") or term.name
    longest = sorted(spelled, key=lambda words: (-len(words), words))
    told = [(rf"\b{words}\b", spelled[words]) for words in longest]
    phrases = [one for one, words in zip(told, longest, strict=True) if " " in words]
    return (*phrases, *((pattern, value) for value, pattern in STEMS[column].items()), *told)


def said(texts: Iterable[tuple[str, str]], spellings: Sequence[tuple[str, str]]) -> tuple[str | None, str]:
    """The one value that the first telling text names, and which text that is; a word tells once."""
    for text, where in texts:
        found, left = set(), text.replace("guinea pig", " ")  # none of the species there are
        for pattern, value in spellings:
            left, times = re.subn(pattern, " ", left)
            if times:
                found.add(value)
        if found:
            return (found.pop() if len(found) == 1 else None), where
    return None, ""
