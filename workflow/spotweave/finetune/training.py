"""The training loop: two towers that learn from pairs of patch and spot which belong together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from spotweave.errors import Refusal
from spotweave.finetune import Pairs
from spotweave.finetune.augment import augment
from spotweave.finetune.contrast import rankme, recall_at_1
from spotweave.finetune.losses.info_nce import info_nce
from spotweave.finetune.recipe import Recipe
from spotweave.finetune.towers import ExpressionTower, freeze
from spotweave.networks.backbone import backbone, seeded
from spotweave.networks.repeatable import deterministic
from spotweave.networks.spec import EncoderSpec
from spotweave.networks.tower import ImageTower, tower_spec
from spotweave.networks.transform import Transform, pick_device

import timm.optim  # isort: skip  (it imports torchvision, which the backbone has made importable)

EVALUATION_BATCH = 64


class Trainer:
    """Two towers, their optimiser and the pairs they learn from.

    Parameters
    ----------
    pairs
        Training pairs; images (N, px, px, 3) uint8 at the recipe's size.
    base
        The encoder to start from.
    folder
        Where a relative path of its weights lies.
    seed
        Of everything random: new layers, random base weights, order, augmentation.
    """

    def __init__(
        self, pairs: Pairs, recipe: Recipe, base: EncoderSpec, *, folder: Path | None, seed: int, device: str
    ) -> None:
        self.recipe = recipe
        self.device = pick_device(device)
        self.images = torch.from_numpy(pairs.images).permute(0, 3, 1, 2).contiguous()
        self.expression = torch.from_numpy(pairs.expression).to(self.device)
        self.transform = Transform(tower_spec(base, recipe.input_px)).to(self.device)
        network = backbone(base, folder=folder, seed=seed)
        freeze(network.model, recipe.unfrozen)
        with seeded(seed):
            mean, std = self.expression.mean(dim=0), self.expression.std(dim=0, correction=0).clamp_min(1e-6)
            self.image_tower = ImageTower(network, base.dim, recipe.embedding_dim).to(self.device)
            self.expression_tower = ExpressionTower(mean.cpu(), std.cpu(), recipe.hidden, recipe.embedding_dim).to(
                self.device
            )
        self.generator = torch.Generator().manual_seed(seed)
        self.steps_per_epoch = math.ceil(len(self.images) / recipe.batch)
        self.optimizer = self._optimizer()
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, T_max=recipe.epochs * self.steps_per_epoch
        )

    def _optimizer(self) -> torch.optim.Optimizer:
        recipe = self.recipe
        groups = timm.optim.param_groups_layer_decay(
            self.image_tower.backbone.model, weight_decay=recipe.weight_decay, layer_decay=recipe.layer_decay
        )
        for group in groups:
            group["lr"] = recipe.lr_image * group["lr_scale"]
        new = [*self.image_tower.projection.parameters(), *self.expression_tower.parameters()]
        for parameters, decay in (
            ([p for p in new if p.ndim > 1], recipe.weight_decay),
            ([p for p in new if p.ndim <= 1], 0.0),
        ):
            groups.append({"params": parameters, "lr": recipe.lr_expression, "weight_decay": decay})
        return torch.optim.AdamW(groups)

    def epoch(self) -> float:
        """One pass over the pairs in a new order; the mean loss of its batches."""
        self._train_mode()
        order = torch.randperm(len(self.images), generator=self.generator)
        losses = []
        # Batches of equal size: a last one of a few pairs would be an easier task and a noisy step.
        for chosen in torch.tensor_split(order, self.steps_per_epoch):
            images = augment(self._pixels(chosen), self.recipe.augment, self.recipe.jitter, self.generator)
            loss = info_nce(
                self.image_tower(self.transform.normalise(images)),
                self.expression_tower(self.expression[chosen.to(self.device)]),
                self.recipe.temperature,
            )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            losses.append(loss.item())
            if not np.isfinite(losses[-1]):
                raise Refusal(f"{self.recipe.recipe}: the loss is not finite; lower lr_image or lr_expression")
        return float(np.mean(losses))

    def measure_batch_statistics(self) -> None:
        """Replace running means and variances of trained batch norms by those of all training patches.

        The running average of a short training lags behind its weights (Wu and Johnson 2021, section 3).
        """
        learning = [norm for norm in _batch_norms(self.image_tower) if _learns(norm)]
        if not learning:
            return
        self.image_tower.eval()
        momenta = [norm.momentum for norm in learning]
        for norm in learning:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        self._image_embeddings()
        for norm, momentum in zip(learning, momenta, strict=True):
            norm.momentum = momentum
        self.image_tower.eval()

    def embed(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings (N, D) of all training patches and spots, unturned, in evaluation mode."""
        self.image_tower.eval()
        self.expression_tower.eval()
        with torch.inference_mode():
            return self._image_embeddings(), self.expression_tower(self.expression)

    def _image_embeddings(self) -> torch.Tensor:
        with torch.inference_mode():
            rows = torch.arange(len(self.images)).split(EVALUATION_BATCH)
            return torch.cat([self.image_tower(self.transform.normalise(self._pixels(chosen))) for chosen in rows])

    def _pixels(self, chosen: torch.Tensor) -> torch.Tensor:
        # Convolutions of few channels run half as fast again in this layout.
        return self.images[chosen].to(self.device, torch.float32, memory_format=torch.channels_last) / 255

    def _train_mode(self) -> None:
        self.expression_tower.train()
        self.image_tower.train()
        for norm in _batch_norms(self.image_tower):
            if not _learns(norm):
                norm.eval()


def _batch_norms(network: nn.Module) -> Iterator[nn.modules.batchnorm._BatchNorm]:
    return (module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def fit(
    pairs: Pairs, recipe: Recipe, base: EncoderSpec, *, folder: Path | None, seed: int, device: str = "auto"
) -> tuple[ImageTower, dict[str, Any]]:
    """Fine-tune on given pairs.

    Returns
    -------
    tower
        The image tower, in evaluation mode.
    history
        JSON types: `loss` an epoch, `recall_at_1` and `rankme` on the training pairs before and after.

    Raises
    ------
    Refusal
        If there are fewer than two pairs.
    """
    if len(pairs.images) < 2:
        raise Refusal("contrastive training needs at least two pairs", measured=len(pairs.images), threshold=2)
    with deterministic():
        trainer = Trainer(pairs, recipe, base, folder=folder, seed=seed, device=device)
        before = _state(trainer)
        with seeded(seed):  # dropout, where an architecture has it
            loss = [trainer.epoch() for _ in tqdm(range(recipe.epochs), desc=recipe.recipe, unit="epoch", disable=None)]
        trainer.measure_batch_statistics()
        after = _state(trainer)
    history = {"loss": loss, **{name: {"before": before[name], "after": after[name]} for name in before}}
    return trainer.image_tower.eval(), history


def _state(trainer: Trainer) -> dict[str, float]:
    image, expression = trainer.embed()
    return {"recall_at_1": recall_at_1(image, expression), "rankme": rankme(image)}
