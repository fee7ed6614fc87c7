"""InfoNCE (van den Oord et al. 2018) in one direction, with negatives of three kinds, and in both."""

from __future__ import annotations

import torch
from torch.nn import functional

REDUCTIONS = ("mean", "sum", "none")


def info_nce_one_way(
    query: torch.Tensor,
    positive: torch.Tensor,
    negatives: torch.Tensor | None = None,
    *,
    temperature: float = 0.1,
    reduction: str = "mean",
) -> torch.Tensor:
    """-log of the share that the positive has among the candidates of its query; it is a candidate itself.

    Parameters
    ----------
    query, positive
        (B, D) float, of any length: all embeddings are normalised here.
    negatives
        (B, K, D), of each query its own, as ST-Align has them; or (K, D), the same for all; or None: the other
        positives of the batch.
    temperature
        Divides cosine similarities.
    reduction
        `mean` or `sum` over the batch, both scalars, or `none`: (B,).

    Raises
    ------
    ValueError
        If shapes do not fit, tokens that were not flattened among them, or the reduction is unknown.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction {reduction!r}, allowed: {', '.join(REDUCTIONS)}")
    if query.ndim != 2 or query.shape != positive.shape:
        raise ValueError(
            f"InfoNCE: query {tuple(query.shape)} and positive {tuple(positive.shape)}, expected is (B, D) of both"
        )
    query, positive = functional.normalize(query, dim=-1), functional.normalize(positive, dim=-1)
    if negatives is None:
        logits, target = query @ positive.T, torch.arange(len(query), device=query.device)
    else:
        similar = (query * positive).sum(dim=1, keepdim=True)
        logits = torch.cat([similar, _to_negatives(query, functional.normalize(negatives, dim=-1))], dim=1)
        target = torch.zeros(len(query), dtype=torch.long, device=query.device)
    return functional.cross_entropy(logits / temperature, target, reduction=reduction)


def _to_negatives(query: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
    """(B, K) cosine similarities."""
    width, own = query.shape[1], negatives.ndim == 3
    if negatives.ndim not in (2, 3) or negatives.shape[-1] != width or (own and len(negatives) != len(query)):
        raise ValueError(
            f"InfoNCE: negatives {tuple(negatives.shape)} of queries {tuple(query.shape)},"
            f" expected is ({len(query)}, K, {width}) or (K, {width})"
        )
    return torch.einsum("bd,bkd->bk", query, negatives) if own else query @ negatives.T


def info_nce(image: torch.Tensor, expression: torch.Tensor, temperature: float) -> torch.Tensor:
    """Symmetric InfoNCE of pairs (B, D): mean of both cross-entropies over cosine similarities / temperature.

    van den Oord et al. 2018 (one direction), Radford et al. 2021 (both). 0 for a single pair, ln B for
    embeddings that tell nothing.
    """
    logits = functional.normalize(image, dim=1) @ functional.normalize(expression, dim=1).T / temperature
    target = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
