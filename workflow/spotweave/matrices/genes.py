"""Names of genes as the table `var` of a sample has them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pandas as pd
from anndata.utils import make_index_unique

from spotweave.errors import Refusal
from spotweave.matrices.matrix import Matrix

ENSEMBL = re.compile(r"(?P<id>ENS[A-Z]{0,4}G\d{11})(\.\d+)?")
# What references of two species put before the names of their genes, padded with `_` to the same length.
ASSEMBLY = re.compile(r"(?P<genome>GRC[a-z]\d+|hg\d+|mm\d+|rn\d+|mRatBN\d+|BDGP\d+|danRer\d+|Sscrofa\d+)_+(?P<name>.+)")


def gene_table(matrix: Matrix) -> tuple[pd.DataFrame, dict[str, Any]]:
    """`var` of a matrix, and what was found.

    Returns
    -------
    var
        Index: gene symbols (the id where there is none), made unique with `-1`, `-2` …; `gene_id` (str, Ensembl id
        without version, empty if unknown); `genome` (str, empty if unknown). Of references of several species the
        prefixes `GRCh38_`, `mm10___` are taken off names and ids.
    report
        `genes`, `duplicate_gene_names`, `genes_by_genome`.
    """
    is_mixed = sum(ASSEMBLY.fullmatch(name) is not None for name in matrix.gene_names) > 0.5 * len(matrix.gene_names)
    names, ids, genomes = [], [], []
    for filed_name, filed_id, filed_genome in zip(matrix.gene_names, matrix.gene_ids, matrix.genomes, strict=True):
        name, genome = _without_prefix(filed_name, filed_genome, is_mixed)
        gene_id, _ = _without_prefix(filed_id, genome, is_mixed)
        found = ENSEMBL.fullmatch(gene_id or name)
        gene_id = found["id"] if found else gene_id
        names.append(name or gene_id)
        ids.append(gene_id)
        genomes.append(genome)
    if "" in names:
        raise Refusal(f"{matrix.name}: gene {names.index('') + 1:,} has neither name nor id; download the file again")
    unique = make_index_unique(pd.Index(names, dtype=object))
    var = pd.DataFrame({"gene_id": ids, "genome": genomes}, index=unique, dtype=object)
    report = {
        "genes": len(names),
        "duplicate_gene_names": len(names) - len(set(names)),
        "genes_by_genome": {genome or "(not given)": count for genome, count in sorted(Counter(genomes).items())},
    }
    return var, report


def _without_prefix(name: str, genome: str, is_mixed: bool) -> tuple[str, str]:
    """A name without its genome's prefix, and the genome."""
    if genome and name.startswith(f"{genome}_"):
        return name.removeprefix(genome).lstrip("_"), genome
    match = ASSEMBLY.fullmatch(name) if is_mixed else None
    return (match["name"], match["genome"]) if match else (name, genome)
