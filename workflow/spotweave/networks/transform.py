"""From uint8 patches to what a network takes, and a network as an encoder."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from spotweave.networks.spec import EncoderSpec


class Transform(nn.Module):
    """uint8 patches (B, H, W, 3) -> normalised float32 images (B, 3, input_px, input_px).

    `resize` is `none` (patches must be of the size), `bilinear` or `bicubic` (anti-aliased, to the size), or one
    of these and a number (to that size, then the centre is cut out). Without it, numbers are exactly
    (value / 255 - mean) / std.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.input_px = spec.input_px
        self.mode, _, resize_px = spec.resize.partition(" ")
        self.resize_px = int(resize_px or spec.input_px)
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return self.normalise(self.resize(patches))

    def resize(self, patches: torch.Tensor) -> torch.Tensor:
        """uint8 (B, H, W, 3) -> float32 (B, 3, input_px, input_px), 0 to 1."""
        images = patches.permute(0, 3, 1, 2).float()
        size = tuple(images.shape[2:])
        if self.mode == "none":
            if size != (self.input_px, self.input_px):
                raise ValueError(
                    f"patches of {size[0]} x {size[1]} px for an encoder of {self.input_px} px;"
                    " give the encoder's row a resize (bilinear, bicubic), or cut other patches"
                )
            return images / 255
        if size != (self.resize_px, self.resize_px):
            images = functional.interpolate(images, self.resize_px, mode=self.mode, antialias=True).clamp(0, 255)
        margin = (self.resize_px - self.input_px) // 2
        crop = slice(margin, margin + self.input_px)
        return images[:, :, crop, crop] / 255

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """0 to 1 -> mean 0 and variance 1, as the weights were trained with."""
        return (images - self.mean) / self.std


class TorchEncoder:
    """A torch module as an encoder: evaluation mode, no gradients, float32 out.

    Parameters
    ----------
    network
        Normalised images -> (B, dim).
    spec
        For the transform and the precision: `dtype` holds on a GPU; a CPU always computes in float32.
    """

    def __init__(self, network: nn.Module, spec: EncoderSpec, device: str = "auto") -> None:
        self.dim = spec.dim
        self.device = pick_device(device)
        self.dtype = getattr(torch, spec.dtype) if self.device.type == "cuda" else torch.float32
        self.network = network.eval().requires_grad_(False).to(self.device)
        self.transform = Transform(spec).to(self.device)

    def encode(self, batch: np.ndarray) -> np.ndarray:
        """Embed patches (B, H, W, 3) uint8 as (B, dim) float32."""
        if not len(batch):
            return np.empty((0, self.dim), np.float32)
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32),
        ):
            images = self.transform(torch.from_numpy(np.ascontiguousarray(batch)).to(self.device))
            return self.network(images).float().cpu().numpy()


def pick_device(device: str) -> torch.device:
    """`auto` is the first GPU, where there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
