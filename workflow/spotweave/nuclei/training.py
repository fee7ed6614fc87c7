"""Training of the network of `guided` on rendered tissue, and its card."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from spotweave.io import atomic, file_hash, write_text
from spotweave.networks.nuclei_unet import NucleiUNet
from spotweave.nuclei import NucleiSpec, scoring
from spotweave.nuclei.examples import EXAMPLE_PX, Examples, draw_pool
from spotweave.nuclei.methods import classical, guided
from spotweave.simulate import nuclei_slide

BATCH = 8
LEARNING_RATE, WEIGHT_DECAY = 4e-3, 1e-4
# The rate falls along a cosine that is this many times as long as the training, which ends while it is still high:
# trained to its end, the network knows the rendering better, and real slides worse (docs/nuclei-measured.md).
SCHEDULE = 3
WARM_UP = 0.05  # of the schedule
KEPT = 0.999  # of the averaged weights at every step
DISTANCE_WEIGHT, OVERLAP_WEIGHT = 2.0, 0.5  # beside the cross-entropy of the foreground
PARTS = 2  # files of scenes
EXAMPLES_SEED = 20  # and the seed of the training
MEASURED_LOOKS = 6
MEASURED_SIDE_UM = 300.0


@dataclass(frozen=True)
class Plan:
    """How the network is trained: scenes rendered, steps of `BATCH` patches, seed of its start and of the patches."""

    scenes: int = 1000
    steps: int = 4000
    seed: int = 0


class _Batches(torch.utils.data.IterableDataset[list[Tensor]]):
    """Batches without end: picture (B, H, W, 3), foreground, distance and weight (B, H, W), all float32."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed

    def __iter__(self) -> Iterator[list[Tensor]]:
        cv2.setNumThreads(1)
        examples = Examples(self.folder, np.random.default_rng(EXAMPLES_SEED + self.seed))
        while True:
            batch = [next(examples) for _ in range(BATCH)]
            yield [torch.from_numpy(np.stack(column)) for column in zip(*batch, strict=True)]


