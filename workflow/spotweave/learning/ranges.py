"""Genes from 0 to 1 over training spots, as methods learn them that were published so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spotweave.learning.scaling import Scaling
from spotweave.spots import TrainingSample


def range_of(samples: Sequence[TrainingSample]) -> Scaling:
    """Genes from 0 to 1 over training spots."""
    expression = np.concatenate([known.expression for known in samples])
    low = expression.min(axis=0)
    return Scaling(low, expression.max(axis=0) - low)
