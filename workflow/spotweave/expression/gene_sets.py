"""Which genes a task asks for, beside those that HEST-1k would choose: panels, lists, and other choices from training.

What is chosen is chosen among genes counted widely enough, on training samples only, whatever the protocol; a list is
taken whole, as far as the samples have its genes. One choice looks at test spots too, as a published study did, and the
leaderboard says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spotweave.expression.dispersion import most_dispersed
from spotweave.expression.gene_lists import SPARSE_BOTH, VARIABLE
from spotweave.expression.genes import candidates, most_variable_genes
from spotweave.expression.place_test import surprise
from spotweave.expression.samples import Expression, columns
from spotweave.expression.scales import log_share

SPARSE_ZERO_SHARE = 0.6
NEIGHBOURS = 6
# A gene goes with place where its adjusted P is below this, in more of the samples than that: 30 of 36 in the study.
LEVEL, PLACED_SHARE = 0.05, 30 / 36
FEWEST_SPOTS = 10


def chosen_from_training(name: str) -> bool:
    """Whether genes are chosen on training samples, whatever the protocol says."""
    return name in CHOICES or name == SPARSE_BOTH


def choose(
    name: str,
    samples: Sequence[Expression],
    n_genes: int,
    min_spot_share: float,
    listed: Sequence[str] = (),
    tested: Sequence[Expression] = (),
) -> list[str]:
    """The genes that a task's `genes` asks for, alphabetical; none where the samples have none of them.

    Parameters
    ----------
    name
        `VARIABLE`, a name of `CHOICES`, or whatever `listed` is called.
    samples
        Whose counts decide.
    n_genes, min_spot_share
        How many, and counted in which share of the spots of every sample; a list looks at neither.
    listed
        The names of the list.
    tested
        Test spots, for `SPARSE_BOTH` alone.
    """
    if name == SPARSE_BOTH:
        return genes_sparse_in_both(samples, tested, n_genes, min_spot_share)
    if name == VARIABLE:
        return most_variable_genes(samples, n_genes, min_spot_share)
    if name in CHOICES:
        return CHOICES[name](samples, n_genes, min_spot_share)
    return listed_genes(listed, samples)


def genes_by_dispersion(samples: Sequence[Expression], n_genes: int, min_spot_share: float) -> list[str]:
    """The most variable for their mean, sample by sample (`dispersion.most_dispersed`)."""
    return most_dispersed(samples, candidates(samples, min_spot_share), n_genes)


def genes_by_place(samples: Sequence[Expression], n_genes: int, min_spot_share: float) -> list[str]:
    """The genes of highest Moran's I, averaged over samples, alphabetical; ties go to the name that sorts first.

    Moran's I (Moran 1950) of ln(1 + 10^4 count / total), spots joined to their 6 nearest in either direction. A sample
    of less than 3 spots says nothing of place and does not count; a constant gene has 0.
    """
    names = candidates(samples, min_spot_share)
    total = np.zeros(len(names))
    for sample in samples:
        if len(sample.barcodes) > 2 and names:
            total += morans_i(log_share(columns(sample, names), sample.totals()).toarray(), sample.positions_px)
    best = np.argsort(-total, kind="stable")[:n_genes]
    return sorted(names[index] for index in best)


def morans_i(values: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(G,) Moran's I of (N, G) values at (N, 2) positions, 0 for a constant gene.

    N / (sum of w) times (sum of w_ij z_i z_j) / (sum of z_i^2), w 1 for joined spots. One sparse product for all genes;
    scanpy's is compiled anew in every process, which takes longer than any sample.
    """
    from sklearn.neighbors import kneighbors_graph

    graph = kneighbors_graph(positions, min(NEIGHBOURS, len(positions) - 1))
    graph = graph.maximum(graph.T)
    off = values - values.mean(axis=0)
    spread = np.square(off).sum(axis=0)
    joined = (off * (graph @ off)).sum(axis=0) * len(values) / graph.sum()
    varies = np.ptp(values, axis=0) > 0
    return np.divide(joined, spread, out=np.zeros(values.shape[1]), where=varies)