def loss_of(logits: Tensor, foreground: Tensor, distance: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy and overlap (Dice) of the foreground, and the mean error of the distance.

    Parameters
    ----------
    logits
        (B, 2, H, W), as `NucleiUNet` gives them.
    foreground, distance
        (B, H, W), 0 to 1.
    weight
        (B, H, W): 0 where nothing is asked for.
    """
    asked = (weight > 0).float()
    inside = torch.sigmoid(logits[:, 0])
    entropy = nn.functional.binary_cross_entropy_with_logits(logits[:, 0], foreground, reduction="none")
    shared = (inside * foreground * asked).sum()
    overlap = (2 * shared + 1) / ((inside * asked).sum() + (foreground * asked).sum() + 1)
    error = (torch.sigmoid(logits[:, 1]) - distance).abs()
    of_foreground = (entropy * weight).sum() / weight.sum() + OVERLAP_WEIGHT * (1 - overlap)
    return of_foreground + DISTANCE_WEIGHT * ((error * weight).sum() / weight.sum())


def train(weights: Path, plan: Plan, *, processes: int = 1) -> None:
    """Render scenes, train on patches of them, and write the averaged weights (safetensors, float32).

    The same plan gives the same weights on the same kind of processor with the same versions, whatever `processes`:
    they share the rendering, and with more than one of them patches are printed beside the training.
    """
    weights.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="spotweave-nuclei-") as scratch:
        draw_pool(Path(scratch), plan.scenes // PARTS, PARTS, processes)
        state = _trained(Path(scratch), plan, beside=processes > 1)
    with atomic(weights) as part:
        save_file(state, part)


def _trained(pool: Path, plan: Plan, *, beside: bool) -> dict[str, Tensor]:
    torch.manual_seed(plan.seed)
    # A worker is not forked: OpenCV's threads, which are not there after a fork, would be waited for.
    worker: dict[str, Any] = {"num_workers": 1, "multiprocessing_context": "spawn"} if beside else {}
    batches = iter(torch.utils.data.DataLoader(_Batches(pool, plan.seed), batch_size=None, **worker))
    network = NucleiUNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(KEPT), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=SCHEDULE * plan.steps, pct_start=WARM_UP
    )
    progress = tqdm(range(plan.steps), desc="training", unit="step", disable=None)
    for _ in progress:
        picture, foreground, distance, weight = next(batches)
        channels_last = picture.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(channels_last)
        loss = loss_of(logits.float(), foreground, distance, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        averaged.update_parameters(network)
        progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return {name: tensor.detach().contiguous() for name, tensor in averaged.module.state_dict().items()}


def measured(weights: Path, seeds: range) -> dict[str, scoring.Score]:
    """Scores of `guided` with these weights and of `classical` on slides of random looks, drawn by another program."""
    model = guided.load(
        NucleiSpec("guided", "guided", 0.5, weights="file", source=str(weights)), folder=None, device="cpu", seed=0
    )
    scores: dict[str, list[scoring.Score]] = {"guided": [], "classical": []}
    for seed in tqdm(seeds, desc="measuring", disable=None):
        look = nuclei_slide.draw_look(np.random.default_rng(seed))
        slide = nuclei_slide.draw_slide(seed, look, size_um=(MEASURED_SIDE_UM, MEASURED_SIDE_UM))
        found = guided.segment(model.predict([slide.rgb])[0], um_per_px=0.5, stain=model.measure([slide.rgb]))
        scores["guided"].append(scoring.score(slide.labels, found))
        found = classical.segment(slide.rgb, um_per_px=0.5, stain=classical.measure_stain([slide.rgb], 0.5))
        scores["classical"].append(scoring.score(slide.labels, found))
    return {name: scoring.total(each) for name, each in scores.items()}


def write_card(weights: Path, plan: Plan, minutes: float) -> None:
    """Measure the weights and write `card.md` beside them."""
    scores = measured(weights, range(MEASURED_LOOKS))
    parameters = sum(one.numel() for one in NucleiUNet().parameters())
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "numpy", "opencv-contrib-python-headless")
    )
    command = " ".join(f"--{name} {value}" for name, value in asdict(plan).items())
    rows = [
        f"| {name} | {one.f1:.3f} | {one.precision:.3f} | {one.recall:.3f} | {one.pq:.3f} |"
        for name, one in scores.items()
    ]
    write_text(
        weights.with_name("card.md"),
        CARD.format(
            parameters=f"{parameters:,}",
            scenes=plan.scenes,
            steps=f"{plan.steps:,}",
            batch=BATCH,
            patch=EXAMPLE_PX,
            command=command,
            minutes=round(minutes),
            versions=versions,
            size=f"{weights.stat().st_size / 1e6:.1f}",
            sha256=file_hash(weights),
            looks=MEASURED_LOOKS,
            side=f"{MEASURED_SIDE_UM:g}",
            rows="\n".join(rows),
        ),
    )


CARD = """# Network of the nuclei method `guided`

Says of every pixel (0.5 um) whether it lies in a nucleus, and how deep. `guided` (`docs/nuclei.md`) weighs that against
the picture itself. Not meant for anything else, and no diagnostic device.

| | |
|---|---|
| network | U-Net of four levels, {parameters} parameters (`spotweave.networks.nuclei_unet`), random start |
| data | {scenes} scenes of 160 x 160 um rendered by \
`spotweave.simulate.nuclei_scenes`; no real picture, and no slide of those it is measured on |
| patches | {patch} px of 0.5 um; stain, light, blur, noise, sharpening and JPEG drawn anew for \
every one; a quarter seen through coarser pixels |
| training | `python scripts/train_nuclei.py --weights weights.safetensors {command}`, \
{minutes} minutes on two cores |
| steps | {steps} of {batch} patches, bfloat16; the rate still high at the end; weights averaged over a thousand |
| versions | {versions} |
| file | safetensors, float32, {size} MB |
| sha256 | {sha256} |
| licence | AGPL-3.0-or-later, as the project |

Measured on {looks} slides of {side} x {side} um that another program draws (`spotweave.simulate.nuclei_slide`), of
random looks; a hit is a nucleus with an IoU above 0.5:

| method | F1 | precision | recall | PQ |
|---|---|---|---|---|
{rows}

On real patches with labels: `docs/nuclei-measured.md`.
"""
