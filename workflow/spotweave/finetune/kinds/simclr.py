"""An encoder from the dataset's own patches alone, after SimCLR (Chen et al. 2020)."""

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
from spotweave.finetune.losses.nt_xent import nt_xent
from spotweave.finetune.objective import Embeddings, Objective, Seen, decayed
from spotweave.finetune.pairs import Pairs, Shrink, read_pictures
from spotweave.finetune.schedule import Schedule
from spotweave.finetune.towers import layered
from spotweave.finetune.training import Course
from spotweave.finetune.views import Pictures
from spotweave.networks.pooling import seeded
from spotweave.networks.spec import EncoderSpec
from spotweave.networks.tower import ImageTower, tower_spec
from spotweave.networks.transform import Transform


class TwoViews(Objective):
    """Two views of a patch, changed by chance, are to find each other among all views of the step.

    Parameters
    ----------
    image_tower
        Without projection: what is kept.
    head
        Its features -> what the loss compares; thrown away after training, as its input tells more (Chen et al. 2020).
    """

    def __init__(self, image_tower: ImageTower, head: nn.Module, pictures: Pictures, temperature: float) -> None:
        super().__init__()
        self.image_tower, self.head, self.pictures, self.temperature = image_tower, head, pictures, temperature

    def see(self, numbers: torch.Tensor, generator: torch.Generator) -> Seen:
        first, second = (self.pictures.changes(len(numbers), generator) for _ in range(2))

        def part(places: slice) -> tuple[Any, ...]:
            chosen = numbers[places]
            return tuple(self.pictures.normalised(chosen, changes[places]) for changes in (first, second))

        return part

    def as_they_are(self, numbers: torch.Tensor) -> tuple[Any, ...]:
        return (self.pictures.normalised(numbers),)

    def embed(self, *seen: Any) -> Embeddings:
        return tuple(self.head(self.image_tower(images)) for images in seen)

    def loss(self, embeddings: Embeddings) -> torch.Tensor:
        return nt_xent(embeddings[0], embeddings[1], self.temperature)

    def sides(self, embeddings: Embeddings) -> tuple[torch.Tensor, None]:
        return embeddings[0], None


@dataclass(frozen=True)
class SimClr:
    """A row of the kind `simclr`. Column by column it is described in `spotweave.recipes.simclr`."""

    recipe: str
    input_px: int
    embedding_dim: int
    hidden: int
    epochs: int
    batch: int
    lr_image: float
    layer_decay: float
    temperature: float
    weight_decay: float
    unfrozen: str
    augment: tuple[str, ...]
    jitter: float = 0.0
    at_once: int = 0
    warmup_epochs: int = 0
    negatives: str = ANY
    precision: str = "float32"

    @property
    def course(self) -> Course:
        return Course(self.epochs, self.batch, self.at_once, self.negatives, self.precision)

    def read(self, samples: Sequence[Sample], shrink: Shrink, scratch: Path | None) -> Pairs:
        return read_pictures(samples, shrink, scratch)

    def objective(
        self, pairs: Pairs, base: EncoderSpec, *, folder: Path | None, seed: int, device: torch.device
    ) -> TwoViews:
        network = trainable(base, self.unfrozen, folder=folder, seed=seed)
        with seeded(seed):
            tower = ImageTower(network, base.dim, base.dim, projected=False)
            head = nn.Sequential(
                nn.Linear(base.dim, self.hidden), nn.ReLU(), nn.Linear(self.hidden, self.embedding_dim)
            )
        transform = Transform(tower_spec(base, self.input_px))
        pictures = Pictures(pairs.images, transform, device, self.augment, self.jitter)
        return TwoViews(tower, head, pictures, self.temperature).to(device)

    def optimiser(self, objective: Objective) -> torch.optim.Optimizer:
        views: Any = objective
        groups = layered(views.image_tower.backbone.model, self.lr_image, self.layer_decay, self.weight_decay)
        return torch.optim.AdamW([*groups, *decayed(views.head.parameters(), self.lr_image, self.weight_decay)])

    def schedule(self, steps: int, groups: NDArray[np.int64]) -> Schedule:
        return warm_cosine(steps, self.epochs, self.warmup_epochs)

    def leaves(self, objective: Objective) -> nn.Module:
        return image_tower(objective)

    def expression_side(self, objective: Objective) -> None:
        return None

    def header(self, base: EncoderSpec, genes: int) -> dict[str, Any]:
        return {"embedding_dim": base.dim, "projected": False}
