"""The picture's half of MUSK (Xiang et al. 2025), a BEiT-3 (Wang et al. 2023): a transformer that normalises once more
within each of its parts. Names are those of its published file, without the branch for text.
"""

from __future__ import annotations

import torch
from torch import nn

# Rows of its table of positions that no token has.
SKIPPED = 2


class Attention(nn.Module):
    """(B, N, dim) -> the same; what is gathered is normalised before it is mapped."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))
        self.inner_attn_ln = nn.LayerNorm(dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        parts = (self.q_proj(tokens), self.k_proj(tokens), self.v_proj(tokens))
        heads = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts]
        gathered = nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        out: torch.Tensor = self.out_proj(self.inner_attn_ln(gathered))
        return out


class FeedForward(nn.Module):
    """(B, N, dim) -> the same; what is between its two layers is normalised."""

    def __init__(self, dim: int, wide: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, wide), nn.Linear(wide, dim)
        self.ffn_layernorm = nn.LayerNorm(wide)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc2(self.ffn_layernorm(nn.functional.gelu(self.fc1(tokens))))
        return out


class Layer(nn.Module):
    """Both parts, each added to what came in."""

    def __init__(self, dim: int, heads: int, wide: int) -> None:
        super().__init__()
        self.self_attn = Attention(dim, heads)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, wide)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.self_attn(self.self_attn_layer_norm(tokens))
        return tokens + self.ffn(self.final_layer_norm(tokens))


class Embedding(nn.Module):
    """(B, 3, H, W) -> (B, 1 + N, dim): a token of its own, then squares row by row."""

    def __init__(self, dim: int, token_px: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.proj = nn.Conv2d(3, dim, token_px, token_px)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        squares = self.proj(images).flatten(2).transpose(1, 2)
        return torch.cat([self.cls_token.expand(len(images), -1, -1), squares], dim=1)


class Encoder(nn.Module):
    """(B, 1 + N, dim) -> the same, normalised."""

    def __init__(self, dim: int, layers: int, heads: int, n_tokens: int) -> None:
        super().__init__()
        self.embed_positions = nn.Embedding(n_tokens + SKIPPED, dim)
        self.layers = nn.ModuleList(Layer(dim, heads, 4 * dim) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.embed_positions.weight[SKIPPED:]
        for layer in self.layers:
            tokens = layer(tokens)
        out: torch.Tensor = self.layer_norm(tokens)
        return out


class Musk(nn.Module):
    """(B, 3, image_px, image_px) normalised -> (B, dim), its first token.

    Parameters
    ----------
    image_px, token_px
        Sides of an image and of what becomes one token; the first is a multiple of the second.
    """

    def __init__(
        self, image_px: int, *, dim: int = 1024, layers: int = 24, heads: int = 16, token_px: int = 16
    ) -> None:
        super().__init__()
        self.vision_embed = Embedding(dim, token_px)
        self.encoder = Encoder(dim, layers, heads, (image_px // token_px) ** 2 + 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.encoder(self.vision_embed(images))[:, 0]
        return out

    def no_weight_decay(self) -> set[str]:
        """Positions and the first token."""
        return {"vision_embed.cls_token", "encoder.embed_positions.weight"}
