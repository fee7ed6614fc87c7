"""What may happen to a training patch."""

from __future__ import annotations

from collections.abc import Collection

import torch


def augment(images: torch.Tensor, ways: Collection[str], jitter: float, generator: torch.Generator) -> torch.Tensor:
    """Turn, mirror and recolour images (B, 3, H, H) in 0 to 1, each by itself.

    Parameters
    ----------
    ways
        `flip` (mirrored along each axis, or not) and `rot90` (by quarter turns), or none.
    jitter
        Share of full scale by which a channel's gain, and half of which its offset, may vary.
    """
    count = len(images)
    turned = images.clone()
    if "flip" in ways:
        for axis in (2, 3):
            chosen = _below(0.5, count, generator, images.device)
            turned[chosen] = turned[chosen].flip(axis)
    if "rot90" in ways:
        turns = torch.randint(4, (count,), generator=generator).to(images.device)
        for quarter in (1, 2, 3):
            turned[turns == quarter] = turned[turns == quarter].rot90(quarter, (2, 3))
    if jitter > 0:
        # A gain and an offset a channel: brightness, contrast and tint at once, as stains and scanners differ.
        draw = (2 * torch.rand((2, count, 3, 1, 1), generator=generator) - 1).to(images.device) * jitter
        turned = ((turned - 0.5) * (1 + draw[0]) + 0.5 + draw[1] / 2).clamp(0, 1)
    return turned


def _below(share: float, count: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    return (torch.rand(count, generator=generator) < share).to(device)
