"""EGN (Yang et al., WACV 2023): a vision transformer over a patch, guided by known spots that look like it.

Exemplars are the nearest training spots of other samples by the feature of a frozen ResNet-50 (Euclidean). Genes are
learned from 0 to 1 over training spots, by squared error and correlation; AdamW, cosines with restarts after a warm-up.

Mended against the original, and back again with `behaviour` published: its bridges take every patch for 8 x 8 tokens
(the patch is then enlarged until it is, to 256 px for tokens of 32), its training spots are never shuffled, its pixels
are normalised by constants of its data, features are not scaled, and its search sees as many spots of a sample as the
spot's own sample has, and stops at a smaller one. Always otherwise: the epoch is chosen by held-out training spots and
never by test spots, genes are the task's, and the scale is the protocol's.

Over an encoder its vectors are the features that find exemplars, and each is also the one token of its spot.
"""

from __future__ import annotations

import math
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
        "size_px": 224, "token_px": 32, "dim": 1024, "depth": 8, "heads": 16, "head_dim": 64, "mlp_dim": 4096,
        "bridge_heads": 8, "bridge_head_dim": 64, "bridge_every": 2, "projector_layers": 2, "exemplars": 9,
        "trunk": "resnet50", "trunk_arguments": "zero_init_last=false", "feature_dim": 2048,
        "epochs": 50, "batch": 32, "rate": 5e-5, "warm_up": 100,
    },
    "reduced": {
        "size_px": 128, "token_px": 16, "dim": 128, "depth": 4, "heads": 4, "head_dim": 32, "mlp_dim": 256,
        "bridge_heads": 2, "bridge_head_dim": 32, "bridge_every": 2, "projector_layers": 2, "exemplars": 9,
        "trunk": "resnet18", "trunk_arguments": "zero_init_last=false", "feature_dim": 512,
        "epochs": 30, "batch": 32, "rate": 5e-4, "warm_up": 50, "patience": 10,
    },
    "tiny": {
        "size_px": 32, "token_px": 8, "dim": 32, "depth": 2, "heads": 2, "head_dim": 16, "mlp_dim": 64,
        "bridge_heads": 2, "bridge_head_dim": 8, "bridge_every": 2, "projector_layers": 1, "exemplars": 3,
        "trunk": "test_resnet", "trunk_arguments": "", "feature_dim": 96,
        "epochs": 100, "batch": 16, "rate": 3e-3, "warm_up": 10,
    },
}  # fmt: skip
PREDICTED_AT_ONCE = 64
PIXELS = ((0.5476, 0.5218, 0.6881), (0.2461, 0.2101, 0.1649))
# The lowest rate of a cosine, as a share of the highest.
LOWEST = 0.2
PUBLISHED_TOKENS = 8


def fit(training: Training, row: Mapping[str, str], job: Job) -> Fitted:
    """Train on the patches of training spots, each with its exemplars of other samples."""
    presets: Mapping[str, Mapping[str, Any]] = PRESETS
    if row.get("behaviour") == "published":
        presets = {name: {**said, "size_px": PUBLISHED_TOKENS * said["token_px"]} for name, said in presets.items()}
    return _method(presets).fit(training, row, job)


def load(folder: Path) -> Fitted:
    """A fitted one from the folder that it was saved in."""
    return _method(PRESETS).load(folder)


def rate_at(settings: Mapping[str, Any], done: int, per_epoch: int) -> float:
    """The learning rate of the next step: a linear warm-up, then cosines of half an epoch each, down to a fifth."""
    highest: float = settings["rate"]
    if done < settings["warm_up"]:
        return highest * (done + 1) / settings["warm_up"]
    period = max(1, per_epoch // 2)
    through = (done - settings["warm_up"]) % period / period
    return highest * (LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * through)) / 2)


def _batches(
    seen: Sequence[Seen], targets: Sequence[torch.Tensor], settings: Mapping[str, Any], generator: torch.Generator
) -> Iterator[tuple[Seen, torch.Tensor]]:
    """Spots of all samples in a new order, in batches of nearly equal size."""
    import numpy as np
    import torch

    from spotweave.learning.guided import Seen

    # Where there are few spots elsewhere a sample has fewer exemplars; then all are shown as few.
    k = min(one.near.shape[1] for one in seen)
    every = Seen(
        torch.cat([one.images for one in seen]),
        torch.cat([one.features for one in seen]),
        torch.cat([one.near[:, -k:] for one in seen]),
        np.concatenate([one.positions_px for one in seen]),
    )
    target = torch.cat(list(targets))
    n_spots = len(target)
    shuffled = settings["behaviour"] != "published"
    order = torch.randperm(n_spots, generator=generator) if shuffled else torch.arange(n_spots)
    for rows in torch.tensor_split(order, math.ceil(n_spots / settings["batch"])):
        yield every.at(rows), target[rows.to(target.device)]


def _say(guided: Guided, seen: Seen, settings: Mapping[str, Any]) -> torch.Tensor:
    import torch

    parts = []
    for rows in torch.arange(len(seen.images)).split(PREDICTED_AT_ONCE):
        one = seen.at(rows)
        near = guided.features[one.near], guided.expression[one.near]
        feature = one.features[:, None]
        shown = feature if "encoder" in settings else guided.pixels(one.images)
        parts.append(guided.network(shown, feature, *near))
    return torch.cat(parts)


def _method(presets: Mapping[str, Mapping[str, Any]]) -> GuidedMethod:
    from spotweave.learning.guided import GuidedMethod
    from spotweave.networks.egn_v1 import EgnV1

    sizes = ("dim", "depth", "heads", "head_dim", "mlp_dim", "bridge_heads", "bridge_head_dim", "bridge_every")

    def build(said: Mapping[str, Any], n_genes: int) -> EgnV1:
        return EgnV1(
            n_genes,
            image_px=said["size_px"],
            token_px=said["token_px"],
            **{name: said[name] for name in (*sizes, "feature_dim", "projector_layers")},
            published_grid=said["behaviour"] == "published",
            vector_dim=said.get("vector_dim"),
        )

    return GuidedMethod("egnv1", presets, "l2", build, _say, _batches, rate_at, PIXELS)
