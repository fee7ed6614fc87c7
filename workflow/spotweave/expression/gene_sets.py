"""Which genes a task asks for, beside those that HEST-1k would choose: panels, lists, and other choices from training.

What is chosen is chosen among genes counted widely enough, on training samples only, whatever the protocol; a list is
taken whole, as far as the samples have its genes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spotweave.expression.dispersion import most_dispersed
from spotweave.expression.gene_lists import VARIABLE
from spotweave.expression.genes import candidates, most_variable_genes
from spotweave.expression.samples import Expression, columns
from spotweave.expression.scales import log_share

SPARSE_ZERO_SHARE = 0.6
NEIGHBOURS = 6


def chosen_from_training(name: str) -> bool:
    """Whether genes are chosen on training samples, whatever the protocol says."""
    return name in CHOICES


def choose(
    name: str, samples: Sequence[Expression], n_genes: int, min_spot_share: float, listed: Sequence[str] = ()
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
    """
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


def sparse_genes(samples: Sequence[Expression], n_genes: int, min_spot_share: float) -> list[str]:
    """Of the genes without a count in more than 60 % of all spots, those counted in the most spots, alphabetical.

    Ties go to the name that sorts first.
    """
    names = candidates(samples, min_spot_share)
    counted = np.zeros(len(names), dtype=np.int64)
    for sample in samples:
        counted += np.asarray((columns(sample, names) > 0).sum(axis=0)).ravel()
    zero_share = 1 - counted / sum(len(sample.barcodes) for sample in samples)
    best = [index for index in np.argsort(-counted, kind="stable") if zero_share[index] > SPARSE_ZERO_SHARE]
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
}
