"""Scales of expression that are predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spotweave.expression.genes import columns
from spotweave.expression.samples import Expression

Array = NDArray[np.float64]

SHARE_SCALE = 1e4


def log1p(counts: Array, totals: Array) -> Array:
    """ln(1 + count)."""
    return np.log1p(counts)


def log_share(counts: Array, totals: Array) -> Array:
    """ln(1 + 10^4 count / total); 0 for a spot without counts."""
    return np.log1p(SHARE_SCALE * np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0))


TARGETS: Final[dict[str, Callable[[Array, Array], Array]]] = {"log1p": log1p, "log_share": log_share}


def target_of(name: str, expression: Expression, genes: Sequence[str]) -> Array:
    """Expression of one sample on the scale `name`.

    Returns
    -------
    target
        (N, len(genes)) float64. A gene that the sample's count table does not have is NaN: its correlation is
        undefined, as that of a gene that is in the table and never counted (some tables leave such genes out, and that
        must not change a score). Totals run over all genes of the sample.
    """
    measured = np.isin(genes, expression.genes)
    counts = columns(expression, np.asarray(genes)[measured].tolist()).toarray().astype(np.float64)
    totals = np.asarray(expression.counts.sum(axis=1, dtype=np.float64)).reshape(-1, 1)
    target = np.full((len(counts), len(genes)), np.nan)
    target[:, measured] = TARGETS[name](counts, totals)
    return target
