"""Nuclei by darkness alone: a stand-in that the engine can be tried with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spotweave.nuclei import NO_CLASS, Instances, NucleiSpec

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def check(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """It has no weights."""
    return [] if row.get("weights") == "none" else [("weights", f"{row.get('weights')!r}, allowed: none")]


def load(spec: NucleiSpec, *, folder: Path | None, device: str, seed: int) -> Threshold:
    """The model of a row."""
    return Threshold(spec.um_per_px)


class Threshold:
    """Connected dark pixels."""

    tile_px, margin_px, batch = 1024, 64, 1
    classes = (NO_CLASS,)
    provenance: Mapping[str, str] = {}

    def __init__(self, um_per_px: float) -> None:
        self.um_per_px = um_per_px
        self.native_um_per_px = (0.95 * um_per_px, 1.05 * um_per_px)

    def prepare(self, overview: Any) -> None:
        """Nothing."""

    def predict(self, tiles: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """The pixels."""
        return list(tiles)

    def separator(self) -> Any:
        """See `separate`."""
        return separate


def separate(tile: NDArray[np.uint8]) -> Instances:
    """Dark pieces of 32 px and more."""
    import numpy as np
    from scipy import ndimage

    pieces, _ = ndimage.label(tile[..., 0] < 130)
    kept = np.bincount(pieces.ravel()) >= 32
    kept[0] = False
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    count = int(kept.sum())
    return Instances(number[pieces], np.ones(count, np.uint8), np.full(count, np.nan, np.float32))
