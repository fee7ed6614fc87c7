"""Contrastive fine-tuning: an image encoder and an expression MLP learn which patch belongs to which spot.

After HEST-1k (Jaume et al. 2024, section 7 and appendix D: symmetric InfoNCE, AdamW, cosine schedule, layer-wise
learning rates, flips and colour jitter), with every choice in the recipe's row. What the paper does not say and
we chose: the widths of the MLP, standardised genes, quarter turns as augmentation, batch statistics measured anew
at the end.
"""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from spotweave import torchvision_shim
from spotweave.errors import Refusal
from spotweave.finetune import Pairs, Sample, pick_fold, read_pairs, training_samples
from spotweave.networks.backbone import backbone, seeded
from spotweave.networks.spec import EncoderSpec
from spotweave.networks.tower import ImageTower, save, tower_spec
from spotweave.networks.transform import Transform, pick_device

torchvision_shim.install()

import timm.models  # noqa: E402  (it imports torchvision)
import timm.optim  # noqa: E402

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Recipe:
    """One row of the recipe table, typed. Column by column it is described in `recipes.schema.yaml`."""

    recipe: str
    base_encoder: str
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
    augment: tuple[str, ...]
    jitter: float
    unfrozen: str

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> Recipe:
        """Type the cells of a row that fits the schema."""
        kinds: dict[str, Callable[[str], Any]] = {
            "int": int,
            "float": float,
            "str": str,
            "tuple[str, ...]": lambda cell: tuple(cell.split()),
        }
        blank = {"augment": "", "jitter": "0"}
        return cls(
            **{field.name: kinds[str(field.type)](row.get(field.name) or blank[field.name]) for field in fields(cls)}
        )


class ExpressionTower(nn.Module):
    """Log-normalised expression (B, G) -> (B, embedding_dim): genes standardised, then three linear layers."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: torch.Tensor, std: torch.Tensor, hidden: int, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.layers = nn.Sequential(
            *(nn.Linear(len(mean), hidden), nn.LayerNorm(hidden), nn.GELU()),
            *(nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.GELU()),
            nn.Linear(hidden, embedding_dim),
        )

    def forward(self, expression: torch.Tensor) -> torch.Tensor:
        return self.layers((expression - self.mean) / self.std)


def info_nce(image: torch.Tensor, expression: torch.Tensor, temperature: float) -> torch.Tensor:
    """Symmetric InfoNCE of pairs (B, D): mean of both cross-entropies over cosine similarities / temperature.

    van den Oord et al. 2018 (one direction), Radford et al. 2021 (both). 0 for a single pair, ln B for
    embeddings that tell nothing.
    """
    logits = functional.normalize(image, dim=1) @ functional.normalize(expression, dim=1).T / temperature
    target = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def rankme(embeddings: torch.Tensor) -> float:
    """Effective rank of embeddings (N, D): exp of the entropy of the L1-normalised singular values.

    Garrido et al. 2023; HEST-1k, section 7. From 1 (one direction) to min(N, D) (all alike).
    """
    values = torch.linalg.svdvals(embeddings.double())
    share = values / values.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return float(torch.exp(-(share * share.clamp_min(1e-300).log()).sum()))


def recall_at_1(image: torch.Tensor, expression: torch.Tensor) -> float:
    """Share of patches (N, D) whose nearest spot (N, D), by cosine, is their own."""
    spots = functional.normalize(expression, dim=1).T
    nearest = [(rows @ spots).argmax(dim=1) for rows in functional.normalize(image, dim=1).split(1024)]
    return float((torch.cat(nearest).cpu() == torch.arange(len(image))).double().mean())


def freeze(model: Any, unfrozen: str) -> list[str]:
    """Freeze all but the last layers of a timm model.

    Parameters
    ----------
    unfrozen
        `all`, or `last N`: the last N of timm's layer groups (transformer blocks with the final norm, residual
        blocks; the stem is the first).

    Returns
    -------
    trained
        Names of the parameters left to learn.
    """
    layer_of: dict[str, int] = timm.models.group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    count = max(layer_of.values()) + 1
    first = 0 if unfrozen == "all" else count - int(unfrozen.removeprefix("last "))
    if first < 0:
        raise ValueError(f"unfrozen {unfrozen!r}: {type(model).__name__} has {count} layer groups, allowed: all")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = layer_of[name] >= first
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def augment(images: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Turn, mirror and recolour images (B, 3, H, H) in 0 to 1, each by itself, as the recipe says."""
    count = len(images)
    turned = images.clone()
    if "flip" in recipe.augment:
        for axis in (2, 3):
            chosen = _below(0.5, count, generator, images.device)
            turned[chosen] = turned[chosen].flip(axis)
    if "rot90" in recipe.augment:
        turns = torch.randint(4, (count,), generator=generator).to(images.device)
        for quarter in (1, 2, 3):
            turned[turns == quarter] = turned[turns == quarter].rot90(quarter, (2, 3))
    if recipe.jitter > 0:
        # A gain and an offset a channel: brightness, contrast and tint at once, as stains and scanners differ.
        draw = (2 * torch.rand((2, count, 3, 1, 1), generator=generator) - 1).to(images.device) * recipe.jitter
        turned = ((turned - 0.5) * (1 + draw[0]) + 0.5 + draw[1] / 2).clamp(0, 1)
    return turned


