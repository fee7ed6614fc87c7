"""What is trained on pairs: how they are seen, how what is seen becomes embeddings, and the loss of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import nn

# Of each pair one row in every part.
Embeddings = tuple[torch.Tensor, ...]


class Seen(Protocol):
    """What a step sees of its pairs, drawn as a whole and made a part at a time, so that parts hold what they need."""

    def __call__(self, places: slice, /) -> tuple[Any, ...]:
        """What `Objective.embed` takes, of these places in the step."""


class Objective(nn.Module):
    """Networks and a loss, over pairs that it knows by their numbers.

    An objective's loss is of all pairs of a step at once, each the others' negatives; `embed` treats them one by one,
    batch norms apart, so that a step can be made in parts whose embeddings alone are kept (`steps.gradients`).
    """

    steps_done: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        # A buffer: it travels in checkpoints, and learning rates go on where they were.
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.long))

    def see(self, numbers: torch.Tensor, generator: torch.Generator) -> Seen:
        """Draw what is random about the pairs `numbers` (B,) in this step."""
        raise NotImplementedError

    def as_they_are(self, numbers: torch.Tensor) -> tuple[Any, ...]:
        """What `embed` takes of some pairs, nothing drawn."""
        raise NotImplementedError

    def embed(self, *seen: Any) -> Embeddings:
        """What is seen of some pairs -> their embeddings, one row a pair in each part."""
        raise NotImplementedError

    def loss(self, embeddings: Embeddings) -> torch.Tensor:
        """A scalar, of all pairs of a step."""
        raise NotImplementedError

    def sides(self, embeddings: Embeddings) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The picture's side (B, D) and the one that it is to find, None where there are pictures only."""
        return embeddings[0], embeddings[1]

    def of_loss(self) -> Sequence[nn.Parameter]:
        """Parameters that the loss itself has, such as a temperature; all others are of embeddings."""
        return ()

    def settle(self) -> None:
        """What is due after a step."""

    def trained(self) -> list[nn.Parameter]:
        """All parameters that learn."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def train(self, mode: bool = True) -> Objective:
        """Training mode, but for batch norms that do not learn: theirs are the statistics they came with."""
        super().train(mode)
        for norm in batch_norms(self):
            if mode and not learns(norm):
                norm.eval()
        return self


def batch_norms(network: nn.Module) -> Iterator[nn.modules.batchnorm._BatchNorm]:
    """The batch norms inside."""
    return (module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))


def learns(module: nn.Module) -> bool:
    """Whether any of its parameters does."""
    return any(parameter.requires_grad for parameter in module.parameters())


def decayed(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimiser: weights, which decay, and biases, norms and scalars, which do not."""
    there = [parameter for parameter in parameters if parameter.requires_grad]
    return [
        {"params": [p for p in there if p.ndim > 1], "lr": lr, "weight_decay": weight_decay},
        {"params": [p for p in there if p.ndim <= 1], "lr": lr, "weight_decay": 0.0},
    ]
