"""A vision transformer whose tokens a learned query gathers: the picture's half of CONCH (Lu et al. 2024) and of its
version 1.5.

The gathered vector is what is compared with text in CoCa (Yu et al. 2022), before its last projection.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

HEADS = 8


class PackedPooler(nn.Module):
    """CONCH's: tokens (B, N, `context`) -> (B, dim) of one query, by torch's attention, with biases."""

    def __init__(self, dim: int, context: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, dim))
        self.attn = nn.MultiheadAttention(dim, HEADS, kdim=context, vdim=context, batch_first=True)
        self.ln_q, self.ln_k = nn.LayerNorm(dim), nn.LayerNorm(context)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        known = self.ln_k(tokens)
        query = self.ln_q(self.query).expand(len(tokens), 1, -1)
        gathered: torch.Tensor = self.attn(query, known, known, need_weights=False)[0]
        return gathered[:, 0]


class SplitPooler(nn.Module):
    """CONCH v1.5's: the same with keys and values from one map, and no map with a bias."""

    def __init__(self, dim: int, context: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, dim))
        self.ln_k, self.ln_q = nn.LayerNorm(context), nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(context, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query = self.to_q(self.ln_q(self.query)).expand(len(tokens), 1, -1)
        parts = (query, *self.to_kv(self.ln_k(tokens)).chunk(2, dim=-1))
        heads = [part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts]
        gathered = nn.functional.scaled_dot_product_attention(*heads)
        out: torch.Tensor = self.to_out(gathered.transpose(1, 2).flatten(1))
        return out


class PooledTower(nn.Module):
    """(B, 3, H, W) normalised -> (B, dim). `trunk` is a timm model with `forward_features`."""

    def __init__(self, trunk: Any, pooler: nn.Module, dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.attn_pool_contrast = pooler
        self.ln_contrast = nn.LayerNorm(dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.ln_contrast(self.attn_pool_contrast(self.trunk.forward_features(images)))
        return out

    def no_weight_decay(self) -> set[str]:
        """Positions, tokens and the query: what timm's models say of their own."""
        return {"attn_pool_contrast.query", *(f"trunk.{name}" for name in self.trunk.no_weight_decay())}
