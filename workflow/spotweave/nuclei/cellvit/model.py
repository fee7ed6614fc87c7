"""CellViT as the engine knows models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spotweave.nuclei import Instances
from spotweave.nuclei.cellvit.checkpoint import CLASSES, Loaded
from spotweave.nuclei.cellvit.maps import Maps, separate

TILE_PX = 1024
MARGIN_PX = 64  # nuclei are up to 32 um wide
BATCH = {"CellViT256": 8, "CellViTSAM": 2}  # tiles that the published program gives a GPU of 24 GB


class CellViTModel:
    """See `nuclei.Model`. On a GPU in half precision where the checkpoint was trained so, on a CPU in single.

    Parameters
    ----------
    device
        `auto`, `cpu` or `cuda`.
    """

    um_per_px = 0.25
    native_um_per_px = (0.2, 0.3)
    margin_px = MARGIN_PX
    classes = CLASSES

    def __init__(self, loaded: Loaded, *, device: str, weights_sha256: str, tile_px: int = TILE_PX) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.tile_px = tile_px
        self.batch = BATCH[loaded.arch] if self.device.type == "cuda" else 1
        self.half = loaded.is_mixed and self.device.type == "cuda"
        network: Any = loaded.network
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.mean, self.std = (torch.tensor(one, device=self.device).view(3, 1, 1) for one in (loaded.mean, loaded.std))
        self.provenance = {"arch": loaded.arch, "weights_sha256": weights_sha256}

    def prepare(self, overview: Any) -> None:
        """Nothing: the network takes every tile as it is."""

    @torch.inference_mode()
    def predict(self, tiles: NDArray[np.uint8]) -> list[Maps]:
        """Maps of tiles (B, H, W, 3); the most likely classes are chosen on the device."""
        pixels = torch.from_numpy(tiles).to(self.device).permute(0, 3, 1, 2)
        images = ((pixels / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.float16, enabled=self.half):
            said = self.network(images)
        mask = said.nuclei_binary_map.float().argmax(1).bool().cpu().numpy()
        types = said.nuclei_type_map.float().argmax(1).to(torch.uint8).cpu().numpy()
        offsets = said.hv_map.to(torch.float16).cpu().numpy()
        return [Maps(*one) for one in zip(mask, types, offsets, strict=True)]

    def separator(self) -> Callable[[Maps], Instances]:
        """`maps.separate`."""
        return separate
