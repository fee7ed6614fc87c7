"""One fold of a recipe: from the samples it trains on to the file of its weights."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spotweave.finetune import Job, Sample, pick_fold, training_samples
from spotweave.finetune.contrast import rankme, recall_at_1
from spotweave.finetune.history import write_history
from spotweave.finetune.objective import Objective
from spotweave.finetune.pairs import Pairs, Shrink
from spotweave.finetune.processes import ALONE, Processes, run
from spotweave.finetune.recipe import typed
from spotweave.finetune.rows import PREFIX
from spotweave.finetune.schedule import Schedule
from spotweave.finetune.training import Course, all_pairs, check_pairs, embed_all, measure_batch_statistics, train
from spotweave.io import read_json, write_json
from spotweave.learning.epochs import key_of
from spotweave.networks.pooling import seeded
from spotweave.networks.repeatable import deterministic
from spotweave.networks.spec import EncoderSpec
from spotweave.networks.tower import save, tower_spec
from spotweave.networks.transform import Transform

# Recall and rank are measured on so many pairs at most, evenly taken: their cost grows with the square.
MEASURED_PAIRS = 8192


class Kind(Protocol):
    """A kind of fine-tuning with the settings of a row: can be sent to another process."""

    @property
    def recipe(self) -> str:
        """Its name."""

    @property
    def input_px(self) -> int:
        """Edge of the images it learns from."""

    @property
    def course(self) -> Course:
        """How long and in which steps."""

    def read(self, samples: Sequence[Sample], shrink: Shrink, scratch: Path | None) -> Pairs:
        """The pairs of training samples."""

    def objective(
        self, pairs: Pairs, base: EncoderSpec, *, folder: Path | None, seed: int, device: torch.device
    ) -> Objective:
        """What is trained, on the device; all that is random in it follows the seed."""

    def optimiser(self, objective: Objective) -> torch.optim.Optimizer:
        """Its optimiser."""

    def schedule(self, steps: int, groups: NDArray[np.int64]) -> Schedule:
        """Its learning rates, of a training of so many steps."""

    def leaves(self, objective: Objective) -> nn.Module:
        """What is written and embeds patches."""

    def expression_side(self, objective: Objective) -> nn.Module | None:
        """What is written beside it and embeds expression; None where nothing does, or the same network."""

    def header(self, base: EncoderSpec, genes: int) -> dict[str, Any]:
        """What `networks.tower` needs to know beside the base and the size; `genes` describe a spot."""


def train_fold(
    splits: Mapping[str, Any], fold: int, samples: Sequence[Sample], kind: Kind, base: EncoderSpec, job: Job
) -> dict[str, Any]:
    """Fine-tune on the training samples of one fold and write its file.

    Parameters
    ----------
    splits
        Content of the task's splits file.
    samples
        All samples of the task; only the fold's training samples are opened.

    Returns
    -------
    history
        JSON types: `loss` an epoch; `recall_at_1` and `rankme` on training pairs before and after; how many pairs and
        genes it learned from. Their names travel in the header of the weights.

    Raises
    ------
    Refusal
        If there is no such fold, or too little to train on.
    EncoderUnavailable
        If the base encoder's weights cannot be had.
    """
    chosen = pick_fold(splits, fold)
    used = training_samples(chosen, samples)
    transform = Transform(tower_spec(base, kind.input_px))

    def shrink(patches: np.ndarray) -> np.ndarray:
        small = transform.resize(torch.from_numpy(patches))
        return (255 * small).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()

    with tempfile.TemporaryDirectory() as temporary:
        scratch = job.scratch or Path(temporary) / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        for left in scratch.glob(f"{PREFIX}*"):
            left.unlink()
        pairs = kind.read(used, shrink, scratch)
        header = {
            "recipe": kind.recipe,
            "task": splits["task"],
            "fold": fold,
            "test_donors": chosen["test_donors"],
            "train_samples": list(pairs.samples),
            "genes": list(pairs.genes),
            "described": pairs.described,
            "seed": job.seed,
            "base": base.as_dict(),
            "input_px": kind.input_px,
            "licence": base.licence,
            **kind.header(base, len(pairs.genes)),
        }
        key = key_of(header, job.code, repr(kind), [[str(path), *_identity(path)] for path in _files(used)])
        found = Path(temporary) / "history.json"
        run(train_here, job.processes, kind, pairs, base, job, header, scratch, key, found, device=job.device)
        history = read_json(found)
        if job.scratch is not None:
            shutil.rmtree(job.scratch, ignore_errors=True)
    counted = {"pairs": len(pairs.images), "empty_spots": pairs.empty_spots, "genes": len(pairs.genes)}
    return {**history, **counted, **{name: said for name, said in header.items() if name == "stand_ins"}}


def train_row(
    kind: type[Any],
    splits: Mapping[str, Any],
    fold: int,
    samples: Sequence[Sample],
    row: Mapping[str, str],
    base: EncoderSpec,
    job: Job,
) -> dict[str, Any]:
    """Train one fold of a recipe's row by its kind, weights and history written; what the record says it measured."""
    found = train_fold(splits, fold, samples, typed(kind, row), base, job)
    write_history(job.history, found)
    return {**found, "loss": found["loss"][-1]}


