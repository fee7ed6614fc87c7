"""A convolution whose kernels are weighted anew for each picture (Li, Zhou & Yao 2022, ODConv)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class DynamicConv(nn.Module):
    """(N, channels, H, W) -> (N, filters, H / kernel, W / kernel): kernel and stride are the same.

    From the mean of the picture come four weights: of its channels, of the filters, of the places within a kernel, and
    of the `kernels` that are mixed.
    """

    def __init__(self, channels: int, filters: int, kernel: int, kernels: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(kernels, filters, channels, kernel, kernel))
        nn.init.kaiming_normal_(self.weight.flatten(0, 1), mode="fan_out", nonlinearity="relu")
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.to_channels = nn.Conv2d(hidden, channels, 1)
        self.to_filters = nn.Conv2d(hidden, filters, 1)
        self.to_places = nn.Conv2d(hidden, kernel * kernel, 1)
        self.to_kernels = nn.Conv2d(hidden, kernels, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        count, channels, height, width = images.shape
        kernels, filters, _, side, _ = self.weight.shape
        mean = functional.relu(self.norm(self.squeeze(images.mean(dim=(2, 3), keepdim=True))))
        of_places = self.to_places(mean).sigmoid().view(count, 1, 1, 1, side, side)
        of_kernels = self.to_kernels(mean).view(count, kernels, 1, 1, 1, 1).softmax(dim=1)
        mixed = (of_kernels * of_places * self.weight[None]).sum(dim=1)
        shown = images * self.to_channels(mean).sigmoid()
        # One group a picture: each has kernels of its own.
        found = functional.conv2d(
            shown.reshape(1, count * channels, height, width), mixed.flatten(0, 1), stride=side, groups=count
        )
        found = found.view(count, filters, *found.shape[2:])
        return found * self.to_filters(mean).sigmoid()
