"""HisToGene (Pang et al. 2021, bioRxiv 2021.11.28.470212): a transformer over all spots of a section.

Mended against the original: pixels are normalised, not 0 to 255; the epoch is chosen by held-out training spots (the
original keeps the last); places beyond its 64 columns and rows are made to fit, where the original fails. The first and
the last are back with `behaviour` published. Over an encoder a spot's token is made of its vector, not of its pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotweave.methods import Job, Training

if TYPE_CHECKING:
    from spotweave.learning.fitted import Fitted
    from spotweave.learning.sectionwise import Sectionwise

NEEDS = ("patches",)
LEARNED = True
SEES = "section"
ENCODER = True
# `published`: 222,253,841 parameters with 785 genes.
PRESETS = {
    "published": {
        "size_px": 224, "dim": 1024, "layers": 8, "heads": 16, "dropout": 0.1, "epochs": 100, "rate": 1e-5,
        "standardise": False, "input": "raw", "places": 64, "reach": None, "spots_at_once": 5000,
    },
    "reduced": {
        "size_px": 32, "dim": 128, "layers": 2, "heads": 4, "dropout": 0.1, "epochs": 200, "rate": 3e-4,
        "standardise": True, "input": "measured", "places": 128, "reach": None, "spots_at_once": 2000, "patience": 40,
    },
    "tiny": {
        "size_px": 8, "dim": 32, "layers": 1, "heads": 1, "dropout": 0.0, "epochs": 60, "rate": 5e-3,
        "standardise": True, "input": "measured", "places": 16, "reach": None, "spots_at_once": 20,
    },
}  # fmt: skip


def fit(training: Training, row: Mapping[str, str], job: Job) -> Fitted:
    """Train on whole sections."""
    return _method().fit(training, row, job)


def load(folder: Path) -> Fitted:
    """A fitted one from the folder that it was saved in."""
    return _method().load(folder)


def _method() -> Sectionwise:
    import torch

    from spotweave.learning.sectionwise import Sectionwise
    from spotweave.networks.histogene import HisToGene, flattened

    def predict(network: Any, pixels: torch.Tensor, piece: Any) -> torch.Tensor:
        # The network's patches have x as their first axis; `flattened` takes pictures, whose first is y.
        rows = pixels if pixels.ndim == 2 else flattened(pixels.transpose(2, 3))
        return network(rows[None], piece.grid[None])[0]

    def loss(network: Any, pixels: torch.Tensor, piece: Any, known: Any, varies: Any, generator: Any) -> torch.Tensor:
        return ((predict(network, pixels, piece) - known.targets)[:, varies] ** 2).mean()

    return Sectionwise(
        "histogene",
        PRESETS,
        build=lambda said, genes: HisToGene(
            genes,
            pixels=said.get("vector_dim", 3 * said["size_px"] ** 2),
            dim=said["dim"],
            layers=said["layers"],
            heads=said["heads"],
            places=said["places"],
            dropout=said["dropout"],
        ),
        predict=predict,
        loss=loss,
        optimiser=lambda parameters, said: (torch.optim.Adam(parameters, lr=said["rate"]), None),
    )
