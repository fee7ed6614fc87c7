"""A network and what its pixels are normalised with, kept together on disk."""

from __future__ import annotations

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
        return self.network(self.pixels(images))

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) uint8 -> float32 as the network takes them."""
        return (images.float() / 255 - self.mean) / self.std
