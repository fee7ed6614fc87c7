"""Encoders from the transformers library: ViT, DINOv2 with or without registers, the picture's half of CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spotweave.encoders._torch_row import faults, patch_fault
from spotweave.networks.spec import EncoderSpec, parse_arguments

if TYPE_CHECKING:
    from spotweave.networks.transform import TorchEncoder

__all__ = ["build", "check", "patch_fault"]

POOLS = {
    "vit": ("cls", "avg", "cls+mean"),
    "dinov2": ("cls", "avg", "cls+mean"),
    "dinov2_with_registers": ("cls", "avg", "cls+mean"),
    "clip_vision": ("head", "cls", "avg", "cls+mean"),
}


def check(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """What a model of transformers asks of its row."""
    found = faults(row, "a model of transformers")
    if row.get("tensors"):
        found.append(("tensors", f"{row['tensors']!r} is for a timm_model, allowed: empty"))
    architecture, pool = row.get("architecture", ""), row.get("pool", "")
    if architecture and architecture not in POOLS:
        found.append(("architecture", f"{architecture!r}, transformers_model allows: {', '.join(POOLS)}"))
    elif pool and architecture and pool not in POOLS[architecture]:
        found.append(("pool", f"{pool!r}, {architecture} allows: {', '.join(POOLS[architecture])}"))
    patch_px = parse_arguments(row.get("arguments", "")).get("patch_size")
    if not isinstance(patch_px, int) or patch_px < 1:
        found.append(("arguments", "without patch_size, transformers_model needs it: patch_size=14"))
    elif int(row["input_px"]) % patch_px:
        found.append(("input_px", f"{row['input_px']}, its arguments allow: a multiple of {patch_px}"))
    return found


def build(spec: EncoderSpec, *, folder: Path | None, seed: int, device: str = "auto") -> TorchEncoder:
    """Build an encoder from its row, as `timm_model.build`."""
    from spotweave.networks.transform import TorchEncoder
    from spotweave.networks.transformers_vision import transformers_vision

    return TorchEncoder(transformers_vision(spec, folder=folder, seed=seed), spec, device)
