"""EGN (Yang et al., WACV 2023): a vision transformer over one patch, guided by the exemplars nearest to it.

Re-implemented from a description of the published network. Two behaviours of the original are kept, as its weights
and its number of parameters stand on them: every bridge holds an output layer that is never called (`unused`), and the
query that a bridge updates only drives its gate, while the incoming one is carried on. One is mended: its bridges take
every patch for 8 x 8 tokens, so that only image_px / token_px = 8 can run. `published_grid` restores that.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from spotweave.networks.csra import TokenPool
from spotweave.networks.renaming import renamed

PUBLISHED_SIDE = 8


class Mlp(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) of (..., dim)."""
        out: Tensor = self.outer(nn.functional.gelu(self.inner(x)))
        return out


class Attention(nn.Module):
    """Multi-head self-attention over tokens, the maps to query, key and value without bias."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) of (B, T, dim)."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Projector(nn.Module):
    """Features of the spot and of its exemplars into the width of the tokens."""

    def __init__(self, dim: int, feature_dim: int, n_genes: int, layers: int) -> None:
        super().__init__()
        self.query = nn.Linear(feature_dim, dim)
        self.exemplar = nn.Linear(feature_dim + n_genes, dim)
        self.value = nn.Linear(n_genes, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(layers))
        self.mlps = nn.ModuleList(Mlp(dim, dim) for _ in range(layers))

    def forward(self, feature: Tensor, features: Tensor, expression: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query (B, 1, dim), keys (B, K, dim) and values (B, K, dim)."""
        both = torch.cat([self.query(feature), self.exemplar(torch.cat([features, expression], dim=-1))], dim=1)
        for norm, mlp in zip(self.norms, self.mlps, strict=True):
            both = both + mlp(norm(both))
        return both[:, :1], both[:, 1:], self.value(expression)


