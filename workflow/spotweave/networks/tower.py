"""What fine-tuning trains and leaves: a backbone with a projection, one file a fold.

A fold's file is safetensors: the tensors of `ImageTower`, and one JSON header with the fold, the recipe and the
encoder it started from. It is complete: nothing else is needed to embed, and no network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from spotweave.errors import Refusal
from spotweave.io import is_refused
from spotweave.networks.bases import unfilled
from spotweave.networks.spec import EncoderSpec
from spotweave.networks.transform import TorchEncoder

# One key: safetensors keeps no order among several, and files must be the same bytes every time.
HEADER_KEY = "spotweave"
# Of tensors of the network that was trained beside it, of expression; nothing of it embeds patches.
EXPRESSION = "expression."


class ImageTower(nn.Module):
    """A backbone and a linear projection: normalised images (B, 3, H, W) -> (B, embedding_dim).

    Parameters
    ----------
    projected
        Whether there is a projection; without one, `embedding_dim` is `feature_dim`.
    """

    def __init__(self, backbone: nn.Module, feature_dim: int, embedding_dim: int, *, projected: bool = True) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = nn.Linear(feature_dim, embedding_dim) if projected else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.projection(self.backbone(images))


def save(path: Path, tower: nn.Module, header: Mapping[str, Any], expression: nn.Module | None = None) -> None:
    """Write a fold's file.

    Parameters
    ----------
    header
        JSON types: `fold`, `recipe`, `base` (`EncoderSpec.as_dict`), `input_px`, `embedding_dim`, `projected` where
        there is no projection (false), `network` (`stalign`, with what it says of itself) where it is no `ImageTower`,
        and whatever else should travel with the weights.
    expression
        What was trained beside it to embed expression, where that is a network of its own.
    """
    beside = {} if expression is None else expression.state_dict(prefix=EXPRESSION)
    both = sorted({**tower.state_dict(), **beside}.items())
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in both}
    safetensors.torch.save_file(state, path, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)})
    # safetensors writes for the owner alone; results are for the group, as every other file.
    path.chmod(0o644)


def read_header(path: Path) -> dict[str, Any]:
    """The header of a fold's file, without its tensors.

    Raises
    ------
    ValueError
        If this is no file of ours.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    if HEADER_KEY not in metadata:
        raise ValueError(f"{path}: no header {HEADER_KEY!r}, allowed: a file that finetune_encoder wrote")
    return json.loads(metadata[HEADER_KEY])


def state_of(path: Path, *, expression: bool = False) -> dict[str, torch.Tensor]:
    """The tensors of a fold's file that embed patches, or those beside them that embed expression."""
    state = safetensors.torch.load_file(path)
    return {
        name.removeprefix(EXPRESSION): tensor
        for name, tensor in state.items()
        if name.startswith(EXPRESSION) == expression
    }


def tower_spec(base: EncoderSpec, input_px: int) -> EncoderSpec:
    """The base encoder as the recipe feeds it: other size, the same normalisation.

    A resize that the base goes without becomes bilinear, which halves 224 px patches by averaging.
    """
    resize = "bilinear" if base.resize == "none" else base.resize.split(" ")[0]
    return replace(base, input_px=input_px, resize=resize)


def read_tower(path: Path, device: str = "auto") -> TorchEncoder:
    """The encoder of one fold from its file; all of it, the dimension too, is in there.

    Raises
    ------
    ValueError
        If it is no file of ours.
    """
    header = read_header(path)
    base = tower_spec(EncoderSpec.from_dict(header["base"]), header["input_px"])
    tower = unfilled_tower(header)
    tower.load_state_dict(state_of(path), strict=True)
    return TorchEncoder(tower, replace(base, dim=header["embedding_dim"]), device)


def unfilled_tower(header: Mapping[str, Any]) -> nn.Module:
    """The network of a header, for its state to be loaded into."""
    base = tower_spec(EncoderSpec.from_dict(header["base"]), header["input_px"])
    if header.get("network") == "stalign":
        from spotweave.networks.stalign_pictures import stalign_pictures

        return stalign_pictures(header["stalign"], unfilled(base))
    return ImageTower(unfilled(base), base.dim, header["embedding_dim"], projected=header.get("projected", True))


def fold_files(paths: Sequence[Path]) -> list[tuple[int, Path]]:
    """(fold, file) of the files that hold weights, by fold; a refused file is a fold that does not exist.

    Raises
    ------
    Refusal
        If none holds weights.
    ValueError
        If two hold the same fold.
    """
    found = sorted((read_header(path)["fold"], path.absolute()) for path in paths if not is_refused(path))
    if not found:
        raise Refusal(f"no fold of this recipe was trained ({len(paths)} files, all refused): see their records")
    folds = [fold for fold, _ in found]
    if len(set(folds)) < len(folds):
        raise ValueError(f"folds {folds}: two files hold the same fold")
    return found
