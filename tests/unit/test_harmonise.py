"""Identifiers, completeness and contradictions of one sample's metadata."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from real_data import NOT_HERE, SHARED
from spotweave.dataset.describe import HARMONISED
from spotweave.dataset.donors import donor_contradictions
from spotweave.dataset.harmonise import WEIGHTS, assay, harmonise

ROOT = Path(__file__).resolve().parents[2]
COLLECTED = SHARED / "facts/cohorts.csv"
ROW = {
    "sample_id": "s",
    "donor": "d",
    "technology": "Visium",
    "species": "Homo sapiens",
    "organ": "Kidney",
    "tissue": "Kidney",
    "disease_state": "cancer",
    "oncotree_code": "CCRCC",
    "preservation": "ffpe",
    "licence": "CC-BY-NC-4.0",
    "study_link": "https://doi.org/x",
    "publication_date": "2023",
    "pixel_size_um": "0.457",
}
BREAST = {"organ": "Breast", "tissue": "Breast", "oncotree_code": "IDC"}
ST = {"technology": "Spatial Transcriptomics"}


def changed(change: dict[str, str]) -> dict[str, str]:
    """The row with some cells changed; blank ones are left out, as the tables do."""
    return {name: cell for name, cell in {**ROW, **change}.items() if cell}


def codes(change: dict[str, str], measured: dict[str, Any]) -> list[str]:
    return [text.partition(":")[0] for text in harmonise(changed(change), measured)["contradictions"]]


def test_words_get_their_identifiers() -> None:
    found = harmonise(ROW, {})
    assert set(HARMONISED) <= set(found)
    assert found["species_ncbitaxon"] == "NCBITaxon:9606"
    assert (found["organ_uberon"], found["tissue_uberon"]) == ("UBERON:0002113", "UBERON:0002113")
    assert (found["oncotree_name"], found["oncotree_tissue"]) == ("Renal Clear Cell Carcinoma", "Kidney")
    assert found["licence_spdx"] == "CC-BY-NC-4.0"
    assert (found["licence_commercial"], found["licence_derivatives"]) == ("no", "yes")
    assert found["contradictions"] == []


def test_words_that_are_unknown_or_missing_get_no_identifier() -> None:
    found = harmonise({"sample_id": "s", "organ": "Gizzard", "oncotree_code": "UNKNOWN", "licence": "ask"}, {})
    kept = {"completeness", "missing", "contradictions"}
    assert {name for name, value in found.items() if value is not None} == kept


def test_a_tissue_is_filed_under_its_organ_and_a_microarray_under_both() -> None:
    ileum = harmonise({"tissue": "ileum"}, {})
    assert (ileum["organ"], ileum["organ_uberon"], ileum["tissue_uberon"]) == (
        "Bowel",
        "UBERON:0000160",
        "UBERON:0002116",
    )
    both = harmonise({"organ": "Kidney/Brain"}, {})
    assert (both["organ"], both["organ_uberon"]) == ("Kidney/Brain", "UBERON:0002113; UBERON:0000955")


@pytest.mark.parametrize(
    ("row", "reading", "expected"),
    [
        ({}, {}, "EFO:0010961"),
        ({}, {"capture_area": "6.5 mm"}, "EFO:0010961"),
        ({}, {"capture_area": "6.5 mm", "positions_layout": "text"}, "EFO:0022857"),
        ({}, {"capture_area": "6.5 mm", "positions_layout": "text with header"}, "EFO:0010961"),
        ({}, {"capture_area": "6.5 mm", "is_cytassist": False}, "EFO:0022857"),
        ({}, {"capture_area": "6.5 mm", "is_cytassist": True}, "EFO:0022859"),
        ({}, {"capture_area": "6.5 mm", "scalefactors": {"regist_target_img_scalef": 0.1}}, "EFO:0022859"),
        ({}, {"capture_area": "11 mm"}, "EFO:0022860"),
        ({"accession": "spatial-exp/2.0.1/CytAssist_FFPE_X"}, {}, "EFO:0022858"),
        ({"accession": "spatial-exp/2.0.1/CytAssist_11mm_FFPE_X"}, {}, "EFO:0022860"),
        ({"dataset_title": "Human Brain Cancer, 11 mm Capture Area (FFPE)"}, {}, "EFO:0022860"),
        ({"dataset_title": "Tumors of 11 mm"}, {"capture_area": "6.5 mm"}, "EFO:0010961"),
        ({}, {"slide_serial_number": "V10A13-396"}, "EFO:0022857"),
        ({"subseries": "V42A20-353_D1"}, {}, "EFO:0022859"),
        ({}, {"slide_serial_number": "V52Y10-317"}, "EFO:0022860"),
        ({"subseries": "V1_Breast_Cancer_Block_A_Section_1"}, {}, "EFO:0010961"),
        ({"technology": "Visium HD"}, {}, "EFO:0920058"),
        ({"technology": "Xenium"}, {}, "EFO:0022615"),
        (ST, {}, "EFO:0030005"),
        ({"technology": "Slide-seq"}, {}, None),
    ],
)
def test_the_assay_is_as_exact_as_what_is_known(
    row: dict[str, str], reading: dict[str, Any], expected: str | None
) -> None:
    assert harmonise({**ROW, **row}, {"read_expression": reading})["assay_efo"] == expected


def test_the_instrument_s_picture_tells_of_cytassist() -> None:
    measured = {"fetch_sample": {"found": {"cytassist_image": "x"}}, "read_expression": {"capture_area": "6.5 mm"}}
    term = assay(ROW, measured)
    assert term is not None
    assert term.label == "Visium CytAssist Spatial Gene Expression, 6.5mm"


def test_completeness_is_the_weight_of_what_is_there() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    assert harmonise(ROW, {})["completeness"] == 1
    assert harmonise({}, {})["completeness"] == 0
    poor = {"sample_id": "s", "donor": "d", "species": "Homo sapiens", "licence": "unspecified"}
    found = harmonise(poor, {})
    assert found["completeness"] == pytest.approx(0.25)
    assert "licence" in found["missing"]
    assert "oncotree_code" in found["missing"]
    healthy = harmonise({**poor, "disease_state": "healthy"}, {})
    assert "oncotree_code" not in healthy["missing"]


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_a_field_that_is_taken_away_costs_its_weight(name: str) -> None:
    found = harmonise({**ROW, name: ""}, {})
    assert found["missing"] == [name]
    assert found["completeness"] == pytest.approx(1 - WEIGHTS[name])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"oncotree_code": ""}, ["cancer-without-code"]),
        ({"disease_state": "healthy"}, ["code-of-healthy"]),
        ({"disease_state": "treated"}, []),
        ({"oncotree_code": "LUAD"}, ["code-and-organ"]),
        ({"oncotree_code": "UNKNOWN"}, ["unknown-code"]),
        ({"oncotree_code": "GBM", "organ": "Brain", "tissue": "Brain"}, ["superseded-code"]),
        ({"oncotree_code": "ALL", "organ": "Lymphoid", "tissue": "Bone marrow"}, ["superseded-code"]),
        ({"species": "Mus musculus"}, ["code-of-an-animal"]),
        ({"oncotree_code": "SCCRCC", "dataset_title": "ccRCC cohort"}, ["sarcomatoid-or-clear-cell"]),
        ({"oncotree_code": "SCCRCC", "disease_comment": "clear cell, sarcomatoid features"}, []),
        ({**BREAST, "disease_comment": "DCIS"}, ["invasive-or-in-situ"]),
        ({**BREAST, "dataset_title": "Ductal Carcinoma In Situ"}, ["invasive-or-in-situ"]),
        ({**BREAST, "dataset_title": "High resolution in situ analysis of breast cancer"}, []),
        ({**BREAST, "organ": "Lymph node", "tissue": "Lymph node"}, ["code-and-organ"]),
        ({**BREAST, "organ": "Lymph node", "tissue": "Lymph node", "dataset_title": "Metastatic breast cancer"}, []),
        ({"organ": "Eye", "tissue": "Lacrimal gland", "oncotree_code": "ACYC"}, ["code-and-organ"]),
        ({"organ": "Lung/Kidney", "tissue": ""}, []),
        ({"organ": "Bowel", "tissue": "Rectum", "oncotree_code": "READ"}, []),
        ({"organ": "Bowel", "tissue": "Rectum", "oncotree_code": "COAD"}, ["code-and-tissue"]),
        ({"organ": "Bowel", "tissue": "Colon (Sigma)", "oncotree_code": "READ"}, ["code-and-tissue"]),
        ({"organ": "Bowel", "tissue": "Colorectal", "oncotree_code": "COAD"}, []),
        ({"tissue": "Colon"}, ["organ-and-tissue"]),
        ({"tissue": "cortex of my own"}, []),
        (
            {
                "organ": "Lymphoid",
                "tissue": "Lymph node (Left Axilla)",
                "disease_state": "diseased",
                "oncotree_code": "",
            },
            [],
        ),
        ({"preservation": "fresh_frozen", "dataset_title": "FFPE Human Kidney"}, ["frozen-or-paraffin"]),
        ({"preservation": "snap_frozen", "accession": "Visium_FFPE_Kidney"}, ["frozen-or-paraffin"]),
        ({"dataset_title": "Fresh-Frozen Kidney"}, ["frozen-or-paraffin"]),
        ({"dataset_title": "FFPE and fresh frozen kidney"}, []),
        ({"notes": "the paper says fresh frozen"}, []),
        ({"pixel_size_um": "3.24"}, ["too-coarse"]),
        ({"pixel_size_um": "0.3528"}, ["default-resolution"]),
        ({"pixel_size_um": "0.26458"}, ["default-resolution"]),
        ({"pixel_size_um": "0.2125"}, []),
        ({"pixel_size_um": "about half"}, []),
        ({"magnification": "20x"}, []),
        # 148 samples of HEST-1k's table are 20x by its own bins and 10x by its paper's.
        ({"magnification": "20x", "pixel_size_um": "0.9"}, ["magnification"]),
        ({"magnification": "40x", "pixel_size_um": "0.45"}, ["magnification"]),
        # TENX147 of HEST-1k: 0.2497 estimated, 0.2738 embedded, and the latter is right.
        (
            {"pixel_size_um": "", "pixel_size_um_estimated": "0.2497", "pixel_size_um_embedded": "0.2738"},
            ["pixel-size-embedded"],
        ),
        ({**ST, "array_pitch_x_um": "110", "spot_diameter_um": "150"}, ["spots-overlap"]),
        ({**ST, "inter_spot_dist": "110", "spot_diameter": "150"}, ["spots-overlap"]),
        ({**ST, "array_pitch_x_um": "150", "spot_diameter_um": "150"}, ["spots-overlap"]),  # they touch all around
        ({**ST, "array_pitch_x_um": "150", "array_pitch_y_um": "150", "spot_diameter_um": "110"}, []),
        ({**ST, "array_pitch_x_um": "200", "spot_diameter_um": "100"}, []),
        ({**ST, "array_pitch_x_um": "100", "spot_diameter_um": "55"}, ["spots-and-technology"]),
        ({"array_pitch_x_um": "50", "array_pitch_y_um": "86.5", "spot_diameter_um": "55"}, []),
        ({"array_pitch_x_um": "50", "array_pitch_y_um": "87", "spot_diameter_um": "65"}, ["spots-and-technology"]),
        ({"technology": "Visium", "subseries": "H1-ABCDEFG"}, ["slide-and-technology"]),
    ],
)
def test_a_contradiction_in_a_row_is_named(change: dict[str, str], expected: list[str]) -> None:
    assert codes(change, {}) == expected


def test_the_code_of_the_right_organ_is_offered() -> None:
    row = changed({"organ": "Eye", "tissue": "Lacrimal gland", "oncotree_code": "ACYC"})
    (text,) = harmonise(row, {})["contradictions"]
    assert text.endswith("not of Eye; of this organ is ACLG")


@pytest.mark.parametrize(
    ("align", "expected", "words"),
    [
        ({"pixel_size_um": 0.3638, "pixel_size_stated_um": 0.2125}, ["pixel-size-stated"], "0.2125"),
        (
            {"pixel_size_um": 0.468, "pixel_size_embedded_um": 0.000469},
            ["pixel-size-embedded"],
            "a millimetre was taken for a micrometre",
        ),
        (
            {"pixel_size_um": 0.468, "pixel_size_embedded_um": 0.468 * 2.54},
            ["pixel-size-embedded"],
            "an inch was taken for a centimetre",
        ),
        ({"pixel_size_um": 0.468, "pixel_size_embedded_um": 0.234}, ["pixel-size-embedded"], "reduced by half"),
        ({"pixel_size_um": 0.468, "pixel_size_embedded_um": 0.63}, ["pixel-size-embedded"], "0.468 measured"),
        ({"pixel_size_um": 0.468, "pixel_size_embedded_um": 352.78}, ["pixel-size-embedded"], "72 dpi"),
        ({"pixel_size_um": 0.468, "pixel_size_embedded_um": 0.2646}, ["pixel-size-embedded"], "96 dpi"),
        ({"pixel_size_um": 0.2645, "pixel_size_stated_um": 0.2646}, [], ""),
        ({"pixel_size_um": 0.69, "pixel_size_stated_um": 0.688, "pixel_size_embedded_um": None}, [], ""),
        ({"pixel_size_um": 3.24, "pixel_size_stated_um": 3.2}, ["too-coarse"], "measured"),
    ],
)
def test_pixel_sizes_that_disagree_are_explained(align: dict[str, Any], expected: list[str], words: str) -> None:
    found = harmonise(ROW, {"align_array": align})["contradictions"]
    assert [text.partition(":")[0] for text in found] == expected
    assert all(words in text for text in found)


def test_the_pixel_size_of_the_dapi_picture_is_not_that_of_the_h_and_e() -> None:
    # NCBI784 of HEST-1k.
    row = changed({**BREAST, "technology": "Xenium", "pixel_size_um": "0.2125"})
    (text,) = harmonise(row, {"read_expression": {"he_pixel_size_um": 0.3638}})["contradictions"]
    assert text == (
        "pixel-size-stated: 0.2125 um/px stated, 0.3638 measured; the pixel size of a Xenium morphology picture"
        " (0.2125 um), not the H&E's"
    )
    assert harmonise(row, {"read_expression": {"he_pixel_size_um": 0.2125}})["contradictions"] == []


MOUSE_GENES = {"gene_species": {"human": 0.02, "mouse": 0.95}}
HUMAN = {"species": "Homo sapiens"}
MOUSE = {"species": "Mus musculus", "disease_state": "healthy", "oncotree_code": ""}


@pytest.mark.parametrize(
    ("change", "reading", "expected"),
    [
        (HUMAN, MOUSE_GENES, ["species-and-genes"]),
        (MOUSE, MOUSE_GENES, []),
        (MOUSE, {"gene_species": {"human": 0.9, "mouse": 0.0}}, ["species-and-genes"]),
        (HUMAN, {"gene_species": {"human": 0.5, "mouse": 0.5}}, []),
        (HUMAN, {"panel": {"organism": "Human"}}, []),
        (HUMAN, {"panel": {"organism": "Mouse"}}, ["species-and-panel"]),
        (HUMAN, {"counts_by_genome": {"GRCh38": 620, "mm10___": 380}}, ["two-species"]),
        (HUMAN, {"counts_by_genome": {"GRCh38": 9950, "mm10": 50}}, []),
        (HUMAN, {"counts_by_genome": {"GRCh38": 9, "ERCC": 50}}, []),
        # 541 "genes" of HEST-1k's Xenium samples are 280 genes and 261 controls.
        ({"nb_genes": "541"}, {"genes": 280, "controls_left_out": {"blank_codeword": 261}}, ["genes-with-controls"]),
        ({"nb_genes": "280"}, {"genes": 280, "controls_left_out": {"blank_codeword": 261}}, []),
        ({}, {"genes": 380, "panel": {"targets_predesigned": 280, "targets_custom": 100}}, []),
        ({}, {"genes": 541, "panel": {"targets_predesigned": 280}}, ["genes-and-panel"]),
        ({}, {"genes": 541}, []),
        ({"preservation": "ffpe"}, {"run": {"preservation_method": "ffpe"}}, []),
        ({"preservation": "ffpe"}, {"run": {"preservation_method": "fresh_frozen"}}, ["frozen-or-paraffin"]),
        ({}, {"slide_serial_number": "V42A20-353", "capture_area": "6.5 mm"}, []),
        ({}, {"slide_serial_number": "V52A20-353", "capture_area": "6.5 mm"}, ["slide-and-area"]),
        ({}, {"slide_serial_number": "H1-ABCDEFG"}, ["slide-and-technology"]),
        ({}, {}, []),
    ],
)
def test_what_was_read_is_held_against_the_row(
    change: dict[str, str], reading: dict[str, Any], expected: list[str]
) -> None:
    assert codes(change, {"read_expression": reading}) == expected


def test_one_patient_label_for_several_patients_is_found() -> None:
    # HEST-1k calls all three donors of this study "Patient 1".
    rows = {
        f"TENX{147 + i}": {"donor": "crc-patient-1", "accession": f"Xenium_V1_Human_Colon_Cancer_P{label}_CRC_FFPE"}
        for i, label in enumerate((5, 2, 1))
    }
    found = donor_contradictions(rows)
    assert sorted(found) == ["TENX147", "TENX148", "TENX149"]
    assert found["TENX147"] == found["TENX148"]
    assert found["TENX147"][0].startswith("donor-and-sample-names: one donor, crc-patient-1")
    assert "P1 (TENX149), P2 (TENX148), P5 (TENX147)" in found["TENX147"][0]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"donor": "patient 1", "cohort": "a"}, {"donor": "patient 1", "cohort": "b"}], ["donor-in-two-cohorts"]),
        ([{"donor": "P2", "cohort": "a"}, {"donor": "P2", "cohort": "b"}], ["donor-in-two-cohorts"]),
        ([{"donor": "P2", "cohort": "a"}, {"donor": "P2", "cohort": "a"}], []),
        ([{"donor": "CRC_P2", "cohort": "a"}, {"donor": "CRC_P2", "cohort": "b"}], []),
        (
            [{"donor": "x", "species": "Homo sapiens"}, {"donor": "x", "species": "Mus musculus"}],
            ["donor-of-two-species"],
        ),
        ([{"cohort": "a"}, {"cohort": "b"}], []),
    ],
)
def test_donors_are_held_against_each_other(rows: list[dict[str, str]], expected: list[str]) -> None:
    found = donor_contradictions({f"s{i}": row for i, row in enumerate(rows)})
    assert [text.partition(":")[0] for text in found.get("s0", [])] == expected
    assert found.get("s0", []) == found.get("s1", [])


def test_the_committed_donors_do_not_contradict_each_other() -> None:
    rows: dict[str, dict[str, str]] = {}
    for table in sorted((ROOT / "config/cohorts").glob("*.csv")):
        with open(table, newline="") as handle:
            for row in csv.DictReader(handle):
                given = {name: cell for name, cell in row.items() if cell}
                rows[row["sample_id"]] = {**given, "cohort": table.stem}
    assert rows
    assert donor_contradictions(rows) == {}


def test_the_collected_samples_contradict_themselves_only_where_they_do() -> None:
    if not COLLECTED.is_file():
        pytest.skip(f"{NOT_HERE}{COLLECTED}")
    found: dict[str, list[str]] = {}
    with open(COLLECTED, newline="") as handle:
        for row in csv.DictReader(handle):
            given = {name: cell for name, cell in row.items() if cell} | {"dataset_title": row["cohort"]}
            for text in harmonise(given, {})["contradictions"]:
                found.setdefault(text.partition(":")[0], []).append(row["sample_id"])
    assert found["cancer-without-code"] == ["MEND1", "MEND40"]
    assert found["code-and-organ"] == ["NCBI771"]  # a lacrimal gland under the code of salivary glands
    assert found["invasive-or-in-situ"] == ["TENX39"]  # its title names both
    assert set(found) == {
        "cancer-without-code",
        "code-and-organ",
        "code-of-an-animal",
        "invasive-or-in-situ",
        "superseded-code",
    }
