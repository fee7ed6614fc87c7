"""scGPT (Cui et al. 2024), the half that embeds: genes and how much of each is counted -> one vector a cell.

Re-implemented from what is published of it: a table of genes and an MLP of values, each normalised and added, and
transformer layers that normalise after each part. Names are those of the published `best_model.pt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# What a file holds beside the encoder, by the first word of a name: what it was trained to answer with.
OTHERS = ("decoder", "mvc_decoder", "cls_decoder", "flag_encoder")
MOST_VALUE = 512.0


@dataclass(frozen=True)
class Sizes:
    """Of the network.

    Attributes
    ----------
    tokens
        Genes and other words of its vocabulary.
    dim, heads, hidden, layers
        Width of a token, and of the transformer: published are 512, 8, 512 and 12.
    """

    tokens: int
    dim: int = 512
    heads: int = 8
    hidden: int = 512
    layers: int = 12


class Genes(nn.Module):
    """(B, T) numbers of the vocabulary -> (B, T, dim)."""

    def __init__(self, tokens: int, dim: int) -> None:
        super().__init__()
        self.embedding, self.enc_norm = nn.Embedding(tokens, dim), nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.enc_norm(self.embedding(tokens))
        return out


class Values(nn.Module):
    """(B, T) values -> (B, T, dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear1, self.linear2, self.norm = nn.Linear(1, dim), nn.Linear(dim, dim), nn.LayerNorm(dim)

    def forward(self, values: Tensor) -> Tensor:
        out: Tensor = self.norm(self.linear2(functional.relu(self.linear1(values.clamp(max=MOST_VALUE).unsqueeze(-1)))))
        return out


class Attention(nn.Module):
    """Queries, keys and values by one map, one behind another."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.Wqkv, self.out_proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.Wqkv(tokens).chunk(3, dim=-1)
        )
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=there[:, None, None])
        out: Tensor = self.out_proj(found.transpose(1, 2).flatten(2))
        return out


class Layer(nn.Module):
    """Both parts, each added to what came in and then normalised."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.self_attn = Attention(sizes.dim, sizes.heads)
        self.linear1, self.linear2 = nn.Linear(sizes.dim, sizes.hidden), nn.Linear(sizes.hidden, sizes.dim)
        self.norm1, self.norm2 = nn.LayerNorm(sizes.dim), nn.LayerNorm(sizes.dim)

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        tokens = self.norm1(tokens + self.self_attn(tokens, there))
        out: Tensor = self.norm2(tokens + self.linear2(functional.relu(self.linear1(tokens))))
        return out


class Layers(nn.Module):
    """One after another."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        for layer in self.layers:
            tokens = layer(tokens, there)
        return tokens


class ScGpt(nn.Module):
    """Cells as tokens (B, T) int64, their values (B, T) and which are there (B, T) bool -> the first (B, dim)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.encoder, self.value_encoder = Genes(sizes.tokens, sizes.dim), Values(sizes.dim)
        self.transformer_encoder = Layers(sizes)

    def forward(self, tokens: Tensor, values: Tensor, there: Tensor) -> Tensor:
        out: Tensor = self.transformer_encoder(self.encoder(tokens) + self.value_encoder(values), there)[:, 0]
        return out


def filled(sizes: Sizes, state: Mapping[str, Any]) -> ScGpt:
    """The network with the tensors of a published file, all of them and no others but those of `OTHERS`.

    Raises
    ------
    RuntimeError
        If a tensor is missing, left over or of another shape; it names them.
    """
    with torch.device("meta"):
        network = ScGpt(sizes)
    own = {name: tensor for name, tensor in state.items() if name.split(".")[0] not in OTHERS}
    network.load_state_dict(own, strict=True, assign=True)
    return network.float().eval().requires_grad_(False)
