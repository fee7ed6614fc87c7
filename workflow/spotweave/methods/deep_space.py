"""DeepSpaCE (Monjo et al. 2022, Scientific Reports 12, 4133): a VGG-16 over one patch; white patches teach it nothing.

Mended against the original: folds hold out donors and not single spots; nothing is scaled by test spots; training stops
when it has not become better than its best for some epochs, where the original compares with the epoch before; patches
are turned and mirrored, not painted in other colours. None of these changes what the network computes, so `behaviour`
makes no difference. Its ImageNet weights cannot be had offline: the network starts from random ones. Its predictions
between spots and its training on unlabelled pictures are not built.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spotweave.methods import Job, Training

if TYPE_CHECKING:
    from spotweave.learning.fitted import Fitted
    from spotweave.learning.patchwise import Patchwise

NEEDS = ("patches",)
LEARNED = True
ENCODER = "its network is VGG-16 with another last layer, and without that trunk nothing of its own is left"
PRESETS = {
    "published": {
        "size_px": 224,
        "layers": [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"],
        "hidden": 4096, "dropout": 0.5, "epochs": 50, "batch": 128, "rate": 1e-4, "decay": 1e-4, "standardise": False,
        "input": "imagenet", "augment": True, "symmetries": False, "patience": 5,
    },
    "reduced": {
        "size_px": 64, "layers": [16, "M", 32, "M", 64, 64, "M"], "hidden": 128, "dropout": 0.3, "epochs": 40,
        "batch": 32, "rate": 3e-4, "decay": 1e-4, "standardise": True, "input": "measured", "augment": True,
        "symmetries": False, "patience": 10,
    },
    "tiny": {
        "size_px": 28, "layers": [8, "M", 16, "M"], "hidden": 32, "dropout": 0.0, "epochs": 20, "batch": 16,
        "rate": 3e-3, "decay": 0.0, "standardise": True, "input": "measured", "augment": False, "symmetries": False,
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
    from spotweave.networks.deep_space import DeepSpace, not_white

    sizes = ("layers", "hidden", "dropout")
    return Patchwise(
        "deep_space",
        PRESETS,
        build=lambda said, genes: DeepSpace(genes, **{name: said[name] for name in sizes}),
        loss=torch.nn.functional.smooth_l1_loss,
        optimiser=lambda parameters, said: torch.optim.Adam(parameters, lr=said["rate"], weight_decay=said["decay"]),
        teaches=not_white,
    )
