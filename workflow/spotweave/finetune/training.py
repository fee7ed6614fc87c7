"""Training of an objective on pairs: steps, epochs that resume, what is measured before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.finetune.batches import ANY, batches_of, steps_in_an_epoch
from spotweave.finetune.objective import Objective, batch_norms, learns
from spotweave.finetune.processes import ALONE, Processes
from spotweave.finetune.schedule import Schedule
from spotweave.finetune.steps import gradients
from spotweave.learning.epochs import Epochs
from spotweave.networks.repeatable import deterministic
from spotweave.spots import CannotPredict

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Course:
    """How long and in which steps.

    Attributes
    ----------
    epochs
        Passes over the pairs.
    batch
        Pairs in a step, each the others' negatives.
    at_once
        Pairs whose activations are held at a time; 0 for all of a step.
    negatives
        See `batches_of`.
    precision
        Of networks on a GPU: float32 or bfloat16. A CPU computes in float32.
    """

    epochs: int
    batch: int
    at_once: int = 0
    negatives: str = ANY
    precision: str = "float32"

    def steps(self, groups: NDArray[np.int64]) -> int:
        """Of the whole training."""
        return self.epochs * steps_in_an_epoch(groups, self.batch, self.negatives)


def check_pairs(count: int, what: str, course: Course, processes: Processes = ALONE) -> None:
    """Raise a `Refusal` where there is nothing to be told from anything else."""
    if count < 2:
        raise Refusal(f"{what}: contrastive training needs at least two pairs", measured=count, threshold=2)
    if course.batch < 2 * processes.count:
        raise Refusal(f"{what}: steps of {course.batch} pairs for {processes.count} processes, at least two each")


def train(
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    schedule: Schedule,
    course: Course,
    groups: NDArray[np.int64],
    *,
    seed: int,
    what: str,
    scratch: Path | None = None,
    key: str = "",
    processes: Processes = ALONE,
) -> list[float]:
    """Train; the mean loss of each epoch.

    Parameters
    ----------
    groups
        (N,) the sample of each pair; pairs are known to the objective by their numbers.
    what
        The recipe, for the progress shown and for refusals.
    scratch
        Folder of checkpoints: a training that is killed goes on from the last whole epoch, to the same numbers.
    key
        Of everything it comes from; a checkpoint of another key is thrown away.

    Raises
    ------
    Refusal
        If a loss is not finite.
    """
    device = next(objective.parameters()).device
    precision = getattr(torch, course.precision) if device.type == "cuda" else torch.float32
    loss_of = Steps(objective, optimiser, schedule, course, groups, processes, precision)
    epochs = Epochs(objective, optimiser, loss_of.epoch, None, course.epochs)
    try:
        return epochs.run(seed, what=what, scratch=scratch, key=key, keeps=processes.rank == 0).loss
    except CannotPredict as error:
        raise Refusal(f"{what}: {error}") from None


@dataclass(frozen=True)
class Steps:
    """The steps of an epoch."""

    objective: Objective
    optimiser: torch.optim.Optimizer
    schedule: Schedule
    course: Course
    groups: NDArray[np.int64]
    processes: Processes = ALONE
    precision: torch.dtype = torch.float32

    def epoch(self, generator: torch.Generator) -> float:
        """One pass over the pairs in a new order; the mean loss of its steps."""
        losses = []
        for numbers in batches_of(self.groups, self.course.batch, self.course.negatives, generator):
            self.schedule.apply(self.optimiser, int(self.objective.steps_done))
            self.optimiser.zero_grad(set_to_none=True)
            losses.append(
                gradients(
                    self.objective,
                    self.objective.see(numbers, generator),
                    len(numbers),
                    at_once=self.course.at_once or len(numbers),
                    processes=self.processes,
                    precision=self.precision,
                )
            )
            if not np.isfinite(losses[-1]):
                return losses[-1]
            self.optimiser.step()
            self.objective.settle()
            self.objective.steps_done += 1
        return float(np.mean(losses))


def measure_batch_statistics(objective: Objective, numbers: Sequence[torch.Tensor]) -> None:
    """Replace running means and variances of trained batch norms by those of all training pairs.

    The running average of a short training lags behind its weights (Wu and Johnson 2021, section 3).

    Parameters
    ----------
    numbers
        All pairs, some at a time, of like number.
    """
    learning = [norm for norm in batch_norms(objective) if learns(norm)]
    objective.eval()
    if not learning:
        return
    momenta = [norm.momentum for norm in learning]
    for norm in learning:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    embed_all(objective, numbers)
    for norm, momentum in zip(learning, momenta, strict=True):
        norm.momentum = momentum
    objective.eval()


def embed_all(objective: Objective, numbers: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Embeddings (N, D) of pairs, unturned, in whatever mode the objective is."""
    with torch.inference_mode(), deterministic():
        found = [objective.embed(*objective.as_they_are(chosen)) for chosen in numbers]
    return tuple(torch.cat(side) for side in zip(*found, strict=True))


def all_pairs(count: int) -> list[torch.Tensor]:
    """Numbers of all pairs, `EVALUATION_BATCH` at a time."""
    return list(torch.arange(count).split(EVALUATION_BATCH))
