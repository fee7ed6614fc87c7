"""What is a gene, and what only looks like a row or a column of counts: one rule for every container.

A deposit's features are genes, other features (antibodies, guides, controls), or no features at all: totals that a
spreadsheet added up, what a counting program puts below its table (`__no_feature` of HTSeq, `N_unmapped` of STAR,
`Unassigned_…` of featureCounts), and measures of spots that stand among the genes (`nCount_RNA`, `in_tissue`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.deposits.values import NUMBER, blank_if_unknown
from spotweave.errors import Refusal
from spotweave.matrices.barcodes import looks_like_barcode
from spotweave.matrices.matrix import Matrix, column_sums, row_sums

GENE_EXPRESSION = "Gene Expression"
ENSEMBL = re.compile(r"(\w{1,64}_)??ENS[A-Z]{0,4}G\d{11}(\.\d+)?")  # tried without a prefix first
ALL_ENSEMBL = re.compile(rf"(?:(?:{ENSEMBL.pattern})\n)*+")  # a list that is nothing else, in one go
GENE_TYPES = re.compile(r"gene[ _-]?(expression|ex)?s?|gex|m?rna|transcripts?", re.IGNORECASE)
OTHER_TYPES = re.compile(
    r"antibod|protein(?![ _-]?coding)|\b(adt|hto|cite[ _-]?seq)\b|crispr|guide|\bs?grna|multiplex|hash[ _-]?tag|custom"
    r"|peak|control|blank|codeword|spike|ercc|antigen|\b(vdj|tcr|bcr)\b|\bprobes?\b|morpholog",
    re.IGNORECASE,
)
# Biotypes of Ensembl and GENCODE: all of them are genes, also beside features called Gene Expression.
BIOTYPES = re.compile(
    r"protein[ _-]?coding|.*rna|.*pseudogene|(ig|tr)_[a-z]+_gene|tec|ribozyme|antisense|sense_\w+|processed_transcript"
    r"|retained_intron|nonsense_mediated_decay|non_stop_decay|3prime_overlapping\w*|bidirectional\w*|non_coding",
    re.IGNORECASE,
)

SUMMARY = re.compile(
    # Sums of spreadsheets.
    r"(grand|column|row|sub)?[ _.-]?(totals?|sums?)([ _.-]?(of[ _.-])?(umis?|counts?|reads?|genes?|expression))?"
    r"|library[ _.-]?size|means?|averages?|medians?"
    # HTSeq, with and without its underscores.
    r"|(x?_)*(no[ _.-]?feature|ambiguous|too[ _.-]low[ _.-]aqual|not[ _.-]aligned|alignment[ _.-]not[ _.-]unique)"
    # STAR.
    r"|n[ _.-](unmapped|multimapping|no[ _.-]?feature|ambiguous)"
    # featureCounts.
    r"|unassigned[ _.-](unmapped|read[ _.-]?type|singleton|mapping[ _.-]?quality|chimera|fragment[ _.-]?length"
    r"|duplicate|multi[ _.-]?mapping|secondary|non[ _.-]?split|no[ _.-]?features|overlapping[ _.-]?length|ambigui?t?y?"
    r"|ambiguous)"
    r"|_*(unmapped|un[ _.-]?aligned)([ _.-]?reads?)?",
    re.IGNORECASE,
)
# Measures of a spot that scanpy, Seurat and Space Ranger put into its table.
SPOT_MEASURE = re.compile(
    r"n(count|feature)[_.](rna|spatial|sct|umi)\w*|n_?(genes|umis?|counts)(_by_counts)?|log1p_\w+"
    r"|(total|pct)_counts(_\w+)?|percent[._]?(mt|mito|rb|ribo)|in_tissue|array_(row|col)|pxl_(row|col)_in_full_?res",
    re.IGNORECASE,
)
# Fewer spots or genes may agree with a sum, or with a row of numbers, by chance.
FEWEST_TO_JUDGE = 10
NUMBERS_BEGIN = "+-.0123456789"
EXAMPLES = 3


def are_genes(types: Sequence[str]) -> NDArray[np.bool_]:
    """(features,) bool, whether each is a gene by its type as filed.

    Genes are what is called gene expression, every biotype, and what has no type (an outer join leaves NaN). A type of
    which nothing is known is a gene where the list uses no such word as gene expression at all, else it is something
    beside the genes.
    """
    kinds = {kind: blank_if_unknown(kind) for kind in set(types)}
    told = any(GENE_TYPES.fullmatch(kind) for kind in kinds.values())

    def is_gene(kind: str) -> bool:
        if not kind or GENE_TYPES.fullmatch(kind):
            return True
        if OTHER_TYPES.search(kind):
            return False
        return not told or BIOTYPES.fullmatch(kind) is not None

    known = {filed: is_gene(kind) for filed, kind in kinds.items()}
    return np.array([known[kind] for kind in types], dtype=bool)


def without_others(matrix: Matrix) -> Matrix:
    """The matrix as filed, less what is neither a gene nor a unit, which its report names and counts.

    Raises
    ------
    Refusal
        Nothing is left, or what `judge` refuses.
    """
    genes, left_out = _only_genes(matrix)
    if left_out:
        matrix = _part(matrix, np.arange(len(matrix.unit_names)), genes)
    matrix = replace(matrix, gene_names=best_names(matrix.gene_names, matrix.gene_ids))
    judged = judge(matrix.name, matrix.counts, matrix.unit_names, matrix.gene_names, gene_ids=matrix.gene_ids)
    if not judged.is_whole:
        matrix = _part(matrix, judged.units, judged.genes)
    return replace(matrix, report={**matrix.report, "features_left_out": left_out, **judged.report})


def _part(matrix: Matrix, units: NDArray[np.intp], genes: NDArray[np.intp]) -> Matrix:
    """Some units and some genes of a matrix."""

    def genes_of(names: list[str]) -> list[str]:
        return [names[i] for i in genes]

    def units_of(names: list[str]) -> list[str]:
        return [names[i] for i in units]

    whole = len(units) == len(matrix.unit_names)
    return replace(
        matrix,
        unit_names=units_of(matrix.unit_names),
        gene_names=genes_of(matrix.gene_names),
        gene_ids=genes_of(matrix.gene_ids),
        feature_types=genes_of(matrix.feature_types),
        genomes=genes_of(matrix.genomes),
        counts=csr_matrix((matrix.counts if whole else matrix.counts[units])[:, genes]),
        unit_columns={name: units_of(values) for name, values in matrix.unit_columns.items()},
    )


def _only_genes(matrix: Matrix) -> tuple[NDArray[np.intp], dict[str, int]]:
    """Indices of the columns that are genes, and the other features counted by type; refused if none is."""
    name, counts, types = matrix.name, matrix.counts, matrix.feature_types
    is_gene = are_genes(types)
    left_out = Counter(kind for kind, kept in zip(types, is_gene, strict=True) if not kept)
    genes = np.flatnonzero(is_gene)
    if not genes.size or not counts.shape[0]:
        there = ", ".join(f"{count:,} of type {kind}" for kind, count in sorted(left_out.items())) or "no features"
        raise Refusal(
            f"{name}: {counts.shape[0]:,} barcodes, {there} and no genes; give the matrix with the gene expression",
            measured=0,
            threshold=1,
        )
    return genes, dict(sorted(left_out.items()))


def is_summary(name: str, gene_id: str = "") -> bool:
    """Whether a row or column is a summary by its name; one with an Ensembl id is a gene, whatever its name."""
    return SUMMARY.fullmatch(name.strip(" \t:")) is not None and ENSEMBL.fullmatch(gene_id) is None


def are_summaries(names: Sequence[str], gene_ids: Sequence[str] | None = None) -> NDArray[np.bool_]:
    """(features,) bool, whether each feature is a summary, or a measure of spots, by its name."""
    ids = gene_ids if gene_ids is not None else [""] * len(names)
    if len(ids) == len(names) and ALL_ENSEMBL.fullmatch("".join(f"{gene_id}\n" for gene_id in ids)):
        return np.zeros(len(names), dtype=bool)
    return np.array(
        [
            ENSEMBL.fullmatch(gene_id) is None
            and (SUMMARY.fullmatch((name or gene_id).strip(" \t:")) or SPOT_MEASURE.fullmatch(name)) is not None
            for name, gene_id in zip(names, ids, strict=True)
        ],
        dtype=bool,
    )


def are_summary_units(names: Sequence[str]) -> NDArray[np.bool_]:
    """(units,) bool, whether each unit is a summary by its name; bins and cells are told from them at a glance."""
    found = np.zeros(len(names), dtype=bool)
    for at in (i for i, name in enumerate(names) if not name.startswith(("s_0", "cellid_"))):
        found[at] = is_summary(names[at])
    return found


def need_no_check(types: Sequence[str], names: Sequence[str], gene_ids: Sequence[str]) -> NDArray[np.bool_]:
    """(features,) bool, whether a feature is left out whatever its values: they need not be counts."""
    return ~are_genes(types) | are_summaries(names, gene_ids)


@dataclass(frozen=True)
class Judged:
    """Which units and genes of a matrix are real: indices of both, and the names of what is left out."""

    units: NDArray[np.intp]
    genes: NDArray[np.intp]
    report: dict[str, Any]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return not any(self.report.values())


def judge(
    name: str, counts: csr_matrix, units: Sequence[str], genes: Sequence[str], gene_ids: Sequence[str] | None = None
) -> Judged:
    """Tell units and genes from sums, leftovers of counting programs, measures of spots and numbers of rows.

    Names tell most. A sum by any other name is found by what it is: in every unit (or gene) it equals the sum of all
    others.

    Parameters
    ----------
    counts
        (units, genes) CSR, canonical.
    gene_ids
        One per gene, empty where there is none.

    Returns
    -------
    judged
        `report` is JSON-ready: `summary_genes_left_out`, `summary_units_left_out`, names and how many of each.

    Raises
    ------
    Refusal
        The matrix lies the other way round, its genes are called 0, 1, 2, or a column numbers the rows.
    """
    _refuse_turned(name, units, genes)
    _refuse_numbers(name, genes)
    odd_genes = are_summaries(genes, gene_ids)
    odd_units = are_summary_units(units)
    whole = _Summed.of(counts)
    for _ in range(2):  # a sum may include what the names have told, or not
        kept_units, kept_genes = np.flatnonzero(~odd_units), np.flatnonzero(~odd_genes)
        is_all = len(kept_units) == len(units) and len(kept_genes) == len(genes)
        part = whole if is_all else _Summed.of(counts[kept_units][:, kept_genes])
        more_genes, more_units = _sums(part), _sums(part.turned() if _may_hold_a_sum(part) else None)
        odd_genes[kept_genes[more_genes]] = True
        odd_units[kept_units[more_units]] = True
        if not more_genes.size and not more_units.size:
            break
    kept_units, kept_genes = np.flatnonzero(~odd_units), np.flatnonzero(~odd_genes)
    if not kept_units.size or not kept_genes.size:
        raise Refusal(
            f"{name}: nothing but sums ({', '.join(_some([*units, *genes]))}); give the table of counts they were made"
            " of",
            measured=0,
            threshold=1,
        )
    report = {
        "summary_genes_left_out": _counted(genes, odd_genes),
        "summary_units_left_out": _counted(units, odd_units),
    }
    _refuse_row_numbers(name, whole, genes, kept_units, kept_genes)
    return Judged(kept_units, kept_genes, report)


def _counted(names: Sequence[str], chosen: NDArray[np.bool_]) -> dict[str, int]:
    return dict(sorted(Counter(names[i] for i in np.flatnonzero(chosen).tolist()).items()))


def _some(names: Iterable[str]) -> list[str]:
    return [repr(name[:40]) for name in list(names)[:EXAMPLES]]


@dataclass(frozen=True)
class _Summed:
    """Counts and their sums, each taken once."""

    counts: csr_matrix
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]

    @classmethod
    def of(cls, counts: csr_matrix) -> _Summed:
        return cls(counts, row_sums(counts), column_sums(counts))

    def turned(self) -> _Summed:
        return _Summed(self.counts.T.tocsr(), self.columns, self.rows)


def _may_hold_a_sum(summed: _Summed) -> bool:
    """Whether a row has half of all counts: that is cheap to see, and turning a large matrix is not."""
    return bool(summed.rows.size and (2 * summed.rows == summed.rows.sum()).any())


def _sums(summed: _Summed | None) -> NDArray[np.intp]:
    """Indices of columns that equal the sum of all others in every row."""
    nothing = np.empty(0, dtype=np.intp)
    if summed is None or summed.counts.shape[1] <= FEWEST_TO_JUDGE or summed.counts.shape[0] < FEWEST_TO_JUDGE:
        return nothing
    rows, columns = summed.rows, summed.columns
    likely = np.flatnonzero((2 * columns == columns.sum()) & (columns > 0))
    if not likely.size or np.count_nonzero(rows) < FEWEST_TO_JUDGE or np.count_nonzero(columns) <= EXAMPLES:
        return nothing
    values = np.asarray(summed.counts[:, likely].toarray(), dtype=np.float64)
    return likely[(2 * values == rows[:, None]).all(axis=0)]


def _refuse_turned(name: str, units: Sequence[str], genes: Sequence[str]) -> None:
    in_genes = _share(genes)
    if in_genes > 0.5 and _share(units) <= 0.5:
        raise Refusal(
            f"{name}: rows and columns are exchanged: its spots are called {', '.join(_some(units))} and its genes"
            f" {', '.join(_some(genes))}; transpose the matrix (adata.T) and save it again",
            measured=f"{in_genes:.0%} of the genes are barcodes",
            threshold="over half",
        )


def _share(names: Sequence[str]) -> float:
    sample = names[:: max(1, len(names) // 1000)]
    return sum(map(looks_like_barcode, sample)) / max(len(sample), 1)


def are_numbers(names: Sequence[str]) -> bool:
    """Whether most names are numbers: of rows, of another list, or counts that stand where a header should."""
    return _numbers(names) > 0.5 * len(names)


def _numbers(names: Sequence[str]) -> int:
    """How many names are numbers."""
    return sum(NUMBER.fullmatch(name) is not None for name in names if name[:1] in NUMBERS_BEGIN)


def count_ensembl(names: Sequence[str]) -> int:
    """How many names are Ensembl's of genes."""
    return sum(ENSEMBL.fullmatch(name) is not None for name in names if "ENS" in name)


