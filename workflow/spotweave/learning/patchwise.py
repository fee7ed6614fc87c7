"""Methods that see one patch at a time: from the patches of training spots to a fitted network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spotweave.learning import held_out
from spotweave.learning.epochs import Epochs, key_of
from spotweave.learning.fitted import Fitted
from spotweave.learning.images import read_images
from spotweave.learning.normalised import Normalised, NormalisedVectors, empty
from spotweave.learning.scaling import Scaling
from spotweave.learning.settings import settings_of
from spotweave.learning.symmetries import EIGHT, laid, laid_at_random
from spotweave.learning.vectors import is_embedded, normalised, vectors_of, with_encoder
from spotweave.networks.pooling import seeded
from spotweave.networks.transform import pick_device
from spotweave.spots import Job, Sample, Training, TrainingSample

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PREDICTED_AT_ONCE = 64
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Patchwise:
    """What makes one patch-level method.

    Attributes
    ----------
    kind
        Its module of `methods`.
    presets
        Its table of settings. All have `size_px`, `epochs`, `batch`, `standardise` (whether genes are learned with
        variance 1), `input` (`measured`: by mean and deviation of the training pixels; `imagenet`; `unit`: 0 to 1),
        `augment` (whether patches are laid at random) and `symmetries` (whether predictions are means over the eight
        ways to lay a patch); `patience` may be left out.
    build
        Takes settings and the number of genes; the network: (B, 3, size_px, size_px) float32 -> (B, G). With
        `vector_dim` among the settings: (B, vector_dim) float32 -> (B, G).
    loss
        Of (B, G) predictions and targets, as they are learned.
    optimiser
        Takes parameters and settings.
    begin
        Takes the network and (N, G) training targets, sets what a method starts from; None leaves it.
    penalty
        Takes the network after a batch, and settings; what is added to the loss, or None.
    teaches
        Takes (N, 3, size_px, size_px) uint8 training patches; (N,) bool, which are learned from. None takes all.
    """

    kind: str
    presets: Mapping[str, Settings]
    build: Callable[[Settings, int], nn.Module]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    optimiser: Callable[[Any, Settings], torch.optim.Optimizer]
    begin: Callable[[nn.Module, torch.Tensor], None] | None = None
    penalty: Callable[[Any, Settings], torch.Tensor | None] | None = None
    teaches: Callable[[torch.Tensor], NDArray[np.bool_]] | None = None

    def fit(self, training: Training, row: Mapping[str, str], job: Job) -> Fitted:
        """Train on training spots, choose the epoch by those of them that are held out."""
        settings = with_encoder(settings_of(row, self.presets), row, training.samples)
        torch.set_num_threads(job.threads)
        learn, hold = held_out.split(training)
        scaling = Scaling.of(training.samples, standardise=settings["standardise"])
        images, targets = _images(learn, settings), torch.from_numpy(_targets(learn, scaling))
        if self.teaches is not None:
            rows = torch.from_numpy(self.teaches(images))
            images, targets = images[rows], targets[rows]
        with seeded(job.seed):
            begun = self.build(settings, len(training.genes))
        network = (
            normalised(begun, images)
            if is_embedded(settings)
            else Normalised(begun, *_input(settings["input"], images))
        )
        if self.begin is not None:
            self.begin(network.network, targets)
        device = pick_device("auto")
        network, targets = network.to(device), targets.to(device)
        varies = torch.from_numpy(scaling.varies).to(device)
        optimiser = self.optimiser([one for one in network.parameters() if one.requires_grad], settings)
        fitted = self._fitted(network, scaling, settings, training, row)
        held = [(known, _images([known], settings)) for known in hold]

        def step(generator: torch.Generator) -> float:
            return one_epoch(network, images, targets, self.loss, optimiser, settings, generator, varies, self.penalty)

        def score() -> float:
            truth = np.concatenate([known.expression for known, _ in held])
            found = np.concatenate([fitted.scaling.predicted(predicted(network, own, settings)) for _, own in held])
            return held_out.mean_pearson(truth[:, scaling.varies], found[:, scaling.varies])

        loop = Epochs(network, optimiser, step, score if hold else None, settings["epochs"], settings.get("patience"))
        spots = [spot for known in training.samples for spot in known.sample.spots]
        key = key_of(
            dict(row), job.seed, list(training.genes), spots, targets.cpu().numpy(), _digest(images), str(device)
        )
        history = loop.run(job.seed, what=row.get("method", self.kind), scratch=job.scratch, key=key)
        return fitted.after(history, hold)

    def load(self, folder: Any) -> Fitted:
        """A fitted method from the folder that it was saved in."""
        return Fitted.load(folder, self._network, _answer)

    def _network(self, settings: Settings, genes: int) -> nn.Module:
        return empty(self.build(settings, genes), settings)

    def _fitted(
        self, network: nn.Module, scaling: Scaling, settings: Settings, training: Training, row: Mapping[str, str]
    ) -> Fitted:
        return Fitted(
            self.kind, network, scaling, dict(settings), training.genes, Fitted.trained_on(training, row), _answer
        )


def one_epoch(
    network: Normalised | NormalisedVectors,
    images: torch.Tensor,
    targets: torch.Tensor,
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    optimiser: torch.optim.Optimizer,
    settings: Settings,
    generator: torch.Generator,
    varies: torch.Tensor,
    penalty: Callable[[Any, Settings], torch.Tensor | None] | None = None,
) -> float:
    """One pass over (N, 3, H, W) images or (N, D) vectors in a new order; the mean loss a spot, before each step.

    Parameters
    ----------
    varies
        (G,) bool, the genes that the loss is taken over.
    """
    order = torch.randperm(len(images), generator=generator)
    device = targets.device
    total = 0.0
    # Batches of nearly equal size: batch norms and losses over a last one of a few spots would be noise.
    for rows in torch.tensor_split(order, math.ceil(len(order) / settings["batch"])):
        shown = laid_at_random(images[rows], generator) if settings["augment"] else images[rows]
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            found = network(shown.to(device))
        loss = loss_of(found.float()[:, varies], targets[rows.to(device)][:, varies])
        more = None if penalty is None else penalty(network.network, settings)
        if more is not None:
            loss = loss + more
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total += loss.item()
    return total / len(order)


def predicted(network: nn.Module, images: torch.Tensor, settings: Settings) -> NDArray[np.float32]:
    """(N, G) float32 as the network learned them, the mean over the eight ways to lay a patch where that is set."""
    device = next(network.parameters()).device
    network.eval()
    found = []
    with torch.inference_mode():
        for part in images.split(PREDICTED_AT_ONCE):
            shown = part.to(device)
            ways = [network(laid(shown, *way)) for way in EIGHT] if settings["symmetries"] else [network(shown)]
            found.append(torch.stack(ways).mean(dim=0).float().cpu())
    return torch.cat(found).numpy()


def _answer(network: nn.Module, sample: Sample, settings: Settings) -> NDArray[np.float32]:
    return predicted(network, _shown(sample, settings), settings)


def _images(samples: Sequence[TrainingSample], settings: Settings) -> torch.Tensor:
    return torch.cat([_shown(known.sample, settings) for known in samples])


def _shown(sample: Sample, settings: Settings) -> torch.Tensor:
    """Patches (N, 3, size_px, size_px) uint8 or, over an encoder, vectors (N, D) float32."""
    if is_embedded(settings):
        return vectors_of(sample)
    return _tensor(read_images(sample, settings["size_px"], settings["patch_um"]))


def _tensor(images: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _targets(samples: Sequence[TrainingSample], scaling: Scaling) -> NDArray[np.float32]:
    return np.concatenate([scaling.learned(known.expression) for known in samples])


def _input(how: str, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if how == "unit":
        return torch.zeros(3), torch.ones(3)
    if how == "imagenet":
        mean, std = map(torch.tensor, IMAGENET)
        return mean, std
    # Sums of whole numbers: the same whatever the order of spots.
    pixels = images.permute(1, 0, 2, 3).reshape(3, -1).double()
    mean, std = pixels.mean(dim=1) / 255, pixels.std(dim=1, correction=0) / 255
    return mean.float(), std.clamp_min(1e-3).float()


def _digest(images: torch.Tensor) -> str:
    return key_of(images.numpy())
