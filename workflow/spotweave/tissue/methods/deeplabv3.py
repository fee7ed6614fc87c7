"""Tissue by the trained network of HEST-1k: DeepLabV3-ResNet50 on tiles at 1 um/px (Jaume et al. 2024, NeurIPS).

The weights are published as `deeplabv3_seg_v4.ckpt` by MahmoodLab/hest-tissue-seg on the Hugging Face hub. Where that
page states no other licence, they are taken to be under that of the library they belong to, CC-BY-NC-SA-4.0: for
research, not for commercial use.

Unlike the published way (tiles side by side, the larger of two logits), tiles overlap by a quarter and probabilities
are blended, so that no seam shows; the mask has one cell for 8 x 8 px, tissue where their mean probability is above .5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spotweave.networks.deeplabv3 import DeepLabV3
    from spotweave.tissue.masks import Mask
    from spotweave.tissue.methods import Slide
    from spotweave.tissue.picture import Picture

TAKES = ("slide", "weights")
WORKING_PIXEL_SIZE_UM = 8.0
NETWORK_PIXEL_SIZE_UM = 1.0
COARSEST_UM = 2.0
"""A slide may be enlarged to the network's scale up to twice: published weights were tried at 2 um/px too."""
LICENCE = "CC-BY-NC-SA-4.0"
HUB_FILES = ("deeplabv3_seg_v4.ckpt",)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TISSUE_CLASS = 1
TILES_ON_CPU, TILES_ON_GPU = 2, 16
RERUN = "run again with --forcerun segment_tissue, which tries the refused samples anew"


def check(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What it asks of `tissue:` in the configuration beyond the schema: (key, "what is wrong, what is allowed")."""
    weights, source = settings["weights"], settings["source"]
    faults = []
    if weights == "none":
        faults.append(("weights", "'none', but deeplabv3 is a trained network, allowed: hub, file"))
    elif weights == "hub" and not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        faults.append(("source", f"{source!r}, weights from the hub allow: owner/repository"))
    elif weights == "file":
        if not source:
            faults.append(("source", "empty, weights from a file need its path"))
        elif not Path(source).is_file():
            faults.append(("source", f"no file {source!r}, put {HUB_FILES[0]} there or name the file that is there"))
        if not settings["sha256"]:
            faults.append(("sha256", "empty, weights from a file need the SHA-256 that they are held against"))
    if settings["revision"] and weights != "hub":
        faults.append(("revision", "is for weights from the hub, allowed: empty"))
    return faults


def segment(
    picture: Picture, *, min_hole_um2: float, min_piece_um2: float, slide: Slide, weights: Mapping[str, str]
) -> Mask:
    """Find the tissue, (H, W) bool; see `spotweave.tissue.methods`.

    Raises
    ------
    Refusal
        For a slide coarser than `COARSEST_UM`, and where the weights cannot be had.
    """
    from spotweave.errors import Refusal
    from spotweave.tissue import tiled

    if slide.pixel_size_um > COARSEST_UM:
        raise Refusal(
            f"{slide.path.name}: {slide.pixel_size_um:.3g} um a pixel, the tissue method deeplabv3 needs at most "
            f"{COARSEST_UM:g}; set tissue: method: classical",
            measured=slide.pixel_size_um,
            threshold=COARSEST_UM,
        )
    predict, tiles_at_once = _predictor(weights)
    height, width = picture.rgb.shape[:2]
    # One cell of the map is one px of the picture, whose px are 8 um: the network sees 1 um/px.
    strips = slide.strips(width * tiled.CELL_PX, height * tiled.CELL_PX, tiled.OVERLAP_PX)
    return tiled.probability_map(strips, (height, width), predict, tiles_at_once=tiles_at_once) > 0.5


def load(path: Path) -> DeepLabV3:
    """The network with the weights of a file: safetensors, a state dict, or a checkpoint of Lightning.

    Of the latter, `model.` is taken off the names, and an auxiliary head, which serves training alone, is left out. A
    tensor that is missing or left over is an error, and no code of the file is run.

    Raises
    ------
    ModelUnavailable
        If the file holds no such weights.
    """
    import safetensors.torch
    import torch

    from spotweave.networks.deeplabv3 import DeepLabV3
    from spotweave.networks.weights import UNREADABLE

    try:
        is_safe = path.suffix == ".safetensors"
        content: Any = safetensors.torch.load_file(path) if is_safe else torch.load(path, "cpu", weights_only=True)
        tensors = content.get("state_dict", content)
        named = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
        state = {name: tensor for name, tensor in named.items() if not name.startswith("aux_classifier.")}
        with torch.device("meta"):
            network = DeepLabV3()
        network.load_state_dict(state, strict=True, assign=True)
    except UNREADABLE as error:
        detail = " ".join(str(error).split())[:300]
        problem = f"{path.name} does not hold weights of DeepLabV3-ResNet50 for two classes: {detail}."
        steps = ["get the file again; a checkpoint that holds more than tensors: save its state_dict as safetensors"]
        raise _unavailable(problem, [*steps, RERUN]) from error
    return network.float().eval().requires_grad_(False)


def _predictor(weights: Mapping[str, str]) -> tuple[Any, int]:
    """Tiles -> probabilities of tissue, on the first GPU where there is one; and how many tiles it takes at once."""
    import torch

    from spotweave.networks.transform import pick_device
    from spotweave.networks.weights import Wanted, located

    wanted = Wanted(
        model="tissue method deeplabv3",
        weights=weights["weights"],
        source=weights["source"],
        revision=weights["revision"],
        sha256=weights["sha256"],
        files=HUB_FILES,
        licence=LICENCE,
        gated=True,
        hash_at="tissue: sha256 of the configuration",
        instead="set tissue: weights: file with its path as source and its sha256, or tissue: method: classical",
        rerun=RERUN,
        unavailable=_unavailable,
    )
    device = pick_device("auto")
    network = load(located(wanted, None)).to(device)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))

    def predict(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        # Half precision on a GPU, as published.
        with torch.inference_mode(), torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
            images = torch.from_numpy(tiles).to(device).permute(0, 3, 1, 2).float() / 255
            logits = network((images - mean) / std).float()
            return logits.softmax(dim=1)[:, TISSUE_CLASS].cpu().numpy()

    return predict, TILES_ON_GPU if device.type == "cuda" else TILES_ON_CPU


def _unavailable(problem: str, steps: Any) -> Any:
    from spotweave.networks.spec import ModelUnavailable

    return ModelUnavailable("tissue method deeplabv3", problem, steps)
