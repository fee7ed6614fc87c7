"""Networks that can be trained further: of whichever library a row's builder is, and which of their layers is which."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spotweave.networks.spec import EncoderSpec

TIMM, TRANSFORMERS, VISION_LANGUAGE = "timm_model", "transformers_model", "vision_language"
# Parts below the first block, in the names of libraries whose models do not say it themselves.
STEM = ("embeddings", "pre_layrnorm", "vision_embed", "embed_positions")


class Whole(nn.Module):
    """A network that is its own model: normalised images -> (B, dim)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.model(images)
        return out


def base_network(spec: EncoderSpec, *, folder: Path | None, seed: int) -> nn.Module:
    """The network of a row with its weights: normalised images -> (B, dim); `model` is the library's own.

    Raises
    ------
    EncoderUnavailable
        If the weights cannot be had.
    """
    if spec.builder == TRANSFORMERS:
        from spotweave.networks.transformers_vision import transformers_vision

        return transformers_vision(spec, folder=folder, seed=seed)
    if spec.builder == VISION_LANGUAGE:
        from spotweave.networks.vision_language import vision_language

        return Whole(vision_language(spec, folder=folder, seed=seed))
    from spotweave.networks.backbone import backbone

    return backbone(spec, folder=folder, seed=seed)


def unfilled(spec: EncoderSpec) -> nn.Module:
    """The same network with whatever weights, for a state to be loaded into."""
    if spec.builder == TRANSFORMERS:
        from spotweave.networks.transformers_vision import TransformersVision

        return TransformersVision(spec)
    if spec.builder == VISION_LANGUAGE:
        from spotweave.networks.vision_language import empty

        return Whole(empty(spec))
    from spotweave.networks.backbone import Backbone

    return Backbone(spec)


def layers_of(model: Any) -> dict[str, int]:
    """The layer group of each parameter: 0 is the stem, the last is the last block with the final norm and head."""
    if hasattr(model, "group_matcher"):
        import timm.models

        found: dict[str, int] = timm.models.group_parameters(model, model.group_matcher(coarse=False), reverse=True)
        return found
    if hasattr(model, "trunk"):
        # What gathers a trunk's tokens is of its last layer, as the head of a timm model is.
        inside = layers_of(model.trunk)
        top = max(inside.values())
        return {name: inside.get(name.removeprefix("trunk."), top) for name, _ in model.named_parameters()}
    blocks = {name: re.search(r"\.(?:layer|layers)\.(\d+)\.", f".{name}") for name, _ in model.named_parameters()}
    count = 1 + max((int(block[1]) for block in blocks.values() if block), default=0)
    return {
        name: int(block[1]) + 1 if block else 0 if any(part in name for part in STEM) else count
        for name, block in blocks.items()
    }


def without_decay(model: Any) -> set[str]:
    """Names of parameters that the library says never decay: positions and tokens."""
    return set(model.no_weight_decay()) if hasattr(model, "no_weight_decay") else set()
