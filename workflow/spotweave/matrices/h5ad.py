"""AnnData files (h5ad): raw counts wherever they are kept, and the columns of the units.

Counts are looked for in layers called after counts, in X and in `raw`; what is not whole numbers is passed over. Of
several that are, the one with most genes is taken, as X is often cut to the variable genes. Nothing else of the file
is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from spotweave.deposits.values import blank_if_unknown
from spotweave.errors import Refusal
from spotweave.matrices.features import (
    GENE_EXPRESSION,
    are_numbers,
    count_ensembl,
    need_no_check,
)
from spotweave.matrices.hdf5 import keys, read_sparse
from spotweave.matrices.matrix import Matrix, canonical, find_fault, refuse_fault

COUNT_LAYER = re.compile(r"counts?|raw|umi", re.IGNORECASE)
NO_COUNT_LAYER = re.compile(r"log|norm|scale|cpm|tpm|sct", re.IGNORECASE)
ID_COLUMNS = ("gene_ids", "gene_id", "ensembl_id", "ensembl", "ENSEMBL", "id")
SYMBOL_COLUMNS = ("feature_name", "gene_symbols", "gene_symbol", "gene_name", "gene_names", "SYMBOL", "symbol", "name")
TYPE_COLUMNS = ("feature_types", "feature_type")
ROWS_AT_ONCE = 1024
MOST_SAMPLES = 1000


def read(name: str, file: h5py.File) -> Matrix:
    """Read one file, `name` its owner's; `unit_columns` has the columns of `obs` as text."""
    obs = read_frame(name, file["obs"], "obs")
    units = list(map(str, obs.index))
    where, counts, genes, passed_over = _read_counts(name, file, units)
    genomes = _texts(genes.var["genome"]) if "genome" in genes.var else [""] * len(genes.var)
    report = {"container": "h5ad", "counts_from": where, "counts_passed_over": passed_over}
    columns = text_columns(obs)
    return Matrix(name, units, genes.symbols, genes.ids, genes.types, genomes, counts, "h5ad", report, columns)


class _Genes:
    """What a table of genes says, read once for all matrices that have it."""

    def __init__(self, var: pd.DataFrame) -> None:
        self.var = var
        self.names = list(map(str, var.index))
        self.types = _types(var)
        self.symbols, self.ids = _gene_names(var, self.names)
        self.unchecked = need_no_check(self.types, self.symbols, self.ids)


def read_frame(name: str, group: Any, what: str) -> pd.DataFrame:
    """`obs` or `var`."""
    if isinstance(group, h5py.Dataset):
        raise Refusal(
            f"{name}: {what} is in the format of AnnData before 0.7; open the file with scanpy and save it again"
        )
    frame = read_elem(group)
    if not isinstance(frame, pd.DataFrame):
        raise Refusal(f"{name}: {what} is not a table; download the file again")
    if not frame.columns.is_unique:
        raise Refusal(f"{name}: two columns of {what} have the same name; save the file again with names of their own")
    return frame


def text_columns(obs: pd.DataFrame) -> dict[str, list[str]]:
    """Columns that may tell samples apart, as text: no measures, no names of every unit."""
    chosen = [
        column
        for column in obs
        if not pd.api.types.is_float_dtype(obs[column]) and obs[column].nunique() <= MOST_SAMPLES
    ]
    return {str(column): [str(value) for value in obs[column]] for column in chosen}


