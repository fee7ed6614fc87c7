"""Counts by place on the array: shared reads show however many were thrown away, and however the array lies.

Counts of one tissue drawn twice differ by chance. Given their sum s, one of them is binomial, and the mean of

    (y - p s)^2 / (s p (1 - p)),    p = all of y / all of s

over places is 1 (the index of dispersion; Fisher 1950), two sections of one block lie far above, as their expectations
differ. It can fall below 1 only where one count was made from the other: a copy that kept a share k of the reads, each
by chance, has (1 - k) / (1 + k). Genes are put into a few groups by their names, so that small arrays have enough
numbers to tell; where the names differ, their sum is compared.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.identity.counted import Counted

GROUPS = 4
MOST_PLACES = 16_384  # larger arrays are summed over squares of places
BLOCKS = 12
SAMPLES_AT_ONCE = 256  # compared with all others
# Correlation of two coarse maps from which on samples are compared place by place.
ALIKE_ON_BLOCKS = 0.6
FEW_PLACES, FAR_ABOVE = 400, 2.0  # most pairs are told apart by a few places
LEAST_PLACES = 50
LEAST_SUM = 5
MOST_SHIFTED = 2  # places: a copy that lost the outermost spots of an edge
LEAST_VARIANCE = 1.2  # of a place's counts, in means of them: beyond chance, which is 1
# Standard errors below 1 of two draws from one expectation, which no two sections have.
STANDARD_ERRORS = 5.0
WIDTH = 1 << 32

Ints = NDArray[np.integer]
Floats = NDArray[np.float64]


def sketch(sample: Counted) -> str:
    """Places and counts of one sample, base64 of (N, 2 + GROUPS) uint32: column, row, counts of each group of genes.

    Empty where there is no array, or where the places differ no more than by chance (reads dealt out evenly): any two
    such samples are alike. Beyond `MOST_PLACES`, the counts of squares of places.
    """
    if sample.places is None:
        return ""
    group = np.array([_group(name) for name in sample.genes], dtype=np.int64)
    member = csr_matrix((np.ones(len(group)), (np.arange(len(group)), group)), shape=(len(group), GROUPS))
    counts = np.asarray((sample.counts.astype(np.float64) @ member).todense())
    total = counts.sum(axis=1)
    places, counts, total = sample.places[total > 0], counts[total > 0], total[total > 0]
    if not len(total) or total.var() < LEAST_VARIANCE * total.mean():
        return ""
    places -= places.min(axis=0)
    side = 1
    while len(np.unique(places // side, axis=0)) > MOST_PLACES:
        side += 1
    squares, number = np.unique(places // side, axis=0, return_inverse=True)
    sums = np.zeros((len(squares), GROUPS))
    np.add.at(sums, number.ravel(), counts)
    return base64.b64encode(np.hstack([squares, sums]).astype("<u4").tobytes()).decode("ascii")


def _group(name: str) -> int:
    return hashlib.blake2b(str(name).upper().encode(), digest_size=1).digest()[0] % GROUPS


def _decode(text: str) -> Ints:
    flat = np.frombuffer(base64.b64decode(text), dtype="<u4")
    return flat.reshape(-1, 2 + GROUPS).astype(np.int32)


def turned(places: Ints, position: int) -> Ints:
    """(N, 2) places from 0 in one of the eight positions (0 to 7) of a square: mirrored, turned, columns for rows."""
    extent = places.max(axis=0)
    across = extent[0] - places[:, 0] if position & 1 else places[:, 0]
    down = extent[1] - places[:, 1] if position & 2 else places[:, 1]
    return np.column_stack([down, across] if position & 4 else [across, down])


def dispersion(first: Ints, second: Ints) -> tuple[float, float]:
    """Index of dispersion of paired counts, (N,) each, and its standard error for draws from one expectation."""
    total = first + second
    kept = total >= LEAST_SUM
    first, total = first[kept].astype(np.float64), total[kept].astype(np.float64)
    if len(total) < LEAST_PLACES or not 0 < first.sum() < total.sum():
        return np.inf, np.inf
    share = first.sum() / total.sum()
    variance = total * share * (1 - share)
    index = float(((first - total * share) ** 2 / variance).mean())
    # A squared standardised binomial has variance 2 + its excess kurtosis.
    excess = ((1 - 6 * share * (1 - share)) / variance).mean()
    return index, float(np.sqrt(max(2 + excess, 1) / len(total)))


class Kept:
    """Sketches of places of many samples in a file; in memory are the coarse maps by which pairs are found.

    An array of 4,992 places has 120 kB, and a pair needs but two of them.
    """

    def __init__(self, file: IO[bytes]) -> None:
        """`file`: an empty temporary file, unbuffered."""
        self._file = file
        self._at: list[tuple[int, int]] = []
        self._maps: list[NDArray[np.float32]] = []
        self._known: list[int] = []

    def add(self, text: str) -> None:
        """The next sample's sketch; empty ones are alike to none."""
        sample = _decode(text)
        if text:
            self._known.append(len(self._at))
            self._maps.append(np.array([_blocks(sample, position) for position in range(8)]))
        self._at.append((self._file.tell(), sample.size))
        self._file.write(sample.tobytes())

    def _sample(self, number: int) -> Ints:
        start, size = self._at[number]
        flat = np.frombuffer(os.pread(self._file.fileno(), 4 * size, start), dtype=np.int32)
        return flat.reshape(-1, 2 + GROUPS)

    def shared_reads(self) -> Iterator[tuple[int, int, float, int]]:
        """`shared_reads` of all, some against all behind them at a time."""
        known = self._known
        for begin in range(0, len(known), SAMPLES_AT_ONCE):
            plain = np.array([maps[0] for maps in self._maps[begin : begin + SAMPLES_AT_ONCE]])
            alike: dict[tuple[int, int], list[int]] = {}
            for position in range(8):
                other = np.array([maps[position] for maps in self._maps[begin:]])
                for i, j in zip(*np.nonzero(np.triu(plain @ other.T >= ALIKE_ON_BLOCKS, k=1)), strict=True):
                    alike.setdefault((known[begin + i], known[begin + j]), []).append(position)
            first_of = -1
            one: Ints = np.empty(0, dtype=np.int32)
            for (first, second), positions in sorted(alike.items()):
                if first != first_of:
                    first_of, one = first, self._sample(first)
                other_one = self._sample(second)
                best = max(_compare(one, other_one, position) for position in positions)
                if best[0] >= STANDARD_ERRORS:
                    yield first, second, best[1], best[2]


