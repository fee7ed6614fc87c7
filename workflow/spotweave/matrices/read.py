"""A count matrix, whatever its container: 10x HDF5, h5ad, Market Exchange, delimited text.

What a file is shows in its first bytes, not in its name. Whatever the container, the result is the same: units
(spots, bins, cells) in rows as filed, genes in columns as filed, whole counts; other features than genes, and rows and
columns that are sums or leftovers of a counting program, are left out, named and counted.
"""

from __future__ import annotations

from spotweave.deposits.opening import HDF5_MAGIC, first_bytes, open_hdf5, parses
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices import dense, h5ad, mex, tenx_h5
from spotweave.matrices.features import without_others
from spotweave.matrices.matrix import Matrix

# Serialised R objects: RDX2, RDX3, RDA2 … of save(); X (XDR) and A (ASCII) of saveRDS().
R_MAGIC = (b"RDX", b"RDA", b"X\n\x00\x00", b"A\n")
R_ENDINGS = (".rds", ".rdata", ".rda", ".robj")


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
    head, is_packed = first_bytes(counts)
    name = counts.name
    if head.startswith(R_MAGIC) or name.lower().removesuffix(".gz").endswith(R_ENDINGS):
        raise Refusal(
            f"{name}: an R object, which is not read here; write its counts in R with DropletUtils::write10xCounts"
            " (type = 'HDF5') and give that file"
        )
    if head[257:262] == b"ustar":
        raise Refusal(f"{name}: a tar archive; name the matrix in it as {name}!path/of/the/matrix")
    if head.startswith(HDF5_MAGIC):
        with open_hdf5(counts) as file:
            is_h5ad = "obs" in file and "var" in file  # what every AnnData file has
            read = h5ad.read if is_h5ad else tenx_h5.read
            matrix = read(name, file)
    elif head.lstrip().startswith(mex.MAGIC):
        matrix = mex.read(counts, features, barcodes, is_packed=is_packed)
    else:
        matrix = dense.read(counts)
    return without_others(matrix)
