"""InstanSeg (Goldsborough et al. 2024) from a TorchScript file, which is code: opened only with the SHA-256 of its row.

The file takes (1, 3, H, W) float32 RGB in which each channel runs from 0 to 1 between its 0.1th and 99.9th percentile,
and gives (1, 1, H, W), a label for every nucleus. Percentiles are taken once a slide, from tiles spread over its
tissue, where the authors' program takes them from every tile: what is found does not depend on how the slide is cut,
and glass is not stretched into nuclei.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotweave.nuclei import NO_CLASS, Instances, NucleiSpec, NucleiUnavailable, Overview

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RELEASE = "https://github.com/instanseg/instanseg/releases/tag/instanseg_models_v0.1.1"
PERCENTILES = (0.1, 99.9)
SAMPLED = 16  # tiles
TRIED_PX = 128


def check(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """It takes a file, whose hash must be stated."""
    faults = []
    if row.get("weights") != "file":
        faults.append(("weights", f"{row.get('weights', '')!r}, allowed: file"))
    if not row.get("sha256"):
        faults.append(("sha256", "empty, a TorchScript file is code and needs it: the output of sha256sum"))
    return faults


def load(spec: NucleiSpec, *, folder: Path | None, device: str, seed: int) -> InstanSeg:
    """The model of a row.

    Raises
    ------
    NucleiUnavailable
        If the file is not here or another one, or gives no labels.
    """
    import torch

    from spotweave.nuclei.weights import RERUN, weights_file

    steps = [f"unpack brightfield_nuclei.zip of {RELEASE} and put its instanseg.pt at {spec.source}"]
    path, sha256 = weights_file(spec, folder, steps)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model = InstanSeg(torch.jit.load(str(path), map_location=device).eval(), device, spec.um_per_px, sha256)
        fault = model.fault()
    except RuntimeError as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        fault = f"cannot be opened as TorchScript ({first})"
    if fault:
        raise NucleiUnavailable(spec.nuclei, f"{spec.source} {fault}.", ["give InstanSeg's own instanseg.pt", RERUN])
    return model


class InstanSeg:
    """See `nuclei.Model`."""

    tile_px, margin_px, batch = 640, 64, 4
    classes = (NO_CLASS,)

    def __init__(self, script: Any, device: str, um_per_px: float, weights_sha256: str) -> None:
        self.script, self.device, self.um_per_px = script, device, um_per_px
        self.native_um_per_px = (0.95 * um_per_px, 1.05 * um_per_px)
        self.provenance = {"arch": "InstanSeg", "weights_sha256": weights_sha256}
        self.low, self.span = 0.0, 255.0

    def fault(self) -> str | None:
        """What is wrong with what the file says of a tile; None where nothing is."""
        import numpy as np

        tile = np.random.default_rng(0).integers(0, 256, (TRIED_PX, TRIED_PX, 3), dtype=np.uint8)
        shape = tuple(self._said(tile).shape)
        return None if shape == (1, 1, TRIED_PX, TRIED_PX) else f"gives {shape}, expected is (1, 1, height, width)"

    def prepare(self, overview: Overview) -> None:
        """Take the percentiles of red, green and blue."""
        import numpy as np

        tiles = overview.sample_tiles(SAMPLED)
        if tiles:
            pixels = np.concatenate([tile.reshape(-1, 3) for tile in tiles])
            self.low, high = np.percentile(pixels, PERCENTILES, axis=0).astype(np.float32)
            self.span = np.maximum(high - self.low, 1.0)

    def predict(self, tiles: NDArray[np.uint8]) -> list[NDArray[np.int32]]:
        """(H, W) labels of each tile."""
        import numpy as np

        return [self._said(tile)[0, 0].cpu().numpy().astype(np.int32) for tile in tiles]

    def separator(self) -> Callable[[Any], Instances]:
        """`numbered`."""
        return numbered

    def _said(self, tile: NDArray[np.uint8]) -> Any:
        import numpy as np
        import torch

        scaled = ((tile - self.low) / self.span).astype(np.float32)
        with torch.inference_mode():
            return self.script(torch.from_numpy(scaled).permute(2, 0, 1)[None].to(self.device))


def numbered(labels: NDArray[np.int32]) -> Instances:
    """Labels without gaps."""
    import numpy as np

    there = np.bincount(labels.ravel()) > 0
    there[0] = False
    count = int(there.sum())
    number = np.where(there, np.cumsum(there), 0).astype(np.int32)
    return Instances(number[labels], np.ones(count, np.uint8), np.full(count, np.nan, np.float32))
