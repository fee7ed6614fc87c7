"""The networks of a training beside the image tower: the expression tower, and which layers of a backbone learn."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from spotweave import torchvision_shim

torchvision_shim.install()

import timm.models  # noqa: E402  (it imports torchvision)


class ExpressionTower(nn.Module):
    """Log-normalised expression (B, G) -> (B, embedding_dim): genes standardised, then three linear layers."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: torch.Tensor, std: torch.Tensor, hidden: int, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.layers = nn.Sequential(
            *(nn.Linear(len(mean), hidden), nn.LayerNorm(hidden), nn.GELU()),
            *(nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.GELU()),
            nn.Linear(hidden, embedding_dim),
        )

    def forward(self, expression: torch.Tensor) -> torch.Tensor:
        return self.layers((expression - self.mean) / self.std)


def freeze(model: Any, unfrozen: str) -> list[str]:
    """Freeze all but the last layers of a timm model.

    Parameters
    ----------
    unfrozen
        `all`, or `last N`: the last N of timm's layer groups (transformer blocks with the final norm, residual
        blocks; the stem is the first).

    Returns
    -------
    trained
        Names of the parameters left to learn.
    """
    layer_of: dict[str, int] = timm.models.group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    count = max(layer_of.values()) + 1
    first = 0 if unfrozen == "all" else count - int(unfrozen.removeprefix("last "))
    if first < 0:
        raise ValueError(f"unfrozen {unfrozen!r}: {type(model).__name__} has {count} layer groups, allowed: all")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = layer_of[name] >= first
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]
