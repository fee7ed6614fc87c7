"""What several kinds do alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from spotweave.finetune.objective import Objective
from spotweave.finetune.schedule import Schedule
from spotweave.finetune.towers import freeze
from spotweave.networks.bases import base_network
from spotweave.networks.spec import EncoderSpec


def trainable(base: EncoderSpec, unfrozen: str, *, folder: Path | None, seed: int) -> Any:
    """The network that is started from, all but its unfrozen layers frozen."""
    network: Any = base_network(base, folder=folder, seed=seed)
    freeze(network.model, unfrozen)
    return network


def image_tower(objective: Objective) -> nn.Module:
    """What an objective with an `image_tower` leaves."""
    return objective.get_submodule("image_tower")


def warm_cosine(steps: int, epochs: int, warmup_epochs: int) -> Schedule:
    """A schedule whose warm-up takes so many of the epochs."""
    return Schedule(steps, warmup_steps=steps * warmup_epochs // epochs)
