"""Networks that can be trained further: of whichever library a row's builder is, and which of their layers is which."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import nn

from spotweave.networks.spec import EncoderSpec

TIMM, TRANSFORMERS = "timm_model", "transformers_model"
BUILDERS = (TIMM, TRANSFORMERS)


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
    from spotweave.networks.backbone import backbone

    return backbone(spec, folder=folder, seed=seed)


def unfilled(spec: EncoderSpec) -> nn.Module:
    """The same network with whatever weights, for a state to be loaded into."""
    if spec.builder == TRANSFORMERS:
        from spotweave.networks.transformers_vision import TransformersVision

        return TransformersVision(spec)
    from spotweave.networks.backbone import Backbone

    return Backbone(spec)


def layers_of(model: Any) -> dict[str, int]:
    """The layer group of each parameter: 0 is the stem, the last is the last block with the final norm and head."""
    if hasattr(model, "group_matcher"):
        import timm.models

        found: dict[str, int] = timm.models.group_parameters(model, model.group_matcher(coarse=False), reverse=True)
        return found
    blocks = {name: re.search(r"\.(?:layer|layers)\.(\d+)\.", f".{name}") for name, _ in model.named_parameters()}
    count = 1 + max((int(block[1]) for block in blocks.values() if block), default=0)
    return {
        name: int(block[1]) + 1 if block else 0 if "embeddings" in name or "pre_layrnorm" in name else count
        for name, block in blocks.items()
    }


def without_decay(model: Any) -> set[str]:
    """Names of parameters that the library says never decay: positions and tokens."""
    return set(model.no_weight_decay()) if hasattr(model, "no_weight_decay") else set()
