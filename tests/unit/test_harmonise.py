"""Identifiers, completeness and contradictions of one sample's metadata."""

from __future__ import annotations

from typing import Any

import pytest

from spotweave.dataset.harmonise import WEIGHTS, harmonise

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


def codes(change: dict[str, str] | None = None, **measured: dict[str, Any]) -> list[str]:
    row = {name: cell for name, cell in {**ROW, **(change or {})}.items() if cell}
    return [text.partition(":")[0] for text in harmonise(row, measured)["contradictions"]]


def test_words_get_their_identifiers() -> None:
    found = harmonise(ROW, {})
    assert found["species_ncbitaxon"] == "NCBITaxon:9606"
    assert (found["organ_uberon"], found["tissue_uberon"]) == ("UBERON:0002113", "UBERON:0002113")
    assert found["oncotree_name"] == "Renal Clear Cell Carcinoma"
    assert (found["licence_commercial"], found["licence_derivatives"]) == ("no", "yes")
    assert found["contradictions"] == []


@pytest.mark.parametrize(
    ("row", "measured", "expected"),
    [
        ({}, {}, "EFO:0010961"),
        ({}, {"read_expression": {"capture_area": "6.5 mm"}}, "EFO:0010961"),
        (
            {},
            {"read_expression": {"capture_area": "6.5 mm"}, "fetch_sample": {"found": {"cytassist_image": "x"}}},
            "EFO:0022859",
        ),
        (
            {"accession": "spatial-exp/2.0.1/CytAssist_11mm_FFPE_X"},
            {"read_expression": {"capture_area": "11 mm"}},
            "EFO:0022860",
        ),
        ({"technology": "Xenium"}, {}, None),
    ],
)
def test_the_assay_is_as_exact_as_what_is_known(
    row: dict[str, str], measured: dict[str, Any], expected: str | None
) -> None:
    assert harmonise({**ROW, **row}, measured)["assay_efo"] == expected


def test_completeness_is_the_weight_of_what_is_there() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    assert harmonise(ROW, {})["completeness"] == 1
    poor = {"sample_id": "s", "donor": "d", "species": "Homo sapiens", "licence": "unspecified"}
    found = harmonise(poor, {})
    assert found["completeness"] == pytest.approx(0.25)
    assert "licence" in found["missing"]
    assert "oncotree_code" in found["missing"]
    healthy = harmonise({**poor, "disease_state": "healthy"}, {})
    assert "oncotree_code" not in healthy["missing"]


@pytest.mark.parametrize(
    ("change", "measured", "expected"),
    [
        ({"oncotree_code": ""}, {}, ["cancer-without-code"]),
        ({"disease_state": "healthy"}, {}, ["code-of-healthy"]),
        ({"oncotree_code": "LUAD"}, {}, ["code-and-organ"]),
        ({"oncotree_code": "UNKNOWN"}, {}, ["unknown-code"]),
        ({"oncotree_code": "SCCRCC", "dataset_title": "ccRCC cohort"}, {}, ["sarcomatoid-or-clear-cell"]),
        ({"oncotree_code": "SCCRCC", "notes": "sarcomatoid features"}, {}, []),
        ({"oncotree_code": "IDC", "organ": "Breast", "disease_comment": "DCIS"}, {}, ["invasive-or-in-situ"]),
        ({"preservation": "fresh_frozen", "dataset_title": "FFPE Human Kidney"}, {}, ["frozen-or-paraffin"]),
        ({"dataset_title": "Fresh-Frozen Kidney"}, {}, ["frozen-or-paraffin"]),
        ({"pixel_size_um": "3.24"}, {}, ["too-coarse"]),
        ({"array_pitch_x_um": "110", "spot_diameter_um": "150"}, {}, ["spots-overlap"]),
        ({"array_pitch_x_um": "150", "spot_diameter_um": "110"}, {}, []),
    ],
)
def test_a_contradiction_in_a_row_is_named(
    change: dict[str, str], measured: dict[str, Any], expected: list[str]
) -> None:
    assert codes(change, **measured) == expected


@pytest.mark.parametrize(
    ("align", "expected", "words"),
    [
        # NCBI784 of HEST-1k.
        ({"pixel_size_um": 0.3638, "pixel_size_stated_um": 0.2125}, ["pixel-size-stated"], "0.2125"),
        ({"pixel_size_um": 0.468, "pixel_size_embedded_um": 0.000469}, ["pixel-size-embedded"], "1000"),
        ({"pixel_size_um": 0.69, "pixel_size_embedded_um": 352.78}, ["pixel-size-embedded"], "72 dpi"),
        ({"pixel_size_um": 0.69, "pixel_size_embedded_um": 0.2646}, ["pixel-size-embedded"], "96 dpi"),
        ({"pixel_size_um": 0.69, "pixel_size_stated_um": 0.688, "pixel_size_embedded_um": None}, [], ""),
    ],
)
def test_pixel_sizes_that_disagree_are_explained(align: dict[str, Any], expected: list[str], words: str) -> None:
    found = harmonise(ROW, {"align_array": align})["contradictions"]
    assert [text.partition(":")[0] for text in found] == expected
    assert all(words in text for text in found)


def test_genes_of_another_species_are_noticed() -> None:
    mouse = {"gene_species": {"human": 0.02, "mouse": 0.95}}
    assert codes(read_expression=mouse) == ["species-and-genes"]
    assert codes({"species": "Mus musculus"}, read_expression=mouse) == []
    assert codes(read_expression={"gene_species": {"human": 0.5, "mouse": 0.5}}) == []