def train_here(
    processes: Processes,
    device: str,
    kind: Kind,
    pairs: Pairs,
    base: EncoderSpec,
    job: Job,
    header: Mapping[str, Any],
    scratch: Path,
    key: str,
    history: Path,
) -> None:
    """Train in this process, and in the first one write weights and history."""
    trained = fit(
        kind,
        pairs,
        base,
        folder=job.folder,
        seed=job.seed,
        device=device,
        scratch=scratch,
        key=key,
        processes=processes,
    )
    if processes.rank == 0:
        objective = trained.objective
        save(job.weights, kind.leaves(objective), header, kind.expression_side(objective))
        write_json(history, trained.history)


@dataclass(frozen=True)
class Trained:
    """A trained objective in evaluation mode, and what was measured on the way."""

    objective: Objective
    history: dict[str, Any]


def fit(
    kind: Kind,
    pairs: Pairs,
    base: EncoderSpec,
    *,
    folder: Path | None,
    seed: int,
    device: str = "cpu",
    scratch: Path | None = None,
    key: str = "",
    processes: Processes = ALONE,
) -> Trained:
    """Train on given pairs; parameters as in `Job` and `training.train`."""
    check_pairs(len(pairs.images), kind.recipe, kind.course, processes)
    groups = pairs.groups()
    measured = _evenly(len(pairs.images))
    with deterministic():
        objective = kind.objective(pairs, base, folder=folder, seed=seed, device=torch.device(device))
        before = _measures(objective, measured)
        with seeded(seed):
            loss = train(
                objective,
                kind.optimiser(objective),
                kind.schedule(kind.course.steps(groups), groups),
                kind.course,
                groups,
                seed=seed,
                what=kind.recipe,
                scratch=scratch,
                key=key,
                processes=processes,
            )
        measure_batch_statistics(objective, all_pairs(len(pairs.images)))
        after = _measures(objective, measured)
    return Trained(
        objective, {"loss": loss, **{name: {"before": before[name], "after": after[name]} for name in before}}
    )


def _measures(objective: Objective, numbers: Sequence[torch.Tensor]) -> dict[str, float]:
    objective.eval()
    image, other = objective.sides(embed_all(objective, numbers))
    recall = {} if other is None else {"recall_at_1": recall_at_1(image, other)}
    return {**recall, "rankme": rankme(image)}


def _evenly(count: int) -> list[torch.Tensor]:
    if count <= MEASURED_PAIRS:
        return all_pairs(count)
    chosen = torch.linspace(0, count - 1, MEASURED_PAIRS, dtype=torch.float64).long()
    return [chosen[part] for part in all_pairs(MEASURED_PAIRS)]


def _files(samples: Sequence[Sample]) -> list[Path]:
    return [path for sample in samples for path in (sample.patches, sample.expression, sample.slide) if path]


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
