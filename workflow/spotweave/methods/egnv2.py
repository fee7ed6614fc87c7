"""EGN version 2, or EGGN (Yang et al., Pattern Recognition 2024): a graph of a section's spots and of spots like them.

Exemplars are the nearest training spots of other samples by the feature of a frozen ResNet-18 (city-block). Spots are
joined to the neighbours of their lattice, exemplars to the spots they were found for and to each other. A step is a
section. Genes are learned from 0 to 1 over training spots, by squared error and correlation; AdamW at a constant rate.

Mended against the original, and back again with `behaviour` published: its bridges never read the expression of
exemplars (and more genes than hidden channels cannot run), it joins spots on squares of 256 px whatever their pitch,
features are not scaled, and its search sees as many spots of a sample as the spot's own sample has, and stops at a
smaller one. Always otherwise: the epoch is chosen by held-out training spots and never by test spots, genes are the
task's, and the scale is the protocol's. What it says of a spot depends on the spots that are asked for with it.

Over an encoder its vectors are the features of spots and exemplars.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotweave.methods import Job, Training

if TYPE_CHECKING:
    import torch

    from spotweave.learning.fitted import Fitted
    from spotweave.learning.guided import Guided, GuidedMethod, Seen

NEEDS = ("patches",)
LEARNED = True
SEES = "section"
ENCODER = True
COLUMNS = {
    "trunk_weights": {
        "description": "Weights of the frozen network that finds exemplars, by timm's names; blank for random ones",
        "allowed": "the path of a safetensors or state-dict file",
        "type": "string",
        "pattern": "^[^\\n]{1,1000}$",
    },
}
PRESETS = {
    "published": {
        "size_px": 224, "n_layers": 4, "dim": 512, "score_dim": 128, "exemplars": 6,
        "trunk": "resnet18", "trunk_arguments": "zero_init_last=false", "feature_dim": 512,
        "epochs": 300, "rate": 5e-4,
    },
    "reduced": {
        "size_px": 112, "n_layers": 3, "dim": 192, "score_dim": 48, "exemplars": 6,
        "trunk": "resnet18", "trunk_arguments": "zero_init_last=false", "feature_dim": 512,
        "epochs": 80, "rate": 5e-4, "patience": 20,
    },
    "tiny": {
        "size_px": 32, "n_layers": 2, "dim": 48, "score_dim": 12, "exemplars": 3,
        "trunk": "test_resnet", "trunk_arguments": "", "feature_dim": 96,
        "epochs": 150, "rate": 3e-3,
    },
}  # fmt: skip


def fit(training: Training, row: Mapping[str, str], job: Job) -> Fitted:
    """Train on the graphs of training sections."""
    return _method().fit(training, row, job)


def load(folder: Path) -> Fitted:
    """A fitted one from the folder that it was saved in."""
    return _method().load(folder)


def _batches(
    seen: Sequence[Seen], targets: Sequence[torch.Tensor], settings: Mapping[str, Any], generator: torch.Generator
) -> Iterator[tuple[Seen, torch.Tensor]]:
    """Sections in a new order."""
    import torch

    for at in torch.randperm(len(seen), generator=generator).tolist():
        yield seen[at], targets[at]


def _say(guided: Guided, seen: Seen, settings: Mapping[str, Any]) -> torch.Tensor:
    import torch

    from spotweave.exemplars.graphs import nearest_among, published_window_edges, window_edges
    from spotweave.networks.egn_v2 import Edges

    # An exemplar of several spots is one node.
    rows, which = seen.near.unique(return_inverse=True)
    spots = torch.arange(len(which), device=which.device).repeat_interleave(which.shape[1])
    known = torch.cat([guided.features[rows], guided.expression[rows]], dim=1)
    join = published_window_edges if settings["behaviour"] == "published" else window_edges
    edges = Edges(
        torch.from_numpy(join(seen.positions_px)).to(which.device),
        torch.stack([which.flatten(), spots]),
        torch.from_numpy(nearest_among(known.cpu().numpy())).to(which.device),
    )
    out: torch.Tensor = guided.network(seen.features, guided.features[rows], guided.expression[rows], edges)
    return out


def _method() -> GuidedMethod:
    from spotweave.learning.guided import GuidedMethod
    from spotweave.networks.egn_v2 import EgnV2

    def build(said: Mapping[str, Any], n_genes: int) -> EgnV2:
        sizes = {name: said[name] for name in ("n_layers", "dim", "score_dim", "feature_dim")}
        return EgnV2(n_genes, **sizes, published_slice=said["behaviour"] == "published")

    return GuidedMethod("egnv2", PRESETS, "l1", build, _say, _batches, lambda said, *_: said["rate"])