def shared_reads(sketches: Iterable[str]) -> Iterator[tuple[int, int, float, int]]:
    """Pairs of samples that are more alike than two draws from one expectation.

    Yields
    ------
    first, second, index, places
        Positions of the two, first < second, in ascending order; the index of dispersion; places compared.
    """
    with tempfile.TemporaryFile(buffering=0) as file:
        kept = Kept(file)
        for text in sketches:
            kept.add(text)
        yield from kept.shared_reads()


def _blocks(sample: Ints, position: int) -> NDArray[np.float32]:
    """A coarse map of the counts of a place over the array's extent, centred and of norm 1; 0 without places.

    What a place has, not what a block has: the tissue's outline, much the same in many sections, says nothing.
    """
    places = turned(sample[:, :2], position)
    block = ((places + 0.5) / (places.max(axis=0) + 1) * BLOCKS).astype(np.int64) @ (BLOCKS, 1)
    number = np.bincount(block, minlength=BLOCKS**2)
    level = np.sqrt(np.bincount(block, weights=sample[:, 2:].sum(axis=1), minlength=BLOCKS**2) / np.maximum(number, 1))
    centred = np.where(number > 0, level - level[number > 0].mean(), 0) * np.sqrt(number)
    return (centred / max(float(np.linalg.norm(centred)), 1e-12)).astype(np.float32)


def _compare(first: Ints, second: Ints, position: int) -> tuple[float, float, int]:
    """Standard errors below 1, index, places: of the shift and the grouping of genes that show most."""
    best = (-np.inf, np.inf, 0)
    places = turned(second[:, :2], position)
    keys = first[:, 0].astype(np.int64) * WIDTH + first[:, 1]
    few = slice(None, None, max(1, len(second) // FEW_PLACES))
    for across in range(-MOST_SHIFTED, MOST_SHIFTED + 1):
        for down in range(-MOST_SHIFTED, MOST_SHIFTED + 1):
            shifted = (places[:, 0] + across).astype(np.int64) * WIDTH + places[:, 1] + down
            here, there = _common(keys, shifted[few])
            if dispersion(first[here, 2:].sum(axis=1), second[few][there, 2:].sum(axis=1))[0] > FAR_ABOVE:
                continue
            here, there = _common(keys, shifted)
            one, two = first[here, 2:], second[there, 2:]
            for a, b in ((one.ravel(), two.ravel()), (one.sum(axis=1), two.sum(axis=1))):
                index, error = dispersion(a, b)
                if np.isfinite(error):
                    best = max(best, ((1 - index) / error, index, len(here)))
    return best


def _common(keys: Ints, others: Ints) -> tuple[Ints, Ints]:
    """Where sorted keys and others are the same."""
    at = np.minimum(np.searchsorted(keys, others), len(keys) - 1)
    there = np.flatnonzero(keys[at] == others)
    return at[there], there
