"""What may happen to a training patch: drawn for all pairs of a step at once, done to a part of them at a time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch.nn import functional

# The share of a patch's area that a crop keeps at least.
LEAST_CROP = 0.4


@dataclass(frozen=True)
class Changes:
    """What happens to each of B patches.

    Attributes
    ----------
    mirrored
        (2, B) bool, along the vertical and the horizontal axis.
    quarter_turns
        (B,) int, 0 to 3.
    recoloured
        (2, B, 3, 1, 1) float, of a channel what its gain is above 1, and twice its offset.
    cropped
        (3, B) float: share of the edge that is kept, and where its top and left lie between 0 and 1 of what is left.
    """

    mirrored: torch.Tensor
    quarter_turns: torch.Tensor
    recoloured: torch.Tensor
    cropped: torch.Tensor

    @classmethod
    def draw(cls, count: int, ways: Collection[str], jitter: float, generator: torch.Generator) -> Changes:
        """Changes of `count` patches, each by itself.

        Parameters
        ----------
        ways
            `flip` (mirrored along each axis, or not), `rot90` (by quarter turns) and `crop` (a square of `LEAST_CROP`
            of the area or more, enlarged), or none.
        jitter
            Share of full scale by which a channel's gain, and half of which its offset, may vary.
        """
        mirrored = torch.zeros((2, count), dtype=torch.bool)
        turns = torch.zeros(count, dtype=torch.long)
        recoloured = torch.zeros((2, count, 3, 1, 1))
        if "flip" in ways:
            mirrored = torch.rand((2, count), generator=generator) < 0.5
        if "rot90" in ways:
            turns = torch.randint(4, (count,), generator=generator)
        if jitter > 0:
            # A gain and an offset a channel: brightness, contrast and tint at once, as stains and scanners differ.
            recoloured = (2 * torch.rand((2, count, 3, 1, 1), generator=generator) - 1) * jitter
        cropped = torch.ones((3, count))
        if "crop" in ways:
            cropped = torch.rand((3, count), generator=generator)
            cropped[0] = (LEAST_CROP + (1 - LEAST_CROP) * cropped[0]).sqrt()
        return cls(mirrored, turns, recoloured, cropped)

    def __getitem__(self, rows: slice) -> Changes:
        """Those of some of the patches."""
        return Changes(
            self.mirrored[:, rows], self.quarter_turns[rows], self.recoloured[:, rows], self.cropped[:, rows]
        )

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, H) in 0 to 1 turned, mirrored and recoloured."""
        device, changed = images.device, images.clone()
        for axis, chosen in zip((2, 3), self.mirrored.to(device), strict=True):
            changed[chosen] = changed[chosen].flip(axis)
        turns = self.quarter_turns.to(device)
        for quarter in (1, 2, 3):
            changed[turns == quarter] = changed[turns == quarter].rot90(quarter, (2, 3))
        if self.recoloured.any():
            gain, offset = self.recoloured.to(device)
            changed = ((changed - 0.5) * (1 + gain) + 0.5 + offset / 2).clamp(0, 1)
        if (self.cropped[0] < 1).any():
            changed = self._enlarged(changed)
        return changed

    def _enlarged(self, images: torch.Tensor) -> torch.Tensor:
        """The kept squares at the size of the whole, between pixels."""
        share, top, left = self.cropped.to(images.device)
        maps = torch.zeros((len(images), 2, 3), device=images.device)
        maps[:, 0, 0] = maps[:, 1, 1] = share
        # In -1 to 1 of the picture, where the middle of the square lies.
        maps[:, 0, 2] = (1 - share) * (2 * left - 1)
        maps[:, 1, 2] = (1 - share) * (2 * top - 1)
        grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
