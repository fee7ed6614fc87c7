"""The networks of a training beside the image tower: expression towers, and which layers of a backbone learn."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from spotweave.finetune.rows import RowsOnDisk
from spotweave.networks.bases import layers_of, without_decay


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


def linear_expression(genes: int, embedding_dim: int) -> nn.Linear:
    """Expression (B, genes) -> (B, embedding_dim), one layer begun as Glorot and Bengio 2010 (STimage-1K4M)."""
    layer = nn.Linear(genes, embedding_dim)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def moments(expression: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (G,) of rows (N, G), an array's or a disk's; a deviation is at least 1e-6."""
    chunks = expression.chunks() if isinstance(expression, RowsOnDisk) else [expression]
    total = torch.zeros(expression.shape[1], dtype=torch.float64)
    square = torch.zeros_like(total)
    for chunk in chunks:
        values = torch.from_numpy(chunk).double()
        total += values.sum(dim=0)
        square += (values**2).sum(dim=0)
    mean = total / len(expression)
    variance = (square / len(expression) - mean**2).clamp_min(0)
    return mean.float(), variance.sqrt().float().clamp_min(1e-6)


def principal(expression: Any, count: int) -> torch.Tensor:
    """(C, G) float32, the first `count` principal components of standardised rows (N, G); signs so that each sums up.

    From the correlation of genes, so that rows are gone through twice and never held.
    """
    mean, std = (one.double() for one in moments(expression))
    chunks = expression.chunks() if isinstance(expression, RowsOnDisk) else [expression]
    correlation = torch.zeros((len(mean), len(mean)), dtype=torch.float64)
    for chunk in chunks:
        values = (torch.from_numpy(chunk).double() - mean) / std
        correlation += values.T @ values / len(expression)
    components = torch.linalg.eigh(correlation).eigenvectors.flip(1)[:, :count].T
    signs = torch.where(components.sum(dim=1, keepdim=True) < 0, -1.0, 1.0)
    return (components * signs).float()


def freeze(model: Any, unfrozen: str) -> list[str]:
    """Freeze all but the last layers of a library's model.

    Parameters
    ----------
    unfrozen
        `all`, `none`, or `last N`: the last N layer groups (transformer blocks with the final norm, residual blocks;
        the stem is the first).

    Returns
    -------
    trained
        Names of the parameters left to learn.
    """
    layer_of = layers_of(model)
    count = max(layer_of.values()) + 1
    first = {"all": 0, "none": count}.get(unfrozen)
    if first is None:
        first = count - int(unfrozen.removeprefix("last "))
    if first < 0:
        raise ValueError(f"unfrozen {unfrozen!r}: {type(model).__name__} has {count} layer groups, allowed: all")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = layer_of[name] >= first
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def layered(model: Any, lr: float, layer_decay: float, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for an optimiser: the learning rate falls by `layer_decay` from each layer to the one below.

    As timm's `param_groups_layer_decay`, for models of other libraries too: biases, norms, positions and tokens do not
    decay.
    """
    layer_of, spared = layers_of(model), without_decay(model)
    top = max(layer_of.values())
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and name not in spared
            groups.setdefault((layer_of[name], decays), []).append(parameter)
    return [
        {"params": there, "lr": lr * layer_decay ** (top - layer), "weight_decay": weight_decay if decays else 0.0}
        for (layer, decays), there in groups.items()
    ]
