"""Contrastive fine-tuning after HEST-1k: an image encoder and an MLP of expression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spotweave.finetune import Sample
from spotweave.finetune.batches import ANY
from spotweave.finetune.kinds.parts import image_tower, trainable, warm_cosine
from spotweave.finetune.objective import Objective, decayed
from spotweave.finetune.pairs import Pairs, Shrink, read_pairs
from spotweave.finetune.schedule import Schedule
from spotweave.finetune.towers import ExpressionTower, layered, moments
from spotweave.finetune.training import Course
from spotweave.finetune.two_towers import TwoTowers
from spotweave.finetune.views import Pictures
from spotweave.networks.pooling import seeded
from spotweave.networks.spec import EncoderSpec
from spotweave.networks.tower import ImageTower, tower_spec
from spotweave.networks.transform import Transform


@dataclass(frozen=True)
class InfoNce:
    """A row of the kind `infonce`. Column by column it is described in `spotweave.recipes.infonce`."""

    recipe: str
    input_px: int
    embedding_dim: int
    genes: int
    hidden: int
    epochs: int
    batch: int
    lr_image: float
    lr_expression: float
    layer_decay: float
    temperature: float
    weight_decay: float
    unfrozen: str
    augment: tuple[str, ...] = ()
    jitter: float = 0.0
    loss: str = "infonce"
    at_once: int = 0
    warmup_epochs: int = 0
    negatives: str = ANY
    precision: str = "float32"

    @property
    def course(self) -> Course:
        return Course(self.epochs, self.batch, self.at_once, self.negatives, self.precision)

    def read(self, samples: Sequence[Sample], shrink: Shrink, scratch: Path | None) -> Pairs:
        return read_pairs(samples, self.genes, shrink, scratch)

    def objective(
        self, pairs: Pairs, base: EncoderSpec, *, folder: Path | None, seed: int, device: torch.device
    ) -> TwoTowers:
        network = trainable(base, self.unfrozen, folder=folder, seed=seed)
        with seeded(seed):
            image = ImageTower(network, base.dim, self.embedding_dim)
            expression = ExpressionTower(*moments(pairs.expression), self.hidden, self.embedding_dim)
        pictures = Pictures(pairs.images, Transform(tower_spec(base, self.input_px)), device, self.augment, self.jitter)
        return TwoTowers(image, expression, pictures, pairs, loss=self.loss, temperature=self.temperature).to(device)

    def optimiser(self, objective: Objective) -> torch.optim.Optimizer:
        towers: Any = objective
        groups = layered(towers.image_tower.backbone.model, self.lr_image, self.layer_decay, self.weight_decay)
        new = [*towers.image_tower.projection.parameters(), *towers.expression_tower.parameters(), *towers.of_loss()]
        return torch.optim.AdamW([*groups, *decayed(new, self.lr_expression, self.weight_decay)])

    def schedule(self, steps: int, groups: NDArray[np.int64]) -> Schedule:
        return warm_cosine(steps, self.epochs, self.warmup_epochs)

    def leaves(self, objective: Objective) -> nn.Module:
        return image_tower(objective)

    def expression_side(self, objective: Objective) -> nn.Module:
        return objective.get_submodule("expression_tower")

    def header(self, base: EncoderSpec, genes: int) -> dict[str, Any]:
        return {"embedding_dim": self.embedding_dim, "expression": {"network": "mlp", "hidden": self.hidden}}
