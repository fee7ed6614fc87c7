"""The graph within a patch that TCGN (Xiao et al. 2024) learns from: squares as nodes, strong attention as edges."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from spotweave.networks.censnet import CensNet, Graph
from spotweave.networks.cmt import Block, PatchEmbedding, to_tokens

HEADS, EDGES_PER_NODE, EDGE_FEATURES, EDGE_OUT, GRAPH_CHANNELS, RATIO = 2, 4, 6, 12, 48, 4
EDGE_HEADS, LENGTH_HEADS = 2, 4
NEAR = 3.0  # steps of the grid at which two nodes are half as near as one to itself


class WideConvolution(nn.Module):
    """(B, `dim`, H, W) maps plus a convolution of 7 x 7 and a network of two layers, scaled by channel (ConvNeXt)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, 7, padding=3, groups=dim, bias=False),
            nn.GroupNorm(1, dim),
            nn.Conv2d(dim, 4 * dim, 1),
            nn.GELU(),
            nn.Conv2d(4 * dim, dim, 1),
        )
        self.scale = nn.Parameter(torch.full((dim,), 1e-6))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + self.block(maps) * self.scale[:, None, None]


class Halved(nn.Sequential):
    """(B, `before`, H, W) -> (B, `after`, H / 2, W / 2), and `depth` wide convolutions."""

    def __init__(self, before: int, after: int, depth: int) -> None:
        down = nn.Sequential(nn.GroupNorm(1, before), nn.Conv2d(before, after, 2, 2))
        super().__init__(down, *(WideConvolution(after) for _ in range(depth)))


class TokenTransformer(nn.Module):
    """Attention and feed-forward over (B, N, `dim`) tokens, each added on; heads share no last layer.

    Parameters
    ----------
    itself
        Whether each token's score of itself is raised by one before it is divided.
    """

    def __init__(self, dim: int, heads: int, *, itself: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.itself = heads, itself
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.widen, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, count, dim = tokens.shape
        # Query, key and value lie side by side for each feature of a head.
        packed = self.qkv(self.norm1(tokens)).view(batch, count, self.heads, -1, 3)
        queries, keys, values = packed.permute(4, 0, 2, 1, 3)
        scores = queries @ keys.transpose(2, 3)
        if self.itself:
            scores = scores + torch.eye(count, device=tokens.device)
        # By the width of all heads, not of one: the published scale.
        found = (scores / dim**0.5).softmax(dim=3) @ values
        tokens = tokens + found.transpose(1, 2).flatten(2)
        hidden = self.dropout(functional.gelu(self.widen(self.norm2(tokens))))
        return tokens + self.narrow(hidden)


class PatchGraph(nn.Module):
    """(B, `before`, H, W) maps -> (B, N, 48) channels of `grid` x `grid` squares.

    Each square asks by its tokens of a transformer and answers by those of convolutions. The 4 N strongest pairs of an
    image are its edges, directed, a square with itself among them; of equal ones the first by row and column. Six
    numbers tell of an edge: the attention of two heads and their mean, and how near the two squares lie on the grid and
    are in what they answer, by distance and by angle.

    Parameters
    ----------
    halvings
        How often the maps are halved until they are the grid: 1 or 2.
    lost_gelu, guarded, reversed_edges
        See `censnet`.
    """

    def __init__(
        self,
        before: int,
        grid: int,
        halvings: int,
        *,
        dropout: float = 0.1,
        lost_gelu: bool = False,
        guarded: bool = True,
        reversed_edges: bool = False,
    ) -> None:
        super().__init__()
        dim, self.grid = 2 * before, grid
        self.guarded, self.reversed_edges = guarded, reversed_edges
        self.places = nn.Parameter(torch.zeros(HEADS, grid**2, grid**2))
        nn.init.normal_(self.places)
        self.embedding = PatchEmbedding(before, dim, 2**halvings)
        self.encoder = Block(dim, HEADS, RATIO, bias=False)
        widths = [before] * halvings + [dim]
        self.halvings = nn.Sequential(*(Halved(widths[n], widths[n + 1], 2 - n) for n in range(halvings)))
        self.q, self.k, self.v = (nn.Linear(dim, dim) for _ in range(3))
        self.convolutions = CensNet(dim, EDGE_FEATURES, EDGE_OUT, GRAPH_CHANNELS, dropout=dropout, lost_gelu=lost_gelu)
        self.edges = TokenTransformer(EDGE_OUT, EDGE_HEADS, dropout=dropout)
        self.nodes = Block(GRAPH_CHANNELS, HEADS, RATIO, bias=False)
        self.channels = TokenTransformer(grid**2, LENGTH_HEADS, dropout=dropout)
        self.fused = nn.Linear(GRAPH_CHANNELS + EDGE_OUT, GRAPH_CHANNELS)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        nodes, edges, graph = self.learned(maps)
        gathered = self.edges(graph.incidence.transpose(1, 2) @ edges / EDGES_PER_NODE)
        both = torch.cat([self.nodes(nodes, self.places), gathered], dim=2)
        return self.fused(self.channels(both.transpose(1, 2)).transpose(1, 2))

    def learned(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Graph]:
        """(B, N, 48) nodes and (B, 4 N, 12) edges after the convolutions, and the graph."""
        attention, values = self.attended(maps)
        edges = strongest(attention.mean(dim=1), EDGES_PER_NODE * self.grid**2)
        features = edge_features(attention, values, edges, self.grid)
        graph = Graph.of(edges, self.grid**2, guarded=self.guarded, reversed_edges=self.reversed_edges)
        return (*self.convolutions(values, features, graph), graph)

    def attended(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 2, N, N) attention, rows of which sum to 1, and (B, N, 2 `before`) values."""
        asking = self.q(self.encoder(self.embedding(maps), self.places))
        answers = to_tokens(self.halvings(maps))
        queries, keys = (one.unflatten(2, (HEADS, -1)).transpose(1, 2) for one in (asking, self.k(answers)))
        scores = queries @ keys.transpose(2, 3) / asking.shape[2] ** 0.5
        return (scores + torch.eye(self.grid**2, device=maps.device)).softmax(dim=3), self.v(answers)


def strongest(attention: torch.Tensor, count: int) -> torch.Tensor:
    """(B, N, N) -> (B, count, 2) rows and columns of the largest of each image, in order of rows and columns."""
    flat = attention.detach().flatten(1)
    order = flat.sort(dim=1, descending=True, stable=True).indices[:, :count].sort(dim=1).values
    return torch.stack([order // attention.shape[2], order % attention.shape[2]], dim=2)


def edge_features(attention: torch.Tensor, values: torch.Tensor, edges: torch.Tensor, grid: int) -> torch.Tensor:
    """(B, E, 6) of (B, E, 2) edges, from (B, 2, N, N) attention and (B, N, C) values of a grid of side `grid`."""
    rows, columns = edges.unbind(dim=2)
    images = torch.arange(len(edges), device=edges.device)[:, None]
    heads = attention[images, :, rows, columns]
    places = torch.stack([edges // grid, edges % grid], dim=3).float()
    steps = (places[:, :, 0] - places[:, :, 1]).norm(dim=2)
    here, there = values[images, rows], values[images, columns]
    squared = ((here - there) ** 2).sum(dim=2)
    near = (
        1 / (1 + steps / NEAR),
        (squared / (values.shape[2] // 2) + 1).rsqrt(),
        (1 + functional.cosine_similarity(here, there, dim=2)) / 2,
    )
    return torch.cat([heads, heads.mean(dim=2, keepdim=True), torch.stack(near, dim=2)], dim=2)
