"""Class-specific residual attention (Zhu and Wu 2021): a mean, and what stands out, for every channel on its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHARPNESS = 0.1


class TokenPool(nn.Module):
    """Tokens of a patch to one vector: mean of s + 0.5 sum of softmax(0.1 s) s over tokens, s = Linear(tokens).

    The input is (B, T, D), the output (B, D), float.
    """

    def __init__(self, dim: int, weight: float = 0.5) -> None:
        super().__init__()
        self.weight = weight
        self.score = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, D) of (B, T, D)."""
        scores = self.score(tokens)
        standing_out = (torch.softmax(SHARPNESS * scores, dim=1) * scores).sum(dim=1)
        return scores.mean(dim=1) + self.weight * standing_out


class ExemplarPool(nn.Module):
    """What exemplars add to a node: d + w sum of softmax(0.1 (e - d)) e over its exemplars e, d = Linear(node).

    The softmax is taken channel by channel; w is learned.
    """

    def __init__(self, dim: int, weight: float = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))
        self.score = nn.Linear(dim, dim)

    def forward(self, nodes: Tensor, exemplars: Tensor, edges: Tensor) -> Tensor:
        """(N, D) of nodes (N, D), exemplars (M, D) and edges (2, E) int64: row 0 an exemplar, row 1 its node."""
        source, target = edges
        mapped = self.score(nodes)
        near = exemplars[source]
        scores = SHARPNESS * (near - mapped[target])
        # The largest score of a node taken off first, as in any softmax: exp of a large one is infinite.
        highest = torch.full_like(mapped, -torch.inf).scatter_reduce(
            0, target[:, None].expand_as(scores), scores.detach(), "amax"
        )
        share = (scores - highest[target]).exp()
        total = torch.zeros_like(mapped).index_add(0, target, share)
        added = torch.zeros_like(mapped).index_add(0, target, share / total[target] * near)
        return mapped + self.weight * added
