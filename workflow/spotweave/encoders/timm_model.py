"""Encoders from the timm library: any of its architectures, by adding a row to the table.

Models are always built from their plain architecture name, never from a hub name, so that nothing but
`weights` = hub touches the network, and weights load strictly: a tensor that is missing or left over is an error.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import huggingface_hub.errors
import numpy as np
import requests
import torch
from torch import nn
from torch.nn import functional

from spotweave import torchvision_shim
from spotweave.encoders import EncoderSpec, EncoderUnavailable, parse_arguments
from spotweave.io import file_hash

torchvision_shim.install()

import timm  # noqa: E402  (it imports torchvision)
import timm.layers  # noqa: E402

HUB_TIMEOUT_S = 5.0
# In the order of preference; the second is a pickle, read with weights_only.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
# Arguments whose value is a layer class, which a table can only name.
LAYER_ARGUMENTS = {"mlp_layer", "act_layer", "norm_layer"}


class Backbone(nn.Module):
    """A timm model and the way its features are pooled: (B, 3, H, W) normalised -> (B, dim).

    Parameters
    ----------
    spec
        `architecture`, `arguments` and `pool` are used. Pools: `stageN` global average of the feature map
        after stage N; `avg` the model's own pooled features, or for token models the mean of patch tokens;
        `cls` the class token; `cls+mean` both. Prefix tokens (class, registers) never enter a mean.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.pool = spec.pool
        # Any: timm's models share methods that torch's Module does not declare.
        self.model: Any = timm.create_model(
            spec.architecture, pretrained=False, num_classes=0, **_with_layers(parse_arguments(spec.arguments))
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.pool.startswith("stage"):
            maps = self.model.forward_intermediates(
                images, indices=[int(self.pool.removeprefix("stage"))], stop_early=True, intermediates_only=True
            )
            return maps[0].mean(dim=(2, 3))
        features = self.model.forward_features(images)
        if features.ndim != 3:
            if self.pool != "avg":
                raise ValueError(f"{type(self.model).__name__} has no tokens for the pool {self.pool!r}, allowed: avg")
            return self.model.forward_head(features, pre_logits=True)
        return pool_tokens(features, self.pool, self.model.num_prefix_tokens)


def pool_tokens(tokens: torch.Tensor, pool: str, prefix: int) -> torch.Tensor:
    """Pool tokens (B, T, D), of which the first `prefix` are class and register tokens, to (B, D) or (B, 2 D)."""
    first, mean = tokens[:, 0], tokens[:, prefix:].mean(dim=1)
    return {"cls": first, "avg": mean, "cls+mean": torch.cat([first, mean], dim=1)}[pool]


class Transform(nn.Module):
    """uint8 patches (B, H, W, 3) -> normalised float32 images (B, 3, input_px, input_px).

    `resize` is `none` (patches must be of the size), `bilinear` or `bicubic` (anti-aliased, to the size), or one
    of these and a number (to that size, then the centre is cut out). Without it, numbers are exactly
    (value / 255 - mean) / std.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.input_px = spec.input_px
        self.mode, _, resize_px = spec.resize.partition(" ")
        self.resize_px = int(resize_px or spec.input_px)
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return self.normalise(self.resize(patches))

    def resize(self, patches: torch.Tensor) -> torch.Tensor:
        """uint8 (B, H, W, 3) -> float32 (B, 3, input_px, input_px), 0 to 1."""
        images = patches.permute(0, 3, 1, 2).float()
        size = tuple(images.shape[2:])
        if self.mode == "none":
            if size != (self.input_px, self.input_px):
                raise ValueError(
                    f"patches of {size[0]} x {size[1]} px for an encoder of {self.input_px} px and no resize"
                )
            return images / 255
        if size != (self.resize_px, self.resize_px):
            images = functional.interpolate(images, self.resize_px, mode=self.mode, antialias=True).clamp(0, 255)
        margin = (self.resize_px - self.input_px) // 2
        crop = slice(margin, margin + self.input_px)
        return images[:, :, crop, crop] / 255

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """0 to 1 -> zero mean and unit variance, as the weights were trained with."""
        return (images - self.mean) / self.std


class TorchEncoder:
    """A torch module as an encoder: evaluation mode, no gradients, float32 out.

    Parameters
    ----------
    network
        Normalised images -> (B, dim).
    spec
        For the transform and the precision: `dtype` holds on a GPU; a CPU always computes in float32.
    """

    def __init__(self, network: nn.Module, spec: EncoderSpec, device: str = "auto") -> None:
        self.dim = spec.dim
        self.device = pick_device(device)
        self.dtype = getattr(torch, spec.dtype) if self.device.type == "cuda" else torch.float32
        self.network = network.eval().requires_grad_(False).to(self.device)
        self.transform = Transform(spec).to(self.device)

    def encode(self, batch: np.ndarray) -> np.ndarray:
        """Embed patches (B, H, W, 3) uint8 as (B, dim) float32."""
        if not len(batch):
            return np.empty((0, self.dim), np.float32)
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32),
        ):
            images = self.transform(torch.from_numpy(np.ascontiguousarray(batch)).to(self.device))
            return self.network(images).float().cpu().numpy()


def pick_device(device: str) -> torch.device:
    """`auto` is the first GPU, where there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def build(spec: EncoderSpec, *, folder: Path | None, seed: int, device: str = "auto") -> TorchEncoder:
    """Build an encoder from its row.

    Parameters
    ----------
    folder
        Where a relative `source` of weights = file lies; None is the working folder.
    seed
        For weights = random only; the same seed gives the same weights on every machine.

    Raises
    ------
    EncoderUnavailable
        If the weights cannot be had, or do not fit the architecture.
    """
    return TorchEncoder(backbone(spec, folder=folder, seed=seed), spec, device)


def backbone(spec: EncoderSpec, *, folder: Path | None, seed: int) -> Backbone:
    """The network of a row with its weights, on the CPU."""
    path = weights_path(spec, folder)
    with seeded(seed):
        network = Backbone(spec)
    if path is not None:
        _load_weights(network.model, path, spec)
    return network


def output_dim(spec: EncoderSpec) -> int:
    """The length of the embeddings the architecture gives, found without memory for its weights."""
    with torch.device("meta"), torch.inference_mode():
        network = Backbone(spec).eval()
        return int(network(torch.empty(1, 3, spec.input_px, spec.input_px)).shape[1])


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's CPU randomness from `seed` inside, untouched outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def weights_path(spec: EncoderSpec, folder: Path | None) -> Path | None:
    """The file with the weights, fetched from the hub where the row says so; None for random weights.

    Raises
    ------
    EncoderUnavailable
        If there is no such file here.
    """
    if spec.weights == "random":
        return None
    if spec.weights == "file":
        return _local_file(spec, folder)
    if spec.weights == "hub":
        return _hub_file(spec)
    raise ValueError(f"encoder {spec.encoder}: weights {spec.weights!r}, a timm model allows: hub, random, file")


def _local_file(spec: EncoderSpec, folder: Path | None) -> Path:
    path = (folder or Path()) / spec.source
    if not path.is_file():
        raise EncoderUnavailable(
            spec.encoder,
            f"no file {path}.",
            [f"put its weights (safetensors, or a torch state dict) at {path}", _RERUN],
        )
    if spec.revision:
        found = file_hash(path)
        if not found.startswith(spec.revision):
            raise EncoderUnavailable(
                spec.encoder,
                f"{path} has SHA-256 {found}, the table says {spec.revision}.",
                ["get the file again, or correct the column revision of the encoder table", _RERUN],
            )
    return path


def _hub_file(spec: EncoderSpec) -> Path:
    revision = spec.revision or None
    for name in HUB_FILES:
        # What is here is used as it is: a run does not depend on what the hub holds today.
        cached = huggingface_hub.try_to_load_from_cache(
            spec.source, name, revision=revision, cache_dir=huggingface_hub.constants.HF_HUB_CACHE
        )
        if isinstance(cached, str):
            return Path(cached)
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        problem = f"{spec.source} is not in the local cache, and HF_HUB_OFFLINE is set."
        raise EncoderUnavailable(spec.encoder, problem, _hub_steps(spec, gated=spec.gated))
    if not _hub_answers():
        # The network is the world's trouble, not the encoder's: the job fails and the next run tries again.
        raise ConnectionError(
            f"the hub cannot be reached for the weights of {spec.encoder} ({spec.source}). Run again with network,"
            " or set HF_HUB_OFFLINE=1 to have the encoder listed as unavailable and the others ranked"
        )
    for name in HUB_FILES:
        try:
            return Path(
                huggingface_hub.hf_hub_download(
                    spec.source,
                    name,
                    revision=revision,
                    etag_timeout=HUB_TIMEOUT_S,
                    cache_dir=huggingface_hub.constants.HF_HUB_CACHE,
                )
            )
        except huggingface_hub.errors.RemoteEntryNotFoundError:
            continue
        except huggingface_hub.errors.GatedRepoError as error:
            problem = "its weights are gated, and no token with access was found."
            raise EncoderUnavailable(spec.encoder, problem, _hub_steps(spec, gated=True)) from error
        except (huggingface_hub.errors.RepositoryNotFoundError, huggingface_hub.errors.RevisionNotFoundError) as error:
            problem = f"the hub has no {spec.source} at {spec.revision or 'main'} for this user."
            raise EncoderUnavailable(spec.encoder, problem, _hub_steps(spec, gated=spec.gated)) from error
    problem = f"{spec.source} holds none of {', '.join(HUB_FILES)}."
    raise EncoderUnavailable(spec.encoder, problem, _hub_steps(spec, gated=False)[-2:])


def _hub_answers() -> bool:
    """One short question before the hub's client, which would try again for half a minute."""
    try:
        requests.head(huggingface_hub.constants.ENDPOINT, timeout=HUB_TIMEOUT_S)
    except requests.RequestException:
        return False
    return True


_RERUN = "run again with --forcerun embed_patches finetune_encoder, which tries refused encoders anew"


def _hub_steps(spec: EncoderSpec, *, gated: bool) -> list[str]:
    steps = []
    if gated:
        steps = [
            f"accept the licence ({spec.licence or 'see the page'}) at https://huggingface.co/{spec.source}",
            "make a read token at https://huggingface.co/settings/tokens and put it into HF_TOKEN",
        ]
    revision = f" --revision {spec.revision}" if spec.revision else ""
    return [
        *steps,
        f"on a machine with network run: hf download {spec.source}{revision} (HF_HUB_OFFLINE unset, HF_HOME on a "
        "shared disk where compute nodes are offline)",
        "or give the encoder's row weights=file and the path of a safetensors or state-dict file as source",
        _RERUN,
    ]


def _load_weights(model: nn.Module, path: Path, spec: EncoderSpec) -> None:
    try:
        # Reads safetensors, and pickles with weights_only=True.
        state: dict[str, Any] = timm.models.load_state_dict(str(path), weights_only=True)
        convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
        if convert is not None:
            state = convert(state, model)
        for classifier in _classifiers(model):
            state = {name: tensor for name, tensor in state.items() if not name.startswith(f"{classifier}.")}
        model.load_state_dict(state, strict=True)
    except (RuntimeError, KeyError, ValueError, OSError, EOFError) as error:
        detail = " ".join(str(error).split())[:300]
        raise EncoderUnavailable(
            spec.encoder,
            f"{path.name} does not hold weights of {spec.architecture}({spec.arguments}): {detail}.",
            ["correct architecture, arguments or source in the encoder table, or get the file again", _RERUN],
        ) from error


def _classifiers(model: nn.Module) -> tuple[str, ...]:
    names: str | tuple[str, ...] | None = getattr(model, "pretrained_cfg", {}).get("classifier")
    return (names,) if isinstance(names, str) else tuple(names or ())


def _with_layers(arguments: dict[str, Any]) -> dict[str, Any]:
    """Layer classes for layer names: timm's, else torch's."""
    return {
        name: getattr(timm.layers, value, None) or getattr(nn, value) if name in LAYER_ARGUMENTS else value
        for name, value in arguments.items()
    }
