"""CellViT: an encoder, four stems for its skipped connections, and three branches of decoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spotweave.nuclei.cellvit.encoders import NECK, SAM, ViT

BRANCHES = ("nuclei_binary_map", "hv_map", "nuclei_type_maps")


@dataclass(frozen=True)
class Variant:
    """One published size.

    Attributes
    ----------
    arch
        What its checkpoints call the class.
    backbone
        What their configuration calls the encoder.
    dim, heads, depths
        Of the encoder; maps are taken after these blocks.
    everywhere
        Blocks, from 0, of SAM's encoder whose attention is not confined to windows; empty for the plain one.
    widths
        Channels of the bottleneck and of the second and third stage of the stems.
    """

    arch: str
    backbone: str
    dim: int
    heads: int
    depths: tuple[int, int, int, int]
    everywhere: tuple[int, ...]
    widths: tuple[int, int, int]


WIDE = (512, 512, 256)
VARIANTS = {
    "256": Variant("CellViT256", "ViT256", 384, 6, (3, 6, 9, 12), (), (312, 256, 128)),
    "SAM-B": Variant("CellViTSAM", "SAM-B", 768, 12, (3, 6, 9, 12), (2, 5, 8, 11), WIDE),
    "SAM-L": Variant("CellViTSAM", "SAM-L", 1024, 16, (6, 12, 18, 24), (5, 11, 17, 23), WIDE),
    "SAM-H": Variant("CellViTSAM", "SAM-H", 1280, 16, (8, 16, 24, 32), (7, 15, 23, 31), WIDE),
}


class Said(NamedTuple):
    """Logits of the network: tissue (B, tissues), and maps (B, channels, H, W)."""

    tissue_types: Tensor
    nuclei_binary_map: Tensor
    hv_map: Tensor
    nuclei_type_map: Tensor


class Block(nn.Module):
    """Convolutions, a norm and ReLU; preceded by a doubling of the size where it is asked for."""

    def __init__(self, channels: int, out: int, *, doubles: bool = False) -> None:
        super().__init__()
        up = [nn.ConvTranspose2d(channels, out, 2, 2)] if doubles else []
        convolution = nn.Conv2d(out if doubles else channels, out, 3, padding=1)
        self.block = nn.Sequential(*up, convolution, nn.BatchNorm2d(out), nn.ReLU())

    def forward(self, maps: Tensor) -> Tensor:
        return self.block(maps)


class Branch(nn.Module):
    """From the deepest map to full size, past the stems."""

    def __init__(self, dim: int, bottleneck: int, channels: int) -> None:
        super().__init__()
        self.bottleneck_upsampler = nn.ConvTranspose2d(dim, bottleneck, 2, 2)
        self.decoder3_upsampler = nn.Sequential(
            Block(2 * bottleneck, bottleneck),
            Block(bottleneck, bottleneck),
            Block(bottleneck, bottleneck),
            nn.ConvTranspose2d(bottleneck, 256, 2, 2),
        )
        self.decoder2_upsampler = nn.Sequential(Block(512, 256), Block(256, 256), nn.ConvTranspose2d(256, 128, 2, 2))
        self.decoder1_upsampler = nn.Sequential(Block(256, 128), Block(128, 128), nn.ConvTranspose2d(128, 64, 2, 2))
        self.decoder0_header = nn.Sequential(Block(128, 64), Block(64, 64), nn.Conv2d(64, channels, 1))

    def forward(self, deepest: Tensor, stems: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        maps = self.bottleneck_upsampler(deepest)
        stages = (self.decoder3_upsampler, self.decoder2_upsampler, self.decoder1_upsampler, self.decoder0_header)
        for stem, stage in zip(reversed(stems), stages, strict=True):
            maps = stage(torch.cat([stem, maps], dim=1))
        return maps


class CellViT(nn.Module):
    """(B, 3, H, W), normalised, sides multiples of 16 -> `Said`.

    The stems are computed once, not once for each branch: the same numbers, a sixth of the work less.

    Parameters
    ----------
    classes, tissues
        Classes of nuclei, background included, and of tissues.
    has_regression
        Whether the binary branch has two more channels (none of the published checkpoints has); they are left out.
    """

    def __init__(self, variant: Variant, classes: int = 6, tissues: int = 19, *, has_regression: bool = False) -> None:
        super().__init__()
        dim, (bottleneck, second, third) = variant.dim, variant.widths
        self.is_sam = bool(variant.everywhere)
        self.encoder: ViT | SAM
        if self.is_sam:
            self.encoder = SAM(dim, variant.heads, variant.depths, variant.everywhere)
            self.classifier_head = nn.Linear(NECK, tissues)
        else:
            self.encoder = ViT(dim, variant.heads, variant.depths, tissues)
        self.decoder0 = nn.Sequential(Block(3, 32), Block(32, 64))
        self.decoder1 = nn.Sequential(
            Block(dim, second, doubles=True), Block(second, third, doubles=True), Block(third, 128, doubles=True)
        )
        self.decoder2 = nn.Sequential(Block(dim, second, doubles=True), Block(second, 256, doubles=True))
        self.decoder3 = nn.Sequential(Block(dim, bottleneck, doubles=True))
        for name, channels in zip(BRANCHES, (4 if has_regression else 2, 2, classes), strict=True):
            self.add_module(f"{name}_decoder", Branch(dim, bottleneck, channels))

    def forward(self, images: Tensor) -> Said:
        (first, second, third, deepest), summary = self.encoder(images)
        stems = (self.decoder0(images), self.decoder1(first), self.decoder2(second), self.decoder3(third))
        binary, offsets, types = (self.get_submodule(f"{name}_decoder")(deepest, stems) for name in BRANCHES)
        tissue = self.classifier_head(summary) if self.is_sam else summary
        return Said(tissue, binary[:, :2], offsets, types)
