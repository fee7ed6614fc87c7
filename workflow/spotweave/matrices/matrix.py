"""Counts of one file, and the rule of what a count is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.errors import Refusal

LARGEST_COUNT = 1 << 24  # beyond, float32 no longer holds every whole number
AT_ONCE = 1 << 18  # entries that are looked at together: what of them is made anew stays in the processor's cache


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
    # The least and the largest tell of all the others, and a missing value is neither within nor beyond.
    if not values.size or (values.min() >= 0 and float(values.max()) <= LARGEST_COUNT and _are_whole(values)):
        return None
    good = values >= 0
    with np.errstate(invalid="ignore"):
        good &= (values.astype(np.float64) <= LARGEST_COUNT) & (values == np.floor(values))
    bad = np.flatnonzero(~good)
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


def _are_whole(values: NDArray[Any]) -> bool:
    return values.dtype.kind != "f" or bool((np.floor(values) == values).all())


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

    Most files have every unit's genes in rising order, those of Space Ranger 1 in falling order: both show without
    sorting anything. `entry(unit, gene)` names an entry in a message.
    """
    if _is_falling(counts):
        _turn_rows(counts)
    if _is_rising(counts):
        counts.has_canonical_format = True
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
    if not counts.data.all():
        counts.eliminate_zeros()
    return counts


def _is_rising(counts: csr_matrix) -> bool:
    """Whether every index is above the one before it in its row."""
    return _is_broken_at_starts_alone(counts, np.less_equal)


def _is_falling(counts: csr_matrix) -> bool:
    """Whether every index is below the one before it in its row."""
    return _is_broken_at_starts_alone(counts, np.greater_equal)


def _is_broken_at_starts_alone(counts: csr_matrix, breaks: Callable[..., NDArray[np.bool_]]) -> bool:
    """Whether an index `breaks` with the one before it only where a row starts."""
    for begin in range(0, counts.nnz, AT_ONCE):
        part = counts.indices[begin : begin + AT_ONCE + 1]
        broken = np.flatnonzero(breaks(part[1:], part[:-1])) + begin + 1
        if (counts.indptr[np.searchsorted(counts.indptr, broken)] != broken).any():
            return False
    return True


def _row_parts(counts: csr_matrix) -> Iterator[tuple[slice, slice]]:
    """Rows of about `AT_ONCE` entries together, and where their entries are."""
    indptr = counts.indptr
    row = 0
    while row < counts.shape[0]:
        after = max(int(np.searchsorted(indptr, int(indptr[row]) + AT_ONCE, side="right")) - 1, row + 1)
        yield slice(row, after), slice(int(indptr[row]), int(indptr[after]))
        row = after


def _turn_rows(counts: csr_matrix) -> None:
    """Put the last entry of every row first, and so on, in place."""
    for rows, entries in _row_parts(counts):
        ends = counts.indptr[rows.start : rows.stop + 1].astype(np.int64) - entries.start
        order = np.repeat(ends[:-1] + ends[1:] - 1, np.diff(ends)) - np.arange(ends[-1])
        for values in (counts.indices, counts.data):
            values[entries] = values[entries][order]


def row_sums(counts: csr_matrix) -> NDArray[np.float64]:
    """(rows,) exact sums, of whole numbers below 2^53 together; without a copy of all counts in float64."""
    sums = np.zeros(counts.shape[0], dtype=np.float64)
    for rows, entries in _row_parts(counts):
        starts = counts.indptr[rows] - entries.start
        filled = np.flatnonzero(np.diff(counts.indptr[rows.start : rows.stop + 1]))
        if filled.size:
            sums[rows][filled] = np.add.reduceat(counts.data[entries].astype(np.float64), starts[filled])
    return sums


def column_sums(counts: csr_matrix) -> NDArray[np.float64]:
    """(columns,) exact sums, as `row_sums`."""
    return how_often(counts.indices[: counts.nnz], counts.shape[1], counts.data)


def how_often(indices: NDArray[Any], number: int, weights: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """(number,) how often each index is there, or the sum of its weights.

    `np.bincount` in parts: it makes int64 and float64 of all that it is given at once.
    """
    sums = np.zeros(number, dtype=np.float64)
    step = max(AT_ONCE, 4 * number)
    for begin in range(0, len(indices), step):
        part = slice(begin, begin + step)
        sums += np.bincount(indices[part], None if weights is None else weights[part], minlength=number)
    return sums
