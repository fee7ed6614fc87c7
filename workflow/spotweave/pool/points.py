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

POINTS_AT_ONCE = 1 << 23
MOST_IN_TABLE = 1 << 25  # pairs of a spot and a gene, 8 bytes each
LARGEST = np.iinfo(np.int32).max

Numbers = NDArray[Any]  # whole numbers, int32 where they fit


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
    box_um
        Smallest x, y and largest x, y of the points, um of the slide.
    genes
        How many there are.
    origin_um
        Of the grid.

    Attributes
    ----------
    spots
        Places of the grid that cover the box; sums take up to some 20 bytes for each.
    """

    def __init__(
        self,
        grid: Grid,
        box_um: tuple[float, float, float, float],
        genes: int,
        origin_um: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.grid = grid
        self.origin_um = origin_um
        self._genes = max(genes, 1)
        first, last = self._corner(box_um[:2]), self._corner(box_um[2:])
        # The nearest round spot may be the one before or behind.
        around = 1 if grid.layout == "hexagonal" else 0
        self._first = (max(first[0] - around, 0), max(first[1] - around, 0))
        self._shape = (last[0] + around - self._first[0] + 1, last[1] + around - self._first[1] + 1)
        self.spots = self._shape[0] * self._shape[1]
        pairs = self.spots * self._genes
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
            column, row = (self._steps(along, axis) for axis, along in enumerate(xy_um))
        spot = row.astype(self._kind) * self._shape[1] + column.astype(self._kind)
        spot -= self._first[0] * self._shape[1] + self._first[1]
        self._wait(spot * self._genes + gene.astype(self._kind, copy=False))
        return between

    def result(self) -> Summed:
        """All that was added; nothing can be added after."""
        self._count()
        self._waiting = np.empty(0, dtype=self._kind)
        if self._table is not None:
            is_there = self._table.reshape(self.spots, self._genes) != 0
            gene = np.flatnonzero(is_there) % self._genes
            total = self._sparse(is_there.sum(axis=1), gene, self._table[is_there.ravel()])
            self._table = None
        else:
            total = sparse.csr_matrix((self.spots, self._genes), dtype=np.int32)
            while self._sums:
                total = total + self._sums.pop()
        total.sum_duplicates()
        spots = np.flatnonzero(np.diff(total.indptr))
        starts = total.indptr[np.append(spots, self.spots)]  # spots without points take up no room before the next
        kind = np.int64 if total.nnz and total.data.max() > LARGEST else np.int32
        values = total.data.astype(kind, copy=False)
        counts = sparse.csr_matrix((values, total.indices, starts), shape=(len(spots), self._genes), copy=False)
        counts.has_canonical_format = True
        rows, columns = spots // self._shape[1] + self._first[0], spots % self._shape[1] + self._first[1]
        if self.grid.layout == "hexagonal":
            columns = 2 * columns + rows % 2
        return Summed(rows.astype(np.int64), columns.astype(np.int64), counts)

    def _steps(self, along_um: NDArray[np.float64], axis: int) -> Numbers:
        """Column (axis 0) or row (axis 1) of the squares that points right of and below the origin lie in."""
        start = self.origin_um[axis]
        moved = along_um if start == 0 else along_um - start
        return (moved / self.grid.size_um).astype(self._kind)

    def _corner(self, xy_um: tuple[float, float]) -> tuple[int, int]:
        """Row and column, of round spots half of it, of the lattice's rectangle that a point lies in."""
        x, y = (along - start for along, start in zip(xy_um, self.origin_um, strict=True))
        return int(y / self.grid.row_pitch_um), int(x / self.grid.pitch_um)

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
            counted = np.bincount(waiting, minlength=self.spots * self._genes)
            self._table = counted if self._table is None else np.add(self._table, counted, out=self._table)
            return
        waiting.sort()
        ends = np.append(np.flatnonzero(waiting[1:] != waiting[:-1]) + 1, len(waiting))
        spot, gene = np.divmod(waiting[ends - 1], self._genes)
        self._sums.append(self._sparse(np.bincount(spot, minlength=self.spots), gene, np.diff(ends, prepend=0)))
        while len(self._sums) > 1 and self._sums[-2].nnz <= 2 * self._sums[-1].nnz:
            self._sums.append(self._sums.pop() + self._sums.pop())

    def _sparse(self, pairs: Numbers, gene: Numbers, counts: Numbers) -> sparse.csr_matrix:
        """Sums of pairs that are sorted by spot and gene: how many each spot has, the gene and the count of each."""
        starts = np.zeros(self.spots + 1, dtype=np.int32)
        np.cumsum(pairs, out=starts[1:])
        kind = np.int32 if self._points <= LARGEST else np.int64  # no sum is larger than that of all points
        made = sparse.csr_matrix(
            (counts.astype(kind), gene.astype(np.int32), starts), shape=(self.spots, self._genes), copy=False
        )
        made.has_canonical_format = True
        return made
