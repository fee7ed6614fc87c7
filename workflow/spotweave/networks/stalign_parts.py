"""Parts of ST-Align (Lin et al. 2024): vectors as tokens, the encoder of genes, the fusion of pictures and genes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from spotweave.networks.attention import Block


class Tokens(nn.Module):
    """A vector (B, W) as tokens (B, `count`, `dim`), by one convolution along it.

    Parameters
    ----------
    width
        W: `dim`, or a multiple of it, of which each token then sees all of at a stride; any other is brought to `dim`
        by a linear layer first (the published encoders need none).
    """

    def __init__(self, width: int, dim: int, count: int) -> None:
        super().__init__()
        step, rest = divmod(width, dim)
        fits = not rest and step > 0
        self.adapter = nn.Identity() if fits else nn.Linear(width, dim)
        self.conv = nn.Conv1d(1, count, step if fits else 1, stride=step if fits else 1)

    def forward(self, vector: Tensor) -> Tensor:
        out: Tensor = self.conv(self.adapter(vector).unsqueeze(1))
        return out


class GeneEncoder(nn.Module):
    """Expression (B, `genes`) -> tokens (B, `count`, `dim`): an MLP, a transformer over its parts, an MLP a token.

    Parameters
    ----------
    token_dim
        Width of a token inside the transformer (genes / 8 in the original, which need not be so).
    """

    def __init__(
        self,
        genes: int,
        dim: int,
        count: int,
        *,
        token_dim: int,
        depth: int,
        heads: int,
        head_dim: int,
        mlp_dim: int,
        hidden: tuple[int, int] = (1024, 512),
        token_hidden: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.count = count
        self.spread = nn.Sequential(
            *(nn.Linear(genes, hidden[0]), nn.ReLU()),
            *(nn.Linear(hidden[0], hidden[1]), nn.ReLU()),
            nn.Linear(hidden[1], count * token_dim),
        )
        self.blocks = nn.Sequential(*(Block(token_dim, heads, head_dim, mlp_dim, dropout) for _ in range(depth)))
        self.narrow = nn.Sequential(nn.Linear(token_dim, token_hidden), nn.ReLU(), nn.Linear(token_hidden, dim))

    def tokens(self, expression: Tensor) -> Tensor:
        """(B, count, token_dim): what goes into the transformer."""
        return self.spread(expression).unflatten(1, (self.count, -1))

    def forward(self, expression: Tensor) -> Tensor:
        out: Tensor = self.narrow(self.blocks(self.tokens(expression)))
        return out


class CrossAttention(nn.Module):
    """Tokens of one kind ask those of the other, both normalised before; nothing is added to what asks."""

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        width = heads * head_dim
        self.norm_query, self.norm_other = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_query, self.to_key, self.to_value = (nn.Linear(dim, width, bias=False) for _ in range(3))
        self.to_out = nn.Linear(width, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, asking: Tensor, other: Tensor) -> Tensor:
        """(B, T, dim) of (B, T, dim) and (B, S, dim)."""
        other = self.norm_other(other)
        queries, keys, values = (
            mapped.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for mapped in (self.to_query(self.norm_query(asking)), self.to_key(other), self.to_value(other))
        )
        found = functional.scaled_dot_product_attention(queries, keys, values)
        out: Tensor = self.dropout(self.to_out(found.transpose(1, 2).flatten(2)))
        return out


class AttentionFusion(nn.Module):
    """The attention-based fusion network (ABFN): both directions of attention, narrowed, side by side, normalised.

    `dim` is a multiple of 8.
    """

    def __init__(self, dim: int, *, heads: int = 8, head_dim: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        self.image_asks = CrossAttention(dim, heads, head_dim, dropout)
        self.gene_asks = CrossAttention(dim, heads, head_dim, dropout)
        self.image_half, self.gene_half = (
            nn.Sequential(nn.Linear(dim, dim // 8), nn.GELU(), nn.Linear(dim // 8, dim // 2)) for _ in range(2)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor, gene: Tensor) -> Tensor:
        """(B, T, dim) of (B, T, dim) twice."""
        halves = self.image_half(self.image_asks(image, gene)), self.gene_half(self.gene_asks(gene, image))
        out: Tensor = self.norm(torch.cat(halves, dim=-1))
        return out


class Concatenation(nn.Module):
    """The ablation of the fusion: tokens side by side, mapped to their width and normalised (our reading of it)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.back, self.norm = nn.Linear(2 * dim, dim), nn.LayerNorm(dim)

    def forward(self, image: Tensor, gene: Tensor) -> Tensor:
        """(B, T, dim) of (B, T, dim) twice."""
        out: Tensor = self.norm(self.back(torch.cat([image, gene], dim=-1)))
        return out


class FrontBlock(nn.Module):
    """A picture of any size (B, 3, H, W) brought to (B, 3, `px`, `px`): batch norm, adaptive mean, 3 x 3 convolution.

    Smaller pictures than `px` are thereby enlarged, each pixel repeated.
    """

    def __init__(self, px: int = 224) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.pool = nn.AdaptiveAvgPool2d(px)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.conv(self.pool(self.norm(images)))
        return out


def small_resnet(dim: int = 512) -> nn.Module:
    """ResNet-50 for pictures of some 28 px, (B, 3, H, W) -> (B, dim): a stem of 3 x 3 at stride 1, no max pooling."""
    from spotweave import torchvision_shim

    torchvision_shim.install()
    import timm

    model = timm.create_model("resnet50", pretrained=False, num_classes=dim)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model
