"""DeepSpaCE (Monjo et al. 2022): a VGG-16 whose last layer says the expression of genes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spotweave import torchvision_shim

torchvision_shim.install()

from torchvision.models.vgg import make_layers  # noqa: E402  (the shim must be there first)

# Convolutions of 3 x 3 by their channels, and M where the maps are halved: VGG's configuration D.
SIXTEEN = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
POOLED = 7
WHITE_QUANTILE, WHITE_SHARE = 0.8, 0.5


class DeepSpace(nn.Module):
    """(B, 3, H, W) normalised images -> (B, `genes`).

    Parameters
    ----------
    layers
        As `SIXTEEN`.
    hidden
        Width of the two layers before the genes.
    """

    def __init__(
        self, genes: int, *, layers: Sequence[int | str] = SIXTEEN, hidden: int = 4096, dropout: float = 0.5
    ) -> None:
        super().__init__()
        channels = [layer for layer in layers if isinstance(layer, int)]
        self.features = make_layers(list(layers))
        self.pool = nn.AdaptiveAvgPool2d(POOLED)
        self.head = nn.Sequential(
            nn.Linear(channels[-1] * POOLED**2, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, genes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.features(images)).flatten(1))


def not_white(images: torch.Tensor) -> NDArray[np.bool_]:
    """Which of (N, 3, H, W) uint8 patches show tissue.

    The threshold is the quantile .8 of the patches' mean values; a patch is white if more than half of its pixels
    exceed it in all channels.
    """
    threshold = float(np.quantile(images.float().mean(dim=(1, 2, 3)).numpy(), WHITE_QUANTILE))
    share = (images > threshold).all(dim=1).float().mean(dim=(1, 2))
    found: NDArray[np.bool_] = (share <= WHITE_SHARE).numpy()
    return found
