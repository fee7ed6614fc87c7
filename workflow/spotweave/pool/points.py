"""Points of genes summed by the spots of a grid: millions at a time, whatever their order, in bounded memory.

Every pair of a spot and a gene is one whole number. Where all pairs fit into a table they are counted in it; for large
panels on fine grids they are sorted and counted a few million at a time, and the sparse sums are merged by size, so
that each count is touched a few times only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spotweave.pool.grids import NO_SPOT, Grid

POINTS_AT_ONCE = 1 << 22
MOST_IN_TABLE = 1 << 25  # pairs of a spot and a gene, 8 bytes each
LARGEST = np.iinfo(np.int32).max

Numbers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Summed:
    """Spots that have points.

    Attributes
    ----------
    rows, columns
        (S,) int64, sorted by row and column.
    counts
        (S, genes) CSR, canonical, int32, or int64 where a count is too large for it.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    counts: sparse.csr_matrix


class Points:
    """Points by spot of one grid and gene.

    Parameters
    ----------
    grid
        Of the slide.
    size_um
        Width and height of what the points lie in, from the origin.
    genes
        How many there are.
    origin_um
        Of the grid.
    """

    def __init__(
        self, grid: Grid, size_um: tuple[float, float], genes: int, origin_um: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        self.grid = grid
        self.origin_um = origin_um
        self._genes = max(genes, 1)
        wide, high = (int(size / step) + 1 for size, step in zip(size_um, _steps_um(grid), strict=True))
        self._shape = (high + 1, wide + 1)  # an end beyond the last whole spot
        self._spots = self._shape[0] * self._shape[1]
        pairs = self._spots * self._genes
        self._kind = np.int32 if pairs <= LARGEST else np.int64
        self._waiting = np.empty(POINTS_AT_ONCE, dtype=self._kind)
        self._filled = 0
        self._table: NDArray[np.int64] | None = None
        self._uses_table = pairs <= MOST_IN_TABLE
        self._sums: list[sparse.csr_matrix] = []
        self._points = 0

    def add(self, xy_um: tuple[NDArray[np.float64], NDArray[np.float64]], gene: Numbers) -> NDArray[np.bool_] | None:
        """Add points (N,) that lie within the size, each of a gene from 0 on.

        Returns
        -------
        (N,) bool, the points between round spots, which are in none; None for squares.
        """
        between = None
        if self.grid.layout == "hexagonal":
            row, column = self.grid.places(np.column_stack(xy_um), self.origin_um)
            between = row == NO_SPOT
            row, column, gene = row[~between], column[~between] >> 1, gene[~between]
        else:  # no point is left of or above the origin: cutting the fraction is the floor
            x, y = (along - start for along, start in zip(xy_um, self.origin_um, strict=True))
            row, column = (y / self.grid.size_um).astype(self._kind), (x / self.grid.size_um).astype(self._kind)
        key = row.astype(self._kind, copy=False)
        key *= self._shape[1]
        key += column.astype(self._kind, copy=False)
        key *= self._genes
        key += gene.astype(self._kind, copy=False)
        self._wait(key)
        return between

    def result(self) -> Summed:
        """All that was added; nothing can be added after."""
        self._count()
        self._waiting = np.empty(0, dtype=self._kind)
        if self._table is not None:
            total = self._of_pairs(np.flatnonzero(self._table), self._table)
            self._table = None
        else:
            total = sparse.csr_matrix((self._spots, self._genes), dtype=np.int32)
            while self._sums:
                total = total + self._sums.pop()
        spots = np.flatnonzero(np.diff(total.indptr))
        counts = sparse.csr_matrix(total[spots])
        kind = np.int64 if counts.nnz and counts.data.max() > LARGEST else np.int32  # type of the released counts
        rows, columns = spots // self._shape[1], spots % self._shape[1]
        if self.grid.layout == "hexagonal":
            columns = 2 * columns + rows % 2
        return Summed(rows.astype(np.int64), columns.astype(np.int64), counts.astype(kind))

    def _wait(self, key: Numbers) -> None:
        """Keep pairs until there are enough of them to be counted."""
        start = 0
        while start < len(key):
            taken = min(len(key) - start, POINTS_AT_ONCE - self._filled)
            self._waiting[self._filled : self._filled + taken] = key[start : start + taken]
            self._filled += taken
            start += taken
            if self._filled == POINTS_AT_ONCE:
                self._count()

    def _count(self) -> None:
        """Count the pairs that wait."""
        waiting, self._filled = self._waiting[: self._filled], 0
        if not len(waiting):
            return
        self._points += len(waiting)
        if self._uses_table:
            counted = np.bincount(waiting, minlength=self._spots * self._genes)
            self._table = counted if self._table is None else np.add(self._table, counted, out=self._table)
            return
        waiting.sort()
        ends = np.append(np.flatnonzero(waiting[1:] != waiting[:-1]) + 1, len(waiting))
        pairs = waiting[ends - 1]
        self._sums.append(self._of_pairs(pairs, np.diff(ends, prepend=0)))
        while len(self._sums) > 1 and self._sums[-2].nnz <= 2 * self._sums[-1].nnz:
            self._sums.append(self._sums.pop() + self._sums.pop())

    def _of_pairs(self, pairs: Numbers, counts: NDArray[np.int64]) -> sparse.csr_matrix:
        """Sparse sums of pairs that are sorted; `counts` of them, or of every pair."""
        spot, gene = np.divmod(pairs, self._genes)
        starts = np.zeros(self._spots + 1, dtype=np.int32)
        np.cumsum(np.bincount(spot, minlength=self._spots), out=starts[1:])
        values = counts if len(counts) == len(pairs) else counts[pairs]
        kind = np.int32 if self._points <= LARGEST else np.int64  # no sum is larger than that of all points
        made = sparse.csr_matrix(
            (values.astype(kind), gene.astype(np.int32), starts), shape=(self._spots, self._genes), copy=False
        )
        made.has_canonical_format = True
        return made


def _steps_um(grid: Grid) -> tuple[float, float]:
    """um between neighbours of a row, and between rows."""
    return grid.pitch_um, grid.row_pitch_um
