"""How often the embedding of a spot's image finds that of its own expression among all, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from spotweave.evaluation import Row

KS = (1, 5, 10)
PERMUTATIONS = 99
CELLS_AT_A_TIME = 1 << 24  # of the similarities, held a few times: 128 MB each
WAYS = ("image_to_gene", "gene_to_image")


def recall(
    image: NDArray[np.floating],
    gene: NDArray[np.floating],
    sample: NDArray[np.str_],
    *,
    ks: Sequence[int] = KS,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> list[Row]:
    """Recall at k by cosine, both directions: among the spots of each sample, and among all, pooled.

    A spot counts as found by the share of orders of equal similarities in which it is among the first k, so that an
    embedding that is the same everywhere gets what chance does.

    Parameters
    ----------
    image, gene
        (N, D), rows of one spot at the same place.
    sample
        (N,) str.
    permutations
        How often the pairs are shuffled within their samples. Pooled, that is more than chance where the embeddings
        tell samples apart.

    Returns
    -------
    For each direction and k, by sample and pooled: `recall@k_<direction>`, and the same with `_chance` (k over the
    number of spots), `_null_mean` and `_null_95` (95th percentile), `_p` (share of shuffled pairs, the real ones among
    them, that do as well).
    """
    images, genes = (_unit(one) for one in (image, gene))
    rng = np.random.default_rng(seed)
    shuffles = [_shuffled(sample, rng) for _ in range(permutations)]
    rows: list[Row] = []
    for name in [*sorted(set(sample.tolist())), ""]:
        chosen = np.flatnonzero(sample == name) if name else np.arange(len(sample))
        place = np.full(len(sample), -1)
        place[chosen] = np.arange(len(chosen))
        partners = np.stack([np.arange(len(chosen)), *(place[order[chosen]] for order in shuffles)])
        for way, (queries, answers) in zip(WAYS, ((images, genes), (genes, images)), strict=True):
            found = _found(queries[chosen], answers[chosen], partners, ks)
            for k, values in zip(ks, found, strict=True):
                rows += _rows(f"recall@{k}_{way}", values, min(1.0, k / len(chosen)), name)
    return rows


def _rows(what: str, values: NDArray[np.float64], chance: float, sample: str) -> Iterator[Row]:
    """Of one direction and k; `values` are those of the pairs and of their shuffles."""
    real, null = float(values[0]), values[1:]
    yield Row(what, real, sample=sample)
    yield Row(f"{what}_chance", chance, sample=sample)
    if len(null):
        yield Row(f"{what}_null_mean", float(null.mean()), sample=sample)
        yield Row(f"{what}_null_95", float(np.percentile(null, 95)), sample=sample)
        # Means of the same numbers in another order differ in their last digit.
        yield Row(f"{what}_p", float((null >= real - 1e-12).sum() + 1) / (len(null) + 1), sample=sample)


def _found(
    queries: NDArray[np.float64], answers: NDArray[np.float64], partners: NDArray[np.int64], ks: Sequence[int]
) -> NDArray[np.float64]:
    """(len(ks), P) share of queries whose partner, a row of (P, n), is among the first k answers."""
    count = len(queries)
    found = np.zeros((len(ks), len(partners)))
    step = max(1, CELLS_AT_A_TIME // count)
    for start in range(0, count, step):
        block = queries[start : start + step] @ answers.T
        # Equal vectors may differ in the last digits of their products.
        block = np.round(block, 12)
        similar = block[np.arange(len(block)), partners[:, start : start + step]]
        for at, k in enumerate(ks):
            if k >= count:
                found[at] += len(block)
                continue
            least = np.partition(block, count - k, axis=1)[:, count - k]
            above, equal = ((block > least[:, None]).sum(axis=1), (block == least[:, None]).sum(axis=1))
            share = np.where(similar > least, 1.0, np.where(similar == least, (k - above) / equal, 0.0))
            found[at] += share.sum(axis=1)
    return found / count


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows of length 1; of zeros, zeros."""
    wide = rows.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.divide(wide, length, out=np.zeros_like(wide), where=length > 0)


def _shuffled(sample: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """(N,) an order that leaves every spot in its sample."""
    order = np.arange(len(sample))
    for name in sorted(set(sample.tolist())):
        rows = np.flatnonzero(sample == name)
        order[rows] = rng.permutation(rows)
    return order
