"""Patches and expression that find each other: an image tower, an expression tower, a loss of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from spotweave.finetune.losses.clip import Scale, clip_loss
from spotweave.finetune.losses.info_nce import info_nce
from spotweave.finetune.losses.siglip import START_BIAS, START_SCALE, siglip_loss
from spotweave.finetune.objective import Embeddings, Objective, Seen
from spotweave.finetune.pairs import Pairs
from spotweave.finetune.views import Pictures, rows
from spotweave.networks.tower import ImageTower

# With a temperature of the row's; with one that is learned from CLIP's; each pair by itself.
LOSSES = ("infonce", "clip", "siglip")


class TwoTowers(Objective):
    """Both towers' embeddings of a pair; those of other pairs of the step are its negatives.

    Parameters
    ----------
    loss
        One of `LOSSES`.
    temperature
        Of `infonce`, fixed; of `clip` at the start.
    """

    def __init__(
        self,
        image_tower: ImageTower,
        expression_tower: nn.Module,
        pictures: Pictures,
        pairs: Pairs,
        *,
        loss: str,
        temperature: float,
    ) -> None:
        super().__init__()
        self.image_tower, self.expression_tower = image_tower, expression_tower
        self.pictures, self.expression = pictures, pairs.expression
        self.kind, self.temperature = loss, temperature
        self.scale: Scale | None = None
        self.bias: nn.Parameter | None = None
        if loss == "clip":
            self.scale = Scale(temperature)
        elif loss == "siglip":
            self.scale, self.bias = Scale(1 / START_SCALE), nn.Parameter(torch.tensor(START_BIAS))

    def see(self, numbers: torch.Tensor, generator: torch.Generator) -> Seen:
        changes = self.pictures.changes(len(numbers), generator)

        def part(places: slice) -> tuple[Any, ...]:
            chosen = numbers[places]
            return self.pictures.normalised(chosen, changes[places]), self._expression(chosen)

        return part

    def as_they_are(self, numbers: torch.Tensor) -> tuple[Any, ...]:
        return self.pictures.normalised(numbers), self._expression(numbers)

    def embed(self, *seen: Any) -> Embeddings:
        images, expression = seen
        return self.image_tower(images), self.expression_tower(expression)

    def loss(self, embeddings: Embeddings) -> torch.Tensor:
        image, expression = embeddings
        if self.scale is None:
            return info_nce(image, expression, self.temperature)
        image, expression = functional.normalize(image, dim=1), functional.normalize(expression, dim=1)
        if self.bias is None:
            return clip_loss(image, expression, self.scale())
        return siglip_loss(image, expression, self.scale(), self.bias)

    def of_loss(self) -> Sequence[nn.Parameter]:
        own = [] if self.scale is None else list(self.scale.parameters())
        return own if self.bias is None else [*own, self.bias]

    def settle(self) -> None:
        # SigLIP's scale is free.
        if self.scale is not None and self.bias is None:
            self.scale.clamp()

    def _expression(self, numbers: torch.Tensor) -> torch.Tensor:
        return rows(self.expression, numbers, self.pictures.device)
