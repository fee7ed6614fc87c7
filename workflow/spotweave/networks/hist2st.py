"""Hist2ST (Zeng et al. 2022): convolutions within a patch, attention over the section, messages between neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from spotweave.networks.attention import Block, published_blocks
from spotweave.networks.places import PlaceEmbedding
from spotweave.networks.renaming import renamed

HEAD_DIM = 64
MEAN_RANGE, DISPERSION_RANGE = (1e-5, 1e6), (1e-4, 1e4)
TINY = 1e-10


@dataclass(frozen=True)
class Said:
    """What the network says of N spots: (N, G) `expression`, and of counts the `mean`, `dispersion` and `dropout`
    probability, each (N, G); (N, 1) `weight` of this look among several at the same spots, before softmax."""

    expression: torch.Tensor
    mean: torch.Tensor
    dispersion: torch.Tensor
    dropout: torch.Tensor
    weight: torch.Tensor


class ConvMixer(nn.Module):
    """Two depthwise convolutions added on, then one across channels."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()

        def depthwise() -> list[nn.Module]:
            conv = nn.Conv2d(channels, channels, kernel, groups=channels, padding="same")
            return [conv, nn.BatchNorm2d(channels), nn.GELU()]

        self.within = nn.Sequential(*depthwise(), *depthwise())
        self.across = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.GELU(), nn.BatchNorm2d(channels))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.across(maps + self.within(maps))


class MeanOfNeighbours(nn.Module):
    """GraphSAGE's step: the mean of a spot's neighbours, mapped, cut at 0, of length 1.

    Parameters
    ----------
    guarded
        Whether a spot without neighbours hears nothing (zeros); else, as published, 0 / 0, which the next step's dense
        product spreads over the whole section.
    """

    def __init__(self, dim: int, *, guarded: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, dim))
        nn.init.kaiming_normal_(self.weight)
        self.guarded = guarded

    def forward(self, spots: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        degree = neighbours.sum(dim=1, keepdim=True)
        heard = (neighbours / (degree.clamp_min(1) if self.guarded else degree)) @ spots
        return functional.normalize(functional.relu(heard @ self.weight.T), dim=1)


class Hist2ST(nn.Module):
    """Patches (N, 3, side, side) or vectors (N, D), places (N, 2) and neighbours (N, N) of a section -> `Said`.

    Parameters
    ----------
    side
        Of a patch, px; cut into squares of `patch` px.
    channels, kernel
        Of the convolutions; a token has (side // patch)^2 * channels // 8 features.
    mixers, blocks, steps
        How many there are of each kind.
    guarded
        As `MeanOfNeighbours`; false for the published behaviour.
    vector_dim
        Length of the vectors of an encoder that take the place of the convolutions; None for patches.
    """

    def __init__(
        self,
        genes: int,
        *,
        side: int = 224,
        patch: int = 7,
        channels: int = 16,
        kernel: int = 5,
        mixers: int = 2,
        blocks: int = 8,
        steps: int = 4,
        heads: int = 16,
        places: int = 64,
        dropout: float = 0.2,
        guarded: bool = True,
        vector_dim: int | None = None,
    ) -> None:
        super().__init__()
        dim = (side // patch) ** 2 * channels // 8
        self.embed: nn.Module
        if vector_dim is None:
            self.embed = nn.Conv2d(3, channels, patch, patch)
            self.mixers = nn.Sequential(*(ConvMixer(channels, kernel) for _ in range(mixers)))
            self.narrow: nn.Module = nn.Conv2d(channels, channels // 8, 1)
        else:
            self.embed, self.mixers, self.narrow = nn.Linear(vector_dim, dim), nn.Sequential(), nn.Identity()
        self.place = PlaceEmbedding(places, dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, HEAD_DIM, dim, dropout) for _ in range(blocks))
        self.steps = nn.ModuleList(MeanOfNeighbours(dim, guarded=guarded) for _ in range(steps))
        self.jump = nn.LSTM(dim, dim, 2)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, genes))
        self.mean, self.dispersion, self.zero = (nn.Linear(dim, genes) for _ in range(3))
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 1))

    def forward(self, patches: torch.Tensor, grid: torch.Tensor, neighbours: torch.Tensor) -> Said:
        maps = self.narrow(self.mixers(self.embed(patches)))
        across, down = self.place(grid)
        tokens = self.dropout(maps.flatten(1) + across + down)[None]
        for block in self.blocks:
            tokens = block(tokens)
        spots, heard = tokens[0], []
        for step in self.steps:
            spots = step(spots, neighbours)
            heard.append(spots)
        found = self.jump(torch.stack(heard))[0].mean(dim=0)
        return Said(
            self.head(found),
            self.mean(found).exp().clamp(*MEAN_RANGE),
            functional.softplus(self.dispersion(found)).clamp(*DISPERSION_RANGE),
            self.zero(found).sigmoid(),
            self.score(found),
        )


def zinb_loss(
    counts: torch.Tensor, mean: torch.Tensor, dispersion: torch.Tensor, dropout: torch.Tensor, factors: torch.Tensor
) -> torch.Tensor:
    """Mean negative log-likelihood of counts that are negative binomial, or zero with another probability.

    Parameters
    ----------
    counts, mean, dispersion, dropout
        (N, G); the mean is of a spot whose size factor is 1.
    factors
        (N,) a spot's total by the median total.
    """
    mean = mean * factors[:, None]
    log_nb = (
        torch.lgamma(counts + dispersion)
        - torch.lgamma(dispersion + TINY)
        - torch.lgamma(counts + 1)
        - (dispersion + counts) * torch.log1p(mean / (dispersion + TINY))
        + counts * (torch.log(mean + TINY) - torch.log(dispersion + TINY))
    )
    some = -log_nb - torch.log(1 - dropout + TINY)
    none = -torch.log(dropout + (1 - dropout) * (dispersion / (dispersion + mean + TINY)) ** dispersion + TINY)
    return torch.where(counts <= 1e-8, none, some).mean()


def mixture(looks: list[Said]) -> torch.Tensor:
    """(N, G) expression of several looks at the same spots, weighted for each spot."""
    weights = torch.stack([look.weight for look in looks]).softmax(dim=0)
    return (weights * torch.stack([look.expression for look in looks])).sum(dim=0)


def from_published(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights under the names of the published code, by ours."""
    root = r"vit\.transformer\."
    names = [
        ("patch_embedding", "embed"),
        ("x_embed", "place.x"),
        ("y_embed", "place.y"),
        (root + r"layer1\.(\d+)\.dw", r"mixers.\1.within"),
        (root + r"layer1\.(\d+)\.pw", r"mixers.\1.across"),
        *published_blocks(root + "layer2", "blocks", "attn", "ff"),
        (root + r"layer3\.(\d+)\.weight", r"steps.\1.weight"),
        (root + r"jknet\.0\.(\w+)", r"jump.\1"),
        (root + r"down\.0", "narrow"),
        (r"mean\.0", "mean"),
        (r"disp\.0", "dispersion"),
        (r"pi\.0", "zero"),
        ("coef", "score"),
        ("gene_head", "head"),
    ]
    return renamed(state, names)
