"""The loop over epochs: seeds, a checkpoint after each, the epoch that held-out spots like best.

All that is random in an epoch is drawn from the seed and its number, so that a job that is killed and run again goes on
as if nothing had happened: its checkpoint holds networks, optimiser and history, and no state of a generator.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from spotweave.networks.pooling import seeded
from spotweave.networks.repeatable import deterministic
from spotweave.spots import CannotPredict

CHECKPOINT = "checkpoint.pt"


@dataclass
class History:
    """Of every epoch its training loss and, where spots are held out, their score; and the epoch that is kept."""

    loss: list[float] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    best_epoch: int = 0


@dataclass(frozen=True)
class Epochs:
    """What an epoch is.

    Attributes
    ----------
    network, optimiser, schedule
        What is trained; a schedule, where there is one, steps after each epoch. What is fitted without gradients has
        no optimiser.
    step
        Takes a generator, trains for one epoch and returns its mean loss.
    score
        How good the network is on held-out spots, the higher the better; None where there are none.
    count
        Of epochs, the most.
    patience
        Epochs without a better score after which it ends; None for all.
    is_over
        Whether the network, as it is, need not be trained on; None never.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer | None
    step: Callable[[torch.Generator], float]
    score: Callable[[], float] | None
    count: int
    patience: int | None = None
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None
    is_over: Callable[[], bool] | None = None

    def run(self, seed: int, *, what: str, scratch: Path | None = None, key: str = "", keeps: bool = True) -> History:
        """Train; the network is left as it was after its best epoch, or the last where no spots are held out.

        Parameters
        ----------
        seed
            Of everything random.
        what
            The method, for the progress shown.
        scratch
            A folder for checkpoints; None keeps none.
        key
            Of everything the training comes from: a checkpoint of another key is thrown away.
        keeps
            Whether it writes checkpoints, or only goes on from them, as all but one of several processes do.

        Raises
        ------
        CannotPredict
            If a loss is not finite.
        """
        history, best = self._resumed(scratch, key)
        shown = tqdm(total=self.count, initial=len(history.loss), desc=what, unit="epoch", disable=None)
        while len(history.loss) < self.count and not self._is_stuck(history):
            epoch = len(history.loss)
            with deterministic(), seeded(_mixed(seed, epoch)):
                self.network.train()
                loss = self.step(torch.Generator().manual_seed(_mixed(seed, epoch)))
            if not loss < float("inf"):
                raise CannotPredict(f"its loss is not finite in epoch {epoch}: a lower learning rate is needed")
            if self.schedule is not None:
                self.schedule.step()
            history.loss.append(loss)
            if self.score is not None:
                self.network.eval()
                with torch.inference_mode():
                    history.score.append(self.score())
            if self.score is None:
                history.best_epoch = epoch
            elif history.score[-1] > max(history.score[:-1], default=float("-inf")):
                history.best_epoch = epoch
                best = copy.deepcopy(self.network.state_dict())
            if keeps:
                self._keep(scratch, key, history, best)
            shown.update()
        shown.close()
        if best is not None:
            self.network.load_state_dict(best)
        self.network.eval()
        return history

    def _is_stuck(self, history: History) -> bool:
        if self.is_over is not None and self.is_over():
            return True
        return self.patience is not None and len(history.score) - 1 - history.best_epoch >= self.patience > 0

    def _first_best(self) -> dict[str, Any] | None:
        return None if self.score is None else copy.deepcopy(self.network.state_dict())

    def _parts(self) -> dict[str, Any]:
        parts = {"network": self.network, "optimiser": self.optimiser, "schedule": self.schedule}
        return {name: part for name, part in parts.items() if part is not None}

    def _keep(self, scratch: Path | None, key: str, history: History, best: Mapping[str, Any] | None) -> None:
        if scratch is None:
            return
        scratch.mkdir(parents=True, exist_ok=True)
        state = {name: part.state_dict() for name, part in self._parts().items()}
        part = scratch / f"{CHECKPOINT}.part"
        torch.save({"key": key, "history": vars(history), "best": best and dict(best), **state}, part)
        part.replace(scratch / CHECKPOINT)

    def _resumed(self, scratch: Path | None, key: str) -> tuple[History, dict[str, Any] | None]:
        """The history and the best state so far; no state where the last epoch is the one that is kept."""
        path = None if scratch is None else scratch / CHECKPOINT
        if path is None or not path.is_file():
            return History(), self._first_best()
        kept = torch.load(path, weights_only=True, map_location="cpu")
        if kept["key"] != key:
            return History(), self._first_best()
        for name, part in self._parts().items():
            part.load_state_dict(kept[name])
        return History(**kept["history"]), kept["best"]


def key_of(*parts: object) -> str:
    """SHA-256 of JSON values and arrays, in their order."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part.tobytes() if hasattr(part, "tobytes") else json.dumps(part, sort_keys=True).encode())
    return found.hexdigest()


def _mixed(seed: int, epoch: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {epoch}".encode()).digest()[:7], "little")
