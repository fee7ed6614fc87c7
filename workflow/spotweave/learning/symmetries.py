"""The eight ways to lay a square: turns by 90 degrees, and each of them mirrored."""

from __future__ import annotations

import torch

# (quarter turns, mirrored upside down): the order of ST-Net's predictions, whose mean it takes.
EIGHT = tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4))


def laid(images: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    """(B, C, H, W) square images turned counter-clockwise, and then mirrored upside down."""
    turned = torch.rot90(images, turns, dims=(2, 3))
    return turned.flip(2) if mirrored else turned


def laid_at_random(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(B, C, H, W), each image in one of the eight ways, all equally likely."""
    ways = torch.randint(len(EIGHT), (len(images),), generator=generator).tolist()
    return torch.cat([laid(image[None], *EIGHT[way]) for image, way in zip(images, ways, strict=True)])
