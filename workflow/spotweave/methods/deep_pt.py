"""DeepPT (Hoang et al. 2024, Nature Cancer 5, 1305-1317): a ResNet-50, an autoencoder of its features, and genes.

No code of the model is published: it is made from the paper's figure and the sizes that give its 26,273,105
parameters. Trunk, autoencoder and genes are trained together, the reconstruction weighted by `rebuild` (0 as the
benchmark of eleven methods has it, in which case the decoder is never trained). Its ImageNet weights cannot be had
offline: the network starts from random ones. The epoch is chosen by held-out training spots; `behaviour` makes no
difference. Over an encoder its vectors are the features that the autoencoder narrows.
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
ENCODER = True
PRESETS = {
    "published": {
        "size_px": 224, "layers": [3, 4, 6, 3], "width": 64, "code": 512, "hidden": 512, "dropout": 0.2, "rebuild": 0.0,
        "epochs": 500, "batch": 32, "rate": 1e-4, "standardise": False, "input": "imagenet", "augment": True,
        "symmetries": False, "patience": 20,
    },
    "reduced": {
        "size_px": 64, "layers": [1, 1, 1, 1], "width": 16, "code": 128, "hidden": 128, "dropout": 0.2, "rebuild": 0.1,
        "epochs": 40, "batch": 32, "rate": 3e-4, "standardise": True, "input": "measured", "augment": True,
        "symmetries": False, "patience": 10,
    },
    "tiny": {
        "size_px": 32, "layers": [1, 1, 1, 1], "width": 4, "code": 32, "hidden": 32, "dropout": 0.0, "rebuild": 0.1,
        "epochs": 30, "batch": 16, "rate": 3e-3, "standardise": True, "input": "measured", "augment": False,
        "symmetries": False,
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
    from spotweave.networks.deep_pt import DeepPT

    sizes = ("layers", "width", "code", "hidden", "dropout")
    return Patchwise(
        "deep_pt",
        PRESETS,
        build=lambda said, genes: DeepPT(
            genes, **{name: said[name] for name in sizes}, vector_dim=said.get("vector_dim")
        ),
        loss=torch.nn.functional.mse_loss,
        optimiser=lambda parameters, said: torch.optim.Adam(parameters, lr=said["rate"]),
        penalty=lambda network, said: said["rebuild"] * network.reconstruction if said["rebuild"] else None,
    )
