"""Methods that see a section at a time: its patches, where they lie on the array, and who is beside whom.

What a network keeps of a section grows with the square of its spots, so a large one is cut into bands of equal numbers
of spots across its longer axis; each is a section of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spotweave.learning import held_out
from spotweave.learning.array_places import places_of, steps_of
from spotweave.learning.epochs import Epochs, key_of
from spotweave.learning.fitted import Fitted
from spotweave.learning.images import read_images
from spotweave.learning.normalised import Normalised, empty
from spotweave.learning.scaling import Scaling
from spotweave.learning.settings import PUBLISHED, settings_of
from spotweave.learning.vectors import is_embedded, normalised, vectors_of, with_encoder
from spotweave.networks.places import neighbour_matrix
from spotweave.networks.pooling import seeded
from spotweave.networks.transform import pick_device
from spotweave.spots import CannotPredict, Job, Sample, Training

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Piece:
    """A section, or a band of a large one, of N spots.

    Attributes
    ----------
    rows
        (N,) int64, which of the sample's spots they are.
    images
        (N, 3, side, side) uint8, the first spatial axis is x, as the published codes cut them; over an encoder (N, D)
        float32, its vectors.
    grid
        (N, 2) int64 places on the array, x and y.
    neighbours
        (N, N) float32; empty for a network that asks for none.
    """

    rows: NDArray[np.int64]
    images: torch.Tensor
    grid: torch.Tensor
    neighbours: torch.Tensor

    def to(self, device: torch.device) -> Piece:
        """The same on a device."""
        return Piece(self.rows, *(one.to(device) for one in (self.images, self.grid, self.neighbours)))


@dataclass(frozen=True)
class Known:
    """What is known of the spots of a piece: (N, G) float32 learned targets, counts, and (N,) size factors."""

    targets: torch.Tensor
    counts: torch.Tensor
    factors: torch.Tensor


@dataclass(frozen=True)
class Sectionwise:
    """What makes one section-level method.

    Attributes
    ----------
    kind
        Its module of `methods`.
    presets
        Its table of settings. All have `size_px`, `epochs`, `standardise`, `input` (`raw`: 0 to 255, as the published
        codes have it; `measured`: by mean and deviation of the training pixels), `places`, `reach` (of a neighbour, in
        steps of the array; 0 for whatever distance, None for a network that asks for no neighbours) and
        `spots_at_once`.
    build
        Takes settings and the number of genes; the network. With `vector_dim` among the settings it takes vectors.
    predict
        Takes the network, normalised pixels (N, 3, side, side) or vectors (N, D), and a piece; (N, G) as learned.
    loss
        Takes the network, what `predict` takes, a piece, what is known of it, which genes vary, and a generator.
    optimiser
        Takes parameters and settings; the optimiser and a schedule over epochs, or None.
    """

    kind: str
    presets: Mapping[str, Settings]
    build: Callable[[Settings, int], nn.Module]
    predict: Callable[[Any, torch.Tensor, Piece], torch.Tensor]
    loss: Callable[[Any, torch.Tensor, Piece, Known, torch.Tensor, torch.Generator], torch.Tensor]
    optimiser: Callable[[Any, Settings], tuple[torch.optim.Optimizer, Any]]

    def fit(self, training: Training, row: Mapping[str, str], job: Job) -> Fitted:
        """Train on whole sections of training spots, choose the epoch by those that are held out."""
        settings = with_encoder(settings_of(row, self.presets), row, training.samples)
        torch.set_num_threads(job.threads)
        learn, hold = held_out.split(training)
        scaling = Scaling.of(training.samples, standardise=settings["standardise"])
        device = pick_device("auto")
        pieces, known = [], []
        for one in learn:
            panel = one.counts.sum(axis=1)
            factors = panel / max(float(np.median(panel)), 1.0)
            values = [scaling.learned(one.expression), one.counts.astype(np.float32), factors.astype(np.float32)]
            for piece in _pieces(one.sample, settings):
                pieces.append(piece.to(device))
                known.append(Known(*(torch.from_numpy(value[piece.rows]).to(device) for value in values)))
        held = [(one, [piece.to(device) for piece in _pieces(one.sample, settings)]) for one in hold]
        with seeded(job.seed):
            begun = self.build(settings, len(training.genes))
        network = (
            normalised(begun, torch.cat([piece.images for piece in pieces]))
            if is_embedded(settings)
            else Normalised(begun, *_input(settings["input"], pieces))
        ).to(device)
        varies = torch.from_numpy(scaling.varies).to(device)
        optimiser, schedule = self.optimiser(network.parameters(), settings)

        def step(generator: torch.Generator) -> float:
            total = 0.0
            for number in torch.randperm(len(pieces), generator=generator).tolist():
                piece = pieces[number]
                loss = self.loss(network.network, network.shown(piece.images), piece, known[number], varies, generator)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                total += loss.item()
            return total / len(pieces)

        def score() -> float:
            found = np.concatenate([self._predicted(network, own, len(one.totals)) for one, own in held])
            truth = np.concatenate([one.expression for one, _ in held])
            return held_out.mean_pearson(truth[:, scaling.varies], scaling.predicted(found)[:, scaling.varies])

        loop = Epochs(
            network, optimiser, step, score if hold else None, settings["epochs"], settings.get("patience"), schedule
        )
        spots = [spot for one in training.samples for spot in one.sample.spots]
        shown = [key_of(piece.images.cpu().numpy(), piece.grid.cpu().numpy()) for piece in pieces]
        learned = [one.targets.cpu().numpy() for one in known]
        key = key_of(dict(row), job.seed, list(training.genes), spots, shown, *learned, str(device))
        history = loop.run(job.seed, what=row.get("method", self.kind), scratch=job.scratch, key=key)
        said = Fitted.trained_on(training, row)
        fitted = Fitted(self.kind, network, scaling, dict(settings), training.genes, said, self._answer)
        return fitted.after(history, hold)

    def load(self, folder: Any) -> Fitted:
        """A fitted method from the folder that it was saved in."""
        return Fitted.load(folder, lambda said, genes: empty(self.build(said, genes), said), self._answer)

    def _answer(self, network: nn.Module, sample: Sample, settings: Settings) -> NDArray[np.float32]:
        device = next(network.parameters()).device
        pieces = [piece.to(device) for piece in _pieces(sample, settings)]
        return self._predicted(network, pieces, len(sample.spots))

    def _predicted(self, network: Any, pieces: Sequence[Piece], count: int) -> NDArray[np.float32]:
        network.eval()
        found: list[NDArray[np.float32]] = []
        with torch.inference_mode():
            for piece in pieces:
                answer = self.predict(network.network, network.shown(piece.images), piece)
                found.append(answer.float().cpu().numpy())
        out = np.empty((count, found[0].shape[1]), np.float32)
        out[np.concatenate([piece.rows for piece in pieces])] = np.concatenate(found)
        return out


def _pieces(sample: Sample, settings: Settings) -> Iterator[Piece]:
    images = _shown(sample, settings)
    steps = steps_of(sample.positions_px)
    published, places = settings["behaviour"] == PUBLISHED, settings["places"]
    if published and steps.max(initial=0) > places - 0.5:
        raise CannotPredict(
            f"{sample.name} has {math.ceil(steps.max()) + 1} columns or rows, and as published it has vectors for"
            f" {places}: set behaviour to mended, which makes them fit"
        )
    axis = int(np.argmax(np.ptp(steps, axis=0)))
    order = np.lexsort((steps[:, 1 - axis], steps[:, axis]))
    count = math.ceil(len(order) / settings["spots_at_once"])
    for part in np.array_split(order, count):
        rows = np.sort(part).astype(np.int64)
        grid = places_of(steps, places)[rows]
        if settings["reach"] is None:
            neighbours = np.zeros((0, 0), np.float32)
        else:
            reach = settings["reach"] or None
            neighbours = neighbour_matrix(grid if published else steps[rows], reach=reach, self_loops=not published)
        yield Piece(rows, images[torch.from_numpy(rows)], torch.from_numpy(grid), torch.from_numpy(neighbours))


def _shown(sample: Sample, settings: Settings) -> torch.Tensor:
    """As `Piece.images`, of all spots."""
    if is_embedded(settings):
        return vectors_of(sample)
    images = read_images(sample, settings["size_px"], settings["patch_um"])
    return torch.from_numpy(images).permute(0, 3, 2, 1).contiguous()


def _input(how: str, pieces: Sequence[Piece]) -> tuple[torch.Tensor, torch.Tensor]:
    if how == "raw":
        return torch.zeros(3), torch.full((3,), 1 / 255)
    sums = np.zeros((2, 3))
    count = 0
    for piece in pieces:
        pixels = piece.images.permute(1, 0, 2, 3).reshape(3, -1).double().cpu().numpy()
        sums += [pixels.sum(axis=1), (pixels**2).sum(axis=1)]
        count += pixels.shape[1]
    mean, square = sums / count
    std = np.sqrt(np.maximum(square - mean**2, 0)) / 255
    return torch.tensor(mean / 255).float(), torch.tensor(std).clamp_min(1e-3).float()
