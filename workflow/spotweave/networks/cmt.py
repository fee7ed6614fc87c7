"""CMT (Guo et al. 2022, CVPR, 12175-12185): stages of convolutions and attention whose keys are fewer than queries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional


class Stem(nn.Sequential):
    """(B, 3, H, W) -> (B, `channels`, H / 2, W / 2): three convolutions, each with GELU and a norm after it."""

    def __init__(self, channels: int) -> None:
        layers: list[nn.Module] = []
        for before, stride in ((3, 2), (channels, 1), (channels, 1)):
            layers += [nn.Conv2d(before, channels, 3, stride, 1), nn.GELU(), nn.BatchNorm2d(channels)]
        super().__init__(*layers)


class PatchEmbedding(nn.Module):
    """(B, `before`, H, W) maps -> (B, N, `dim`) tokens of squares of `side`, row by row, normalised."""

    def __init__(self, before: int, dim: int, side: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(before, dim, side, side)
        self.norm = nn.LayerNorm(dim)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.norm(to_tokens(self.proj(maps)))


class ReducedAttention(nn.Module):
    """Attention of (B, N, `dim`) tokens of a square grid; keys and values are of squares of `reduction` tokens.

    Parameters
    ----------
    bias
        Whether queries, keys and values have one.
    """

    def __init__(self, dim: int, heads: int, *, reduction: int = 1, bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q, self.k, self.v = (nn.Linear(dim, dim, bias=bias) for _ in range(3))
        self.proj = nn.Linear(dim, dim)
        self.reduced = (
            nn.Sequential(nn.Conv2d(dim, dim, reduction, reduction, groups=dim), nn.BatchNorm2d(dim))
            if reduction > 1
            else None
        )

    def forward(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """`places`: (heads, N, M), what is added to the scores of a query and a key for where they are."""
        known = tokens if self.reduced is None else to_tokens(self.reduced(to_maps(tokens)))
        queries, keys, values = self._heads(self.q(tokens)), self._heads(self.k(known)), self._heads(self.v(known))
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=places[None])
        return self.proj(found.transpose(1, 2).flatten(2))

    def _heads(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


class InvertedResidual(nn.Module):
    """(B, N, `dim`) tokens of a square grid, widened, looked at with their eight neighbours, and narrowed again."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.widen = nn.Sequential(nn.Conv2d(dim, width, 1), nn.GELU(), nn.BatchNorm2d(width))
        self.around = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.narrow = nn.Sequential(nn.Conv2d(width, dim, 1), nn.BatchNorm2d(dim))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        maps = self.widen(to_maps(tokens))
        maps = self.norm(functional.gelu(maps + self.around(maps)))
        return to_tokens(self.narrow(maps))


class Block(nn.Module):
    """A convolution of each channel, attention and a widened convolution, each added to (B, N, `dim`) tokens.

    Parameters
    ----------
    ratio
        Width of the last part by `dim`.
    drop_path
        Chance that a part is left out for an image in training.
    """

    def __init__(
        self, dim: int, heads: int, ratio: float, *, reduction: int = 1, bias: bool = True, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.around = nn.Conv2d(dim, dim, 3, 1, 1, groups=dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = ReducedAttention(dim, heads, reduction=reduction, bias=bias)
        self.feed = InvertedResidual(dim, int(dim * ratio))
        self.drop_path = drop_path

    def forward(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        maps = to_maps(tokens)
        tokens = to_tokens(maps + self.around(maps))
        tokens = tokens + self._perhaps(self.attention(self.norm1(tokens), places))
        return tokens + self._perhaps(self.feed(self.norm2(tokens)))

    def _perhaps(self, added: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.drop_path:
            return added
        kept = torch.rand(len(added), 1, 1, device=added.device) >= self.drop_path
        return added * kept / (1 - self.drop_path)


class Stage(nn.Module):
    """(B, `before`, H, W) maps -> (B, H W / 4, `dim`) tokens through blocks that share a bias of places.

    Parameters
    ----------
    tokens
        On a side of the grid that the blocks see.
    drop_paths
        One of each block.
    """

    def __init__(
        self,
        before: int,
        dim: int,
        tokens: int,
        *,
        heads: int,
        ratio: float,
        reduction: int,
        drop_paths: Sequence[float],
    ) -> None:
        super().__init__()
        self.embedding = PatchEmbedding(before, dim, 2)
        self.places = nn.Parameter(torch.zeros(heads, tokens**2, (tokens // reduction) ** 2))
        nn.init.normal_(self.places)
        self.blocks = nn.ModuleList(
            Block(dim, heads, ratio, reduction=reduction, drop_path=chance) for chance in drop_paths
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.run(self.embedding(maps))

    def run(self, tokens: torch.Tensor) -> torch.Tensor:
        """The blocks without the embedding."""
        for block in self.blocks:
            tokens = block(tokens, self.places)
        return tokens


def to_maps(tokens: torch.Tensor) -> torch.Tensor:
    """(B, N, C) tokens of a square grid -> (B, C, side, side)."""
    side = round(tokens.shape[1] ** 0.5)
    return tokens.transpose(1, 2).unflatten(2, (side, side))


def to_tokens(maps: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) -> (B, H W, C), row by row."""
    return maps.flatten(2).transpose(1, 2)
