"""Pictures and expression of pairs as networks take them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from spotweave.finetune.augment import Changes
from spotweave.networks.transform import Transform


class Pictures:
    """The pictures of pairs, read by their numbers, changed and normalised.

    Parameters
    ----------
    images
        (N, H, W, 3) uint8: an array, or rows on a disk.
    transform
        Of the encoder; its size is that of the images.
    ways, jitter
        See `Changes.draw`.
    """

    def __init__(
        self, images: Any, transform: Transform, device: torch.device, ways: Collection[str] = (), jitter: float = 0.0
    ) -> None:
        self.images, self.transform, self.device = images, transform.to(device), device
        self.ways, self.jitter = ways, jitter

    def __len__(self) -> int:
        return len(self.images)

    def changes(self, count: int, generator: torch.Generator) -> Changes:
        """Draw what happens to `count` pictures."""
        return Changes.draw(count, self.ways, self.jitter, generator)

    def normalised(self, numbers: torch.Tensor, changes: Changes | None = None) -> torch.Tensor:
        """(B, 3, H, W) float32 as the encoder takes them."""
        read = torch.from_numpy(self.images[numbers.numpy()]).permute(0, 3, 1, 2)
        # Convolutions of few channels run half as fast again in this layout.
        pixels = read.to(self.device, torch.float32, memory_format=torch.channels_last) / 255
        return self.transform.normalise(pixels if changes is None else changes(pixels))


def rows(values: Any, numbers: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(B, G) float32 of an array or of rows on a disk."""
    return torch.from_numpy(values[numbers.numpy()]).to(device)
