"""Sketches of a sample's counts: small, and alike only for samples that share counts.

Two sketches, both the smallest hashes of a set (bottom-k, Broder 1997):

* *genes*: for each gene, the multiset of its counts. Names of genes and spots do not matter, nor their order; a panel
  that is a subset of another shares the hashes of its genes. Genes whose multiset could arise by chance are left out.
* *spots*: (gene, place on the array, count) for counts from 5 on. Shares hashes where spots are a subset, and, less,
  where the same reads were counted by another pipeline.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

GENE_HASHES = 512
SPOT_HASHES = 2048
MIN_BITS = 24.0  # chance of a coincidence: 2^-24 a pair of genes
MIN_COUNT = 5
HASH_BYTES = 7  # fits a whole number of JSON (2^53) once the last bits are dropped
HASH_BITS = 53


def sketch(adata: AnnData) -> dict[str, Any]:
    """Sketch one sample.

    Parameters
    ----------
    adata
        X: raw counts, CSR, units x genes; obs may have `array_col` and `array_row`; var may have `gene_id`.

    Returns
    -------
    dict
        `genes`, `spots`: sorted hashes below 2^53; `genes_informative`: genes whose counts can tell samples apart;
        `entries`: counts from 5 on with a place; `total_counts`.
    """
    counts = adata.X.tocsr()
    return {
        "genes": (genes := _gene_hashes(counts.tocsc()))[:GENE_HASHES],
        "genes_informative": len(genes),
        "spots": (entries := _spot_hashes(adata))[:SPOT_HASHES],
        "entries": len(entries),
        "total_counts": int(counts.data.sum(dtype=np.float64)),
    }


def _hash(content: bytes) -> int:
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, "little") >> (64 - HASH_BITS)


def _gene_hashes(counts: Any) -> list[int]:
    """Sorted hashes of the multisets of counts that cannot well arise by chance."""
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


def _spot_hashes(adata: AnnData) -> list[int]:
    """Sorted hashes of (gene, place, count)."""
    if "array_col" not in adata.obs:
        return []
    entries = adata.X.tocoo()
    large = entries.data >= MIN_COUNT
    places = adata.obs[["array_col", "array_row"]].to_numpy(np.int64)[entries.row[large]]
    names = np.array([_gene_key(adata, gene) for gene in range(adata.n_vars)], dtype=np.uint64)
    keys = names[entries.col[large]]
    # A cheap, well-mixing hash of whole numbers (splitmix64, Steele et al. 2014), as there may be millions.
    mixed = _mix(keys ^ _mix(places[:, 0].astype(np.uint64) * np.uint64(1 << 20) + places[:, 1].astype(np.uint64)))
    mixed = _mix(mixed ^ entries.data[large].astype(np.uint64))
    return np.unique(mixed >> np.uint64(64 - HASH_BITS)).tolist()


def _gene_key(adata: AnnData, gene: int) -> int:
    """A gene by its symbol: the name that every layout has; Ensembl ids only where there is none."""
    return int.from_bytes(
        hashlib.blake2b(str(adata.var_names[gene]).upper().encode(), digest_size=8).digest(), "little"
    )


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        value = value + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))


def containment(a: list[int], b: list[int], size_a: int, size_b: int) -> tuple[float, int]:
    """Share of the smaller set that is in the larger one, and on how many shared hashes that rests.

    Parameters
    ----------
    a, b
        Sorted smallest hashes of the two sets.
    size_a, size_b
        Sizes of the whole sets.

    Returns
    -------
    share, shared
        Hashes up to the smaller of the two largest ones are complete in both sketches: among them the sets are
        compared. 0 where there are none.
    """
    if not a or not b:
        return 0.0, 0
    end_a = a[-1] if len(a) < size_a else 1 << HASH_BITS
    end_b = b[-1] if len(b) < size_b else 1 << HASH_BITS
    limit = min(end_a, end_b)
    part_a = {one for one in a if one <= limit}
    part_b = {one for one in b if one <= limit}
    smaller = min(len(part_a), len(part_b))
    shared = len(part_a & part_b)
    return (shared / smaller if smaller else 0.0), shared
