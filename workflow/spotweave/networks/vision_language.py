"""CONCH, CONCH v1.5 and MUSK with the weights of a row: which of a published file's tensors are the picture's half.

Names are those of the published files, as far as they are ours; what belongs to text and captions is left out by name,
and all else has to fit exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spotweave import torchvision_shim
from spotweave.networks.musk import Musk
from spotweave.networks.pooled_tower import PackedPooler, PooledTower, SplitPooler
from spotweave.networks.pooling import seeded
from spotweave.networks.spec import EncoderSpec, parse_arguments
from spotweave.networks.weights import UNREADABLE, misfit, weights_path

torchvision_shim.install()

import timm  # noqa: E402  (it imports torchvision)
import timm.layers  # noqa: E402

State = dict[str, torch.Tensor]
# The grid that CONCH v1.5 keeps its positions in, and what its published code adds to a side before enlarging them.
POSITIONS_SIDE, ENLARGED_BY = 14, 0.1


@dataclass(frozen=True)
class Family:
    """One architecture.

    Attributes
    ----------
    build
        Takes the size of images, px, and arguments of the row.
    own
        Takes a file's tensors and the network; those of the network, by its names.
    """

    build: Callable[[int, Mapping[str, Any]], nn.Module]
    own: Callable[[State, nn.Module], State]


def vision_language(spec: EncoderSpec, *, folder: Path | None, seed: int) -> nn.Module:
    """The network of a row with its weights, on the CPU: (B, 3, input_px, input_px) normalised -> (B, dim).

    Raises
    ------
    EncoderUnavailable
        If the weights cannot be had, or do not fill the picture's half exactly.
    """
    path = weights_path(spec, folder)
    with seeded(seed):
        network = empty(spec)
    if path is not None:
        try:
            # Reads safetensors, and pickles with weights_only=True.
            state: State = timm.models.load_state_dict(str(path), weights_only=True)
            network.load_state_dict(FAMILIES[spec.architecture].own(state, network), strict=True)
        except UNREADABLE as error:
            raise misfit(spec, path, error) from error
    return network


def empty(spec: EncoderSpec) -> nn.Module:
    """The network of a row with random weights."""
    return FAMILIES[spec.architecture].build(spec.input_px, parse_arguments(spec.arguments))


def _conch(input_px: int, said: Mapping[str, Any]) -> nn.Module:
    sizes = {"pooled_dim": 512, **said}
    pooled = sizes.pop("pooled_dim")
    trunk: Any = timm.create_model("vit_base_patch16_224", img_size=input_px, num_classes=0, **sizes)
    return PooledTower(trunk, PackedPooler(pooled, trunk.embed_dim), pooled)


def _conch_v1_5(input_px: int, said: Mapping[str, Any]) -> nn.Module:
    sizes = {"pooled_dim": 768, "init_values": 1.0, **said}
    pooled = sizes.pop("pooled_dim")
    trunk: Any = timm.create_model("vit_large_patch16_224", img_size=input_px, num_classes=0, **sizes)
    return PooledTower(trunk, SplitPooler(pooled, trunk.embed_dim), pooled)


def _of_conch(state: State, network: nn.Module) -> State:
    prefix, others = "visual.", ("visual.proj_contrast", "visual.attn_pool_caption.", "visual.ln_caption.")
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix) and not name.startswith(others)
    }


def _of_conch_v1_5(state: State, network: nn.Module) -> State:
    """Its file is the picture's half alone; positions are enlarged to the images as the published code does."""
    side = math.isqrt(network.get_parameter("trunk.pos_embed").shape[1] - 1)
    positions = timm.layers.resample_abs_pos_embed(
        state["trunk.pos_embed"].float(),
        new_size=[POSITIONS_SIDE, POSITIONS_SIDE],
        num_prefix_tokens=1,
        interpolation="bilinear",
        antialias=False,
    )
    return {**state, "trunk.pos_embed": enlarged(positions, side)}


def enlarged(positions: torch.Tensor, side: int) -> torch.Tensor:
    """(1, 1 + side^2, D) of (1, 1 + n^2, D): bicubic, by a factor a little above side / n, as DINO does."""
    first, grid = positions[:, :1], positions[:, 1:]
    n = math.isqrt(grid.shape[1])
    if n == side:
        return positions
    maps = grid.reshape(1, n, n, -1).permute(0, 3, 1, 2)
    factor = (side + ENLARGED_BY) / n
    larger = nn.functional.interpolate(maps, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([first, larger.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def _musk(input_px: int, said: Mapping[str, Any]) -> nn.Module:
    return Musk(input_px, **said)


def _of_musk(state: State, network: nn.Module) -> State:
    """Of two branches the first, A, sees pictures; a token for hidden squares is of its training."""
    kept = ("beit3.vision_embed.", "beit3.encoder.")
    return {
        name.removeprefix("beit3.").replace(".A.", "."): tensor
        for name, tensor in state.items()
        if name.startswith(kept) and ".B." not in name and name != "beit3.vision_embed.mask_token"
    }


FAMILIES = {
    "conch": Family(_conch, _of_conch),
    "conch_v1_5": Family(_conch_v1_5, _of_conch_v1_5),
    "musk": Family(_musk, _of_musk),
}
