"""The loss of SimCLR (Chen et al. 2020): two views of the same picture find each other among all views of the batch."""

from __future__ import annotations

import torch
from torch.nn import functional


def nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float = 0.5) -> torch.Tensor:
    """Normalised temperature-scaled cross-entropy, the mean over 2 B views; a view is no candidate for itself.

    Parameters
    ----------
    first, second
        (B, D) float, of any length: they are normalised here. 0 for a single pair.
    temperature
        Divides cosine similarities.
    """
    views = functional.normalize(torch.cat([first, second]), dim=1)
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    logits = (views @ views.T / temperature).masked_fill(itself, -torch.inf)
    partner = torch.arange(len(views), device=views.device).roll(len(first))
    return functional.cross_entropy(logits, partner)
