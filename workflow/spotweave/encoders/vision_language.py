"""The picture's half of published vision-language models that no library builds: CONCH, CONCH v1.5, MUSK."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spotweave.encoders._torch_row import faults, patch_fault
from spotweave.networks.spec import EncoderSpec

if TYPE_CHECKING:
    from spotweave.networks.transform import TorchEncoder

__all__ = ["build", "check", "patch_fault"]

# Architecture -> what becomes the embedding. All of them take squares of 16 px for tokens.
POOLS = {"conch": "head", "conch_v1_5": "head", "musk": "cls"}
TOKEN_PX = 16


def check(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """What such a model asks of its row."""
    found = faults(row, "a vision-language model")
    architecture, pool = row.get("architecture", ""), row.get("pool", "")
    if row.get("tensors"):
        found.append(("tensors", f"{row['tensors']!r} is for a timm_model, allowed: empty"))
    if architecture and architecture not in POOLS:
        found.append(("architecture", f"{architecture!r}, vision_language allows: {', '.join(POOLS)}"))
    elif architecture and pool and pool != POOLS[architecture]:
        found.append(("pool", f"{pool!r}, {architecture} allows: {POOLS[architecture]}"))
    if int(row["input_px"]) % TOKEN_PX:
        found.append(("input_px", f"{row['input_px']}, vision_language allows: a multiple of {TOKEN_PX}"))
    return found


def build(spec: EncoderSpec, *, folder: Path | None, seed: int, device: str = "auto") -> TorchEncoder:
    """Build an encoder from its row, as `timm_model.build`."""
    from spotweave.networks.transform import TorchEncoder
    from spotweave.networks.vision_language import vision_language

    return TorchEncoder(vision_language(spec, folder=folder, seed=seed), spec, device)
