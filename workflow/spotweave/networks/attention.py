"""Transformer blocks over the spots of a section: pre-norm attention and a network of two layers, each added on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

# Published names of a block's parts, and ours.
PUBLISHED_ATTENTION = (("norm", "norm"), ("fn.to_qkv", "to_qkv"), ("fn.to_out.0", "to_out"))
PUBLISHED_FEED = (("norm", "norm"), ("fn.net.0", "widen"), ("fn.net.3", "narrow"))


class Attention(nn.Module):
    """Self-attention of (B, N, `dim`) tokens, normalised before; what is added to them.

    Parameters
    ----------
    heads, head_dim
        How many, each of how many features; `heads * head_dim` need not be `dim`.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, count, _ = tokens.shape
        packed = self.to_qkv(self.norm(tokens)).view(batch, count, 3, self.heads, -1)
        queries, keys, values = packed.permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(queries, keys, values)
        return self.dropout(self.to_out(found.transpose(1, 2).reshape(batch, count, -1)))


class FeedForward(nn.Module):
    """Two layers with GELU between, normalised before; what is added to the tokens."""

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.widen, self.narrow = nn.Linear(dim, width), nn.Linear(width, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.dropout(functional.gelu(self.widen(self.norm(tokens))))
        return self.dropout(self.narrow(hidden))


class Block(nn.Module):
    """Attention and feed-forward over (B, N, `dim`) tokens."""

    def __init__(self, dim: int, heads: int, head_dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, head_dim, dropout)
        self.feed = FeedForward(dim, width, dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attention(tokens)
        return tokens + self.feed(tokens)


def published_blocks(prefix: str, ours: str, attention: str, feed: str) -> list[tuple[str, str]]:
    """Pairs for `renaming.renamed` of a list of blocks.

    Parameters
    ----------
    prefix, attention, feed
        The published names of the list, and of the two parts of a block (`0`, or `attn`).
    ours
        Our name of the list.
    """

    def pairs(part: str, mine: str, names: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        return [
            (rf"{prefix}\.(\d+)\.{part}\.{theirs.replace('.', chr(92) + '.')}", rf"{ours}.\1.{mine}.{own}")
            for theirs, own in names
        ]

    return [*pairs(attention, "attention", PUBLISHED_ATTENTION), *pairs(feed, "feed", PUBLISHED_FEED)]
