"""A network and what its input is normalised with, kept together on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class Normalised(nn.Module):
    """(B, 3, H, W) uint8 -> what the network gives of them.

    Parameters
    ----------
    mean, std
        (3,) of pixels from 0 to 1.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, mean: torch.Tensor, std: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean.view(1, 3, 1, 1).clone())
        self.register_buffer("std", std.view(1, 3, 1, 1).clone())

    def forward(self, images: torch.Tensor) -> Any:
        return self.network(self.shown(images))

    def shown(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) uint8 -> float32 as the network takes them."""
        return (images.float() / 255 - self.mean) / self.std


class NormalisedVectors(nn.Module):
    """(B, D) float32 vectors of an encoder -> what the network gives of them.

    Parameters
    ----------
    shift, spread
        (D,) that is subtracted, and () that is divided by.
    """

    shift: torch.Tensor
    spread: torch.Tensor

    def __init__(self, network: nn.Module, shift: torch.Tensor, spread: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("shift", shift.clone())
        self.register_buffer("spread", spread.clone())

    def forward(self, vectors: torch.Tensor) -> Any:
        return self.network(self.shown(vectors))

    def shown(self, vectors: torch.Tensor) -> torch.Tensor:
        """(B, D) float32 as the network takes them."""
        return (vectors.float() - self.shift) / self.spread


def empty(network: nn.Module, settings: Mapping[str, Any]) -> Normalised | NormalisedVectors:
    """The network in what its state is read into: over vectors where settings name an encoder, else over patches."""
    if "encoder" in settings:
        return NormalisedVectors(network, torch.zeros(settings["vector_dim"]), torch.ones(()))
    return Normalised(network, torch.zeros(3), torch.ones(3))
