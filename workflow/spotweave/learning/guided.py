"""Methods that are shown, beside a spot, known spots of other samples that look like it: both versions of EGN.

A frozen trunk gives every patch a feature. The bank holds features and expression of the spots that are learned from;
the exemplars of a spot are the nearest of the bank, those of its own sample left out. Trunk and bank are kept with the
network, so a fitted method needs nothing else to predict.

Features are shifted and scaled as a whole, which changes no neighbour: those of an untrained trunk would else be too
small to be learned from. As published, they are left as they are.

Where the row names an encoder, its vectors are the features, and there is no trunk and no patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spotweave.errors import Refusal
from spotweave.exemplars.retrieval import NoExemplars, nearest
from spotweave.io import file_hash
from spotweave.learning import held_out
from spotweave.learning.epochs import Epochs, key_of
from spotweave.learning.fitted import Fitted
from spotweave.learning.images import read_images
from spotweave.learning.ranges import range_of
from spotweave.learning.settings import PUBLISHED, settings_of
from spotweave.learning.vectors import is_embedded, measured, vectors_of, with_encoder
from spotweave.networks.backbone import Backbone, backbone
from spotweave.networks.correlation_loss import mse_and_correlation
from spotweave.networks.pooling import seeded
from spotweave.networks.spec import EncoderSpec
from spotweave.networks.transform import pick_device
from spotweave.spots import CannotPredict, Job, Sample, Training

Settings = Mapping[str, Any]
TRUNK_BATCH = 32
WEIGHT_DECAY = 1e-4


@dataclass(frozen=True)
class Seen:
    """Spots of one sample, or of a batch, as a network is shown them.

    Attributes
    ----------
    images
        (N, 3, S, S) uint8; over an encoder (N, F) float32, its vectors.
    features
        (N, F) float32.
    near
        (N, K) int64, rows of the bank, the nearest last.
    positions_px
        (N, 2) float64.
    """

    images: torch.Tensor
    features: torch.Tensor
    near: torch.Tensor
    positions_px: NDArray[np.float64]

    def at(self, rows: torch.Tensor) -> Seen:
        """The same of some rows."""
        here = rows.to(self.near.device)
        return Seen(self.images[rows], self.features[here], self.near[here], self.positions_px[rows.numpy()])


class Guided(nn.Module):
    """A network, the trunk that finds its exemplars, and the bank they come from.

    Buffers: `features` (M, F) and `expression` (M, G) of the bank as they are learned, `section` (M,) its samples by
    number; `shift` (F,) and `spread` () of features; `mean` and `std` of pixels from 0 to 1; `steps` taken so far.
    """

    features: torch.Tensor
    expression: torch.Tensor
    section: torch.Tensor
    shift: torch.Tensor
    spread: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    steps: torch.Tensor

    def __init__(
        self, network: nn.Module, trunk: nn.Module | None, n_known: int, n_features: int, n_genes: int
    ) -> None:
        super().__init__()
        self.network, self.trunk = network, None if trunk is None else trunk.requires_grad_(False)
        self.register_buffer("features", torch.zeros(n_known, n_features))
        self.register_buffer("expression", torch.zeros(n_known, n_genes))
        self.register_buffer("section", torch.zeros(n_known, dtype=torch.int64))
        self.register_buffer("shift", torch.zeros(n_features))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("std", torch.ones(1, 3, 1, 1))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def features_of(self, images: torch.Tensor) -> torch.Tensor:
        """(N, F) of (N, 3, S, S) uint8, or of vectors (N, F)."""
        return (self._raw_features(images) - self.shift) / self.spread

    def _raw_features(self, images: torch.Tensor) -> torch.Tensor:
        """As trunk or encoder leave them; pixels reach the trunk as -1 to 1."""
        if self.trunk is None:
            return images.to(self.shift.device)
        self.trunk.eval()
        with torch.no_grad():
            parts = [self.trunk(part.to(self.shift.device).float() / 127.5 - 1) for part in images.split(TRUNK_BATCH)]
            return torch.cat(parts).float()

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) float32, normalised, of uint8."""
        return (images.to(self.mean.device).float() / 255 - self.mean) / self.std


