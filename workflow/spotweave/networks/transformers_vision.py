"""Vision models of the transformers library, pooled, with the weights of a row.

Nothing of a hub is asked or run: the class is one of four, its settings are the row's, and the weights are a file of
tensors that must fill the model exactly. The library renames tensors of older files to its present names by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from spotweave import torchvision_shim
from spotweave.networks.pooling import pool_tokens, seeded
from spotweave.networks.spec import EncoderSpec, parse_arguments
from spotweave.networks.weights import UNREADABLE, misfit, weights_path

torchvision_shim.install()

import transformers  # noqa: E402  (it imports torchvision)

# The bar and the table of its loader would fill the log of every job; what they say is in the refusal.
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()


@dataclass(frozen=True)
class Family:
    """Classes of a kind of model, and what of a file is not its own.

    Attributes
    ----------
    config, model
        Names of the library's classes.
    options
        Of the model's constructor.
    others
        Beginnings of names of tensors that files hold for other tasks than embedding.
    positions
        Name of the tensor of positions, whose length tells the size of the images that the file was trained on.
    """

    config: str
    model: str
    options: Mapping[str, Any]
    others: tuple[str, ...]
    positions: str


TOKENS = "embeddings.position_embeddings"
FAMILIES = {
    "vit": Family("ViTConfig", "ViTModel", {"add_pooling_layer": False}, ("pooler.", "classifier."), TOKENS),
    "dinov2": Family("Dinov2Config", "Dinov2Model", {}, ("classifier.",), TOKENS),
    "dinov2_with_registers": Family(
        "Dinov2WithRegistersConfig", "Dinov2WithRegistersModel", {}, ("classifier.",), TOKENS
    ),
    "clip_vision": Family(
        "CLIPVisionConfig",
        "CLIPVisionModelWithProjection",
        {},
        ("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids"),
        "vision_model.embeddings.position_embedding.weight",
    ),
}


class TransformersVision(nn.Module):
    """A vision model and the way its features are pooled: (B, 3, H, W) normalised -> (B, dim) float32.

    Parameters
    ----------
    spec
        `architecture` is a key of `FAMILIES`, `arguments` are settings of its configuration. Pools: `cls`, `avg` and
        `cls+mean` of the tokens after the last normalisation, registers in none; `head` the model's own projection.
    state
        Tensors by name, those of other tasks among them; None for random weights.
    """

    def __init__(self, spec: EncoderSpec, state: Mapping[str, torch.Tensor] | None = None) -> None:
        super().__init__()
        self.pool = spec.pool
        family = FAMILIES[spec.architecture]
        settings = parse_arguments(spec.arguments)
        own = None if state is None else {name: t for name, t in state.items() if not name.startswith(family.others)}
        if own is not None and family.positions in own:
            settings["image_size"] = _image_size(own[family.positions], settings)
        config = getattr(transformers, family.config)(**settings)
        kind: Any = getattr(transformers, family.model)
        # DINOv2 fits its positions to any image by itself, the others when told to.
        self.resizing = {} if family.model.startswith("Dinov2") else {"interpolate_pos_encoding": True}
        self.prefix = 1 + getattr(config, "num_register_tokens", 0)
        # Any: the models share arguments that torch's Module does not declare.
        self.model: Any
        if own is None:
            self.model = kind(config, **family.options)
            return
        # Another shape is reported with the other misfits, in place of a bare error.
        self.model, found = kind.from_pretrained(
            None,
            config=config,
            state_dict=own,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            **family.options,
        )
        misfits = [f"{what.replace('_', ' ')} {sorted(map(str, names))}" for what, names in found.items() if names]
        if misfits:
            raise RuntimeError("; ".join(misfits))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.model(pixel_values=images, **self.resizing)
        if self.pool == "head":
            return found.image_embeds
        return pool_tokens(found.last_hidden_state, self.pool, self.prefix)


def transformers_vision(spec: EncoderSpec, *, folder: Path | None, seed: int) -> TransformersVision:
    """The network of a row with its weights, on the CPU.

    Raises
    ------
    EncoderUnavailable
        If the weights cannot be had, or do not fill the model exactly.
    """
    path = weights_path(spec, folder)
    if path is None:
        with seeded(seed):
            return TransformersVision(spec)
    try:
        return TransformersVision(spec, _read(path))
    except UNREADABLE as error:
        raise misfit(spec, path, error) from error


def _read(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _image_size(positions: torch.Tensor, settings: Mapping[str, Any]) -> int:
    """Edge, px, of the images behind a tensor of positions: one for the class token, the others in a square."""
    return math.isqrt(positions.shape[-2] - 1) * int(settings["patch_size"])