def best_names(names: list[str], gene_ids: list[str]) -> list[str]:
    """Names of genes, or, where these are but numbers, their Ensembl ids if there are any."""
    return gene_ids if are_numbers(names) and count_ensembl(gene_ids) > 0.5 * len(names) else names


def _refuse_numbers(name: str, genes: Sequence[str]) -> None:
    numbers = _numbers(genes)
    if numbers > 0.5 * len(genes):
        raise Refusal(
            f"{name}: {numbers:,} of {len(genes):,} genes are called by numbers ({', '.join(_some(genes))}): the table"
            " has lost its header, or they are row numbers or Entrez ids; give it with gene symbols or Ensembl ids",
            measured=round(numbers / len(genes), 4),
            threshold=0.5,
        )


def _refuse_row_numbers(
    name: str, whole: _Summed, genes: Sequence[str], kept_units: NDArray[np.intp], kept_genes: NDArray[np.intp]
) -> None:
    """Refuse a gene whose counts are 0, 1, 2 … or 1, 2, 3 … down the rows: an index that was saved as a column."""
    size = len(kept_units)
    if size < FEWEST_TO_JUDGE:
        return
    is_whole = size == whole.counts.shape[0]
    part = whole.counts if is_whole else whole.counts[kept_units]
    sums = whole.columns if is_whole else column_sums(part)
    for first in (0, 1):
        expected = np.arange(first, size + first, dtype=np.float64)
        for column in np.intersect1d(np.flatnonzero(sums == expected.sum()), kept_genes):
            if (part[:, [int(column)]].toarray().ravel() == expected).all():
                raise Refusal(
                    f"{name}: the counts of {genes[column]!r} are {first}, {first + 1}, {first + 2} … down the table:"
                    " a column of row numbers, not a gene; remove it",
                    measured=size,
                    threshold=0,
                )
