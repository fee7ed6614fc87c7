"""THItoGene (Jia et al. 2024, Briefings in Bioinformatics 25, bbad464): capsules within a patch, a transformer and
graph attention over the section.

Mended against the original: attention sums to 1 over the neighbours that a spot listens to, where the original has it
over the listeners, and a spot listens to itself too; `squash` keeps its gradient for long vectors; pixels are
normalised; the epoch is chosen by held-out training spots; places beyond its 64 columns and rows are made to fit. All
but the choice of the epoch and the pixels, which are the preset's, are back with `behaviour` published.

Over an encoder the capsules that are routed are a linear map of a spot's vector, in the place of the convolutions.
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
# `published`: 63,586,712 parameters with 785 genes.
PRESETS = {
    "published": {
        "size_px": 112, "capsules": 20, "width": 64, "layers": 4, "heads": 16, "feed": 2048, "graph_heads": 8,
        "graph_dim": 1024, "graph_out": 512, "head_dim": 1024, "dropout": 0.2, "epochs": 200, "rate": 1e-5,
        "standardise": False, "input": "raw", "places": 64, "reach": 0, "spots_at_once": 5000,
    },
    "reduced": {
        "size_px": 64, "capsules": 8, "width": 16, "layers": 2, "heads": 4, "feed": 128, "graph_heads": 2,
        "graph_dim": 64, "graph_out": 64, "head_dim": 128, "dropout": 0.1, "epochs": 300, "rate": 5e-4,
        "standardise": True, "input": "measured", "places": 128, "reach": 0, "spots_at_once": 1000, "patience": 60,
    },
    "tiny": {
        "size_px": 48, "capsules": 8, "width": 8, "layers": 1, "heads": 1, "feed": 32, "graph_heads": 4,
        "graph_dim": 32, "graph_out": 32, "head_dim": 64, "dropout": 0.0, "epochs": 150, "rate": 1e-3,
        "standardise": True, "input": "measured", "places": 16, "reach": 0, "spots_at_once": 20,
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
    from spotweave.learning.settings import PUBLISHED
    from spotweave.networks.thitogene import THItoGene

    def predict(network: Any, pixels: torch.Tensor, piece: Any) -> torch.Tensor:
        return network(pixels, piece.grid, piece.neighbours)

    def loss(network: Any, pixels: torch.Tensor, piece: Any, known: Any, varies: Any, generator: Any) -> torch.Tensor:
        return ((predict(network, pixels, piece) - known.targets)[:, varies] ** 2).mean()

    sizes = ("capsules", "width", "layers", "heads", "feed", "graph_heads", "graph_dim", "graph_out", "head_dim")
    return Sectionwise(
        "thitogene",
        PRESETS,
        build=lambda said, genes: THItoGene(
            genes,
            side=said["size_px"],
            places=said["places"],
            dropout=said["dropout"],
            published=said["behaviour"] == PUBLISHED,
            vector_dim=said.get("vector_dim"),
            **{name: said[name] for name in sizes},
        ),
        predict=predict,
        loss=loss,
        optimiser=lambda parameters, said: (torch.optim.Adam(parameters, lr=said["rate"]), None),
    )
