"""Spellings of deposits resolve to one term each, and the tables agree with what they are taken from."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from real_data import NOT_HERE, SHARED
from spotweave.expression.gene_names import gene_species
from spotweave.tables import vocabulary

ROOT = Path(__file__).resolve().parents[2]
COLLECTED = SHARED / "facts/cohorts.csv"
NAMES = sorted(path.stem for path in (ROOT / "resources/vocabulary").glob("*.csv"))
IDS = {
    "species": r"NCBITaxon:\d+",
    "organs": r"UBERON:\d{7}",
    "assays": r"EFO:\d{7}",
    "licences": r"[A-Za-z0-9.-]+",
}
# The spellings of HEST-1k's table and of the deposits behind it.
SPELLINGS = [
    ("licences", "Creative Commons Attribution 4.0 International License", "CC-BY-4.0"),
    ("licences", "Creative Commons Attribution", "CC-BY-4.0"),
    ("licences", "CC BY NC 3.0", "CC-BY-NC-3.0"),
    ("licences", "CC BY-NC-ND 4.0", "CC-BY-NC-ND-4.0"),
    ("licences", "Internal", "unspecified"),
    ("preservation", "PFA", "pfa"),
    ("preservation", "PFA fixed", "pfa"),
    ("preservation", "Fresh Frozen", "fresh_frozen"),
    ("disease_states", "Pathological", "diseased"),
    ("disease_states", "Diseased", "diseased"),
    ("disease_states", "Genetically modified", "genetically_modified"),
    ("organs", "lymphnode", "Lymph node"),
    ("organs", "Lymph node (Left Axilla)", "Lymph node"),
    ("organs", "largeintestine", "Large intestine"),
    ("organs", "right cardiac atrium", "Right atrium"),
    ("organs", "prostate", "Prostate"),
    ("species", "human", "Homo sapiens"),
    ("species", "mm10___", "Mus musculus"),
    ("oncotree", "ccRCC", "CCRCC"),
    ("assays", "Visium CytAssist Spatial Gene Expression, 11mm", "Visium CytAssist 11 mm"),
]
# Identifiers of HEST-1k's organs and of the assays of the CELLxGENE schema, collected by hand.
IDENTIFIERS = [
    ("organs", "Spinal cord", "UBERON:0002240"),
    ("organs", "Bowel", "UBERON:0000160"),
    ("organs", "Colon", "UBERON:0001155"),
    ("organs", "Rectum", "UBERON:0001052"),
    ("organs", "Ileum", "UBERON:0002116"),
    ("organs", "Skin", "UBERON:0002097"),
    ("organs", "Sinoatrial node", "UBERON:0002351"),
    ("organs", "Tonsil", "UBERON:0002372"),
    ("organs", "Lacrimal gland", "UBERON:0001817"),
    ("organs", "Whole organism", "UBERON:0000468"),
    ("organs", "Lymphoid", ""),
    ("species", "Mus musculus", "NCBITaxon:10090"),
    ("assays", "Visium", "EFO:0010961"),
    ("assays", "Visium V1", "EFO:0022857"),
    ("assays", "Visium CytAssist 6.5 mm", "EFO:0022859"),
    ("assays", "Visium CytAssist 11 mm", "EFO:0022860"),
    ("assays", "Xenium", "EFO:0022615"),
]
# What the codes of HEST-1k's table mean.
MEANINGS = {
    "IDC": "Breast Invasive Ductal Carcinoma",
    "ILC": "Breast Invasive Lobular Carcinoma",
    "COAD": "Colon Adenocarcinoma",
    "READ": "Rectal Adenocarcinoma",
    "COADREAD": "Colorectal Adenocarcinoma",
    "SCCRCC": "Renal Clear Cell Carcinoma with Sarcomatoid Features",
    "CCRCC": "Renal Clear Cell Carcinoma",
    "PRAD": "Prostate Adenocarcinoma",
    "PAAD": "Pancreatic Adenocarcinoma",
    "SKCM": "Cutaneous Melanoma",
    "MEL": "Melanoma",
    "CSCC": "Cutaneous Squamous Cell Carcinoma",
    "BLCA": "Bladder Urothelial Carcinoma",
    "GBM": "Glioblastoma Multiforme",
    "EPM": "Ependymoma",
    "HCC": "Hepatocellular Carcinoma",
    "LIHB": "Hepatoblastoma",
    "HGSOC": "High-Grade Serous Ovarian Cancer",
    "SOC": "Serous Ovarian Cancer",
    "LUAD": "Lung Adenocarcinoma",
    "LUSC": "Lung Squamous Cell Carcinoma",
    "LNET": "Lung Neuroendocrine Tumor",
    "PRCC": "Papillary Renal Cell Carcinoma",
    "CESC": "Cervical Squamous Cell Carcinoma",
    "ACYC": "Adenoid Cystic Carcinoma",
    "ALL": "Acute Lymphoid Leukemia",
}


@pytest.mark.parametrize("name", NAMES)
def test_no_spelling_means_two_terms_and_identifiers_have_their_form(name: str) -> None:
    terms = vocabulary.load(name).terms
    assert len({term.name for term in terms}) == len(terms)
    for term in terms:
        assert None not in term.cells, f"{term.name}: more cells than columns"
        assert None not in term.cells.values(), f"{term.name}: fewer cells than columns"
        assert {"term", "label", "synonyms", "notes"} <= set(term.cells)
        assert all(cell == cell.strip() for cell in term.cells.values()), term.name
        assert not term.id or re.fullmatch(IDS[name], term.id), term.name


def test_a_spelling_of_two_terms_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twins.csv").write_text("term,synonyms\nCaecum,blind gut\nAppendix,Blind-Gut\n")
    monkeypatch.setattr(vocabulary, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="'Blind-Gut' is a spelling of two terms"):
        vocabulary.load.__wrapped__("twins")


@pytest.mark.parametrize(("name", "text", "term"), SPELLINGS)
def test_a_spelling_of_a_deposit_is_understood(name: str, text: str, term: str) -> None:
    found = vocabulary.load(name).find(text)
    assert found is not None
    assert found.name == term


@pytest.mark.parametrize(("name", "term", "identifier"), IDENTIFIERS)
def test_identifiers_are_those_of_the_public_vocabularies(name: str, term: str, identifier: str) -> None:
    found = vocabulary.load(name).find(term)
    assert found is not None
    assert found.id == identifier


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("species", "species"),
        ("organ", "organs"),
        ("tissue", "organs"),
        ("oncotree_code", "oncotree"),
        ("disease_state", "disease_states"),
        ("preservation", "preservation"),
        ("technology", "assays"),
        ("license", ""),
        ("license_raw", ""),
    ],
)
def test_every_word_of_the_collected_samples_is_understood(column: str, name: str) -> None:
    if not COLLECTED.is_file():
        pytest.skip(f"{NOT_HERE}{COLLECTED}")
    with open(COLLECTED, newline="") as handle:
        words = sorted({row[column] for row in csv.DictReader(handle)} - {""})
    find = vocabulary.load(name).find if name else vocabulary.licence
    assert [word for word in words if find(word) is None] == []


def test_a_microarray_of_two_organs_names_both() -> None:
    organs = vocabulary.load("organs")
    assert [term.id for term in organs.find_all("Lung/Brain")] == ["UBERON:0002048", "UBERON:0000955"]
    assert organs.find_all("Lung/Nowhere") == ()
    assert organs.find("Lung/Brain") is None


def test_parents_of_tissues_are_organs() -> None:
    organs = vocabulary.load("organs")
    for term in organs.terms:
        for parent in (*term.listed("organ"), *term.listed("also")):
            found = organs.find(parent)
            assert found is not None, f"{term.name}: {parent} is no organ here"
            assert found.name == parent
            assert not found.cells["organ"], f"{term.name} lies in a part of an organ"


def test_the_tree_of_cancers_is_whole() -> None:
    terms = {term.name: term for term in vocabulary.load("oncotree").terms}
    tissues = {term.name for term in vocabulary.load("oncotree_tissues").terms}
    current = {name for name, term in terms.items() if not term.cells["superseded_by"]}
    assert len(current) == 1167  # nodes of version 2026-05-21 below its root
    assert set(terms) - current == {"ALL", "GBM"}
    assert {name for name in current if not terms[name].cells["parent"]} == tissues
    for name in current:
        above = name
        for _ in range(12):
            above = terms[above].cells["parent"] or above
        assert above == terms[name].cells["tissue"], name
    for name in set(terms) - current:
        assert set(terms[name].cells["superseded_by"].split(" or ")) <= current


@pytest.mark.parametrize("code", sorted(MEANINGS))
def test_codes_of_published_tables_have_their_names(code: str) -> None:
    found = vocabulary.load("oncotree").find(code)
    assert found is not None
    assert found.label == MEANINGS[code]


def test_organs_of_cancers_are_organs() -> None:
    organs = vocabulary.load("organs")
    for tissue in vocabulary.load("oncotree_tissues").terms:
        for organ in tissue.listed("organs"):
            found = organs.find(organ)
            assert found is not None, tissue.name
            assert found.name == organ
            assert not found.cells["organ"], f"{organ} is a tissue"


def test_preservation_and_states_have_the_words_of_the_published_table() -> None:
    kept = {term.cells["hest"] for term in vocabulary.load("preservation").terms}
    assert kept == {"Fresh Frozen", "FFPE", "Snap Frozen", "PFA", "Flash Frozen", "Fixed Frozen"}
    states = {term.cells["hest"] for term in vocabulary.load("disease_states").terms}
    assert states == {"Diseased", "Cancer", "Healthy", "Treated", "Tumor", "Genetically modified"}


def test_a_creative_commons_licence_allows_what_its_name_says() -> None:
    for term in vocabulary.load("licences").terms:
        if not term.name.startswith("CC-BY"):
            continue
        parts = term.name.split("-")
        licence = vocabulary.licence(term.name)
        assert licence is not None
        assert licence.spdx == term.name
        assert licence.allows("commercial") is ("NC" not in parts)
        assert licence.allows("derivatives") is ("ND" not in parts)
        assert licence.allows("share_alike") is ("SA" in parts)
        assert licence.allows("redistribution") is True


@pytest.mark.parametrize(
    ("text", "spdx"),
    [
        ("CC-BY-4.0 (10x copy); GEO: unspecified", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("http://creativecommons.org/licenses/by-nc/3.0/legalcode", "CC-BY-NC-3.0"),
        ("https://creativecommons.org/licenses/by-nc-nd/4.0/legalcode.en", "CC-BY-NC-ND-4.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("cc-by-nc-sa-4.0", "CC-BY-NC-SA-4.0"),
        ("", None),
        ("unspecified", None),
    ],
)
def test_words_of_a_deposit_name_a_licence(text: str, spdx: str | None) -> None:
    licence = vocabulary.licence(text)
    assert licence is not None
    assert licence.spdx == spdx


def test_an_unstated_licence_says_nothing_and_an_unknown_one_is_none() -> None:
    unstated = vocabulary.licence("Internal")
    assert unstated is not None
    assert [unstated.allows(use) for use in vocabulary.USES] == [None, None, None, None]
    assert vocabulary.licence("see the paper") is None
    with pytest.raises(ValueError, match="'resale' is no use of data"):
        unstated.allows("resale")


@pytest.mark.parametrize("table", sorted((ROOT / "config/cohorts").glob("*.csv")), ids=lambda path: path.stem)
def test_every_committed_row_uses_the_vocabularies(table: Path) -> None:
    with open(table, newline="") as handle:
        for row in csv.DictReader(handle):
            given = {name: cell for name, cell in row.items() if cell}
            assert list(vocabulary.faults(given, vocabulary.VOCABULARIES)) == [], row["sample_id"]
            if given.get("tissue", "Simulated") != "Simulated":
                assert vocabulary.load("organs").find_all(given["tissue"]), given["tissue"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"organ": "breast"}, [("organ", "'breast', allowed: 'Breast'")]),
        ({"organ": "Brest"}, [("organ", "'Brest', did you mean 'Breast'?")]),
        ({"organ": "Rectum"}, [("organ", "'Rectum', a tissue, allowed: 'Bowel', and 'Rectum' as the tissue")]),
        ({"organ": "Lung/Brain"}, []),
        ({"organ": "lung / Brain"}, [("organ", "'lung / Brain', allowed: 'Lung/Brain'")]),
        ({"licence": "CC BY 4.0"}, [("licence", "'CC BY 4.0', allowed: 'CC-BY-4.0'")]),
        ({"licence": "MIT/Apache-2.0"}, [("licence", "'MIT/Apache-2.0', did you mean 'Apache-2.0'?")]),
        ({"oncotree_code": "SCCRC"}, [("oncotree_code", "'SCCRC', did you mean 'SCCRCC'?")]),
        (
            {"oncotree_code": "UNKNOWN"},
            [("oncotree_code", "'UNKNOWN', allowed: a term of resources/vocabulary/oncotree.csv")],
        ),
        ({"organ": "Breast", "licence": "unspecified", "species": "Homo sapiens", "oncotree_code": "GBM"}, []),
        ({"organ": "?", "oncotree_code": "?"}, []),
        ({}, []),
    ],
)
def test_a_cell_that_is_no_term_is_named_with_the_nearest(row: dict[str, str], expected: list[tuple[str, str]]) -> None:
    assert list(vocabulary.faults(row)) == expected


def test_columns_that_the_schema_lists_are_looked_at_on_demand() -> None:
    row = {"species": "mouse", "preservation": "PFA fixed", "disease_state": "Diseased"}
    assert list(vocabulary.faults(row)) == []
    assert dict(vocabulary.faults(row, vocabulary.VOCABULARIES)) == {
        "species": "'mouse', allowed: 'Mus musculus'",
        "preservation": "'PFA fixed', allowed: 'pfa'",
        "disease_state": "'Diseased', allowed: 'diseased'",
    }


def test_tables_are_validated_with_the_standard_library_alone() -> None:
    code = "import sys; import spotweave.tables.vocabulary as v; v.load('oncotree'); print(sorted(sys.modules))"
    environment = {"PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert not {"'numpy'", "'pandas'", "'yaml'", "'anndata'"} & set(done.stdout.strip("[]\n").split(", "))


def test_gene_names_tell_the_species() -> None:
    human, mouse = ["TP53", "C1orf112", "HLA-A", "MT-CO1"], ["Trp53", "Gm1992", "mt-Co1", "Xkr4"]
    assert gene_species(human, [""] * 4) == {"human": 1.0, "mouse": 0.0}
    assert gene_species(mouse, [""] * 4)["mouse"] == 0.75
    assert gene_species(["x", "y"], ["ENSG00000141510", "ENSMUSG00000059552"]) == {"human": 0.5, "mouse": 0.5}
    assert gene_species([], []) == {"human": 0.0, "mouse": 0.0}
