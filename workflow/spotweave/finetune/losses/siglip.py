"""The loss of SigLIP (Zhai et al. 2023): every pair of the batch by itself belongs together or does not."""

from __future__ import annotations

import torch
from torch.nn import functional

# Start values of the published training.
START_SCALE = 10.0
START_BIAS = -10.0


def siglip_loss(
    image: torch.Tensor, other: torch.Tensor, scale: torch.Tensor | float, bias: torch.Tensor | float
) -> torch.Tensor:
    """-log sigmoid of +-(scale * similarity + bias), summed over all B x B pairs, divided by B.

    Parameters
    ----------
    image, other
        (B, D) float, expected at unit length: nothing is normalised here.
    """
    logits = scale * (image @ other.T) + bias
    sign = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) - 1
    return -functional.logsigmoid(sign * logits).sum() / len(logits)
