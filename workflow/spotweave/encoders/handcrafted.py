"""Handcrafted features: colour, stain, nuclei and texture statistics. No weights, no learning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spotweave.networks.spec import EncoderSpec

if TYPE_CHECKING:
    from spotweave.encoders._handcrafted import Handcrafted

# The coarsest features are measured on blocks of so many px.
BLOCK_PX = 16


def check(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """Nothing but that there are no weights."""
    weights = row.get("weights")
    return [] if weights == "none" else [("weights", f"{weights!r}, handcrafted features have none, allowed: none")]


def patch_fault(row: Mapping[str, str], size_px: int) -> str | None:
    """Patches of whole blocks."""
    if size_px % BLOCK_PX == 0:
        return None
    return f"it measures blocks of {BLOCK_PX} px: set patch.size_px to a multiple of {BLOCK_PX}"


def build(spec: EncoderSpec, *, folder: Path | None, seed: int, device: str = "auto") -> Handcrafted:
    """There is nothing to build: no weights, no randomness, no device.

    Raises
    ------
    ValueError
        If the table states another dimension.
    """
    from spotweave.encoders._handcrafted import Handcrafted

    if spec.dim != Handcrafted.dim:
        raise ValueError(f"encoder {spec.encoder}: dim {spec.dim} in the table, handcrafted has {Handcrafted.dim}")
    return Handcrafted()
