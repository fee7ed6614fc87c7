"""The loss of CLIP (Radford et al. 2021), and the temperature that is learned with it."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

# Start value of CLIP, and the most that its training loop lets the multiplier become.
START_TEMPERATURE = 0.07
MOST_SCALE = 100.0


def clip_loss(
    image: torch.Tensor, other: torch.Tensor, scale: torch.Tensor | float, bias: torch.Tensor | float = 0.0
) -> torch.Tensor:
    """Mean of both cross-entropies of the logits `scale * image @ other.T + bias`.

    Neither normalises nor clamps: embeddings are expected at unit length, and `Scale.clamp` is for after a step.

    Parameters
    ----------
    image, other
        (B, D) float. 0 for a single pair.
    scale
        Multiplier, the inverse of the temperature; not its logarithm.
    bias
        Added to every logit: of no effect.
    """
    logits = scale * (image @ other.T) + bias
    target = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


class Scale(nn.Module):
    """A learned multiplier of similarities, kept as its logarithm, which cannot become negative.

    Parameters
    ----------
    temperature
        Its inverse at the start, above 0.
    most
        What `clamp` lets the multiplier become at most.
    """

    def __init__(self, temperature: float = START_TEMPERATURE, most: float = MOST_SCALE) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.most = most

    def forward(self) -> torch.Tensor:
        """The multiplier, a scalar."""
        return self.log_scale.exp()

    @torch.no_grad()
    def clamp(self) -> None:
        """Bring the multiplier back into 1 to `most`, as CLIP's training loop does after every step."""
        self.log_scale.clamp_(0.0, math.log(self.most))