def _read_counts(name: str, file: h5py.File, units: list[str]) -> tuple[str, csr_matrix, _Genes, list[str]]:
    """Where the counts are, the counts, the genes they belong to, and the names of matrices that hold none."""
    found: list[tuple[int, str, Any, _Genes]] = []
    faults: dict[str, Refusal] = {}
    var = {"var": read_frame(name, file["var"], "var")}
    if "var" in keys(file.get("raw")):
        var["raw/var"] = read_frame(name, file["raw"]["var"], "raw/var")
    tables: dict[str, _Genes] = {}
    for where, of in _candidates(file):
        genes = tables[of] = tables.get(of) or _Genes(var[of])
        try:
            matrix = _read_matrix(f"{name}: {where}", file[where], units, genes.names, genes.unchecked)
        except Refusal as refusal:
            faults[where] = refusal
            continue
        if not any(len(genes.names) <= known[0] for known in found):
            found.append((len(genes.names), where, matrix, genes))
    if not found:
        if len(faults) == 1:
            raise next(iter(faults.values()))
        raise Refusal(
            f"{name}: no raw counts in {', '.join(faults) or 'it'}"
            + (f" ({next(iter(faults.values())).reason.removeprefix(f'{name}: ')})" if faults else "")
            + "; give the count matrix the file was made from"
        )
    _, where, matrix, genes_of = max(found, key=lambda entry: entry[0])
    return where, matrix, genes_of, list(faults)


def _candidates(file: h5py.File) -> Iterator[tuple[str, str]]:
    """Places that may hold counts, with the table of their genes, the likeliest first."""
    for layer in sorted(keys(file.get("layers"))):
        if COUNT_LAYER.search(layer) and not NO_COUNT_LAYER.search(layer):
            yield f"layers/{layer}", "var"
    if "X" in file:
        yield "X", "var"
    if keys(file.get("raw")) >= {"X", "var"}:
        yield "raw/X", "raw/var"


def _read_matrix(name: str, node: Any, units: list[str], genes: list[str], unchecked: NDArray[np.bool_]) -> csr_matrix:
    if isinstance(node, h5py.Dataset):
        return _read_dense(name, node, units, genes, unchecked)
    kind = str(node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "csr")))
    chosen = unchecked if unchecked.any() else None
    return read_sparse(name, node, units, genes, by_unit="csc" not in kind, unchecked=chosen)


def _read_dense(
    name: str, dataset: h5py.Dataset, units: list[str], genes: list[str], unchecked: NDArray[np.bool_]
) -> csr_matrix:
    if dataset.shape != (len(units), len(genes)):
        raise Refusal(
            f"{name}: a matrix of {' x '.join(f'{size:,}' for size in dataset.shape or ())} for {len(units):,} units"
            f" and {len(genes):,} genes; download the file again"
        )

    def entry(unit: int, gene: int) -> str:
        return f"gene {genes[gene]!r}, barcode {units[unit]!r}"

    parts = []
    for start in range(0, len(units), ROWS_AT_ONCE):
        block = dataset[start : start + ROWS_AT_ONCE]
        block[:, unchecked] = 0
        fault = find_fault(block.ravel())
        if fault:
            unit, gene = divmod(fault.index, len(genes))
            raise refuse_fault(name, fault, entry(start + unit, gene))
        parts.append(csr_matrix(block.astype(np.float32)))
    return canonical(name, csr_matrix(vstack(parts, format="csr")), entry)


def _types(var: pd.DataFrame) -> list[str]:
    """Feature types as filed, empty where an outer join left none."""
    column = next((key for key in TYPE_COLUMNS if key in var), None)
    return _texts(var[column]) if column else [GENE_EXPRESSION] * len(var)


def _texts(column: pd.Series) -> list[str]:
    if isinstance(column.dtype, pd.CategoricalDtype):  # as AnnData files types and genomes: few words
        words = [*map(blank_if_unknown, column.cat.categories), ""]  # the last for code -1, which is missing
        return [words[code] for code in column.cat.codes.tolist()]
    return list(map(blank_if_unknown, column.tolist()))


def _gene_names(var: pd.DataFrame, index: list[str]) -> tuple[list[str], list[str]]:
    """Symbols and ids: the index of `var` may be either, or the numbers of its rows."""
    symbols_in = next((key for key in SYMBOL_COLUMNS if key in var), None)
    ids_in = next((key for key in ID_COLUMNS if key in var), None)
    is_ids = count_ensembl(index) > 0.5 * len(index)
    if is_ids:
        return (_texts(var[symbols_in]) if symbols_in else index), index
    ids = _texts(var[ids_in]) if ids_in else [""] * len(index)
    if are_numbers(index) and (symbols_in or ids_in):
        return (_texts(var[symbols_in]) if symbols_in else ids), ids
    return index, ids
