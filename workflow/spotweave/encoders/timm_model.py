"""Encoders from the timm library: any of its architectures, by adding a row to the table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spotweave.encoders._torch_row import faults, patch_fault
from spotweave.networks.sizes import input_fault
from spotweave.networks.spec import EncoderSpec

if TYPE_CHECKING:
    from spotweave.networks.transform import TorchEncoder

__all__ = ["build", "check", "patch_fault"]


def check(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """What a timm model asks of its row."""
    wrong = input_fault(row, int(row["input_px"]))
    return faults(row, "a timm model") + ([("input_px", wrong)] if wrong else [])


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
    from spotweave.networks.backbone import backbone
    from spotweave.networks.transform import TorchEncoder

    return TorchEncoder(backbone(spec, folder=folder, seed=seed), spec, device)
