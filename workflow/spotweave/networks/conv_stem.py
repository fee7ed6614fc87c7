"""The stem of CTransPath: convolutions in the place where a Swin transformer cuts its patches.

Wang et al. 2022 (Medical Image Analysis 81, 102559): two 3x3 convolutions of stride 2 and a 1x1 convolution. Tensors
are named as published weights name them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

STRIDE_PX = 4


class ConvStem(nn.Module):
    """(B, C, H, W) images -> (B, H / 4, W / 4, embed_dim) tokens; built by timm in the place of its `PatchEmbed`.

    Raises
    ------
    ValueError
        If the transformer asks for patches of another size than 4 px.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = STRIDE_PX,
        in_chans: int = 3,
        embed_dim: int = 96,
        norm_layer: Callable[[int], nn.Module] = nn.LayerNorm,
        **_: Any,
    ) -> None:
        super().__init__()
        if patch_size != STRIDE_PX:
            raise ValueError(f"patches of {patch_size} px, ConvStem makes tokens of {STRIDE_PX} px")
        self.patch_size = (STRIDE_PX, STRIDE_PX)
        height_px, width_px = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.grid_size = (height_px // STRIDE_PX, width_px // STRIDE_PX)
        layers: list[nn.Module] = []
        for before, after in ((in_chans, embed_dim // 8), (embed_dim // 8, embed_dim // 4)):
            convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.proj = nn.Sequential(*layers, nn.Conv2d(embed_dim // 4, embed_dim, 1))
        self.norm = norm_layer(embed_dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.norm(self.proj(images).permute(0, 2, 3, 1))
