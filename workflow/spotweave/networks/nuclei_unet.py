"""A small U-Net (Ronneberger et al. 2015, MICCAI) that says of each pixel if and how deep it lies in a nucleus."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS = (16, 32, 64, 96)
STRIDE = 2 ** (len(CHANNELS) - 1)  # sides of pictures are multiples of it
# How far a pixel sees: two convolutions of 3 px a level on the way down and up, the pooling, and the enlarging.
REACH_PX = 65


class NucleiUNet(nn.Module):
    """(B, 3, H, W) from -1 to 1 -> (B, 2, H, W) logits: in a nucleus; its distance to the edge, as a share of the
    largest of its nucleus. H and W are multiples of `STRIDE`."""

    def __init__(self) -> None:
        super().__init__()
        above = (3, *CHANNELS[:-1])
        self.down = nn.ModuleList([_two(one, other) for one, other in zip(above, CHANNELS, strict=True)])
        self.up = nn.ModuleList(
            [_two(CHANNELS[level + 1] + CHANNELS[level], CHANNELS[level]) for level in reversed(range(len(above) - 1))]
        )
        self.head = nn.Conv2d(CHANNELS[0], 2, 1)

    def forward(self, picture: Tensor) -> Tensor:
        """See the class."""
        at_levels = [self.down[0](picture)]
        for level in self.down[1:]:
            at_levels.append(level(nn.functional.max_pool2d(at_levels[-1], 2)))
        seen = at_levels.pop()
        for level in self.up:
            larger = nn.functional.interpolate(seen, scale_factor=2, mode="bilinear", align_corners=False)
            seen = level(torch.cat([larger, at_levels.pop()], dim=1))
        said: Tensor = self.head(seen)
        return said


def _two(taken: int, given: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (taken, given):
        layers += [nn.Conv2d(channels, given, 3, padding=1, bias=False), nn.BatchNorm2d(given), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