@dataclass(frozen=True)
class GuidedMethod:
    """What makes one method with exemplars.

    Attributes
    ----------
    kind
        Its module of `methods`.
    presets
        Its table of settings. All have `size_px`, `epochs`, `rate`, `exemplars` (how many are shown), `trunk` (a timm
        architecture) with `trunk_arguments` and `feature_dim`; `patience` may be left out.
    distance
        By which exemplars are near, a key of `exemplars.retrieval.DISTANCES`.
    build
        Takes settings and the number of genes, gives the network.
    say
        Takes the whole and what it is shown of a sample or a batch, gives (N, G).
    batches
        Takes what is seen of each sample, their targets, settings and a generator: what is shown, step by step.
    rate
        Takes settings, the steps taken so far and those of an epoch: the learning rate of the next.
    pixels
        Mean and deviation of pixels of the published data, (3,) from 0 to 1; None where the network sees no pixels.

    With `vector_dim` among the settings `build` gives a network whose pixels, if it sees any, are the spot's vector.
    """

    kind: str
    presets: Mapping[str, Settings]
    distance: str
    build: Callable[[Settings, int], nn.Module]
    say: Callable[[Guided, Seen, Settings], torch.Tensor]
    batches: Callable[
        [Sequence[Seen], Sequence[torch.Tensor], Settings, torch.Generator], Iterable[tuple[Seen, torch.Tensor]]
    ]
    rate: Callable[[Settings, int, int], float]
    pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def fit(self, training: Training, row: Mapping[str, str], job: Job) -> Fitted:
        """Train on training spots, choose the epoch by those of them that are held out.

        Raises
        ------
        CannotPredict
            If no other training sample is there to take exemplars from, or settings do not fit each other.
        """
        torch.set_num_threads(job.threads)
        learn, hold = held_out.split(training)
        if len({known.sample.name for known in learn}) < 2:
            # Those left to learn from would have no exemplars.
            learn, hold = list(training.samples), []
        scaling = range_of(training.samples)
        settings = with_encoder(settings_of(row, self.presets), row, training.samples) | {
            "sections": [known.sample.name for known in learn],
            "n_known": sum(len(known.totals) for known in learn),
        }
        images = [_images(known.sample, settings) for known in learn]
        weights = row.get("trunk_weights", "")
        guided = self._begun(settings, weights, len(training.genes), job.seed).to(pick_device("auto"))
        targets = [torch.from_numpy(scaling.learned(known.expression)).to(guided.shift.device) for known in learn]
        self._fill(guided, images, targets, settings)
        rows = np.split(np.arange(settings["n_known"]), np.cumsum([len(own) for own in images])[:-1])
        seen = [
            self._seen(guided, known.sample, own, guided.features[at], settings)
            for known, own, at in zip(learn, images, rows, strict=True)
        ]
        held = [(known, self._shown(guided, known.sample, settings)) for known in hold]
        varies = torch.from_numpy(scaling.varies).to(guided.shift.device)
        trained = [one for one in guided.parameters() if one.requires_grad]
        optimiser = torch.optim.AdamW(trained, settings["rate"], weight_decay=WEIGHT_DECAY)

        def step(generator: torch.Generator) -> float:
            shown = list(self.batches(seen, targets, settings, generator))
            total = 0.0
            for one, target in shown:
                for group in optimiser.param_groups:
                    group["lr"] = self.rate(settings, int(guided.steps), len(shown))
                loss = mse_and_correlation(self.say(guided, one, settings)[:, varies], target[:, varies]).total
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                guided.steps += 1
                total += loss.item() * len(target)
            return total / settings["n_known"]

        def score() -> float:
            truth = np.concatenate([known.expression for known, _ in held])
            found = np.concatenate([scaling.predicted(self._said(guided, one, settings)) for _, one in held])
            return held_out.mean_pearson(truth[:, scaling.varies], found[:, scaling.varies])

        loop = Epochs(guided, optimiser, step, score if hold else None, settings["epochs"], settings.get("patience"))
        spots = [spot for known in training.samples for spot in known.sample.spots]
        key = key_of(
            *(dict(row), job.seed, list(training.genes), spots, str(guided.shift.device)),
            *(values.cpu().numpy() for values in (guided.expression, guided.features, *images)),
        )
        history = loop.run(job.seed, what=row.get("method", self.kind), scratch=job.scratch, key=key)
        fitted = Fitted(
            *(self.kind, guided, scaling, settings, training.genes, Fitted.trained_on(training, row), self._answer)
        ).after(history, hold)
        fitted.details.update(
            exemplars=settings["exemplars"],
            parameters=sum(one.numel() for one in guided.network.parameters()),
        )
        if guided.trunk is not None:
            trunk = f"of SHA-256 {_hash(weights)}" if weights else "random"
            fitted.details["weights"] = f"random; trunk {settings['trunk']} {trunk}"
        return fitted

    def load(self, folder: Path) -> Fitted:
        """A fitted method from the folder that it was saved in."""

        def empty(settings: Settings, n_genes: int) -> Guided:
            trunk = None if is_embedded(settings) else Backbone(_trunk_spec(settings, ""))
            return self._whole(settings, n_genes, trunk)

        return Fitted.load(folder, empty, self._answer)

    def _begun(self, settings: Settings, weights: str, n_genes: int, seed: int) -> Guided:
        try:
            trunk = None if is_embedded(settings) else backbone(_trunk_spec(settings, weights), folder=None, seed=seed)
            with seeded(seed):
                return self._whole(settings, n_genes, trunk)
        except (Refusal, ValueError) as error:
            raise CannotPredict(str(error)) from error

    def _whole(self, settings: Settings, n_genes: int, trunk: nn.Module | None) -> Guided:
        return Guided(self.build(settings, n_genes), trunk, settings["n_known"], settings["feature_dim"], n_genes)

    def _fill(
        self, guided: Guided, images: Sequence[torch.Tensor], targets: Sequence[torch.Tensor], settings: Settings
    ) -> None:
        """Set the bank, and what is measured on it."""
        # The whole shifts and scales nothing yet.
        raw = torch.cat([guided.features_of(own) for own in images])
        if is_embedded(settings):
            for place, value in zip((guided.shift, guided.spread), measured(raw), strict=True):
                place.copy_(value)
        elif settings["behaviour"] != PUBLISHED:
            guided.shift.copy_(raw.mean(dim=0))
            guided.spread.copy_((raw - guided.shift).square().mean().sqrt().clamp_min(1e-12))
        guided.features.copy_((raw - guided.shift) / guided.spread)
        guided.expression.copy_(torch.cat(list(targets)))
        guided.section.copy_(torch.cat([torch.full((len(own),), at) for at, own in enumerate(images)]))
        if self.pixels is None or is_embedded(settings):
            return
        # Sums of whole numbers: the same whatever the order of spots.
        values = torch.cat(list(images)).permute(1, 0, 2, 3).reshape(3, -1).double() / 255
        mean, std = values.mean(dim=1), values.std(dim=1, correction=0).clamp_min(1e-3)
        if settings["behaviour"] == PUBLISHED:
            mean, std = map(torch.tensor, self.pixels)
        guided.mean.copy_(mean.view(1, 3, 1, 1))
        guided.std.copy_(std.view(1, 3, 1, 1))

    def _shown(self, guided: Guided, sample: Sample, settings: Settings) -> Seen:
        images = _images(sample, settings)
        return self._seen(guided, sample, images, guided.features_of(images), settings)

    def _seen(
        self, guided: Guided, sample: Sample, images: torch.Tensor, features: torch.Tensor, settings: Settings
    ) -> Seen:
        section, known = guided.section.cpu().numpy(), guided.features.cpu().numpy()
        rows = {name: np.flatnonzero(section == at) for at, name in enumerate(settings["sections"])}
        try:
            found = nearest(
                features.cpu().numpy(),
                sample.name,
                {name: known[own] for name, own in rows.items()},
                settings["exemplars"],
                self.distance,
                published=settings["behaviour"] == PUBLISHED,
            )
        except NoExemplars as error:
            raise CannotPredict(str(error)) from error
        first = np.array([rows[name][0] for name in found.searched])
        near = torch.from_numpy(first[found.section] + found.spot).to(guided.shift.device)
        return Seen(images, features, near, sample.positions_px)

    def _said(self, guided: Guided, seen: Seen, settings: Settings) -> NDArray[np.float32]:
        guided.eval()
        with torch.inference_mode():
            return self.say(guided, seen, settings).float().cpu().numpy()

    def _answer(self, network: nn.Module, sample: Sample, settings: Settings) -> NDArray[np.float32]:
        assert isinstance(network, Guided)
        return self._said(network, self._shown(network, sample, settings), settings)


def _images(sample: Sample, settings: Settings) -> torch.Tensor:
    """As `Seen.images`, of all spots of a sample."""
    if is_embedded(settings):
        return vectors_of(sample)
    images = read_images(sample, settings["size_px"], settings["patch_um"])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _trunk_spec(settings: Settings, weights: str) -> EncoderSpec:
    return EncoderSpec(
        encoder=f"{settings['trunk']} (trunk_weights)",
        builder="timm_model",
        dim=settings["feature_dim"],
        input_px=settings["size_px"],
        architecture=settings["trunk"],
        arguments=settings["trunk_arguments"],
        weights="file" if weights else "random",
        source=weights,
        pool="avg",
    )


def _hash(path: str) -> str:
    return file_hash(Path(path))
