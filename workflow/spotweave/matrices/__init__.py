"""Count matrices in the containers deposits use: 10x HDF5, h5ad, Market Exchange, delimited text.

    read_matrix(counts, features=None, barcodes=None) -> Matrix

What a file is shows in its first bytes, not in its name. Whatever the container, the result is the same: units
(spots, bins, cells) in rows as filed, genes in columns as filed, whole counts; other features than genes, and rows and
columns that are sums or leftovers of a counting program, are left out, named and counted.
"""

from __future__ import annotations

from dataclasses import replace

from scipy.sparse import csr_matrix

from spotweave.deposits.opening import GZIP_MAGIC, parses, unpacked
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices import features as feature_rules
from spotweave.matrices.matrix import Matrix

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
MEX_MAGIC = b"%%MatrixMarket"
# Serialised R objects: RDX2, RDX3, RDA2 … of save(); X (XDR) and A (ASCII) of saveRDS().
R_MAGIC = (b"RDX", b"RDA", b"X\n\x00\x00", b"A\n")
HEAD_BYTES = 512


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
    # Loaded when a matrix is read; named here, they are part of every reader's code hash.
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
