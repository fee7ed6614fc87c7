"""Capsules: groups of features whose length says how sure a thing is there, and what routes one layer's to the next."""

from __future__ import annotations

import torch
from torch import nn

# Beyond it exp overflows float32, and with it the gradient; 1 - exp(-30) is 1 to every digit that float32 has.
LONGEST = 30.0


def squash(vectors: torch.Tensor, *, guarded: bool = True) -> torch.Tensor:
    """Vectors along the last axis shortened to less than 1: (1 - exp(-n)) * v / n, of their length n.

    Parameters
    ----------
    guarded
        Whether the gradient stays finite for long vectors; as published it is NaN from about 88 on.
    """
    length = vectors.norm(dim=-1, keepdim=True)
    shown = length.clamp(max=LONGEST) if guarded else length
    return (1 - 1 / (torch.exp(shown) + 1e-20)) * vectors / (length + 1e-20)


class PrimaryCapsules(nn.Module):
    """Maps (N, capsules * features, side, side) -> (N, capsules, features): a depthwise filter over the whole map."""

    def __init__(self, channels: int, side: int, features: int, *, guarded: bool) -> None:
        super().__init__()
        self.filter = nn.Conv2d(channels, channels, side, groups=channels)
        self.features, self.guarded = features, guarded

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return squash(self.filter(maps).view(len(maps), -1, self.features), guarded=self.guarded)


class VectorCapsules(nn.Module):
    """Vectors (N, D) -> (N, width / features, features): a linear map of each, squashed."""

    def __init__(self, dim: int, width: int, features: int) -> None:
        super().__init__()
        self.map = nn.Linear(dim, width)
        self.features = features

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return squash(self.map(vectors).view(len(vectors), -1, self.features))


class RoutedCapsules(nn.Module):
    """(N, I, F) -> (N, O, D): what each input capsule says of each output one, weighted by how far all agree.

    Parameters
    ----------
    inputs, features
        Input capsules and features of each.
    outputs, width
        Output capsules and features of each.
    """

    def __init__(self, inputs: int, features: int, outputs: int, width: int, *, guarded: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, features, width))
        self.prior = nn.Parameter(torch.zeros(outputs, inputs, 1))
        nn.init.kaiming_normal_(self.weight)
        self.guarded = guarded

    def forward(self, capsules: torch.Tensor) -> torch.Tensor:
        said = torch.einsum("nif,oifd->noid", capsules, self.weight)
        agreement = (said * said.sum(dim=2, keepdim=True)).sum(dim=3, keepdim=True) / said.shape[-1] ** 0.5
        weights = agreement.softmax(dim=1) + self.prior
        return squash((weights * said).sum(dim=2), guarded=self.guarded)
