"""Contrastive fine-tuning: an image encoder and an expression MLP learn which patch belongs to which spot.

After HEST-1k (Jaume et al. 2024, section 7 and appendix D: symmetric InfoNCE, AdamW, cosine schedule, layer-wise
learning rates, flips and colour jitter), with every choice in the recipe's row. What the paper does not say and
we chose: the widths of the MLP, standardised genes, quarter turns as augmentation, batch statistics measured anew
at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotweave.networks.sizes import input_fault
from spotweave.networks.spec import EncoderSpec

if TYPE_CHECKING:
    from spotweave.finetune import Sample

POSITIVE = r"^(?=.*[1-9].*(e|$))[0-9]*\.?[0-9]+(e-?[0-9]+)?$"
WHOLE = {"allowed": "a whole number above 0", "type": "string", "pattern": "^[1-9][0-9]*$", "maxLength": 9}
SEVERAL = {"allowed": "a whole number above 1", "type": "string", "pattern": "^([2-9]|[1-9][0-9]+)$", "maxLength": 9}
COLUMNS: dict[str, dict[str, Any]] = {
    "input_px": {
        "description": "Edge of the images in training and in use, px; patches are shrunk to it. It sets the cost",
        "allowed": "a whole number from 16 to 999",
        "type": "string",
        "pattern": "^(1[6-9]|[2-9][0-9]|[1-9][0-9]{2})$",
    },
    "embedding_dim": {"description": "Length of the embeddings, shared by both towers", **SEVERAL},
    "genes": {"description": "How many highly variable genes, chosen on training samples, describe a spot", **WHOLE},
    "hidden": {"description": "Width of the two hidden layers of the expression tower", **WHOLE},
    "epochs": {"description": "Passes over the training pairs", **WHOLE},
    "batch": {
        "description": "Pairs at a time, each the others' negatives; batches are cut to equal sizes at most this large",
        **SEVERAL,
    },
    "lr_image": {
        "description": "Learning rate of the topmost layer of the base encoder, at the start of the cosine",
        "allowed": "a number above 0, e.g. 1e-4",
        "type": "string",
        "pattern": POSITIVE,
        "maxLength": 40,
    },
    "lr_expression": {
        "description": "Learning rate of the new layers (expression tower, projection), at the start of the cosine",
        "allowed": "a number above 0, e.g. 1e-3",
        "type": "string",
        "pattern": POSITIVE,
        "maxLength": 40,
    },
    "layer_decay": {
        "description": "Factor of the learning rate from one layer of the base encoder to the one below; 1 for none",
        "allowed": "a number above 0, at most 1",
        "type": "string",
        "pattern": r"^(0\.[0-9]*[1-9][0-9]*|1(\.0+)?)$",
    },
    "temperature": {
        "description": "Divides cosine similarities; small ones make close negatives count",
        "allowed": "a number above 0, e.g. 0.07",
        "type": "string",
        "pattern": POSITIVE,
        "maxLength": 40,
    },
    "weight_decay": {
        "description": "AdamW's, for weights; biases and norms have none",
        "allowed": "a number, 0 or above",
        "type": "string",
        "pattern": r"^[0-9]*\.?[0-9]+(e-?[0-9]+)?$",
        "maxLength": 40,
    },
    "augment": {
        "description": "What may happen to a training patch - flip (mirrored), rot90 (quarter turns), or both",
        "allowed": "flip, rot90, or both with a space between",
        "type": "string",
        "pattern": "^(flip|rot90)( (flip|rot90))?$",
    },
    "jitter": {
        "description": "Strength of colour changes: share by which gain and (half of it) offset of a channel vary",
        "allowed": "a number from 0 to 1",
        "type": "string",
        "pattern": r"^(0(\.[0-9]+)?|1(\.0+)?)$",
    },
    "unfrozen": {
        "description": "Layers of the base encoder that learn - all, or the last N of timm's layer groups (blocks)",
        "allowed": "all, or last N",
        "type": "string",
        "pattern": "^(all|last [1-9][0-9]*)$",
    },
}
REQUIRED = (
    "input_px",
    "embedding_dim",
    "genes",
    "hidden",
    "epochs",
    "batch",
    "lr_image",
    "lr_expression",
    "layer_decay",
    "temperature",
    "weight_decay",
    "unfrozen",
)


def check(row: Mapping[str, str], base: Mapping[str, str]) -> list[tuple[str, str]]:
    """A timm model can be trained, and at sizes it takes."""
    if base.get("builder") != "timm_model":
        return [("base_encoder", f"{row['base_encoder']!r} cannot be trained, allowed: a timm_model encoder")]
    wrong = input_fault(base, int(row["input_px"]))
    return [("input_px", f"of {row['base_encoder']}: {wrong}")] if wrong else []


def train(
    splits: Mapping[str, Any],
    fold: int,
    samples: Sequence[Sample],
    row: Mapping[str, str],
    base: EncoderSpec,
    *,
    weights: Path,
    history: Path,
    folder: Path | None,
    seed: int,
    device: str = "auto",
) -> dict[str, Any]:
    """Train one fold; see `spotweave.recipes`."""
    from spotweave.finetune.fold import train_fold
    from spotweave.finetune.history import write_history
    from spotweave.finetune.recipe import Recipe

    found = train_fold(
        splits, fold, samples, Recipe.from_row(row), base, weights=weights, folder=folder, seed=seed, device=device
    )
    write_history(history, found)
    return {**found, "loss": found["loss"][-1]}
