"""Attention of both encoders; SAM's with decomposed relative positions (Li et al. 2022), some heads at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST_BIAS = 1 << 26  # numbers of a bias that are there at a time


class Attention(nn.Module):
    """Plain attention over tokens: (B, N, dim) -> (B, N, dim)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, dim = tokens.shape
        q, k, v = self.qkv(tokens).reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, dim))


class RelativeAttention(nn.Module):
    """Attention over a square grid of tokens with decomposed relative positions: (B, g, g, dim) -> the same.

    The score of query q and key k is q . k / sqrt(d) + q . h[y(q) - y(k)] + q . w[x(q) - x(k)], with q as it is in both
    additions. Tables (2 side - 1, d) are interpolated linearly where the grid has another side.

    Parameters
    ----------
    side
        Of the grid that the tables were made for.
    """

    def __init__(self, dim: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))

    def forward(self, grid: Tensor) -> Tensor:
        batch, side, _, dim = grid.shape
        q, k, v = self.qkv(grid).reshape(batch, side**2, 3, self.heads, -1).permute(2, 0, 3, 1, 4).flatten(1, 2)
        squares = q.reshape(-1, side, side, q.shape[-1])
        down = torch.einsum("nyxd,yjd->nyxj", squares, by_distance(self.rel_pos_h, side).to(q.dtype))
        across = torch.einsum("nyxd,xjd->nyxj", squares, by_distance(self.rel_pos_w, side).to(q.dtype))
        at_a_time = max(1, MOST_BIAS // side**4)
        parts = []
        for start in range(0, len(q), at_a_time):
            part = slice(start, start + at_a_time)
            bias = (down[part, :, :, :, None] + across[part, :, :, None, :]).reshape(-1, side**2, side**2)
            parts.append(F.scaled_dot_product_attention(q[part], k[part], v[part], attn_mask=bias))
        mixed = torch.cat(parts).reshape(batch, self.heads, side, side, -1)
        return self.proj(mixed.permute(0, 2, 3, 1, 4).reshape(batch, side, side, dim))


def by_distance(table: Tensor, side: int) -> Tensor:
    """(side, side, d): the row of a table for each pair of a query's and a key's place along one axis."""
    rows = 2 * side - 1
    if len(table) != rows:
        table = F.interpolate(table.T[None], size=rows, mode="linear")[0].T
    place = torch.arange(side, device=table.device)
    return table[place[:, None] - place[None, :] + side - 1]
