"""Fine-tuning: its steps against the bare passes of its networks, and the memory of steps of 1,024 pairs."""

from __future__ import annotations

import sys
from pathlib import Path

from measure import cost_of
from turns import in_turn, times

ROOT = Path(__file__).resolve().parents[2]
PAIRS, BATCH, PX = 96, 32, 96
STEP, AT_ONCE = 1024, 64
PREPARED = """
import sys
sys.path.insert(0, {workflow!r})
import numpy as np, torch
from spotweave.finetune import training
from spotweave.finetune.kinds.infonce import InfoNce
from spotweave.finetune.pairs import Pairs
from spotweave.finetune.rows import RowsOnDisk
from spotweave.networks.spec import EncoderSpec
torch.set_num_threads(1)
def prepared(pairs, batch, at_once, architecture, dim, px):
    draw = np.random.default_rng(0)
    images = RowsOnDisk((px, px, 3), np.uint8)
    for _ in range(0, pairs, 32):
        images.append(draw.integers(0, 256, (32, px, px, 3), dtype=np.uint8))
    expression = draw.random((pairs, 250), dtype=np.float32)
    known = Pairs(images, expression, tuple(map(str, range(250))), ("s",), 0)
    kind = InfoNce("r", px, 64, 250, 256, 1, batch, 1e-4, 1e-3, 1.0, .07, .05, "all", ("flip", "rot90"), .1,
                   at_once=at_once)
    base = EncoderSpec("e", "timm_model", dim, px, architecture=architecture, arguments={arguments!r},
                       weights="random", pool={pool!r}, mean=(.5, .5, .5), std=(.25, .25, .25))
    objective = kind.objective(known, base, folder=None, seed=0, device=torch.device("cpu"))
    optimiser = kind.optimiser(objective)
    groups = known.groups()
    schedule = kind.schedule(kind.course.steps(groups), groups)
    objective.train()
    return objective, optimiser, training.Steps(objective, optimiser, schedule, kind.course, groups)
"""
VIT = {"arguments": f"img_size={PX}", "pool": "cls"}
MEMORY = """
objective, optimiser, steps = prepared({step}, {step}, {at_once}, "vit_small_patch16_224", 384, {px})
if {step}:
    steps.epoch(torch.Generator().manual_seed(0))
"""


def bench_finetuning(folder: Path) -> list[str]:
    """Lines of the table."""
    return [_passes(), _memory(folder)]


def _passes() -> str:
    import torch

    space: dict[str, object] = {}
    exec(PREPARED.format(workflow=str(ROOT / "workflow"), **VIT), space)
    objective, optimiser, steps = space["prepared"](PAIRS, BATCH, 0, "vit_small_patch16_224", 384, PX)  # type: ignore[operator]
    ready = [(torch.randn(BATCH, 3, PX, PX), torch.rand(BATCH, 250)) for _ in range(0, PAIRS, BATCH)]

    def bare() -> None:
        for images, expression in ready:
            optimiser.zero_grad(set_to_none=True)
            objective.loss(objective.embed(images, expression)).backward()
            optimiser.step()

    def ours() -> None:
        steps.epoch(torch.Generator().manual_seed(0))

    bare()
    cost = in_turn({"bare": bare, "ours": ours})
    return (
        f"| {PAIRS} pairs through a ViT-S at {PX} px and an MLP, read, changed and stepped, one thread |"
        f" {times(cost['ours'], cost['bare'])} forward, backward and step alone |"
    )


def _memory(folder: Path) -> str:
    program = PREPARED.format(workflow=str(ROOT / "workflow"), **VIT)
    peaks = {
        name: cost_of(
            [sys.executable, "-c", program + MEMORY.format(step=pairs, at_once=at_once, px=PX)], folder
        ).peak_mb
        for name, pairs, at_once in (("small", AT_ONCE, 0), ("parts", STEP, AT_ONCE), ("whole", STEP, 0))
    }
    return (
        f"| memory of a step of {STEP:,} pairs, {AT_ONCE} at once (ViT-S at {PX} px) | {peaks['parts']:,.0f} MB:"
        f" {peaks['parts'] / peaks['small']:.2f} times that of a step of {AT_ONCE} ({peaks['small']:,.0f} MB);"
        f" {peaks['whole']:,.0f} MB all at once |"
    )
