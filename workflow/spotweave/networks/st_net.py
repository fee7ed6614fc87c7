"""ST-Net (He et al. 2020): a DenseNet whose last layer says the expression of genes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from spotweave import torchvision_shim

torchvision_shim.install()

from torchvision.models import DenseNet  # noqa: E402  (the shim must be there first)


def st_net(
    genes: int,
    *,
    growth: int = 32,
    blocks: Sequence[int] = (6, 12, 24, 16),
    first: int = 64,
    bottleneck: int = 4,
) -> DenseNet:
    """The network: (B, 3, H, W) normalised images -> (B, genes). Names of its tensors are the published ones.

    Parameters
    ----------
    growth, blocks, first, bottleneck
        Channels that a layer adds, layers of each block, channels of the first convolution, and how many times
        `growth` the narrow convolution of a layer has; the defaults are DenseNet-121's.
    """
    return DenseNet(growth, tuple(blocks), first, bottleneck, num_classes=genes)


def over_vectors(genes: int, dim: int) -> nn.Module:
    """Its last layer alone: (B, dim) vectors of an encoder -> (B, genes)."""
    return nn.Sequential(OrderedDict(classifier=nn.Linear(dim, genes)))


def start_from_mean(network: nn.Module, targets: torch.Tensor) -> None:
    """Zero weights and the mean of (N, G) targets as bias: before the first step every patch gets the training mean."""
    classifier = network.get_submodule("classifier")
    with torch.no_grad():
        for name, value in (("weight", torch.zeros(())), ("bias", targets.mean(dim=0))):
            classifier.get_parameter(name).copy_(value)


def summed_squares(predicted: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Squared error of (B, G), summed over the batch and averaged over genes only, as published."""
    return ((predicted - targets) ** 2).sum() / max(predicted.shape[1], 1)
