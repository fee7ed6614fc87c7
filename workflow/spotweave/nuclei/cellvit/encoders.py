"""The two encoders of CellViT: a plain vision transformer (HIPT's ViT-256) and SAM's (Kirillov et al. 2023).

Both take (B, 3, H, W) and return feature maps of four depths, each (B, dim, H / 16, W / 16), the last the deepest.
Names of modules are those of the published state dicts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spotweave.nuclei.cellvit.attention import Attention, RelativeAttention

PATCH_PX = 16
EPS = 1e-6
TRAINED_SIDE = 14  # tokens a side of HIPT's training images
WINDOW = 14
SAM_SIDE = 64  # of its largest picture, 1024 px
NECK = 256


def _patches(dim: int) -> nn.Module:
    return nn.Sequential(OrderedDict(proj=nn.Conv2d(3, dim, PATCH_PX, PATCH_PX)))


def _mlp(dim: int, names: tuple[str, str]) -> nn.Module:
    layers = ((names[0], nn.Linear(dim, 4 * dim)), ("act", nn.GELU()), (names[1], nn.Linear(4 * dim, dim)))
    return nn.Sequential(OrderedDict(layers))


class ViTBlock(nn.Module):
    """Attention and a perceptron over (B, N, dim), each after its norm and added."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = _mlp(dim, ("fc1", "fc2"))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class ViT(nn.Module):
    """A vision transformer with a class token, as DINO trains them.

    Parameters
    ----------
    depths
        After how many blocks the four maps are taken; they are not normalised.
    tissues
        Classes of the head on the class token.
    """

    def __init__(self, dim: int, heads: int, depths: Sequence[int], tissues: int) -> None:
        super().__init__()
        self.depths = tuple(depths)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + TRAINED_SIDE**2, dim))
        self.patch_embed = _patches(dim)
        self.blocks = nn.ModuleList(ViTBlock(dim, heads) for _ in range(self.depths[-1]))
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.head = nn.Linear(dim, tissues)

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The four maps, and what the class token says of the tissue, (B, tissues)."""
        patches = self.patch_embed(images)
        rows, columns = patches.shape[2:]
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + positions(self.pos_embed, rows, columns)
        maps = []
        for depth, block in enumerate(self.blocks, start=1):
            tokens = block(tokens)
            if depth in self.depths:
                maps.append(tokens[:, 1:].transpose(1, 2).reshape(len(images), -1, rows, columns))
        return maps, self.head(self.norm(tokens[:, 0]))


def positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """(1, 1 + rows * columns, dim): places for a grid of tokens, from those of the training's grid.

    Scaled by a factor that is a tenth of a token too large, as DINO does and CellViT was trained: asking for the size
    instead gives other numbers.
    """
    side = TRAINED_SIDE
    if (rows, columns) == (side, side):
        return table
    grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factors = ((rows + 0.1) / side, (columns + 0.1) / side)
    grid = F.interpolate(grid, scale_factor=factors, mode="bicubic")
    return torch.cat([table[:, :1], grid.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)], dim=1)


class SAMBlock(nn.Module):
    """A block of SAM's encoder over (B, g, g, dim): attention within windows, or over the whole grid."""

    def __init__(self, dim: int, heads: int, *, window: int, side: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = RelativeAttention(dim, heads, window or side)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = _mlp(dim, ("lin1", "lin2"))

    def forward(self, grid: Tensor) -> Tensor:
        normed = self.norm1(grid)
        grid = grid + (self._in_windows(normed) if self.window else self.attn(normed))
        return grid + self.mlp(self.norm2(grid))

    def _in_windows(self, grid: Tensor) -> Tensor:
        """Zeros fill the last windows, and take part: as SAM was trained."""
        batch, side, _, dim = grid.shape
        many = -(-side // self.window)
        beyond = many * self.window - side
        padded = F.pad(grid, (0, 0, 0, beyond, 0, beyond))
        windows = padded.reshape(batch, many, self.window, many, self.window, dim).transpose(2, 3)
        mixed = self.attn(windows.reshape(-1, self.window, self.window, dim))
        whole = mixed.reshape(batch, many, many, self.window, self.window, dim).transpose(2, 3)
        return whole.reshape(batch, many * self.window, many * self.window, dim)[:, :side, :side]


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        normed = F.layer_norm(maps.permute(0, 2, 3, 1), (len(self.weight),), self.weight, self.bias, EPS)
        return normed.permute(0, 3, 1, 2)


class SAM(nn.Module):
    """SAM's encoder, for square pictures of up to 16 * `side` px.

    Parameters
    ----------
    depths
        After how many blocks the four maps are taken.
    everywhere
        Blocks, from 0, whose attention is not confined to windows.
    window, side
        Tokens a side of a window and of the largest picture.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        depths: Sequence[int],
        everywhere: Sequence[int],
        *,
        window: int = WINDOW,
        side: int = SAM_SIDE,
    ) -> None:
        super().__init__()
        self.depths = tuple(depths)
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, dim))
        self.patch_embed = _patches(dim)
        self.blocks = nn.ModuleList(
            SAMBlock(dim, heads, window=0 if number in everywhere else window, side=side)
            for number in range(self.depths[-1])
        )
        self.neck = nn.Sequential(
            nn.Conv2d(dim, NECK, 1, bias=False),
            ChannelNorm(NECK),
            nn.Conv2d(NECK, NECK, 3, padding=1, bias=False),
            ChannelNorm(NECK),
        )

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The four maps, and the mean of the neck, (B, 256); the decoders do not use the neck."""
        height, width = images.shape[2:]
        if height != width or height > PATCH_PX * self.pos_embed.shape[1]:
            most = PATCH_PX * self.pos_embed.shape[1]
            raise ValueError(f"SAM's encoder takes squares of up to {most} px, not {height} x {width}")
        grid = self.patch_embed(images).permute(0, 2, 3, 1)
        side = grid.shape[1]
        grid = grid + self.pos_embed[:, :side, :side]
        maps = []
        for depth, block in enumerate(self.blocks, start=1):
            grid = block(grid)
            if depth in self.depths:
                maps.append(grid.permute(0, 3, 1, 2))
        return maps, self.neck(maps[-1]).mean(dim=(2, 3))
