"""Networks of the timm library: any of its architectures, pooled, with the weights of a row.

Models are always built from their plain architecture name, never from a hub name, so that nothing but
`weights` = hub touches the network, and weights load strictly: a tensor that is missing or left over is an error.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spotweave import torchvision_shim
from spotweave.networks.conv_stem import ConvStem
from spotweave.networks.pooling import pool_tokens, seeded
from spotweave.networks.spec import EncoderSpec, parse_arguments
from spotweave.networks.weights import UNREADABLE, misfit, weights_path

torchvision_shim.install()

import timm  # noqa: E402  (it imports torchvision)
import timm.layers  # noqa: E402

# Arguments whose value is a layer class, which a table can only name.
LAYER_ARGUMENTS = {"mlp_layer", "act_layer", "norm_layer", "embed_layer"}
OWN_LAYERS = {"ConvStem": ConvStem}


class Backbone(nn.Module):
    """A timm model and the way its features are pooled: (B, 3, H, W) normalised -> (B, dim).

    Parameters
    ----------
    spec
        `architecture`, `arguments` and `pool` are used. Pools: `stageN` global average of the feature map
        after stage N; `avg` the model's own pooled features, or for token models the mean of patch tokens;
        `cls` the class token; `cls+mean` both; `head` the model's own pooling and projection, `num_classes` wide.
        Prefix tokens (class, registers) never enter a mean.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.pool = spec.pool
        # Any: timm's models share methods that torch's Module does not declare.
        self.model: Any = timm.create_model(
            spec.architecture, pretrained=False, **{"num_classes": 0, **_with_layers(parse_arguments(spec.arguments))}
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.pool.startswith("stage"):
            maps = self.model.forward_intermediates(
                images, indices=[int(self.pool.removeprefix("stage"))], stop_early=True, intermediates_only=True
            )
            return maps[0].mean(dim=(2, 3))
        if self.pool == "head":
            return self.model(images)
        features = self.model.forward_features(images)
        if features.ndim != 3:
            if self.pool != "avg":
                raise ValueError(f"{type(self.model).__name__} has no tokens for the pool {self.pool!r}, allowed: avg")
            return self.model.forward_head(features, pre_logits=True)
        return pool_tokens(features, self.pool, self.model.num_prefix_tokens)


def backbone(spec: EncoderSpec, *, folder: Path | None, seed: int) -> Backbone:
    """The network of a row with its weights, on the CPU."""
    path = weights_path(spec, folder)
    with seeded(seed):
        network = Backbone(spec)
    if path is not None:
        _load_weights(network.model, path, spec)
    return network


def _load_weights(model: Any, path: Path, spec: EncoderSpec) -> None:
    try:
        # Reads safetensors, and pickles with weights_only=True.
        state: dict[str, Any] = timm.models.load_state_dict(str(path), weights_only=True)
        convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
        if spec.tensors == "ordered":
            state = _renamed(state, spec)
        elif convert is not None:
            state = convert(state, model)
        for classifier in () if model.num_classes else _classifiers(model):
            state = {name: tensor for name, tensor in state.items() if not name.startswith(f"{classifier}.")}
        model.load_state_dict(state, strict=True)
    except UNREADABLE as error:
        raise misfit(spec, path, error) from error


def _renamed(state: dict[str, torch.Tensor], spec: EncoderSpec) -> dict[str, torch.Tensor]:
    """The tensors of a file by the architecture's names, in its order and with its classifier.

    Raises
    ------
    ValueError
        If their number, a shape, or a kind (the last word of a name: weight, running_mean) is not the architecture's.
    """
    with torch.device("meta"):
        ours = timm.create_model(spec.architecture, pretrained=False, **_with_layers(parse_arguments(spec.arguments)))
    places = ours.state_dict()
    if len(state) != len(places):
        raise ValueError(f"{len(state)} tensors, expected are {len(places)}")
    for (theirs, tensor), (name, place) in zip(state.items(), places.items(), strict=True):
        if tensor.shape != place.shape or theirs.rpartition(".")[2] != name.rpartition(".")[2]:
            raise ValueError(
                f"{theirs} of shape {tuple(tensor.shape)} where {name} of shape {tuple(place.shape)} is expected"
            )
    return dict(zip(places, state.values(), strict=True))


def _classifiers(model: nn.Module) -> tuple[str, ...]:
    names: str | tuple[str, ...] | None = getattr(model, "pretrained_cfg", {}).get("classifier")
    return (names,) if isinstance(names, str) else tuple(names or ())


def _with_layers(arguments: dict[str, Any]) -> dict[str, Any]:
    """Layer classes for layer names: timm's, torch's, or our own."""
    return {name: _layer(value) if name in LAYER_ARGUMENTS else value for name, value in arguments.items()}


def _layer(name: str) -> Any:
    return getattr(timm.layers, name, None) or getattr(nn, name, None) or OWN_LAYERS[name]
