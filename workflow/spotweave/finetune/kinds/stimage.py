"""CLIP and PLIP fine-tuned as STimage-1K4M does (Chen et al. 2024): two short heads and a learned temperature."""

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
from spotweave.finetune.kinds.parts import image_tower, trainable
from spotweave.finetune.losses.clip import START_TEMPERATURE
from spotweave.finetune.objective import Objective
from spotweave.finetune.pairs import RANK, Pairs, Shrink, Tables, read_described
from spotweave.finetune.ranked_genes import most_variable_by_rank, overlap
from spotweave.finetune.schedule import Schedule
from spotweave.finetune.towers import linear_expression
from spotweave.finetune.training import Course
from spotweave.finetune.two_towers import TwoTowers
from spotweave.finetune.views import Pictures
from spotweave.networks.pooling import seeded
from spotweave.networks.spec import EncoderSpec
from spotweave.networks.tower import ImageTower, tower_spec
from spotweave.networks.transform import Transform

# Adam as CLIP's (Radford et al. 2021, table 18), its decay added to gradients.
BETAS, EPSILON = (0.9, 0.98), 1e-6


@dataclass(frozen=True)
class Stimage:
    """A row of the kind `stimage`. Column by column it is described in `spotweave.recipes.stimage`."""

    recipe: str
    input_px: int
    embedding_dim: int
    genes: int
    gene_choice: str
    epochs: int
    batch: int
    lr_image: float
    weight_decay: float
    unfrozen: str
    at_once: int = 0
    precision: str = "float32"

    @property
    def course(self) -> Course:
        return Course(self.epochs, self.batch, self.at_once, precision=self.precision)

    def read(self, samples: Sequence[Sample], shrink: Shrink, scratch: Path | None) -> Pairs:
        tables = Tables(samples)
        if self.gene_choice == RANK:
            names = [f"rank {place}" for place in range(1, self.genes + 1)]
            return read_described(tables, names, most_variable_by_rank(self.genes), {"by": RANK}, shrink, scratch)
        chosen = overlap(tables, self.genes)
        return read_described(tables, chosen.genes, chosen.describe, chosen.as_dict(), shrink, scratch)

    def objective(
        self, pairs: Pairs, base: EncoderSpec, *, folder: Path | None, seed: int, device: torch.device
    ) -> TwoTowers:
        network = trainable(base, self.unfrozen, folder=folder, seed=seed)
        with seeded(seed):
            image = ImageTower(network, base.dim, self.embedding_dim)
            expression = linear_expression(len(pairs.genes), self.embedding_dim)
        pictures = Pictures(pairs.images, Transform(tower_spec(base, self.input_px)), device)
        return TwoTowers(image, expression, pictures, pairs, loss="clip", temperature=START_TEMPERATURE).to(device)

    def optimiser(self, objective: Objective) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            objective.trained(), lr=self.lr_image, betas=BETAS, eps=EPSILON, weight_decay=self.weight_decay
        )

    def schedule(self, steps: int, groups: NDArray[np.int64]) -> Schedule:
        return Schedule(steps, constant=True)

    def leaves(self, objective: Objective) -> nn.Module:
        return image_tower(objective)

    def expression_side(self, objective: Objective) -> nn.Module:
        return objective.get_submodule("expression_tower")

    def header(self, base: EncoderSpec, genes: int) -> dict[str, Any]:
        return {"embedding_dim": self.embedding_dim, "expression": {"network": "linear"}}
