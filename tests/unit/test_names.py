"""Names of barcodes and genes, taken apart by hand."""

import pytest

from spotweave.expression.gene_names import gene_species
from spotweave.matrices import barcodes

CORE = "AAACAACGAATAGTTC"
OTHER = "TTTGTTTCCATACAAC"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (CORE, ("", CORE, "")),
        (f"{CORE}-1", ("", CORE, "-1")),
        (f"A1_{CORE}-1", ("A1_", CORE, "-1")),
        (f"{CORE}-1_3", ("", CORE, "-1_3")),
        ("s_008um_00012_00345-1", ("", "s_008um_00012_00345", "-1")),
        ("cellid_000000123-1", ("", "cellid_000000123", "-1")),
    ],
)
def test_a_name_falls_into_what_is_before_the_barcode_the_barcode_and_what_is_after(name, parts):
    (before,), (core,), (after,) = (getattr(barcodes.parse([name]), part) for part in ("before", "core", "after"))
    assert (before, core, after) == parts


def test_names_of_which_few_are_barcodes_are_names_as_a_whole():
    names = ["spot one", "spot two", "spot three", f"A_{CORE}-1"]
    assert barcodes.parse(names).core == names
    assert barcodes.parse([*names[:1], f"A_{CORE}-1", f"A_{OTHER}-1"]).core == ["spot one", CORE, OTHER]


def test_samples_10_and_1_are_told_apart():
    assert barcodes.label("", "-1") == ""
    assert barcodes.label("", "-10") == "10"
    assert barcodes.telling([("", "-10")]) == {("", "-10"): ("", "-10")}
    assert barcodes.telling([("", "-1")]) == {("", "-1"): ("", "")}
    assert barcodes.matches("", "-10", "10") and not barcodes.matches("", "-10", "0")


def test_what_all_groups_share_tells_none_of_them():
    groups = [("A1_", "-1"), ("B1_", "-1")]
    assert barcodes.telling(groups) == {("A1_", "-1"): ("A1_", ""), ("B1_", "-1"): ("B1_", "")}
    groups = [("x_", "-1"), ("x_", "-2")]
    assert barcodes.telling(groups) == {("x_", "-1"): ("", "-1"), ("x_", "-2"): ("", "-2")}


def test_shares_of_species_are_of_all_genes():
    names = ["TP53", "GAPDH", "Trp53", "123", "a_gene"]
    assert gene_species(names, [""] * 5) == {"human": 0.4, "mouse": 0.2}


def test_an_ensembl_id_beats_a_name():
    assert gene_species(["TP53", "Trp53"], ["ENSMUSG00000059552", "ENSG00000141510"]) == {"human": 0.5, "mouse": 0.5}
    assert gene_species(["TP53", "GAPDH"], ["ENSMUSG00000059552"] * 2) == {"human": 0.0, "mouse": 1.0}
    assert gene_species(["ENSMUSG00000059552"], [""]) == {"human": 0.0, "mouse": 1.0}
    assert gene_species([], []) == {"human": 0.0, "mouse": 0.0}
