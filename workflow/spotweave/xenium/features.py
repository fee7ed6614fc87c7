"""What is a gene and what a control among the features of a Xenium panel.

Every rule that a file allows is applied, and a feature is a gene only if none speaks against it: `is_gene` and
`codeword_category` (Xenium 3 and later), and the names by which all versions call their controls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

GENE_CATEGORIES = ("predesigned_gene", "custom_gene")
# Prefixes as Xenium writes them; R turns the underscore into a hyphen.
CONTROL_PREFIXES = {
    "NegControlProbe": "negative_control_probe",
    "NegControlCodeword": "negative_control_codeword",
    "antisense": "antisense_control",
    "BLANK": "blank_codeword",
    "UnassignedCodeword": "unassigned_codeword",
    "DeprecatedCodeword": "deprecated_codeword",
    "Intergenic": "genomic_control_probe",
    "GenomicControl": "genomic_control_probe",
}
CONTROL_NAME = re.compile(rf"(?P<prefix>{'|'.join(CONTROL_PREFIXES)})(_Region)?[-_]")
OTHER_CONTROL = "other_control"


def control_kind(name: str) -> str | None:
    """The kind of control that a feature's name says it is, None for a gene."""
    match = CONTROL_NAME.match(name)
    return CONTROL_PREFIXES[match["prefix"]] if match else None


def control_kinds(names: Iterable[str]) -> list[str | None]:
    """`control_kind` of each name."""
    return [control_kind(name) for name in names]


def kinds_of_rows(names: pa.Array, category: pa.Array | None, is_gene: pa.Array | None) -> pa.Array:
    """The kind of control of every row, missing for genes.

    Parameters
    ----------
    names
        Text, names of the features.
    category, is_gene
        Text and bool, the columns `codeword_category` and `is_gene` where the file has them.
    """
    coded = names.dictionary_encode()
    kinds = pa.array(control_kinds(coded.dictionary.to_pylist()), pa.string()).take(coded.indices)
    nothing = pa.scalar(None, pa.string())
    if category is not None:
        stated = pc.if_else(pc.is_in(category, value_set=pa.array(GENE_CATEGORIES)), nothing, category)
        kinds = pc.coalesce(stated, kinds)
    if is_gene is not None:
        kinds = pc.if_else(pc.fill_null(is_gene, True), kinds, pc.coalesce(kinds, pa.scalar(OTHER_CONTROL)))
    return kinds