class Bridge(nn.Module):
    """Exemplar bridging: exemplars change the query, and the query gates a map of the tokens, head by head."""

    def __init__(self, dim: int, heads: int, head_dim: int, n_tokens: int) -> None:
        super().__init__()
        self.heads, self.n_tokens = heads, n_tokens
        width = heads * head_dim
        self.gates = nn.Sequential(nn.Linear(2 * dim, 4 * head_dim), nn.SiLU(), nn.Linear(4 * head_dim, 2 * dim))
        self.value = nn.Linear(dim, dim)
        self.key_norm = nn.LayerNorm(dim)
        self.to_map = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, width))
        self.to_spatial_gate = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, heads * n_tokens))
        self.to_tokens = nn.Linear(width, dim, bias=False)
        self.to_query = nn.Linear(width, dim, bias=False)
        self.unused = nn.Linear(width, dim)

    def forward(self, tokens: Tensor, query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """New tokens (B, T, dim), query (B, 1, dim) and keys (B, K, dim).

        Raises
        ------
        ValueError
            If there are not as many tokens as the spatial gate has places.
        """
        if tokens.shape[1] != self.n_tokens:
            raise ValueError(f"EGN: {tokens.shape[1]} tokens, but its bridges are built for {self.n_tokens}")
        gate_query, gate_key = self.gates(torch.cat([query - keys, keys], dim=-1)).sigmoid().chunk(2, dim=-1)
        value = self.value(values)
        asked = query + (gate_query * value).mean(dim=1, keepdim=True)
        keys = self.key_norm(keys + gate_key * value)
        # (B, T, heads, head_dim) times (B, T, heads, 1)
        gate = self.to_spatial_gate(asked).sigmoid().view(len(tokens), self.heads, -1, 1).transpose(1, 2)
        gated = (self.to_map(tokens).unflatten(-1, (self.heads, -1)) * gate).flatten(2)
        return tokens + self.to_tokens(gated), query + self.to_query(gated.mean(dim=1, keepdim=True)), keys


class Block(nn.Module):
    """Attention, a bridge in every `bridge_every`-th block, MLP; each added to what came in."""

    def __init__(self, dim: int, heads: int, head_dim: int, mlp_dim: int, bridge: Bridge | None) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(dim), Attention(dim, heads, head_dim)
        self.bridge = bridge
        self.mlp_norm, self.mlp = nn.LayerNorm(dim), Mlp(dim, mlp_dim)

    def forward(
        self, tokens: Tensor, places: Tensor, query: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """New tokens, query and keys; `places` is added to what attention sees, not to what is carried on."""
        tokens = tokens + self.attention(self.attention_norm(tokens + places))
        if self.bridge is not None:
            tokens, query, keys = self.bridge(tokens, query, keys, values)
        return tokens + self.mlp(self.mlp_norm(tokens)), query, keys


class EgnV1(nn.Module):
    """EGN version 1.

    Parameters
    ----------
    n_genes, n_outputs
        Genes of the exemplars, and genes predicted (as many, where left out).
    image_px, token_px
        Sides of the patch and of what becomes one token; the first is a multiple of the second.
    dim, depth, heads, head_dim, mlp_dim
        Of the transformer.
    bridge_heads, bridge_head_dim, bridge_every
        Of the bridges; they stand in blocks bridge_every, 2 bridge_every, ...
    feature_dim
        Length of the feature by which exemplars were found.
    projector_layers
        Residual MLPs after the projection of features.
    published_grid
        Take every patch for 8 x 8 tokens, as the original does; other sizes are then an error.
    vector_dim
        Length of an encoder's vector, which is then the one token of a spot; None for tokens of the patch.

    Raises
    ------
    ValueError
        If the sizes do not fit.
    """

    def __init__(
        self,
        n_genes: int,
        n_outputs: int | None = None,
        *,
        image_px: int = 224,
        token_px: int = 32,
        channels: int = 3,
        dim: int = 1024,
        depth: int = 8,
        heads: int = 16,
        head_dim: int = 64,
        mlp_dim: int = 4096,
        bridge_heads: int = 8,
        bridge_head_dim: int = 64,
        bridge_every: int = 2,
        feature_dim: int = 2048,
        projector_layers: int = 2,
        published_grid: bool = False,
        vector_dim: int | None = None,
    ) -> None:
        super().__init__()
        side, rest = divmod(image_px, token_px) if vector_dim is None else (1, 0)
        if rest or not side:
            raise ValueError(f"EGN: a patch of {image_px} px does not divide into tokens of {token_px} px")
        if published_grid and side != PUBLISHED_SIDE:
            raise ValueError(
                f"EGN as published: {side} x {side} tokens, but its bridges take every patch for"
                f" {PUBLISHED_SIDE} x {PUBLISHED_SIDE}; use {PUBLISHED_SIDE * token_px} px or the mended grid"
            )
        self.token_px = token_px
        self.embed = nn.Linear(channels * token_px**2 if vector_dim is None else vector_dim, dim)
        # One place more than there are tokens, as in the transformer it was made of; the last is not used.
        self.places = nn.Parameter(torch.randn(1, side**2 + 1, dim))
        self.projector = Projector(dim, feature_dim, n_genes, projector_layers)
        self.blocks = nn.ModuleList(
            Block(
                dim,
                heads,
                head_dim,
                mlp_dim,
                Bridge(dim, bridge_heads, bridge_head_dim, side**2) if number % bridge_every == 0 else None,
            )
            for number in range(1, depth + 1)
        )
        self.pool = TokenPool(dim)
        self.head = nn.Sequential(nn.LayerNorm(2 * dim), nn.Linear(2 * dim, n_outputs or n_genes))

    def tokens(self, images: Tensor) -> Tensor:
        """(B, T, dim) of (B, channels, S, S): squares row by row, within one row, column, channel.

        Of (B, 1, vector_dim): each vector one token.
        """
        if images.ndim == 3:
            vectors: Tensor = self.embed(images)
            return vectors
        squares = images.unfold(2, self.token_px, self.token_px).unfold(3, self.token_px, self.token_px)
        out: Tensor = self.embed(squares.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2))
        return out

    def forward(
        self, images: Tensor, feature: Tensor, exemplar_features: Tensor, exemplar_expression: Tensor
    ) -> Tensor:
        """(B, n_outputs) float.

        Parameters
        ----------
        images
            (B, channels, S, S) normalised; or vectors (B, 1, vector_dim).
        feature
            (B, 1, F) of the spot itself.
        exemplar_features, exemplar_expression
            (B, K, F) and (B, K, n_genes); their order has no influence.
        """
        tokens = self.tokens(images)
        places = self.places[:, : tokens.shape[1]]
        tokens = tokens + places
        query, keys, values = self.projector(feature, exemplar_features, exemplar_expression)
        for block in self.blocks:
            tokens, query, keys = block(tokens, places, query, keys, values)
        out: Tensor = self.head(torch.cat([self.pool(tokens), query.squeeze(1)], dim=-1))
        return out


_NAMES = (
    (r"pos_embedding", "places"),
    (r"to_patch_embedding\.1", "embed"),
    (r"transformer\.encoder\.layers\.(\d+)\.norm", r"projector.norms.\1"),
    (r"transformer\.encoder\.layers\.(\d+)\.fn\.net\.0", r"projector.mlps.\1.inner"),
    (r"transformer\.encoder\.layers\.(\d+)\.fn\.net\.3", r"projector.mlps.\1.outer"),
    (r"transformer\.encoder\.proq", "projector.query"),
    (r"transformer\.encoder\.proe", "projector.exemplar"),
    (r"transformer\.encoder\.to_v", "projector.value"),
    (r"transformer\.layers\.(\d+)\.0\.norm", r"blocks.\1.attention_norm"),
    (r"transformer\.layers\.(\d+)\.0\.fn\.to_qkv", r"blocks.\1.attention.qkv"),
    (r"transformer\.layers\.(\d+)\.0\.fn\.to_out\.0", r"blocks.\1.attention.out"),
    (r"transformer\.layers\.(\d+)\.1\.update\.query", r"blocks.\1.bridge.gates"),
    (r"transformer\.layers\.(\d+)\.1\.update\.value", r"blocks.\1.bridge.value"),
    (r"transformer\.layers\.(\d+)\.1\.update\.norm", r"blocks.\1.bridge.key_norm"),
    (r"transformer\.layers\.(\d+)\.1\.to_x", r"blocks.\1.bridge.to_map"),
    (r"transformer\.layers\.(\d+)\.1\.to_k", r"blocks.\1.bridge.to_spatial_gate"),
    (r"transformer\.layers\.(\d+)\.1\.to_v\.1", r"blocks.\1.bridge.to_tokens"),
    (r"transformer\.layers\.(\d+)\.1\.to_n\.1", r"blocks.\1.bridge.to_query"),
    (r"transformer\.layers\.(\d+)\.1\.to_out", r"blocks.\1.bridge.unused"),
    (r"transformer\.layers\.(\d+)\.2\.norm", r"blocks.\1.mlp_norm"),
    (r"transformer\.layers\.(\d+)\.2\.fn\.net\.0", r"blocks.\1.mlp.inner"),
    (r"transformer\.layers\.(\d+)\.2\.fn\.net\.3", r"blocks.\1.mlp.outer"),
    (r"transformer\.pool\.head", "pool.score"),
    (r"mlp_head", "head"),
)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a published EGN under the names of `EgnV1`, for `load_state_dict(strict=True)`.

    Raises
    ------
    KeyError
        If a name is not one of the published network's.
    """
    return renamed(state, _NAMES)
