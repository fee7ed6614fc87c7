"""Which pairs meet in a step: each is told from the others of its step."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

# Told from pairs of all samples, or of its own sample only, where nothing but tissue tells them apart.
ANY, SAMPLE = "any", "sample"


def batches_of(groups: NDArray[np.int64], size: int, negatives: str, generator: torch.Generator) -> list[torch.Tensor]:
    """The steps of an epoch: numbers of pairs, each pair in one of them, in a random order.

    Steps are of equal size within one pair: a last one of a few pairs would be an easier task and a noisy step.

    Parameters
    ----------
    groups
        (N,) the sample of each pair.
    size
        Pairs in a step, the most.
    negatives
        `any`, or `sample`: all pairs of a step are of one sample. One that has a single pair is then left out, as
        nothing tells it from others.
    """
    if negatives == ANY:
        return _cut(torch.randperm(len(groups), generator=generator), size)
    found = []
    for group in np.unique(groups).tolist():
        own = torch.from_numpy(np.flatnonzero(groups == group))
        if len(own) > 1:
            found += _cut(own[torch.randperm(len(own), generator=generator)], size)
    return [found[place] for place in torch.randperm(len(found), generator=generator).tolist()]


def steps_in_an_epoch(groups: NDArray[np.int64], size: int, negatives: str) -> int:
    """How many `batches_of` gives."""
    if negatives == ANY:
        return math.ceil(len(groups) / size)
    counts = np.unique(groups, return_counts=True)[1]
    return int(np.ceil(counts[counts > 1] / size).sum())


def _cut(order: torch.Tensor, size: int) -> list[torch.Tensor]:
    return list(torch.tensor_split(order, math.ceil(len(order) / size)))
