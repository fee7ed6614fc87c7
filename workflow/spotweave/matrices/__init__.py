"""Count matrices in the containers deposits use: 10x HDF5, h5ad, Market Exchange, delimited text.

    read_matrix(counts, features=None, barcodes=None) -> Matrix

What a file is shows in its first bytes, not in its name. Whatever the container, the result is the same: units
(spots, bins, cells) in rows as filed, genes in columns as filed, whole counts; other features than genes, and rows and
columns that are sums or leftovers of a counting program, are left out, named and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.deposits.opening import parses, unpacked
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices import features as feature_rules

LARGEST_COUNT = 1 << 24  # beyond, float32 no longer holds every whole number
GZIP_MAGIC = b"\x1f\x8b"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
MEX_MAGIC = b"%%MatrixMarket"
# Serialised R objects: RDX2, RDX3, RDA2 … of save(); X (XDR) and A (ASCII) of saveRDS().
R_MAGIC = (b"RDX", b"RDA", b"X\n\x00\x00", b"A\n")
HEAD_BYTES = 512


@dataclass(frozen=True)
class Matrix:
    """Counts of one file.

    Attributes
    ----------
    name
        The file's, for messages.
    unit_names, gene_names
        As filed; gene names may repeat.
    gene_ids, genomes
        One per gene, empty strings where the container has none.
    feature_types
        One per gene, as filed.
    counts
        CSR float32, units x genes, whole numbers, canonical, no explicit zeros.
    container
        What the file was.
    report
        JSON-ready: `container`, `features_left_out` by type, `summary_genes_left_out` and `summary_units_left_out` by
        name, and what the container says of itself.
    unit_columns
        Further columns of the units, one value per unit; only h5ad has them.
    """

    name: str
    unit_names: list[str]
    gene_names: list[str]
    gene_ids: list[str]
    feature_types: list[str]
    genomes: list[str]
    counts: csr_matrix
    container: str
    report: dict[str, Any]
    unit_columns: dict[str, list[str]] = field(default_factory=dict)


@parses
def read_matrix(counts: RawFile, *, features: RawFile | None = None, barcodes: RawFile | None = None) -> Matrix:
    """Read one count matrix.

    Parameters
    ----------
    counts
        The matrix.
    features, barcodes
        The lists beside a matrix in Market Exchange format; other containers have their own and these are not read.

    Raises
    ------
    Refusal
        It is no count matrix, it is damaged, its parts do not fit, or its numbers are no counts.
    """
    # The containers need what is defined here; imported by name, they are part of every reader's code hash.
    from spotweave.matrices import dense, h5ad, mex, tenx_h5

    head, is_packed = read_head(counts)
    _refuse_foreign(counts, head)
    if head.startswith(HDF5_MAGIC):
        read = h5ad.read if h5ad.is_h5ad(counts) else tenx_h5.read
        return _without_summaries(read(counts))
    if head.lstrip().startswith(MEX_MAGIC):
        return _without_summaries(mex.read(counts, features, barcodes, is_packed=is_packed))
    return _without_summaries(dense.read(counts))


def _without_summaries(matrix: Matrix) -> Matrix:
    """The matrix less what is neither a unit nor a gene, which its report names."""
    matrix = replace(matrix, gene_names=feature_rules.best_names(matrix.gene_names, matrix.gene_ids))
    judged = feature_rules.judge(
        matrix.name, matrix.counts, matrix.unit_names, matrix.gene_names, gene_ids=matrix.gene_ids
    )
    report = {**matrix.report, **judged.report}
    if judged.is_whole:
        return replace(matrix, report=report)

    def genes_of(names: list[str]) -> list[str]:
        return [names[i] for i in judged.genes]

    def units_of(names: list[str]) -> list[str]:
        return [names[i] for i in judged.units]

    return replace(
        matrix,
        unit_names=units_of(matrix.unit_names),
        gene_names=genes_of(matrix.gene_names),
        gene_ids=genes_of(matrix.gene_ids),
        feature_types=genes_of(matrix.feature_types),
        genomes=genes_of(matrix.genomes),
        counts=csr_matrix(matrix.counts[judged.units][:, judged.genes]),
        report=report,
        unit_columns={name: units_of(values) for name, values in matrix.unit_columns.items()},
    )


@parses
def read_head(raw: RawFile) -> tuple[bytes, bool]:
    """The first bytes of a file, unpacked, and whether it was packed with gzip."""
    with open(raw.path, "rb") as handle:
        head = handle.read(HEAD_BYTES)
    if not head:
        raise Refusal(f"{raw.name}: the file is empty; download it again")
    if not head.startswith(GZIP_MAGIC):
        return head, False
    with unpacked(raw) as stream:
        return stream.read(HEAD_BYTES), True


def _refuse_foreign(raw: RawFile, head: bytes) -> None:
    if head.startswith(R_MAGIC) or raw.name.lower().removesuffix(".gz").endswith((".rds", ".rdata", ".rda", ".robj")):
        raise Refusal(
            f"{raw.name}: an R object, which is not read here; write its counts in R with DropletUtils::write10xCounts"
            " (type = 'HDF5') and give that file"
        )
    if head[257:262] == b"ustar":
        raise Refusal(f"{raw.name}: a tar archive; name the matrix in it as {raw.name}!path/of/the/matrix")


@dataclass(frozen=True)
class Fault:
    """Values that are no counts: index of the first, what it is, what to do, and how many there are."""

    index: int
    found: str
    advice: str
    count: int


def find_fault(values: NDArray[Any]) -> Fault | None:
    """The first value that is no count (missing, negative, no whole number, beyond 2^24), None if all are."""
    if values.dtype.kind not in "iufb":
        return Fault(0, f"of type {values.dtype}", "raw counts are needed", values.size)
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            good = (values >= 0) & (values <= LARGEST_COUNT) & (values == np.floor(values))
    elif not values.size or (int(values.min()) >= 0 and int(values.max()) <= LARGEST_COUNT):
        return None
    else:
        good = (values >= 0) & (values <= LARGEST_COUNT)
    bad = np.flatnonzero(~good)
    if not bad.size:
        return None
    first = float(values[bad[0]])
    if not np.isfinite(first):
        advice = "raw counts are needed, complete"
    elif first < 0:
        advice = "raw counts are needed, not log-transformed or centred values"
    elif first > LARGEST_COUNT:
        advice = f"no count is above 2^24 = {LARGEST_COUNT:,}, check that the file holds counts"
    else:
        advice = "raw counts are needed, not normalised values"
    return Fault(int(bad[0]), f"{first:.10g}", advice, int(bad.size))


def refuse_fault(name: str, fault: Fault, place: str) -> Refusal:
    """The refusal for a fault at a place such as `gene A, barcode B`."""
    more = f" (and {fault.count - 1:,} more such values)" if fault.count > 1 else ""
    return Refusal(
        f"{name}: the value of {place} is {fault.found}{more}; {fault.advice}",
        measured=fault.found,
        threshold="a count",
    )


def canonical(name: str, counts: csr_matrix, place: Callable[[int, int], str]) -> csr_matrix:
    """Sorted, without explicit zeros; an entry given twice is refused, as nothing says which one is right.

    `place(unit, gene)` names an entry in a message.
    """
    counts.sort_indices()
    if not counts.has_canonical_format:
        starts = counts.indptr[1:-1]
        same = np.diff(counts.indices) == 0
        same[starts[(starts > 0) & (starts < counts.nnz)] - 1] = False  # the last of one unit, the first of the next
        twice = np.flatnonzero(same)
        unit = int(np.searchsorted(counts.indptr, twice[0], side="right")) - 1
        raise Refusal(
            f"{name}: {place(unit, int(counts.indices[twice[0]]))} is given twice ({twice.size:,} such entries);"
            " download the file again, or write it with each entry once",
            measured=int(twice.size),
            threshold=0,
        )
    counts.eliminate_zeros()
    return counts
