"""A loss that asks for the right order as well as for the right values: squared error and correlation by gene."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

EPSILON = 1e-8
CORRELATION_WEIGHT = 0.5


class Loss(NamedTuple):
    """Scalars: `total` = `mse` + 0.5 `one_minus_pcc`."""

    total: Tensor
    mse: Tensor
    one_minus_pcc: Tensor


def pearson_by_gene(prediction: Tensor, target: Tensor) -> Tensor:
    """(G,) Pearson correlation of (N, G) predictions and targets over the N spots of a batch.

    A gene that is constant in either, and every gene of a batch of one spot, has correlation 0, and a gradient of 0.
    """
    x, y = prediction - prediction.mean(dim=0), target - target.mean(dim=0)
    return (x * y).sum(dim=0) / (_length(x) * _length(y) + EPSILON)


def _length(centred: Tensor) -> Tensor:
    """(G,) Euclidean length of columns; the root of 0 has an infinite derivative, so 0 stays outside it."""
    squares = centred.square().sum(dim=0)
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)


def mse_and_correlation(prediction: Tensor, target: Tensor) -> Loss:
    """MSE + 0.5 (1 - mean correlation of genes) of (N, G) values (Yang et al. 2023, equation of the objective).

    The correlation term is 0 where the prediction is a rising straight line of the target, whatever its slope.
    """
    mse = (prediction - target).square().mean()
    one_minus_pcc = 1 - pearson_by_gene(prediction, target).mean()
    return Loss(mse + CORRELATION_WEIGHT * one_minus_pcc, mse, one_minus_pcc)
