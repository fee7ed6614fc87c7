"""Contrastive fine-tuning: an image encoder and an expression MLP learn which patch belongs to which spot.

After HEST-1k (Jaume et al. 2024, section 7 and appendix D: symmetric InfoNCE, AdamW, cosine schedule, layer-wise
learning rates, flips and colour jitter), with every choice in the recipe's row. What the paper does not say and
we chose: the widths of the MLP, standardised genes, quarter turns as augmentation, batch statistics measured anew
at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spotweave.networks.spec import EncoderSpec
from spotweave.recipes import _columns as columns

if TYPE_CHECKING:
    from spotweave.finetune import Job, Sample

COLUMNS: dict[str, dict[str, Any]] = {
    "input_px": columns.INPUT_PX,
    "embedding_dim": {"description": "Length of the embeddings, shared by both towers", **columns.SEVERAL},
    "genes": {
        "description": "How many highly variable genes, chosen on training samples, describe a spot",
        **columns.WHOLE,
    },
    "hidden": {"description": "Width of the two hidden layers of the expression tower", **columns.WHOLE},
    "epochs": columns.EPOCHS,
    "batch": columns.BATCH,
    "lr_image": columns.LR_IMAGE,
    "lr_expression": {
        "description": "Learning rate of the new layers (expression tower, projection), at the start of the cosine",
        **columns.RATE,
    },
    "layer_decay": columns.LAYER_DECAY,
    "temperature": {
        "description": "Divides cosine similarities; small ones make close negatives count. Of clip, at the start",
        **columns.RATE,
    },
    "weight_decay": columns.WEIGHT_DECAY,
    "augment": columns.AUGMENT,
    "jitter": columns.JITTER,
    "unfrozen": columns.UNFROZEN,
    "loss": {
        "description": "infonce: fixed temperature; clip: a learned one; siglip: each pair by itself; blank is infonce",
        "allowed": "infonce, clip, siglip",
        "type": "string",
        "enum": ["infonce", "clip", "siglip"],
    },
    "at_once": columns.AT_ONCE,
    "warmup_epochs": columns.WARMUP_EPOCHS,
    "negatives": columns.NEGATIVES,
    "precision": columns.PRECISION,
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

check = columns.base_faults


def train(
    splits: Mapping[str, Any],
    fold: int,
    samples: Sequence[Sample],
    row: Mapping[str, str],
    base: EncoderSpec,
    job: Job,
) -> dict[str, Any]:
    """Train one fold; see `spotweave.recipes`."""
    from spotweave.finetune.fold import train_row
    from spotweave.finetune.kinds.infonce import InfoNce

    return train_row(InfoNce, splits, fold, samples, row, base, job)
