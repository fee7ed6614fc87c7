"""CLIP or PLIP fine-tuned as STimage-1K4M does (Chen et al. 2024, section 4): two linear heads, a learned temperature.

Adam with CLIP's settings at one learning rate, pictures as they are. Published: 15 epochs, batch 1,024, learning rate
5e-5, weight decay .2, heads of 32, 128 genes by rank or 100 that all slides have; any encoder may stand in for theirs.
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
    "genes": {"description": "How many genes describe a spot", **columns.WHOLE},
    "gene_choice": {
        "description": "rank: of each sample its own most variable, put together by rank as published;"
        " overlap: the most variable of those that all samples have",
        "allowed": "rank, overlap",
        "type": "string",
        "enum": ["rank", "overlap"],
    },
    "epochs": columns.EPOCHS,
    "batch": columns.BATCH,
    "lr_image": columns.LR_IMAGE,
    "weight_decay": columns.WEIGHT_DECAY,
    "unfrozen": columns.UNFROZEN,
    "at_once": columns.AT_ONCE,
    "precision": columns.PRECISION,
}
REQUIRED = (
    "input_px",
    "embedding_dim",
    "genes",
    "gene_choice",
    "epochs",
    "batch",
    "lr_image",
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
    from spotweave.finetune.kinds.stimage import Stimage

    return train_row(Stimage, splits, fold, samples, row, base, job)
