"""Nuclei as `classical` finds them, with a small network's opinion of where they are and where their middles lie.

The network (`networks.nuclei_unet`) has seen rendered tissue only, no real slide. Alone it finds pale nuclei and parts
touching ones, but cuts some dark ones in two; `classical` misses pale ones and joins those that touch. So the map that
candidates are cut from is red with a share of the network's, and summits are where both see the middle of a nucleus;
which candidates are nuclei, `nuclei.choosing` says for both.

The weights are a file that comes with the project, made by `scripts/train_nuclei.py`. Seen at .5 um/px.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotweave.nuclei import NO_CLASS, Instances, NucleiSpec, NucleiUnavailable, Overview

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spotweave.nuclei.stain import Stain

SHARE = 0.3  # of the network in the map that candidates are cut from; the rest is red
SMOOTHING_UM = 0.3  # of the network's map
DEPTH_SMOOTHING_UM = 0.35
DEEPEST_UM = 2.5  # where the network sees the very middle of a nucleus
STRIP_PX = 448  # rows that go through the network at a time: memory
STRIP_MARGIN_PX = 72  # at least what a pixel of the network sees, and a multiple of its stride
SAID = 255  # the network's shares are handed on as bytes


def check(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """It takes a file."""
    return [] if row.get("weights") == "file" else [("weights", f"{row.get('weights', '')!r}, allowed: file")]


def load(spec: NucleiSpec, *, folder: Path | None, device: str, seed: int) -> Guided:
    """The model of a row.

    Raises
    ------
    NucleiUnavailable
        If the file is not here, another one than the row says, or of another network.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from spotweave.networks.nuclei_unet import NucleiUNet
    from spotweave.nuclei.weights import RERUN, weights_file

    path, sha256 = weights_file(spec, folder, [f"get {spec.source} from the project's repository, or train it anew"])
    network = NucleiUNet()
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise NucleiUnavailable(
            spec.nuclei, f"{spec.source} does not hold weights of its network ({first}).", ["get the file again", RERUN]
        ) from error
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    last: Any = {"memory_format": torch.channels_last}  # torch's stubs know no `to` with it
    network = network.eval().to(device=device, **last)
    return Guided(network, device, spec.um_per_px, sha256)


class Guided:
    """See `spotweave.nuclei.Model`."""

    # A nucleus reaches 25 um from its centroid at most; around it the network sees 33 um, and surroundings 20 um.
    tile_px, margin_px, batch = 1792, 160, 1
    classes = (NO_CLASS,)

    def __init__(self, network: Any, device: str, um_per_px: float, weights_sha256: str) -> None:
        self.network, self.device, self.um_per_px = network, device, um_per_px
        self.native_um_per_px = (0.95 * um_per_px, 1.05 * um_per_px)
        self.stain: Stain | None = None
        self.provenance: Mapping[str, str] = {"arch": "NucleiUNet", "weights_sha256": weights_sha256}

    def prepare(self, overview: Overview) -> None:
        """Measure stain and sharpness on tiles from all over the tissue."""
        from spotweave.nuclei.stain import SAMPLED_TILES, quality

        self.stain = self.measure(overview.sample_tiles(SAMPLED_TILES))
        self.provenance = {**self.provenance, **quality(overview.pixel_size_um)}

    def measure(self, tiles: Sequence[NDArray[np.uint8]]) -> Stain | None:
        """What differs between slides, from tiles (H, W, 3) of one; None where nothing on them is stained."""
        from spotweave.nuclei.candidates import smoothed_red
        from spotweave.nuclei.choosing import usual_gradient
        from spotweave.nuclei.stain import Stain, middle, red_range

        ends = red_range([smoothed_red(tile, self.um_per_px) for tile in tiles])
        if ends is None:
            return None
        middles = [tile[middle(tile.shape)] for tile in tiles]
        maps = [darkness(said, self.um_per_px, *ends) for said in self.predict(middles)]
        return Stain(*ends, usual_gradient(maps, self.um_per_px, 0.0, 1.0))

    def predict(self, tiles: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """(H, W, 5) uint8 for each tile: its RGB, and what the network says (`NucleiUNet`), of 255."""
        return [self._said(tile) for tile in tiles]

    def separator(self) -> Callable[[Any], Instances]:
        """`instances`, with the slide's stain."""
        return partial(instances, um_per_px=self.um_per_px, stain=self.stain)

    def _said(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        import numpy as np

        from spotweave.networks.nuclei_unet import STRIDE

        height, width = tile.shape[:2]
        edges = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
        whole = np.pad(tile, edges, mode="reflect" if min(height, width) > STRIDE else "edge")
        out = np.empty((height, width, 5), np.uint8)
        out[..., :3] = tile
        for top in range(0, height, STRIP_PX):
            begin, bottom = max(0, top - STRIP_MARGIN_PX), min(height, top + STRIP_PX)
            said = self._through(whole[begin : bottom + STRIP_MARGIN_PX])
            out[top:bottom, :, 3:] = said[top - begin : bottom - begin, :width]
        return out

    def _through(self, strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 2) uint8."""
        import torch

        with torch.inference_mode():
            picture = torch.from_numpy(strip).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
            shares = torch.sigmoid(self.network(picture.contiguous(memory_format=torch.channels_last)))
            said: NDArray[np.uint8] = (shares * SAID).round().byte()[0].permute(1, 2, 0).cpu().numpy()
        return said


def darkness(said: NDArray[np.uint8], um_per_px: float, dark: float, light: float) -> NDArray[np.float32]:
    """(H, W): 0 where red is that of the darkest nuclei and the network sees one, 1 between nuclei."""
    import cv2
    import numpy as np

    from spotweave.nuclei.candidates import smoothed_red

    red = (smoothed_red(said[..., :3], um_per_px) - dark) / (light - dark)
    inside = cv2.GaussianBlur(said[..., 3].astype(np.float32) / SAID, (0, 0), SMOOTHING_UM / um_per_px)
    return np.asarray((1 - SHARE) * red + SHARE * (1 - inside), dtype=np.float32)


def instances(said: NDArray[np.uint8], *, um_per_px: float, stain: Stain | None) -> Instances:
    """The nuclei of a tile as `Guided.predict` gives it; their probability is the network's mean."""
    import numpy as np

    labels = segment(said, um_per_px=um_per_px, stain=stain)
    count = int(labels.max(initial=0))
    inside = np.bincount(labels.ravel(), said[..., 3].ravel(), minlength=count + 1)[1:]
    px = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return Instances(labels, np.ones(count, np.uint8), (inside / (px * SAID)).astype(np.float32))


def segment(said: NDArray[np.uint8], *, um_per_px: float, stain: Stain | None) -> NDArray[np.int32]:
    """Label the nuclei of a tile as `Guided.predict` gives it: (H, W) int32, 0 or 1 to n without a gap.

    Parameters
    ----------
    um_per_px
        About .5, which all numbers were chosen at.
    stain
        As `Guided.measure` gives it.
    """
    import cv2
    import numpy as np

    from spotweave.nuclei.candidates import candidates
    from spotweave.nuclei.choosing import choose

    nothing = np.zeros(said.shape[:2], dtype=np.int32)
    if stain is None:
        return nothing
    depth = cv2.GaussianBlur(said[..., 4].astype(np.float32) / SAID, (0, 0), DEPTH_SMOOTHING_UM / um_per_px)
    dark = darkness(said, um_per_px, stain.dark, stain.light)
    found = candidates(dark, um_per_px, 0.0, 1.0, DEEPEST_UM * depth)
    return nothing if found is None else choose(found, stain.gradient, um_per_px)
