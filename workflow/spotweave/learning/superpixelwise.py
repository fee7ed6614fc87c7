"""iStar's way of learning: what a superpixel says of expression, from spots that are the mean of theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spotweave.io import file_hash
from spotweave.learning import held_out
from spotweave.learning.epochs import Epochs, key_of
from spotweave.learning.fitted import Fitted
from spotweave.learning.images import read_images
from spotweave.learning.ranges import range_of
from spotweave.learning.settings import PUBLISHED, settings_of
from spotweave.networks import superpixels
from spotweave.networks.disks import SUPERPIXEL_PX
from spotweave.networks.istar import Ensemble, Regressor, batch_size, finite_mean, median, spot_loss
from spotweave.networks.pooling import seeded
from spotweave.networks.transform import pick_device
from spotweave.spots import CannotPredict, Job, Sample, Training, TrainingSample

Settings = Mapping[str, Any]
N_FEATURES = {"tokens": superpixels.TOKENS_DIM, "colour": superpixels.COLOUR_DIM}
PREDICTED_AT_ONCE = 256


class OnSuperpixels(nn.Module):
    """An ensemble, what its features are made by and scaled with: `shift` and `spread`, (C,) each."""

    shift: torch.Tensor
    spread: torch.Tensor

    def __init__(self, ensemble: Ensemble, tokens: nn.Module | None, n_features: int) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.tokens = None if tokens is None else tokens.requires_grad_(False)
        self.register_buffer("shift", torch.zeros(n_features))
        self.register_buffer("spread", torch.ones(n_features))

    def disks(self, sample: Sample, settings: Settings) -> NDArray[np.float32]:
        """(N, K, C): features of the superpixels that each spot covers."""
        images = read_images(sample, settings["size_px"], settings["patch_um"])
        radius = settings["spot_um"] / 2 / (_width_um(sample, settings) / settings["size_px"] * SUPERPIXEL_PX)
        if self.tokens is None:
            return superpixels.under_central_disks([superpixels.colour_statistics(images)], radius)
        self.tokens.eval()
        return superpixels.under_central_disks([superpixels.tokens(images, self.tokens)], radius)

    def scaled(self, disks: torch.Tensor) -> torch.Tensor:
        """(..., C) features with mean 0 and variance 1 over training spots; as they are, as published."""
        return (disks - self.shift) / self.spread

    def means(self, disks: torch.Tensor) -> torch.Tensor:
        """(N, G): the median over members of superpixels, and its mean over the (N, K, C) of each disk."""
        known = disks.isfinite().all(dim=-1)
        shown = self.scaled(torch.where(known[..., None], disks, 0.0))
        return finite_mean(median(torch.stack([member(shown) for member in self.ensemble.members])), known)


def fit(training: Training, row: Mapping[str, str], job: Job, presets: Mapping[str, Settings]) -> Fitted:
    """Train on the superpixels under training spots, choose the epoch by those spots that are held out.

    Raises
    ------
    CannotPredict
        If a file does not hold the transformer's weights; as published, if there are fewer than 16 spots.
    """
    torch.set_num_threads(job.threads)
    learn, hold = held_out.split(training)
    settings = settings_of(row, presets)
    settings["spot_um"] = float(row["spot_um"]) if row.get("spot_um") else _half_pitch_um(training.samples)
    scaling = range_of(training.samples)
    weights = Path(row["feature_weights"]) if row.get("feature_weights") else None
    whole = _begun(settings, len(training.genes), weights, job.seed)
    disks = _joined([whole.disks(known.sample, settings) for known in learn])
    if settings["behaviour"] != PUBLISHED:
        features = disks.flatten(0, 1)[disks.flatten(0, 1).isfinite().all(dim=1)]
        whole.shift.copy_(features.mean(dim=0))
        whole.spread.copy_(features.std(dim=0, correction=0).clamp_min(1e-3))
    targets = torch.from_numpy(np.concatenate([scaling.learned(known.expression) for known in learn]))
    key = key_of(
        *(dict(row), job.seed, list(training.genes), [spot for known in learn for spot in known.sample.spots]),
        *(targets.numpy(), disks.numpy()),
    )
    whole = whole.to(pick_device("auto"))
    held = [(known, whole.disks(known.sample, settings)) for known in hold]
    n_spots, device = len(targets), whole.shift.device
    disks, targets = disks.to(device), targets.to(device)
    batch = batch_size(n_spots, settings["behaviour"] == PUBLISHED)
    if not batch:
        raise CannotPredict("as published it learns from batches of a sixteenth of the spots: at least 16 are needed")
    optimiser = torch.optim.Adam(whole.ensemble.parameters(), settings["rate"])
    members = cast("list[Regressor]", list(whole.ensemble.members))

    def step(generator: torch.Generator) -> float:
        order = torch.randperm(n_spots, generator=generator)
        total = 0.0
        for rows in torch.tensor_split(order, math.ceil(n_spots / batch)):
            shown, target = whole.scaled(disks[rows]), targets[rows]
            # Members share nothing: the sum of their losses trains each as if it were alone.
            loss = torch.stack([spot_loss(member, shown, target) for member in members]).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += loss.item() * len(rows) / len(members)
        return total / n_spots

    def score() -> float:
        truth = np.concatenate([known.expression for known, _ in held])
        found = np.concatenate([scaling.predicted(_said(whole, own)) for _, own in held])
        return held_out.mean_pearson(truth[:, scaling.varies], found[:, scaling.varies])

    loop = Epochs(whole, optimiser, step, score if hold else None, settings["epochs"], settings.get("patience"))
    history = loop.run(job.seed, what=row.get("method", "istar"), scratch=job.scratch, key=key)
    fitted = Fitted("istar", whole, scaling, settings, training.genes, Fitted.trained_on(training, row), answer)
    fitted = fitted.after(history, hold)
    fitted.details.update(
        features="colour statistics" if whole.tokens is None else "tokens of a transformer",
        feature_weights=None if whole.tokens is None else _said_of(weights),
        spot_um=settings["spot_um"],
        parameters=sum(one.numel() for one in whole.ensemble.parameters()),
    )
    return fitted


def load(folder: Path) -> Fitted:
    """A fitted method from the folder that it was saved in."""
    return Fitted.load(folder, lambda settings, n_genes: _begun(settings, n_genes, None, 0), answer)


def answer(network: nn.Module, sample: Sample, settings: Settings) -> NDArray[np.float32]:
    """(N, G) as learned."""
    whole = cast("OnSuperpixels", network)
    return _said(whole, whole.disks(sample, settings))


def _begun(settings: Settings, n_genes: int, weights: Path | None, seed: int) -> OnSuperpixels:
    n_features = N_FEATURES[settings["features"]]
    try:
        tokens = superpixels.token_network(weights, seed) if settings["features"] == "tokens" else None
    except ValueError as error:
        raise CannotPredict(str(error)) from error
    with seeded(seed):
        ensemble = Ensemble(settings["members"], n_features, n_genes, settings["hidden"], settings["n_hidden"])
    return OnSuperpixels(ensemble, tokens, n_features)


def _said(whole: OnSuperpixels, disks: NDArray[np.float32]) -> NDArray[np.float32]:
    whole.eval()
    with torch.inference_mode():
        parts = torch.from_numpy(disks).split(PREDICTED_AT_ONCE)
        return torch.cat([whole.means(part.to(whole.shift.device)).cpu() for part in parts]).numpy()


def _said_of(weights: Path | None) -> str:
    return "random" if weights is None else f"SHA-256 {file_hash(weights)}"


def _joined(parts: Sequence[NDArray[np.float32]]) -> torch.Tensor:
    """(N, K, C) of all samples; where one's pixels are larger it has fewer superpixels, and the rest is not finite."""
    most = max(part.shape[1] for part in parts)
    padded = [np.pad(part, ((0, 0), (0, most - part.shape[1]), (0, 0)), constant_values=np.nan) for part in parts]
    return torch.from_numpy(np.concatenate(padded))


def _width_um(sample: Sample, settings: Settings) -> float:
    """Side of the square of tissue that is shown of a spot, um."""
    if settings["patch_um"] is not None:
        return float(settings["patch_um"])
    return next(iter(sample.images(1))).shape[1] * sample.patch_um_per_px


def _half_pitch_um(samples: Sequence[TrainingSample]) -> float:
    """Half the median distance of a spot from the nearest of its sample, um; where there is one spot, all it shows."""
    from scipy.spatial import KDTree

    found = [KDTree(at).query(at, k=2)[0][:, 1] for at in (one.sample.positions_um for one in samples) if len(at) > 1]
    return float(np.median(np.concatenate(found))) / 2 if found else 1e6
