"""Hist2ST (Zeng et al. 2022, Briefings in Bioinformatics 23, bbac297): convolutions within a patch, attention over the
section, messages between neighbours; counts and turned copies help it to learn.

Mended against the original: a spot hears itself in the graph; one without neighbours hears nothing, where the original
turns the whole section into NaN; pixels are normalised; the epoch is chosen by held-out training spots, not by test
sections; places beyond its 64 columns and rows are made to fit. All but the choice of the epoch are back with
`behaviour` published.

Over an encoder a spot's token is a linear map of its vector, in the place of the convolutions; as a vector cannot be
turned, there are no turned copies to agree with.
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
# `published`: 229,154,567 parameters with 785 genes.
PRESETS = {
    "published": {
        "size_px": 224, "patch": 7, "channels": 16, "kernel": 5, "mixers": 2, "blocks": 8, "steps": 4, "heads": 16,
        "dropout": 0.2, "looks": 5, "zinb": 0.25, "distil": 0.5, "epochs": 350, "rate": 1e-5, "standardise": False,
        "input": "raw", "places": 64, "reach": 2, "spots_at_once": 2048,
    },
    "reduced": {
        "size_px": 56, "patch": 7, "channels": 16, "kernel": 5, "mixers": 1, "blocks": 2, "steps": 2, "heads": 4,
        "dropout": 0.1, "looks": 1, "zinb": 0.05, "distil": 0.1, "epochs": 200, "rate": 3e-4, "standardise": True,
        "input": "measured", "places": 128, "reach": 2, "spots_at_once": 1000, "patience": 40,
    },
    "tiny": {
        "size_px": 16, "patch": 4, "channels": 16, "kernel": 3, "mixers": 1, "blocks": 1, "steps": 1, "heads": 1,
        "dropout": 0.0, "looks": 1, "zinb": 0.01, "distil": 0.01, "epochs": 80, "rate": 5e-3, "standardise": True,
        "input": "measured", "places": 16, "reach": 2, "spots_at_once": 20,
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
    from spotweave.learning.symmetries import laid_at_random
    from spotweave.networks.hist2st import Hist2ST, mixture, zinb_loss

    class Weighted(torch.nn.Module):
        """The network and what its losses weigh, which are settings and no parameters."""

        def __init__(self, network: Hist2ST, said: Mapping[str, Any]) -> None:
            super().__init__()
            self.network, self.said = network, said

        def forward(self, pixels: torch.Tensor, piece: Any) -> Any:
            return self.network(pixels, piece.grid, piece.neighbours)

    def loss(network: Any, pixels: torch.Tensor, piece: Any, known: Any, varies: Any, generator: Any) -> torch.Tensor:
        said = network(pixels, piece)
        settings = network.said
        total = ((said.expression - known.targets)[:, varies] ** 2).mean()
        total = total + settings["zinb"] * zinb_loss(
            known.counts, said.mean, said.dispersion, said.dropout, known.factors
        )
        if settings["looks"]:
            looks = [network(laid_at_random(pixels, generator), piece) for _ in range(settings["looks"])]
            # As published neither side is held fixed.
            total = total + settings["distil"] * ((mixture(looks) - said.expression)[:, varies] ** 2).mean()
        return total

    def optimiser(parameters: Any, said: Mapping[str, Any]) -> tuple[Any, Any]:
        adam = torch.optim.Adam(parameters, lr=said["rate"])
        return adam, torch.optim.lr_scheduler.StepLR(adam, step_size=50, gamma=0.9)

    return Sectionwise(
        "hist2st",
        PRESETS,
        build=lambda said, genes: Weighted(
            Hist2ST(
                genes,
                side=said["size_px"],
                patch=said["patch"],
                channels=said["channels"],
                kernel=said["kernel"],
                mixers=said["mixers"],
                blocks=said["blocks"],
                steps=said["steps"],
                heads=said["heads"],
                places=said["places"],
                dropout=said["dropout"],
                guarded=said["behaviour"] != PUBLISHED,
                vector_dim=said.get("vector_dim"),
            ),
            said,
        ),
        predict=lambda network, pixels, piece: network(pixels, piece).expression,
        loss=loss,
        optimiser=optimiser,
    )
