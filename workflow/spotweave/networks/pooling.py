"""What networks of all libraries share: how tokens become an embedding, and weights that a seed gives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


def pool_tokens(tokens: torch.Tensor, pool: str, prefix: int) -> torch.Tensor:
    """Pool tokens (B, T, D), of which the first `prefix` are class and register tokens, to (B, D) or (B, 2 D)."""
    first, mean = tokens[:, 0], tokens[:, prefix:].mean(dim=1)
    return {"cls": first, "avg": mean, "cls+mean": torch.cat([first, mean], dim=1)}[pool]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's CPU randomness from `seed` inside, untouched outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
