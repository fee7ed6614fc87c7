"""GeneCodeR's way of learning: sweeps over blocks of least squares, of which the best by held-out spots is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spotweave.learning import held_out
from spotweave.learning.epochs import Epochs, key_of
from spotweave.learning.fitted import Fitted
from spotweave.learning.images import read_images
from spotweave.learning.scaling import Scaling
from spotweave.learning.settings import PUBLISHED, settings_of
from spotweave.networks.genecoder import Blocks, GeneCoder, directions, gram_of
from spotweave.networks.transform import pick_device
from spotweave.spots import Job, Sample, Training, TrainingSample

Settings = Mapping[str, Any]
PREDICTED_AT_ONCE = 64
CHANNELS = 3


def fit(training: Training, row: Mapping[str, str], job: Job, presets: Mapping[str, Settings]) -> Fitted:
    """Fit loadings of pictures and genes to training spots."""
    torch.set_num_threads(job.threads)
    settings = settings_of(row, presets)
    published = settings["behaviour"] == PUBLISHED
    learn, hold = (training.samples, []) if published else held_out.split(training)
    scaling = Scaling.of(training.samples, standardise=settings["standardise"])
    pictures = _pictures(learn, settings)
    expression = np.concatenate([scaling.learned(known.expression) for known in learn])
    targets = torch.from_numpy(expression).double()
    n_spots, n_genes = targets.shape
    settings["components"] = directions(n_spots, pictures.shape[1], n_genes, settings["components"])
    blocks = Blocks(
        gram_of(pictures, pictures),
        gram_of(targets, targets),
        settings["components"],
        torch.Generator().manual_seed(job.seed),
    )
    held = [(known, gram_of(_pictures([known], settings), pictures)) for known in hold]

    def score() -> float:
        truth = np.concatenate([known.expression for known, _ in held])
        found = np.concatenate([scaling.predicted(blocks.read(products, targets).numpy()) for _, products in held])
        return held_out.mean_pearson(truth[:, scaling.varies], found[:, scaling.varies])

    loop = Epochs(
        blocks,
        None,
        lambda _: blocks.sweep(as_described=published),
        score if held else None,
        settings["epochs"],
        settings.get("patience"),
        is_over=(lambda: blocks.settled(settings["tolerance"])) if published else None,
    )
    spots = [spot for known in learn for spot in known.sample.spots]
    key = key_of(dict(row), job.seed, list(training.genes), spots, expression, pictures.numpy())
    history = loop.run(job.seed, what=row.get("method", "genecoder"), scratch=job.scratch, key=key)
    network = _begun(settings, n_genes)
    network.fill(blocks, pictures, targets)
    said = Fitted.trained_on(training, row)
    fitted = Fitted("genecoder", network.to(pick_device("auto")), scaling, settings, training.genes, said, answer)
    fitted = fitted.after(history, hold)
    # Nothing of it begins from weights, random or given.
    fitted.details.update(components=settings["components"], unexplained=history.loss[history.best_epoch], weights=None)
    return fitted


def load(folder: Path) -> Fitted:
    """A fitted method from the folder that it was saved in."""
    return Fitted.load(folder, _begun, answer)


def answer(network: nn.Module, sample: Sample, settings: Settings) -> NDArray[np.float32]:
    """(N, G) as learned."""
    device = next(network.parameters()).device
    shown = _flat(read_images(sample, settings["size_px"], settings["patch_um"]), settings)
    with torch.inference_mode():
        return torch.cat([network(part.to(device)).cpu() for part in shown.split(PREDICTED_AT_ONCE)]).numpy()


def _begun(settings: Settings, n_genes: int) -> GeneCoder:
    pixels = settings["size_px"] ** 2 * CHANNELS
    return GeneCoder(n_genes, pixels=pixels, components=settings["components"])


def _pictures(samples: Sequence[TrainingSample], settings: Settings) -> torch.Tensor:
    parts = [read_images(known.sample, settings["size_px"], settings["patch_um"]) for known in samples]
    return _flat(np.concatenate(parts), settings)


def _flat(images: NDArray[np.uint8], settings: Settings) -> torch.Tensor:
    """(N, P) uint8. As published, what is as bright as can be is made as dark as can be."""
    flat = images.reshape(len(images), -1)
    return torch.from_numpy(np.where(flat == 255, 0, flat) if settings["behaviour"] == PUBLISHED else flat)
