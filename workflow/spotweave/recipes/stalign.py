"""ST-Align (Lin et al. 2024): spot and niche, their pictures and their genes, aligned and fused.

Published: a picture of the spot at 28 px through a ResNet-50 of its own, the niche's through UNI, genes through scGPT
and an MLP with a transformer, three losses .3 / .3 / .4 at temperature .1, AdamW at 5e-4 x batch / 256 after 2 epochs
of warm-up, weight decay .04 to .4, batch 64, 100 epochs. Any encoder may stand in for UNI; scGPT is read from a folder,
or an MLP or principal components stand in for it. What else differs is said in docs/finetuning.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spotweave.finetune.recipe import stand_ins_of
from spotweave.networks.spec import EncoderSpec
from spotweave.recipes import _columns as columns

if TYPE_CHECKING:
    from spotweave.finetune import Job, Sample

COLUMNS: dict[str, dict[str, Any]] = {
    "input_px": columns.INPUT_PX,
    "sizes": {
        "description": "Widths and depths of the network: published, or small ones for two cores and for tests",
        "allowed": "published, small, tiny",
        "type": "string",
        "enum": ["published", "small", "tiny"],
    },
    "spot_um": {
        "description": "Side of the square of tissue that is the spot's picture, um; the niche's is the whole patch",
        "allowed": "a number from 5 to 9999",
        "type": "string",
        "pattern": "^[1-9][0-9]{0,3}(\\.[0-9]+)?$",
    },
    "spot_px": {"description": "Edge of the picture of the spot, px; published is 28", **columns.WHOLE},
    "spot_architecture": {
        "description": "ResNet of the timm library for the spot's picture, from random weights; published is resnet50",
        "allowed": "the name of a ResNet of timm",
        "type": "string",
        "pattern": "^[a-z0-9_]+$",
        "maxLength": 60,
    },
    "neighbours": {
        "description": "Nearest spots that are a spot's niche beside itself; published is 3",
        **columns.WHOLE,
    },
    "genes": {"description": "How many variable genes describe spots and niches; published is 4384", **columns.WHOLE},
    "gene_encoder": {
        "description": "scgpt as published, frozen; or in its place mlp (learned), or pca (principal components of the"
        " training spots)",
        "allowed": "scgpt, mlp, pca",
        "type": "string",
        "enum": ["scgpt", "mlp", "pca"],
    },
    "gene_weights": {
        "description": "Folder of scGPT: vocab.json, args.json and best_model.pt",
        "allowed": "a path",
        "type": "string",
        "maxLength": 400,
    },
    "gene_sha256": {
        "description": "SHA-256 of its best_model.pt; blank for any",
        "allowed": "64 digits and letters a-f",
        "type": "string",
        "pattern": "^[0-9a-f]{64}$",
    },
    "fusion": {
        "description": "attention as published, or concatenation, its ablation",
        "allowed": "attention, concatenation",
        "type": "string",
        "enum": ["attention", "concatenation"],
    },
    "share_spot": {
        "description": "Share of the spots' loss; what both leave of 1 is that of the fusion",
        **columns.SHARE,
    },
    "share_niche": {"description": "Share of the niches' loss; 0 is the ablation without niches", **columns.SHARE},
    "temperature": {"description": "Divides cosine similarities; published is 0.1", **columns.RATE},
    "epochs": columns.EPOCHS,
    "batch": columns.BATCH,
    "lr_image": {
        "description": "Learning rate of all layers, for 256 pairs at a time; published is 5e-4",
        **columns.RATE,
    },
    "weight_decay": columns.WEIGHT_DECAY,
    "end_weight_decay": {**columns.WEIGHT_DECAY, "description": "What it becomes at the end; published is 0.4"},
    "warmup_epochs": columns.WARMUP_EPOCHS,
    "unfrozen": columns.UNFROZEN,
    "augment": columns.AUGMENT,
    "jitter": columns.JITTER,
    "at_once": columns.AT_ONCE,
    "negatives": columns.NEGATIVES,
    "precision": columns.PRECISION,
}
REQUIRED = (
    "input_px",
    "sizes",
    "spot_um",
    "spot_px",
    "spot_architecture",
    "neighbours",
    "genes",
    "gene_encoder",
    "fusion",
    "share_spot",
    "share_niche",
    "temperature",
    "epochs",
    "batch",
    "lr_image",
    "weight_decay",
    "end_weight_decay",
    "unfrozen",
)


def check(row: Mapping[str, str], base: Mapping[str, str]) -> list[tuple[str, str]]:
    """A network can be trained, and at sizes it takes."""
    found = columns.base_faults(row, base)
    if float(row["share_spot"]) + float(row["share_niche"]) > 1 + 1e-9:
        found.append(
            ("share_niche", f"{row['share_niche']} and share_spot {row['share_spot']}, allowed: at most 1 together")
        )
    if (row["gene_encoder"] == "scgpt") != bool(row.get("gene_weights")):
        said = f"{row.get('gene_weights', '')!r} and gene_encoder {row['gene_encoder']}"
        found.append(("gene_weights", f"{said}, allowed: scGPT's folder for scgpt, blank for others"))
    return found


def stand_ins(row: Mapping[str, str]) -> list[str]:
    """What stands in for what was published, for results to say."""
    return stand_ins_of(row["gene_encoder"])


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
    from spotweave.finetune.kinds.stalign import StAlignKind

    return train_row(StAlignKind, splits, fold, samples, row, base, job)
