"""Our own AnnData files read with h5py alone: names, columns and counts, as `anndata.read_h5ad` gives them.

Importing anndata costs half a CPU second, pandas as much, and most jobs want a column or the counts. Files are still
written by anndata, and those of strangers opened with care (`spotweave.matrices.h5ad`).
The layout is that of https://anndata.readthedocs.io/en/stable/fileformat-prose.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ENCODING = "encoding-type"


def names(table: h5py.Group) -> NDArray[np.object_]:
    """The index of `obs` or `var`, (N,) str."""
    return column(table, table.attrs["_index"])


def has_column(table: h5py.Group, name: str) -> bool:
    """Whether `obs` or `var` has a column of that name."""
    return name in table.attrs["column-order"]


def column(table: h5py.Group, name: str) -> NDArray[Any]:
    """(N,) values of a column of `obs` or `var`: numbers as they are, str as objects, categories by their names.

    Raises
    ------
    ValueError
        The column is of a kind that our files do not have (missing values).
    """
    item = table[name]
    kind = item.attrs[ENCODING]
    if kind == "categorical":
        codes, categories = item["codes"][()], column(item, "categories")
        if (codes < 0).any():
            raise ValueError(f"{table.file.filename}: {item.name} has missing values, which none of our columns has")
        return categories[codes]
    if kind == "string-array":
        texts: NDArray[np.object_] = item.asstr()[()]
        return texts
    if kind == "array":
        values: NDArray[Any] = item[()]
        return values
    raise ValueError(
        f"{table.file.filename}: {item.name} is stored as {kind!r}; array, string-array or categorical is read"
    )


def counts(file: h5py.File) -> csr_matrix:
    """`X`, (N, G) CSR of the type it is stored in."""
    from scipy.sparse import csc_matrix, csr_matrix

    stored = file["X"]
    if isinstance(stored, h5py.Dataset):
        return csr_matrix(stored[()])
    kind = {"csr_matrix": csr_matrix, "csc_matrix": csc_matrix}[stored.attrs[ENCODING]]
    parts = tuple(stored[part][()] for part in ("data", "indices", "indptr"))
    return csr_matrix(kind(parts, shape=tuple(stored.attrs["shape"])))
