"""Features of the superpixels of a patch, 16 px squares: statistics of colour, or tokens of a vision transformer.

The published features of iStar come from two transformers over the whole slide (HIPT): 384 channels of a square in its
256 px, 192 of these 256 px in their 4,096 px, and the mean colour. A patch of 112 um has no 4,096 px around it, so here
the second transformer gives way to the first one's token of the whole patch.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.networks.disks import SUPERPIXEL_PX

Images = NDArray[np.uint8]
Features = NDArray[np.float32]

TOKENS_DIM = 2 * 384 + 3
COLOUR_DIM = 3 * 4 * 3
# HIPT's first transformer, as its files name it: a small one with 16 px tokens.
ARCHITECTURE = "vit_small_patch16_224"
WRAPPERS = ("module.", "backbone.")
BATCH = 16


def central_disk(side: int, radius: float) -> NDArray[np.bool_]:
    """(side, side) bool: superpixels whose centre is within `radius` superpixels of the patch's; never none."""
    along = np.arange(side) - (side - 1) / 2
    squared = along[:, None] ** 2 + along[None, :] ** 2
    return squared <= max(radius**2, squared.min())


def colour_statistics(images: Images) -> Features:
    """(N, H, W, 36) of (N, S, S, 3) RGB, H = W = S // 16, in units of the full range of a colour.

    Of each colour its mean, its spread, and how much higher the right half is than the left, and the lower than the
    upper; in the square, in the mean of the 3 x 3 squares around it and of the whole patch. A rest of less than a
    square at the right and lower border is cut.
    """
    count, size = images.shape[0], images.shape[1] // SUPERPIXEL_PX
    if not size:
        raise ValueError(f"a patch of {images.shape[1]} px has no superpixel of {SUPERPIXEL_PX} px")
    used = images[:, : size * SUPERPIXEL_PX, : size * SUPERPIXEL_PX].astype(np.float32) / 255
    squares = used.reshape(count, size, SUPERPIXEL_PX, size, SUPERPIXEL_PX, 3)
    half = SUPERPIXEL_PX // 2
    rightward = squares[:, :, :, :, half:].mean(axis=(2, 4)) - squares[:, :, :, :, :half].mean(axis=(2, 4))
    downward = squares[:, :, half:].mean(axis=(2, 4)) - squares[:, :, :half].mean(axis=(2, 4))
    here = np.concatenate([squares.mean(axis=(2, 4)), squares.std(axis=(2, 4)), rightward, downward], axis=-1)
    padded = np.pad(here, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    around = sum(padded[:, row : row + size, column : column + size] for row in range(3) for column in range(3)) / 9
    whole = np.broadcast_to(here.mean(axis=(1, 2), keepdims=True), here.shape)
    return np.concatenate([here, around, whole], axis=-1).astype(np.float32)


def token_network(weights: Path | None, seed: int) -> Any:
    """The transformer of HIPT's first level, with the weights of a file or random ones of a seed; evaluating.

    Raises
    ------
    ValueError
        If the file does not hold weights of this network.
    """
    import torch

    from spotweave.networks.pooling import seeded

    with seeded(seed):
        # Imported late: the library of networks takes seconds, and colour statistics need none of it.
        from spotweave.networks.backbone import timm

        network = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0, dynamic_img_size=True)
    if weights is not None:
        from spotweave.networks.weights import UNREADABLE

        try:
            network.load_state_dict(_student_free(torch.load(weights, map_location="cpu", weights_only=True)))
        except UNREADABLE as error:
            detail = " ".join(str(error).split())[:300]
            raise ValueError(
                f"{weights}: no weights of HIPT's 256 px transformer ({ARCHITECTURE}): {detail}"
            ) from error
    return network.eval()


def _student_free(content: Any) -> dict[str, Any]:
    """The tensors of the trunk, from a state or a checkpoint of DINO, which holds a teacher with a head."""
    state = content.get("teacher", content)
    out = {}
    for name, tensor in state.items():
        for wrapper in WRAPPERS:
            name = name.removeprefix(wrapper)  # noqa: PLW2901
        if not name.startswith(("head.", "mlp.")):
            out[name] = tensor
    return out


def tokens(images: Images, network: Any) -> Features:
    """(N, H, W, 771) of (N, S, S, 3) RGB: token of the square, token of the patch, mean colour of the square."""
    import torch

    size = images.shape[1] // SUPERPIXEL_PX
    used = images[:, : size * SUPERPIXEL_PX, : size * SUPERPIXEL_PX]
    colour = used.reshape(len(used), size, SUPERPIXEL_PX, size, SUPERPIXEL_PX, 3).mean(axis=(2, 4)) / 255
    parts = []
    device = next(network.parameters()).device
    with torch.inference_mode():
        for start in range(0, len(used), BATCH):
            scaled = torch.from_numpy(used[start : start + BATCH]).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
            found = network.forward_features(scaled)
            whole = found[:, :1].expand(-1, size * size, -1)
            parts.append(torch.cat([found[:, 1:], whole], dim=-1).unflatten(1, (size, size)).cpu().numpy())
    return np.concatenate([np.concatenate(parts), colour], axis=-1, dtype=np.float32)


def under_central_disks(batches: Iterable[Features], radius: float) -> Features:
    """(N, K, C): the superpixels of each patch that its spot covers, of batches (n, H, W, C)."""
    return np.concatenate([batch[:, central_disk(batch.shape[1], radius)] for batch in batches])
