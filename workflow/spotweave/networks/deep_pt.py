"""DeepPT (Hoang et al. 2024): a ResNet, what is left of its features in a narrow code, and genes from the code."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from spotweave import torchvision_shim

torchvision_shim.install()

from torchvision.models.resnet import Bottleneck, ResNet  # noqa: E402  (the shim must be there first)


class DeepPT(nn.Module):
    """(B, 3, H, W) normalised images -> (B, `genes`).

    Parameters
    ----------
    layers
        Blocks of the ResNet's four stages; the default is ResNet-50's.
    width
        Channels of a group in its first stage (64 in ResNet-50).
    code, hidden
        Width of the code and of the layer before the genes.

    Attributes
    ----------
    reconstruction
        Mean squared error of the features that the decoder makes of the codes of the last batch.
    """

    reconstruction: torch.Tensor

    def __init__(
        self,
        genes: int,
        *,
        layers: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        code: int = 512,
        hidden: int = 512,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.trunk = ResNet(Bottleneck, list(layers), width_per_group=width)
        features = self.trunk.fc.in_features
        self.trunk.fc = nn.Identity()
        self.encoder, self.decoder = nn.Linear(features, code), nn.Linear(code, features)
        self.head = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, genes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.trunk(images)
        code = functional.relu(self.encoder(features))
        self.reconstruction = functional.mse_loss(self.decoder(code), features)
        return self.head(code)
