"""Counts of one file, and the rule of what a count is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.errors import Refusal

LARGEST_COUNT = 1 << 24  # beyond, float32 no longer holds every whole number


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


def refuse_fault(name: str, fault: Fault, entry: str) -> Refusal:
    """The refusal for a fault of an entry such as `gene A, barcode B`."""
    more = f" (and {fault.count - 1:,} more such values)" if fault.count > 1 else ""
    return Refusal(
        f"{name}: the value of {entry} is {fault.found}{more}; {fault.advice}",
        measured=fault.found,
        threshold="a count",
    )


def canonical(name: str, counts: csr_matrix, entry: Callable[[int, int], str]) -> csr_matrix:
    """Sorted, without explicit zeros; an entry given twice is refused, as nothing says which one is right.

    `entry(unit, gene)` names an entry in a message.
    """
    counts.sort_indices()
    if not counts.has_canonical_format:
        starts = counts.indptr[1:-1]
        same = np.diff(counts.indices) == 0
        same[starts[(starts > 0) & (starts < counts.nnz)] - 1] = False  # the last of one unit, the first of the next
        twice = np.flatnonzero(same)
        unit = int(np.searchsorted(counts.indptr, twice[0], side="right")) - 1
        raise Refusal(
            f"{name}: {entry(unit, int(counts.indices[twice[0]]))} is given twice ({twice.size:,} such entries);"
            " download the file again, or write it with each entry once",
            measured=int(twice.size),
            threshold=0,
        )
    counts.eliminate_zeros()
    return counts
