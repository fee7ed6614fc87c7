"""What the containers in HDF5 share: lists of text, and sparse matrices read in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.errors import Refusal
from spotweave.matrices.matrix import Fault, canonical, find_fault, refuse_fault

VALUES_AT_ONCE = 1 << 19


def keys(node: Any) -> set[str]:
    """Names in a group; none for anything else."""
    return set(node) if isinstance(node, h5py.Group) else set()


def array(name: str, group: Any, key: str, *, kinds: str = "iufbSOUV") -> h5py.Dataset:
    """A list of a group; refused where it is something else, or its type is of none of numpy's `kinds`."""
    node = group.get(key) if isinstance(group, h5py.Group) else None
    if not isinstance(node, h5py.Dataset) or node.ndim != 1 or node.dtype.kind not in kinds:
        raise Refusal(
            f"{name}: {key} is missing, or no list of the right type, in an incomplete HDF5 file; download it again"
        )
    return node


def text(name: str, group: Any, key: str) -> list[str]:
    """A list of names; fixed-length strings come without their padding."""
    items = array(name, group, key)[:].tolist()
    if items and all(type(item) is bytes for item in items):
        joined = b"\n".join(items)
        if joined.isascii() and joined.count(b"\n") == len(items) - 1:  # all at once; others one by one
            return joined.decode("ascii").split("\n")
    return [item.decode() if isinstance(item, bytes) else str(item) for item in items]


def _blocks(dataset: Any) -> Iterator[tuple[int, NDArray[Any]]]:
    """Parts of a list, and where each starts: whole chunks, as HDF5 would unpack one twice that is read in two."""
    chunk = dataset.chunks[0] if dataset.chunks else VALUES_AT_ONCE
    step = max(VALUES_AT_ONCE // chunk, 1) * chunk
    for start in range(0, dataset.shape[0], step):
        yield start, dataset[start : start + step]


def refuse_misfit(name: str, group: Any, units: Sequence[str], genes: Sequence[str]) -> None:
    """Refuse a matrix whose stated `shape` (genes x units) is not that of its lists."""
    stated = [int(size) for size in array(name, group, "shape", kinds="iu")[:]]
    if stated != [len(genes), len(units)]:
        found = f"{stated[0]:,} genes x {stated[1]:,} barcodes" if len(stated) == 2 else f"{len(stated)} dimensions"
        raise Refusal(
            f"{name}: a matrix of {found} with {len(genes):,} gene names and {len(units):,} barcodes; download the"
            " file again"
        )


def read_sparse(
    name: str,
    group: Any,
    units: Sequence[str],
    genes: Sequence[str],
    *,
    by_unit: bool,
    unchecked: NDArray[np.bool_] | None = None,
) -> csr_matrix:
    """A compressed sparse matrix (`data`, `indices`, `indptr`) as canonical CSR float32, units x genes.

    `by_unit` says along which axis it is compressed: 10x files hold one unit after the other. Values are read and
    checked in blocks, so that the peak is little above the result (8 bytes a value). `unchecked` marks columns whose
    values are taken as 0: features that are no genes may hold what are no counts (mean intensities of proteins).
    """
    indptr = array(name, group, "indptr", kinds="iu")[:].astype(np.int64)
    data, stored = array(name, group, "data", kinds="iufbSOU"), array(name, group, "indices", kinds="iu")
    length = int(data.shape[0])
    outer, inner = (len(units), len(genes)) if by_unit else (len(genes), len(units))
    if len(indptr) != outer + 1 or indptr[0] != 0 or indptr[-1] != length or stored.shape[0] != length:
        raise Refusal(
            f"{name}: the matrix does not fit its lists ({len(units):,} barcodes, {len(genes):,} genes, {length:,}"
            f" values, an index of {len(indptr):,}); download the file again"
        )
    if (np.diff(indptr) < 0).any():
        raise Refusal(f"{name}: the index of the matrix runs backwards; download the file again")
    indices = np.empty(length, dtype=np.int32)
    for start, block in _blocks(stored):
        if block.min() < 0 or block.max() >= inner:
            raise Refusal(
                f"{name}: a value lies at index {int(block.max()):,} of {inner:,}; download the file again",
                measured=int(block.max()),
                threshold=inner - 1,
            )
        indices[start : start + len(block)] = block

    def entry(unit: int, gene: int) -> str:
        return f"gene {genes[gene]!r}, barcode {units[unit]!r}"

    skipped = None
    if unchecked is not None:
        skipped = unchecked[indices] if by_unit else np.repeat(unchecked, np.diff(indptr))
    values, fault = read_values(data, skipped)
    if fault:
        row = int(np.searchsorted(indptr, fault.index, side="right")) - 1
        unit, gene = (row, int(indices[fault.index])) if by_unit else (int(indices[fault.index]), row)
        raise refuse_fault(name, fault, entry(unit, gene))
    small = indptr.astype(np.int32) if length < np.iinfo(np.int32).max else indptr
    if by_unit:
        return canonical(name, csr_matrix((values, indices, small), shape=(outer, inner), copy=False), entry)
    transposed = csr_matrix((values, indices, small), shape=(outer, inner), copy=False)
    return canonical(name, transposed.T.tocsr(), entry)


def read_values(dataset: Any, skipped: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.float32], Fault | None]:
    """A list of counts as float32, and the first that is none (reading stops at the block it stands in).

    Values marked as skipped become 0, whatever they are.
    """
    values = np.empty(dataset.shape[0], dtype=np.float32)
    for start, filed in _blocks(dataset):
        block = filed
        if skipped is not None:
            block = np.where(skipped[start : start + len(block)], np.zeros((), block.dtype), block)
        fault = find_fault(block)
        if fault:
            return values, Fault(fault.index + start, fault.found, fault.advice, fault.count)
        values[start : start + len(block)] = block
    return values, None
