"""TCGN (Xiao et al. 2024, Medical Image Analysis 91, 103040): CMT over one patch, told of by graphs within it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import nn

from spotweave.networks.cmt import Stage, Stem, to_maps
from spotweave.networks.patch_graph import LENGTH_HEADS, PatchGraph, TokenTransformer
from spotweave.networks.renaming import renamed

REDUCTIONS = (8, 4, 2, 1)
SMALLEST = 32  # px: five halvings leave one square


class TCGN(nn.Module):
    """(B, 3, side, side) normalised images -> (B, `genes`). Defaults are CMT-Ti, the published code's.

    Parameters
    ----------
    side
        Of a patch, px; a multiple of 32.
    stem
        Channels of the first three convolutions.
    dims, depths, heads, ratios
        Of the four stages: features of a token, blocks, heads, and how much wider a block's last part is.
    head_dim
        Channels that are averaged over the patch; the layer before the genes has four times as many.
    dropout
        In the graphs and before the last layers.
    drop_path
        Chance that a part of the last block is left out for an image in training; it grows from 0 at the first.
    reversed_edges, lost_gelu, guarded
        With the defects of the original: graphs of a batch in reverse order; a GELU that is computed and not used; an
        image with a square that attends to none is NaN. See `censnet`.
    """

    def __init__(
        self,
        genes: int,
        *,
        side: int = 224,
        stem: int = 16,
        dims: Sequence[int] = (46, 92, 184, 368),
        depths: Sequence[int] = (2, 2, 10, 2),
        heads: Sequence[int] = (1, 2, 4, 8),
        ratios: Sequence[float] = (3.6, 3.6, 3.6, 3.6),
        head_dim: int = 1280,
        dropout: float = 0.1,
        drop_path: float = 0.1,
        reversed_edges: bool = False,
        lost_gelu: bool = False,
        guarded: bool = True,
    ) -> None:
        super().__init__()
        if side % SMALLEST or side < SMALLEST:
            raise ValueError(f"patches of {side} px, allowed: a multiple of {SMALLEST}")
        self.side = side
        self.stem = Stem(stem)
        blocks = sum(depths)
        chances = [drop_path * block / max(blocks - 1, 1) for block in range(blocks)]
        starts = [sum(depths[:stage]) for stage in range(5)]
        self.stages = nn.ModuleList(
            Stage(
                before,
                dim,
                side >> (stage + 2),
                heads=heads[stage],
                ratio=ratios[stage],
                reduction=REDUCTIONS[stage],
                drop_paths=chances[starts[stage] : starts[stage + 1]],
            )
            for stage, (before, dim) in enumerate(pairwise([stem, *dims]))
        )
        grid = side // 16
        self.graphs = nn.ModuleList(
            PatchGraph(
                dims[stage],
                grid,
                2 - stage,
                dropout=dropout,
                reversed_edges=reversed_edges,
                lost_gelu=lost_gelu,
                guarded=guarded,
            )
            for stage in (0, 1)
        )
        self.merges = nn.ModuleList(
            TokenTransformer(grid**2, LENGTH_HEADS, itself=True, dropout=dropout) for _ in (0, 1)
        )
        self.gathered = nn.Sequential(nn.Conv2d(dims[-1], head_dim, 1), nn.BatchNorm2d(head_dim), nn.SiLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(nn.Linear(head_dim, 4 * head_dim), nn.GELU(), nn.Linear(4 * head_dim, genes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.dropout(self.pooled(images)))

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """(B, `head_dim`) of the patch, before the last layers. Raises `ValueError` for patches of another size."""
        if images.shape[2:] != (self.side, self.side):
            raise ValueError(f"patches of {images.shape[2]} x {images.shape[3]} px, allowed: {self.side} x {self.side}")
        first, second, third, fourth = self.stages
        near = to_maps(first(self.stem(images)))
        far = to_maps(second(near))
        tokens = self._merged(0, third.get_submodule("embedding")(far), self.graphs[0](near))
        tokens = self._merged(1, cast(Stage, third).run(tokens), self.graphs[1](far))
        return self.gathered(to_maps(fourth(to_maps(tokens)))).mean(dim=(2, 3))

    def _merged(self, which: int, tokens: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """(B, N, C) tokens whose channels have looked at the graph's, each channel a token over all squares."""
        channels = torch.cat([tokens, told], dim=2).transpose(1, 2)
        return self.merges[which](channels).transpose(1, 2)[:, :, : tokens.shape[2]]


