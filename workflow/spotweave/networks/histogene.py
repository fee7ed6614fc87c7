"""HisToGene (Pang et al. 2021): a transformer over the spots of a section, a token each of its patch's pixels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from spotweave.networks.attention import Block, published_blocks
from spotweave.networks.places import PlaceEmbedding
from spotweave.networks.renaming import renamed

HEAD_DIM = 64


class HisToGene(nn.Module):
    """Patches (B, N, `pixels`) and places (B, N, 2) of a section -> (B, N, `genes`).

    Parameters
    ----------
    pixels
        Numbers of a flattened patch, 3 * side * side: x slowest, then y, then the channel; or of an encoder's vector.
    dim, layers, heads
        Width of a token, blocks, and heads of 64 features each.
    places
        Columns and rows of an array that have a vector.
    """

    def __init__(
        self,
        genes: int,
        *,
        pixels: int,
        dim: int = 1024,
        layers: int = 8,
        heads: int = 16,
        places: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(pixels, dim)
        self.place = PlaceEmbedding(places, dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, HEAD_DIM, 2 * dim, dropout) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, genes))

    def forward(self, patches: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        across, down = self.place(grid)
        tokens = self.dropout(self.embed(patches) + across + down)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens)


def flattened(images: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) pictures as rows of numbers: x slowest, then y, then the channel."""
    return images.permute(0, 3, 2, 1).flatten(1)


def from_published(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights under the names of the published code, by ours."""
    names = [
        ("patch_embedding", "embed"),
        ("x_embed", "place.x"),
        ("y_embed", "place.y"),
        *published_blocks(r"vit\.transformer\.layers", "blocks", "0", "1"),
        (r"gene_head", "head"),
    ]
    return renamed(state, names)
