"""How well embeddings of patches and of spots tell which belong together: measures of it."""

from __future__ import annotations

import torch
from torch.nn import functional


def rankme(embeddings: torch.Tensor) -> float:
    """Effective rank of embeddings (N, D): exp of the entropy of the L1-normalised singular values.

    Garrido et al. 2023; HEST-1k, section 7. From 1 (one direction) to min(N, D) (all alike).
    """
    values = torch.linalg.svdvals(embeddings.double())
    share = values / values.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return float(torch.exp(-(share * share.clamp_min(1e-300).log()).sum()))


def recall_at_1(image: torch.Tensor, expression: torch.Tensor) -> float:
    """Share of patches (N, D) whose nearest spot (N, D), by cosine, is their own."""
    spots = functional.normalize(expression, dim=1).T
    nearest = [(rows @ spots).argmax(dim=1) for rows in functional.normalize(image, dim=1).split(1024)]
    return float((torch.cat(nearest).cpu() == torch.arange(len(image))).double().mean())
