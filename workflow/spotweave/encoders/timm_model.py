"""Encoders from the timm library: any of its architectures, by adding a row to the table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spotweave.networks.sizes import input_fault
from spotweave.networks.spec import EncoderSpec

if TYPE_CHECKING:
    from spotweave.networks.transform import TorchEncoder

NEEDED = ("architecture", "resize", "mean", "std", "pool")


def check(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """What a timm model asks of its row."""
    faults = [(column, "empty, a timm model needs it") for column in NEEDED if not row.get(column)]
    if row.get("weights") == "none":
        faults.append(("weights", "'none', a timm model allows: hub, random, file, package"))
    resize_px, input_px = row.get("resize", "").partition(" ")[2], int(row["input_px"])
    if resize_px and int(resize_px) < input_px:
        faults.append(("resize", f"to {resize_px} px, too few to cut {input_px} px out of, allowed: input_px or more"))
    wrong = input_fault(row, input_px)
    return faults + ([("input_px", wrong)] if wrong else [])


def patch_fault(row: Mapping[str, str], size_px: int) -> str | None:
    """Without a resize, patches must be of the network's own size."""
    if row["resize"] != "none" or size_px == int(row["input_px"]):
        return None
    return (
        f"its input_px is {row['input_px']} and its resize none: set patch.size_px to {row['input_px']}, or resize to"
        " bilinear or bicubic in its row"
    )


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
