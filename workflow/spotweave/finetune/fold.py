"""One fold of a recipe: from the samples it trains on to the file of its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spotweave.finetune import Sample, pick_fold, read_pairs, training_samples
from spotweave.finetune.recipe import Recipe
from spotweave.finetune.training import fit
from spotweave.networks.spec import EncoderSpec
from spotweave.networks.tower import save, tower_spec
from spotweave.networks.transform import Transform


def train_fold(
    splits: Mapping[str, Any],
    fold: int,
    samples: Sequence[Sample],
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
