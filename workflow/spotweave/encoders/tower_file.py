"""Encoders in one file that this project wrote (`networks.tower`): trained elsewhere, taken as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spotweave.networks.spec import EncoderSpec

if TYPE_CHECKING:
    from spotweave.networks.transform import TorchEncoder

IN_THE_FILE = ("architecture", "arguments", "mean", "std", "pool", "tensors")


def check(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """Everything but where the file lies, its dimension and its size of images is in the file."""
    found = [(column, "is in the file, tower_file allows: empty") for column in IN_THE_FILE if row.get(column)]
    if row.get("weights") not in {"file", "hub"}:
        found.append(("weights", f"{row.get('weights', '')!r}, tower_file allows: file, hub"))
    return found


def patch_fault(row: Mapping[str, str], size_px: int) -> str | None:
    """Patches of any size: they are shrunk to the encoder's."""
    return None


def build(spec: EncoderSpec, *, folder: Path | None, seed: int, device: str = "auto") -> TorchEncoder:
    """Build the encoder of a file; `seed` is of no effect.

    Raises
    ------
    EncoderUnavailable
        If the file cannot be had, or is none of ours, or has another dimension than the row says.
    """
    from spotweave.networks.tower import read_header, read_tower
    from spotweave.networks.weights import UNREADABLE, misfit, weights_path

    path = weights_path(spec, folder)
    if path is None:
        raise ValueError(f"encoder {spec.encoder} has no file")
    try:
        said = read_header(path)
        if (said["embedding_dim"], said["input_px"]) != (spec.dim, spec.input_px):
            own = f"dim {said['embedding_dim']} and input_px {said['input_px']}"
            raise ValueError(f"{own}, the row says {spec.dim} and {spec.input_px}")
        return read_tower(path, device)
    except UNREADABLE as error:
        raise misfit(spec, path, error) from error
