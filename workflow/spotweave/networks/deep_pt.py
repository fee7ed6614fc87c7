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
    """(B, 3, H, W) normalised images, or (B, `vector_dim`) vectors, -> (B, `genes`).

    Parameters
    ----------
    layers
        Blocks of the ResNet's four stages; the default is ResNet-50's.
    width
        Channels of a group in its first stage (64 in ResNet-50).
    code, hidden
        Width of the code and of the layer before the genes.
    vector_dim
        Length of the vectors of an encoder that take the ResNet's place; None for the ResNet.

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
        vector_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.trunk: nn.Module = nn.Identity()
        if vector_dim is None:
            self.trunk = resnet = ResNet(Bottleneck, list(layers), width_per_group=width)
            features = resnet.fc.in_features
            resnet.fc = nn.Identity()
        else:
            features = vector_dim
        self.encoder, self.decoder = nn.Linear(features, code), nn.Linear(code, features)
        self.head = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, genes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.trunk(images)
        code = functional.relu(self.encoder(features))
        self.reconstruction = functional.mse_loss(self.decoder(code), features)
        return self.head(code)
