"""Learning rates and weight decay over the steps of a training, as functions of the step's number alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then half a cosine.

    Attributes
    ----------
    steps
        Of the whole training.
    warmup_steps
        In which learning rates grow from a first share to all of what their groups say.
    least
        Share of the learning rate that is left at the end.
    decay_growth
        What weight decay is multiplied with at the end, half a cosine from 1; 1 keeps it.
    constant
        Whether the learning rate stays once it is warm.
    """

    steps: int
    warmup_steps: int = 0
    least: float = 0.0
    decay_growth: float = 1.0
    constant: bool = False

    def rate(self, step: int) -> float:
        """Share of the learning rate in a step, counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.constant:
            return 1.0
        return _cosine(1.0, self.least, step - self.warmup_steps, self.steps - self.warmup_steps)

    def decay(self, step: int) -> float:
        """What weight decay is multiplied with."""
        return _cosine(1.0, self.decay_growth, step, self.steps)

    def apply(self, optimiser: torch.optim.Optimizer, step: int) -> None:
        """Set rates and decays of a step, from what the groups began with."""
        for group in optimiser.param_groups:
            group.setdefault("full_lr", group["lr"])
            group.setdefault("first_weight_decay", group["weight_decay"])
            group["lr"] = group["full_lr"] * self.rate(step)
            group["weight_decay"] = group["first_weight_decay"] * self.decay(step)


def _cosine(first: float, last: float, step: int, steps: int) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(step / max(steps, 1), 1.0))) / 2
