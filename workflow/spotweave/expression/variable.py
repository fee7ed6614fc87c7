"""Which genes are learned from: the most variable within samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from spotweave.expression.samples import Expression, columns
from spotweave.expression.scales import log_share


class Samples(Protocol):
    """A list of samples, or whatever reads them one after another each time it is gone through."""

    def __iter__(self) -> Iterator[Expression]: ...

    def __len__(self) -> int: ...


def most_variable_within_samples(samples: Samples, n_genes: int) -> list[str]:
    """Names of the genes of highest variance among those that all samples have, alphabetical.

    The variance is of log-normalised expression, within samples, averaged over samples: a gene that only tells
    one sample from another (a batch effect) does not count as variable. Ties go to the name that sorts first.
    """
    common = sorted(set.intersection(*(set(sample.genes.tolist()) for sample in samples)))
    variance = np.zeros(len(common))
    for sample in samples:
        values = log_share(columns(sample, common), sample.totals())
        mean = np.asarray(values.mean(axis=0)).ravel()
        mean_square = np.asarray(values.multiply(values).mean(axis=0)).ravel()
        variance += (mean_square - mean**2) / len(samples)
    best = np.argsort(-variance, kind="stable")[:n_genes]
    return sorted(common[index] for index in best)
