"""TCGN (Xiao et al. 2024, Medical Image Analysis 91, 103040): CMT over one patch, told of by graphs within it.

Mended against the original: the graph of an image is its own in every batch, where the original takes those of a batch
in reverse; the GELU of its graph convolutions is used; a square that attends to no other ends nothing, where the
original's image is NaN. `behaviour` published has all three as they were. For both, patches are turned by right angles
and mirrored, not turned by any angle with grey corners; the epoch is chosen by held-out training spots; edges are as
many as said also where attention is equal. `published` has the sizes that give the parameters of the benchmark's table
(CMT-XS; its text and the code's default say CMT-Ti). ImageNet weights of CMT cannot be had offline: the network starts
from random ones, and results say so.
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
ENCODER = "its graphs join squares within a patch, and an encoder gives a spot one vector"
PRESETS = {
    "published": {
        "size_px": 224, "stem": 16, "dims": [52, 104, 208, 416], "depths": [3, 3, 12, 3], "heads": [1, 2, 4, 8],
        "ratios": [3.77, 3.77, 3.77, 3.77], "head_dim": 1280, "dropout": 0.1, "drop_path": 0.1, "epochs": 79,
        "batch": 32, "rate": 1e-5, "standardise": False, "input": "imagenet", "augment": True, "symmetries": False,
    },
    "reduced": {
        "size_px": 64, "stem": 8, "dims": [16, 32, 64, 128], "depths": [1, 1, 1, 1], "heads": [1, 2, 4, 8],
        "ratios": [2.0, 2.0, 2.0, 2.0], "head_dim": 128, "dropout": 0.1, "drop_path": 0.0, "epochs": 30, "batch": 32,
        "rate": 1e-3, "standardise": True, "input": "measured", "augment": True, "symmetries": False, "patience": 10,
    },
    "tiny": {
        "size_px": 32, "stem": 4, "dims": [8, 8, 8, 16], "depths": [1, 1, 1, 1], "heads": [1, 2, 2, 2],
        "ratios": [2.0, 2.0, 2.0, 2.0], "head_dim": 16, "dropout": 0.0, "drop_path": 0.0, "epochs": 40, "batch": 16,
        "rate": 3e-3, "standardise": True, "input": "measured", "augment": False, "symmetries": False,
    },
}  # fmt: skip
SIZES = ("stem", "dims", "depths", "heads", "ratios", "head_dim", "dropout", "drop_path")


def fit(training: Training, row: Mapping[str, str], job: Job) -> Fitted:
    """Train on the patches of training spots."""
    return _method().fit(training, row, job)


def load(folder: Path) -> Fitted:
    """A fitted one from the folder that it was saved in."""
    return _method().load(folder)


def _method() -> Patchwise:
    import torch

    from spotweave.learning.patchwise import Patchwise
    from spotweave.learning.settings import PUBLISHED
    from spotweave.networks.tcgn import TCGN

    def build(said: Mapping[str, Any], genes: int) -> TCGN:
        old = said["behaviour"] == PUBLISHED
        sizes = {name: said[name] for name in SIZES}
        return TCGN(genes, side=said["size_px"], **sizes, reversed_edges=old, lost_gelu=old, guarded=not old)

    return Patchwise(
        "tcgn",
        PRESETS,
        build=build,
        loss=torch.nn.functional.mse_loss,
        optimiser=lambda parameters, said: torch.optim.Adam(parameters, lr=said["rate"]),
    )
