"""Sketches of a sample's counts: small, and alike only for samples that share counts.

Two sketches, both the smallest hashes of a set (bottom-k, Broder 1997), beside the counts by place (module `places`):

* *genes*: for each gene, the multiset of its counts. Names of genes and spots do not matter, nor their order; a panel
  that is a subset of another shares the hashes of its genes. Genes whose multiset could arise by chance are left out.
* *spots*: (gene, place on the array, count) for counts from 5 on. Shares hashes where spots are a subset, and, less,
  where the same reads were counted by another pipeline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix

from spotweave.identity import places
from spotweave.identity.counted import Counted

GENE_HASHES = 512
SPOT_HASHES = 2048
MIN_BITS = 24.0  # chance of a coincidence: 2^-24 a pair of genes
MIN_COUNT = 5
HASH_BITS = 53  # whole numbers that every reader of JSON keeps exact
PAIRS_ROWS = 256  # samples compared with all others at a time


def sketch(sample: Counted) -> dict[str, Any]:
    """Sketch one sample.

    Returns
    -------
    dict
        `genes`, `spots`: sorted hashes below 2^53; `genes_informative`: genes whose counts can tell samples apart;
        `entries`: counts from 5 on with a place; `places`: counts by place; `total_counts`.
    """
    genes, entries = _gene_hashes(sample.counts.tocsc()), _spot_hashes(sample)
    return {
        "genes": genes[:GENE_HASHES],
        "genes_informative": len(genes),
        "spots": entries[:SPOT_HASHES].tolist(),
        "entries": len(entries),
        "places": places.sketch(sample),
        "total_counts": int(sample.counts.data.sum(dtype=np.float64)),
    }


def _hash(content: bytes) -> int:
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, "little") >> (64 - HASH_BITS)


def _gene_hashes(counts: csc_matrix) -> list[int]:
    """Sorted hashes of the multisets of counts that cannot well arise by chance."""
    counts.eliminate_zeros()  # some files store zeros, their copies do not
    found = set()
    for gene in range(counts.shape[1]):
        values = counts.data[counts.indptr[gene] : counts.indptr[gene + 1]]
        levels, times = np.unique(values, return_counts=True)
        if information_bits(times) >= MIN_BITS:
            found.add(_hash(np.column_stack([levels, times]).astype("<i8").tobytes()))
    return sorted(found)


def information_bits(times: NDArray[np.int64]) -> float:
    """Bits by which a histogram of counts is told from that of another section with the same expectations.

    Each bin fluctuates like a Poisson number: two independent draws of mean n agree with probability
    1 / sqrt(4 pi n) (a normal approximation), so a bin carries log2(sqrt(4 pi n)) bits.
    """
    return float(0.5 * np.log2(4 * np.pi * times).sum()) if len(times) else 0.0


def _spot_hashes(sample: Counted) -> NDArray[np.uint64]:
    """Sorted hashes of (gene, place, count)."""
    counts = sample.counts
    if sample.places is None:
        return np.array([], dtype=np.uint64)
    # Only the large ones are taken apart: matrices of bins have a hundred million entries.
    large = np.flatnonzero(counts.data >= MIN_COUNT)
    spots = np.searchsorted(counts.indptr, large, side="right") - 1
    at = sample.places[spots].astype(np.uint64)
    names = np.array([_gene_key(name) for name in sample.genes], dtype=np.uint64)
    # A cheap, well-mixing hash of whole numbers (splitmix64, Steele et al. 2014), as there may be millions.
    mixed = _mix(names[counts.indices[large]] ^ _mix(at[:, 0] * np.uint64(1 << 20) + at[:, 1]))
    mixed = _mix(mixed ^ counts.data[large].astype(np.uint64))
    return np.unique(mixed >> np.uint64(64 - HASH_BITS))


def _gene_key(name: str) -> int:
    """A gene by its symbol: the name that every layout has; Ensembl ids only where there is none."""
    return int.from_bytes(hashlib.blake2b(str(name).upper().encode(), digest_size=8).digest(), "little")


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        value = value + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))


def containments(
    sketches: Sequence[Sequence[int] | NDArray[np.int64]], sizes: Sequence[int], least_shared: int
) -> Iterator[tuple[int, int, float, int]]:
    """Pairs of sets that share hashes, and the share of the smaller set that is in the larger one.

    Hashes up to the smaller of the two sketches' largest ones are complete in both: among them the sets are compared.

    Parameters
    ----------
    sketches
        The sorted smallest hashes of each set.
    sizes
        Size of each whole set; a sketch of that size is complete.
    least_shared
        Hashes that a pair must share to be told, at least 1.

    Yields
    ------
    first, second, share, shared
        Positions of the two sets, first < second, in ascending order.
    """
    lengths = np.array([len(sketch) for sketch in sketches], dtype=np.int64)
    if not lengths.any():
        return
    flat = np.concatenate([np.asarray(sketch, dtype=np.int64) for sketch in sketches])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    # The largest hash up to which a set is complete.
    ends = np.full(len(sketches), np.iinfo(np.int64).max)
    cut = (lengths > 0) & (lengths < np.asarray(sizes))
    ends[cut] = flat[starts[1:][cut] - 1]
    common = _common(flat, starts)
    for begin in range(0, len(sketches), PAIRS_ROWS):
        product = (common[begin : begin + PAIRS_ROWS] @ common[begin:].T).tocoo()
        first, second, shared = product.row.astype(np.int64) + begin, product.col.astype(np.int64) + begin, product.data
        kept = (first < second) & (shared >= least_shared)
        order = np.lexsort((second[kept], first[kept]))
        first, second, shared = first[kept][order], second[kept][order], shared[kept][order]
        end = np.minimum(ends[first], ends[second])
        parts = [_up_to(flat, starts[one], starts[one + 1], end) for one in (first, second)]
        share = shared / np.minimum(*parts)
        yield from zip(first.tolist(), second.tolist(), share.tolist(), shared.tolist(), strict=True)


def _common(flat: NDArray[np.int64], starts: NDArray[np.int64]) -> csr_matrix:
    """CSR int32, sets x hashes that more than one set has; the hashes are sorted once, and no other is numbered."""
    ordered = np.sort(flat)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    del ordered
    hashes = np.unique(twice)
    columns, kept = [], [0]
    for begin in range(0, len(starts) - 1, PAIRS_ROWS):
        bounds = starts[begin : begin + PAIRS_ROWS + 1]
        part = flat[bounds[0] : bounds[-1]]
        place = np.searchsorted(hashes, part)
        there = np.zeros(len(part) + 1, dtype=np.int64)
        is_common = hashes[np.minimum(place, len(hashes) - 1)] == part if len(hashes) else np.zeros(len(part), bool)
        np.cumsum(is_common, out=there[1:])
        columns.append(place[is_common].astype(np.int32))
        kept += (there[bounds[1:] - bounds[0]] + kept[-1]).tolist()
    indices = np.concatenate(columns)
    ones = np.ones(len(indices), dtype=np.int32)
    return csr_matrix((ones, indices, kept), shape=(len(starts) - 1, len(hashes)))


def _up_to(
    flat: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64], end: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(pairs,) how many numbers of the sorted stretch `flat[low:high]` are at most `end`, by halving all at once."""
    begin, low, high = low, low.copy(), high.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        is_below = open_ & (flat[np.minimum(middle, len(flat) - 1)] <= end)
        low = np.where(is_below, middle + 1, low)
        high = np.where(open_ & ~is_below, middle, high)
    return low - begin