def from_published(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights under the names of the published code, by ours."""
    graph, fusion = r"gnn_block(\d)\.", r"gnn_block(\d)\.transformer_fusion_encoder\."
    stages = [
        pair
        for number, letter in enumerate("abcd")
        for pair in (
            (f"relative_pos_{letter}", f"stages.{number}.places"),
            (f"patch_embed_{letter}", f"stages.{number}.embedding"),
            *_blocks(rf"blocks_{letter}\.(\d+)\.", rf"stages.{number}.blocks.\1."),
        )
    ]
    names = [
        *((f"stem_conv{number + 1}", f"stem.{3 * number}") for number in range(3)),
        *((f"stem_norm{number + 1}", f"stem.{3 * number + 2}") for number in range(3)),
        *stages,
        (graph + "relative_pos", r"graphs.\1.places"),
        (graph + "patch_embedding", r"graphs.\1.embedding"),
        *_blocks(graph + r"CMT_encoder1\.", r"graphs.\1.encoder."),
        *(
            pair
            for number in (0, 1)
            for pair in (
                (graph + rf"convnext{number + 1}\.(\d)\.layer_scaler\.gamma", rf"graphs.\1.halvings.{number}.\2.scale"),
                (graph + f"convnext{number + 1}", rf"graphs.\1.halvings.{number}"),
            )
        ),
        (graph + r"MHSA\.value_transform", r"graphs.\1.v"),
        (graph + r"MHSA\.([qk])", r"graphs.\1.\2"),
        *(
            pair
            for number, ours in enumerate(("first", "second", "third"))
            for pair in (
                (graph + rf"censnet\.gc{number + 1}\.p", rf"graphs.\1.convolutions.{ours}.score"),
                (graph + rf"censnet\.gc{number + 1}", rf"graphs.\1.convolutions.{ours}"),
            )
        ),
        *_transformer(fusion + r"edge_transformer\.", r"graphs.\1.edges."),
        *_blocks(fusion + r"node_transformer\.", r"graphs.\1.nodes."),
        *_transformer(fusion + r"channel_attention_\d+\.", r"graphs.\1.channels."),
        (fusion + "linear_fusion", r"graphs.\1.fused"),
        *_transformer(r"channel_attention(\d)\.transformer\.", r"merges.\1."),
        ("_fc", "gathered.0"),
        ("_bn", "gathered.1"),
        ("head", "head"),
    ]
    return renamed(state, names)


def _blocks(theirs: str, ours: str) -> list[tuple[str, str]]:
    parts = (
        (r"attn\.sr", "attention.reduced"),
        ("attn", "attention"),
        (r"mlp\.conv1", "feed.widen"),
        (r"mlp\.conv2", "feed.narrow"),
        (r"mlp\.proj_bn", "feed.norm"),
        (r"mlp\.proj", "feed.around"),
        ("proj", "around"),
        ("norm1", "norm1"),
        ("norm2", "norm2"),
    )
    return [(theirs + part, ours + own) for part, own in parts]


def _transformer(theirs: str, ours: str) -> list[tuple[str, str]]:
    parts = (
        ("layernorm1", "norm1"),
        ("layernorm2", "norm2"),
        (r"Attention\.qkv", "qkv"),
        (r"FFN\.0", "widen"),
        (r"FFN\.3", "narrow"),
    )
    return [(theirs + part, ours + own) for part, own in parts]
