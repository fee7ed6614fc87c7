"""Spellings of deposits resolve to one term each."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from spotweave import vocabulary
from spotweave.gene_names import gene_species

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "resources/vocabulary").glob("*.csv"))
IDS = {"species": r"NCBITaxon:\d+", "organs": r"UBERON:\d{7}", "assays": r"EFO:\d{7}"}
# The spellings of HEST-1k's table and of the deposits behind it.
SPELLINGS = [
    ("licences", "Creative Commons Attribution 4.0 International License", "CC-BY-4.0"),
    ("licences", "Creative Commons Attribution", "CC-BY-4.0"),
    ("licences", "CC BY NC 3.0", "CC-BY-NC-3.0"),
    ("licences", "CC BY-NC-ND 4.0", "CC-BY-NC-ND-4.0"),
    ("licences", "Internal", "unspecified"),
    ("preservation", "PFA fixed", "pfa"),
    ("preservation", "Fresh Frozen", "fresh_frozen"),
    ("disease_states", "Pathological", "diseased"),
    ("disease_states", "Genetically modified", "genetically_modified"),
    ("organs", "lymphnode", "Lymph node"),
    ("organs", "largeintestine", "Large intestine"),
    ("organs", "right cardiac atrium", "Right atrium"),
    ("organs", "prostate", "Prostate"),
    ("species", "human", "Homo sapiens"),
]


@pytest.mark.parametrize("name", NAMES)
def test_no_spelling_means_two_terms_and_identifiers_have_their_form(name: str) -> None:
    terms = vocabulary.load(name).terms
    assert len({term.name for term in terms}) == len(terms)
    for term in terms:
        assert not term.id or re.fullmatch(IDS[name], term.id), term


@pytest.mark.parametrize(("name", "text", "term"), SPELLINGS)
def test_a_spelling_of_a_deposit_is_understood(name: str, text: str, term: str) -> None:
    found = vocabulary.load(name).find(text)
    assert found is not None
    assert found.name == term


def test_parents_of_tissues_are_organs() -> None:
    organs = vocabulary.load("organs")
    for term in organs.terms:
        parent = term.cells["organ"]
        assert not parent or not (organs.find(parent) or term).cells["organ"], f"{term.name} lies in a part of an organ"


def test_organs_of_cancers_are_organs() -> None:
    organs = vocabulary.load("organs")
    for term in vocabulary.load("oncotree").terms:
        assert term.listed("organs")
        assert all(organs.find(organ) for organ in term.listed("organs")), term.name


@pytest.mark.parametrize("table", sorted((ROOT / "config/cohorts").glob("*.csv")), ids=lambda path: path.stem)
def test_every_committed_row_uses_the_vocabularies(table: Path) -> None:
    with open(table, newline="") as handle:
        for row in csv.DictReader(handle):
            given = {name: cell for name, cell in row.items() if cell}
            assert list(vocabulary.faults(given)) == [], row["sample_id"]
            for column, name in (("oncotree_code", "oncotree"), ("tissue", "organs")):
                if column in given and given[column] != "Simulated":
                    assert vocabulary.load(name).find(given[column]), given[column]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"organ": "breast"}, [("organ", "'breast', allowed: 'Breast'")]),
        ({"organ": "Brest"}, [("organ", "'Brest', did you mean 'Breast'?")]),
        ({"licence": "CC BY 4.0"}, [("licence", "'CC BY 4.0', allowed: 'CC-BY-4.0'")]),
        ({"organ": "Breast", "licence": "unspecified", "species": "Homo sapiens"}, []),
        ({"organ": "?"}, []),
    ],
)
def test_a_cell_that_is_no_term_is_named_with_the_nearest(row: dict[str, str], expected: list[tuple[str, str]]) -> None:
    assert list(vocabulary.faults(row)) == expected


def test_gene_names_tell_the_species() -> None:
    human, mouse = ["TP53", "C1orf112", "HLA-A", "MT-CO1"], ["Trp53", "Gm1992", "mt-Co1", "Xkr4"]
    assert gene_species(human, [""] * 4) == {"human": 1.0, "mouse": 0.0}
    assert gene_species(mouse, [""] * 4)["mouse"] == 0.75
    assert gene_species(["x", "y"], ["ENSG00000141510", "ENSMUSG00000059552"]) == {"human": 0.5, "mouse": 0.5}
    assert gene_species([], []) == {"human": 0.0, "mouse": 0.0}
