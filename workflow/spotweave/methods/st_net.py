"""ST-Net (He et al. 2020, Nature Biomedical Engineering 4, 827-834): a DenseNet-121 that sees one patch at a time.

Mended against the original: the epoch is chosen by held-out training spots and never by test spots; genes are the
protocol's, not chosen with test patients; batches are of equal size, as its loss is summed over a batch. None of these
changes what the network computes, so `behaviour` makes no difference here. Its ImageNet weights cannot be had offline:
the network starts from random ones, and results say so.

Over an encoder the last layer is all there is of it: linear in the vectors, begun at the training mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotweave.methods import Job, Training

if TYPE_CHECKING:
    from spotweave.learning.fitted import Fitted
    from spotweave.learning.patchwise import Patchwise

NEEDS = ("patches",)
LEARNED = True
ENCODER = True
# `published`: lr 1e-6 is of a loss that is summed over a batch of 32.
PRESETS = {
    "published": {
        "size_px": 224, "growth": 32, "blocks": [6, 12, 24, 16], "first": 64, "bottleneck": 4, "epochs": 50,
        "batch": 32, "rate": 1e-6, "standardise": False, "input": "measured", "augment": True, "symmetries": True,
    },
    "reduced": {
        "size_px": 64, "growth": 12, "blocks": [3, 4, 4], "first": 24, "bottleneck": 4, "epochs": 30, "batch": 32,
        "rate": 3e-4, "standardise": True, "input": "measured", "augment": True, "symmetries": True, "patience": 10,
    },
    "tiny": {
        "size_px": 16, "growth": 4, "blocks": [1, 1], "first": 8, "bottleneck": 2, "epochs": 60, "batch": 16,
        "rate": 2e-3, "standardise": True, "input": "measured", "augment": False, "symmetries": False,
    },
}  # fmt: skip


def fit(training: Training, row: Mapping[str, str], job: Job) -> Fitted:
    """Train on the patches of training spots."""
    return _method().fit(training, row, job)


def load(folder: Path) -> Fitted:
    """A fitted one from the folder that it was saved in."""
    return _method().load(folder)


def _method() -> Patchwise:
    import torch

    from spotweave.learning.patchwise import Patchwise
    from spotweave.networks.st_net import over_vectors, st_net, start_from_mean, summed_squares

    def build(said: Mapping[str, Any], genes: int) -> torch.nn.Module:
        if "vector_dim" in said:
            return over_vectors(genes, said["vector_dim"])
        sizes = {name: said[name] for name in ("growth", "blocks", "first", "bottleneck")}
        return st_net(genes, **sizes)

    return Patchwise(
        "st_net",
        PRESETS,
        build=build,
        loss=summed_squares,
        optimiser=lambda parameters, said: torch.optim.SGD(parameters, lr=said["rate"], momentum=0.9),
        begin=start_from_mean,
    )
