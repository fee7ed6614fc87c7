"""THItoGene (Jia et al. 2024): a dynamic convolution and capsules within a patch, a transformer and graph attention
over the section."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from spotweave.networks.attention import Block, published_blocks
from spotweave.networks.capsules import PrimaryCapsules, RoutedCapsules, VectorCapsules
from spotweave.networks.dynamic_conv import DynamicConv
from spotweave.networks.graph_attention import GraphAttention
from spotweave.networks.places import PlaceEmbedding
from spotweave.networks.renaming import renamed

HEAD_DIM = 64
STEM, HIDDEN, KERNEL, KERNELS = 16, 16, 4, 4
# Channels, kernel and stride of the convolutions before the capsules; of a patch of 112 px they leave 9 x 9.
CONVOLUTIONS = ((32, 5, 1), (64, 3, 1), (64, 3, 1), (128, 3, 2))
FEATURES = 8


class THItoGene(nn.Module):
    """Patches (N, 3, side, side) or vectors (N, D), places (N, 2), neighbours (N, N) of a section -> (N, `genes`).

    Parameters
    ----------
    side
        Of a patch, px; 44 or more.
    capsules, width
        Capsules of a patch and features of each; two rows for its place are added to them.
    layers, heads, feed
        Blocks of the transformer, heads of 64, and the width of its feed-forward layers.
    graph_heads, graph_dim, graph_out
        Heads of graph attention, features of each, and what its second layer gives.
    head_dim
        Of the layer before the genes.
    published
        With the defects of the original: weights of attention sum to 1 over listeners, and `squash` has no gradient for
        long vectors.
    vector_dim
        Length of the vectors of an encoder that take the place of the convolutions; None for patches.
    """

    def __init__(
        self,
        genes: int,
        *,
        side: int = 112,
        capsules: int = 20,
        width: int = 64,
        layers: int = 4,
        heads: int = 16,
        feed: int = 2048,
        graph_heads: int = 8,
        graph_dim: int = 1024,
        graph_out: int = 512,
        head_dim: int = 1024,
        places: int = 64,
        dropout: float = 0.2,
        published: bool = False,
        vector_dim: int | None = None,
    ) -> None:
        super().__init__()
        dim, self.side = (capsules + 2) * width, side
        sizes = [STEM, *(channels for channels, _, _ in CONVOLUTIONS)]
        self.primary: nn.Module
        if vector_dim is None:
            self.stem = DynamicConv(3, STEM, KERNEL, KERNELS, HIDDEN)
            self.convolutions = nn.ModuleList(
                nn.Conv2d(before, after, kernel, stride)
                for before, (after, kernel, stride) in zip(sizes, CONVOLUTIONS, strict=False)
            )
            self.norms = nn.ModuleList(nn.BatchNorm2d(after) for after, _, _ in CONVOLUTIONS)
            self.primary = PrimaryCapsules(sizes[-1], _left(side), FEATURES, guarded=not published)
        else:
            self.primary = VectorCapsules(vector_dim, sizes[-1], FEATURES)
        self.takes_vectors = vector_dim is not None
        self.routed = RoutedCapsules(sizes[-1] // FEATURES, FEATURES, capsules, width, guarded=not published)
        self.place = PlaceEmbedding(places, width)
        self.blocks = nn.ModuleList(Block(dim, heads, HEAD_DIM, feed, dropout) for _ in range(layers))
        self.attention = nn.ModuleList(
            GraphAttention(dim, graph_dim, dropout, over_receivers=published) for _ in range(graph_heads)
        )
        self.gathered = GraphAttention(graph_heads * graph_dim, graph_out, dropout, over_receivers=published)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(
            nn.Linear(graph_out, head_dim), nn.ReLU(), nn.LayerNorm(head_dim), nn.Linear(head_dim, genes)
        )

    def forward(self, patches: torch.Tensor, grid: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        """Raises `ValueError` for patches of another size: its capsules look at whole maps."""
        across, down = self.place(grid)
        capsules = self.routed(self.primary(patches if self.takes_vectors else self._maps(patches)))
        tokens = torch.cat([capsules, across[:, None], down[:, None]], dim=1).flatten(1)[None]
        for block in self.blocks:
            tokens = block(tokens)
        spots = self.dropout(tokens[0])
        heads = torch.cat([functional.elu(head(spots, neighbours)) for head in self.attention], dim=1)
        return self.head(functional.elu(self.gathered(self.dropout(heads), neighbours)))

    def _maps(self, patches: torch.Tensor) -> torch.Tensor:
        if patches.shape[2:] != (self.side, self.side):
            raise ValueError(
                f"patches of {patches.shape[2]} x {patches.shape[3]} px, allowed: {self.side} x {self.side}"
            )
        maps = functional.relu(self.stem(patches))
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = functional.relu(norm(convolution(maps)))
        return maps


def _left(side: int) -> int:
    """Side of the maps that the convolutions leave of a patch."""
    left = side // KERNEL
    for _, kernel, stride in CONVOLUTIONS:
        left = (left - kernel) // stride + 1
    if left < 1:
        raise ValueError(f"patches of {side} px are too small for its convolutions, allowed: 44 px or more")
    return left


def from_published(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights under the names of the published code, by ours."""
    root = r"odconv2d\.attention\."
    convolutions = [
        pair
        for number in range(len(CONVOLUTIONS))
        for pair in (
            (rf"caps_layer\.conv{number + 1}", f"convolutions.{number}"),
            (rf"caps_layer\.batch_norm{number + 1}", f"norms.{number}"),
        )
    ]
    names = [
        (r"odconv2d\.weight", "stem.weight"),
        (root + "fc", "stem.squeeze"),
        (root + "bn", "stem.norm"),
        (root + "channel_fc", "stem.to_channels"),
        (root + "filter_fc", "stem.to_filters"),
        (root + "spatial_fc", "stem.to_places"),
        (root + "kernel_fc", "stem.to_kernels"),
        *convolutions,
        (r"caps_layer\.primary_caps\.depthwise_conv", "primary.filter"),
        (r"caps_layer\.digit_caps\.W", "routed.weight"),
        (r"caps_layer\.digit_caps\.b", "routed.prior"),
        ("x_embed", "place.x"),
        ("y_embed", "place.y"),
        *published_blocks(r"vit\.transformer\.layers", "blocks", "0", "1"),
        (r"gat\.attention_(\d+)\.W", r"attention.\1.weight"),
        (r"gat\.attention_(\d+)\.a", r"attention.\1.score"),
        (r"gat\.out_att\.W", "gathered.weight"),
        (r"gat\.out_att\.a", "gathered.score"),
        ("gene_head", "head"),
    ]
    return renamed(state, names)