def genes_with_place(samples: Sequence[Expression], n_genes: int, min_spot_share: float) -> list[str]:
    """Of the genes that go with place in more than 30 of 36 samples, the `n_genes` of lowest P, alphabetical.

    In a sample a gene does where its P (`place_test.surprise`, of ln(1 + 10^4 count / total), so that depth is no
    pattern) is below .05, adjusted over the candidates after Benjamini and Yekutieli (2001), whatever their dependence.
    The lowest P is that of the highest -ln P, averaged over samples; ties go to the name that sorts first. A sample of
    less than 10 spots says nothing of place and does not count.
    """
    from scipy.stats import false_discovery_control

    names = candidates(samples, min_spot_share)
    enough = [sample for sample in samples if len(sample.barcodes) >= FEWEST_SPOTS]
    if not names or not enough:
        return []
    total, placed = np.zeros(len(names)), np.zeros(len(names), dtype=np.int64)
    for sample in enough:
        found = surprise(log_share(columns(sample, names), sample.totals()).toarray(), sample.positions_px)
        total += found
        placed += false_discovery_control(np.exp(-found), method="by") < LEVEL
    best = [index for index in np.argsort(-total, kind="stable") if placed[index] > PLACED_SHARE * len(enough)]
    return sorted(names[index] for index in best[:n_genes])


def sparse_genes(samples: Sequence[Expression], n_genes: int, min_spot_share: float) -> list[str]:
    """Of the genes without a count in more than 60 % of all spots, those counted in the most spots, alphabetical.

    Ties go to the name that sorts first.
    """
    names = candidates(samples, min_spot_share)
    return _most_counted(names, _spots_counted(samples, names), _is_sparse(samples, names), n_genes)


def genes_sparse_in_both(
    samples: Sequence[Expression], tested: Sequence[Expression], n_genes: int, min_spot_share: float
) -> list[str]:
    """As `sparse_genes`, of those that are so in test spots too: as the benchmark of eleven methods has them.

    Which genes these are tells of the test spots.
    """
    there = set.intersection(*(set(sample.genes.tolist()) for sample in tested)) if tested else set()
    names = [name for name in candidates(samples, min_spot_share) if name in there]
    if not names:
        return []
    sparse = _is_sparse(samples, names) & _is_sparse(tested, names)
    return _most_counted(names, _spots_counted(samples, names), sparse, n_genes)


def _spots_counted(samples: Sequence[Expression], names: Sequence[str]) -> NDArray[np.int64]:
    counted = np.zeros(len(names), dtype=np.int64)
    for sample in samples:
        counted += np.asarray((columns(sample, names) > 0).sum(axis=0)).ravel()
    return counted


def _is_sparse(samples: Sequence[Expression], names: Sequence[str]) -> NDArray[np.bool_]:
    zero_share = 1 - _spots_counted(samples, names) / sum(len(sample.barcodes) for sample in samples)
    found: NDArray[np.bool_] = zero_share > SPARSE_ZERO_SHARE
    return found


def _most_counted(
    names: Sequence[str], counted: NDArray[np.int64], allowed: NDArray[np.bool_], n_genes: int
) -> list[str]:
    best = [index for index in np.argsort(-counted, kind="stable") if allowed[index]]
    return sorted(names[index] for index in best[:n_genes])


def genes_by_mean(samples: Sequence[Expression], n_genes: int, min_spot_share: float) -> list[str]:
    """The genes of highest mean count over all spots, alphabetical: as ST-Net and EGN choose theirs.

    Ties go to the name that sorts last, as in the published code.
    """
    names = candidates(samples, min_spot_share)
    total = sum(np.asarray(columns(sample, names).sum(axis=0, dtype=np.float64)).ravel() for sample in samples)
    best = np.argsort(total, kind="stable")[::-1][:n_genes] if names else ()
    return sorted(names[index] for index in best)


def listed_genes(names: Sequence[str], samples: Sequence[Expression]) -> list[str]:
    """Those of the names, in their order, that all samples have."""
    common = set.intersection(*(set(sample.genes.tolist()) for sample in samples))
    return [name for name in names if name in common]


CHOICES: Final[dict[str, Callable[[Sequence[Expression], int, float], list[str]]]] = {
    "train_hvg": genes_by_dispersion,
    "moran": genes_by_place,
    "sparse": sparse_genes,
    "mean": genes_by_mean,
    "svg": genes_with_place,
}
