"""An encoder from the dataset's own patches, without expression and without gated weights, after SimCLR.

Chen et al. 2020: two changed views of each patch find each other; what a head makes of features is compared, the
features are kept. Started from random weights, what it makes depends on nothing but the training donors' pictures.
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
    "embedding_dim": {"description": "Length of what the head makes, which is compared", **columns.SEVERAL},
    "hidden": {"description": "Width of the head's hidden layer", **columns.WHOLE},
    "epochs": columns.EPOCHS,
    "batch": columns.BATCH,
    "lr_image": columns.LR_IMAGE,
    "layer_decay": columns.LAYER_DECAY,
    "temperature": {"description": "Divides cosine similarities", **columns.RATE},
    "weight_decay": columns.WEIGHT_DECAY,
    "augment": columns.AUGMENT,
    "jitter": columns.JITTER,
    "unfrozen": columns.UNFROZEN,
    "at_once": columns.AT_ONCE,
    "warmup_epochs": columns.WARMUP_EPOCHS,
    "negatives": columns.NEGATIVES,
    "precision": columns.PRECISION,
}
REQUIRED = (
    "input_px",
    "embedding_dim",
    "hidden",
    "epochs",
    "batch",
    "lr_image",
    "layer_decay",
    "temperature",
    "weight_decay",
    "augment",
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
    from spotweave.finetune.kinds.simclr import SimClr

    return train_row(SimClr, splits, fold, samples, row, base, job)