def _below(share: float, count: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    return (torch.rand(count, generator=generator) < share).to(device)


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
            images = augment(self._pixels(chosen), self.recipe, self.generator)
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


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """torch picks algorithms that give the same bits every time, or says that it has none."""
    memory: Any = torch.utils.deterministic
    was = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that it has not written; filling it would only take time.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was[0])
        memory.fill_uninitialized_memory = was[1]


def train_fold(
    splits: Mapping[str, Any],
    fold: int,
    samples: list[Sample],
    recipe: Recipe,
    base: EncoderSpec,
    *,
    weights: Path,
    folder: Path | None,
    seed: int,
    device: str = "auto",
) -> dict[str, Any]:
    """Fine-tune on the training samples of one fold and write its file.

    Parameters
    ----------
    splits
        Content of the task's splits file.
    samples
        All samples of the task; only the fold's training samples are opened.
    weights
        The safetensors file to write, read by `spotweave.networks.tower`.

    Returns
    -------
    history
        `fit`'s, and how many pairs and genes it learned from. Their names travel in the header of the weights.

    Raises
    ------
    Refusal
        If there is no such fold, or too little to train on.
    EncoderUnavailable
        If the base encoder's weights cannot be had.
    """
    chosen = pick_fold(splits, fold)
    transform = Transform(tower_spec(base, recipe.input_px))

    def shrink(patches: np.ndarray) -> np.ndarray:
        small = transform.resize(torch.from_numpy(patches))
        return (255 * small).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()

    pairs = read_pairs(training_samples(chosen, samples), recipe.genes, shrink)
    tower, history = fit(pairs, recipe, base, folder=folder, seed=seed, device=device)
    header = {
        "recipe": recipe.recipe,
        "task": splits["task"],
        "fold": fold,
        "test_donors": chosen["test_donors"],
        "train_samples": list(pairs.samples),
        "genes": list(pairs.genes),
        "seed": seed,
        "base": base.as_dict(),
        "input_px": recipe.input_px,
        "embedding_dim": recipe.embedding_dim,
        "licence": base.licence,
    }
    save(weights, tower, header)
    return {**history, "pairs": len(pairs.images), "empty_spots": pairs.empty_spots, "genes": len(pairs.genes)}


def write_history(path: Path, history: Mapping[str, Any]) -> None:
    """Write `epoch,loss,recall_at_1,rankme`, one row an epoch; epoch 0 is before training.

    Recall and rank are measured before and after only, on all training pairs.
    """
    recall, rank, last = history["recall_at_1"], history["rankme"], len(history["loss"])
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["epoch", "loss", "recall_at_1", "rankme"])
        writer.writerow([0, "", recall["before"], rank["before"]])
        for epoch, loss in enumerate(history["loss"], start=1):
            measured = [recall["after"], rank["after"]] if epoch == last else ["", ""]
            writer.writerow([epoch, loss, *measured])
