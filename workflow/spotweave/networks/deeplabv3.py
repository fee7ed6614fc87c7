"""DeepLabV3 over a dilated ResNet-50, in torch alone: layers are named as torchvision names them, so its weights load.

Written from the papers: He et al. 2016 (arXiv 1512.03385) for the network of bottlenecks, with the stride in the 3x3
convolution; Chen et al. 2017 (arXiv 1706.05587) for dilation instead of stride in its last two stages and for atrous
spatial pyramid pooling. 362 tensors; 39,633,986 parameters for two classes.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

STAGES = ((64, 3, 1, 1, 1), (128, 4, 2, 1, 1), (256, 6, 1, 1, 2), (512, 3, 1, 2, 4))
"""Of each stage of the backbone: planes, blocks, stride, dilation of its first block and of the others."""
EXPANSION = 4
ATROUS_RATES = (12, 24, 36)
ASPP_CHANNELS = 256


class DeepLabV3(nn.Module):
    """(B, 3, H, W) normalised -> (B, classes, H, W) logits, computed at an eighth of the resolution and enlarged."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.backbone = _DilatedResNet50()
        self.classifier = nn.Sequential(
            _AtrousPyramid(STAGES[-1][0] * EXPANSION),
            nn.Conv2d(ASPP_CHANNELS, ASPP_CHANNELS, 3, padding=1, bias=False),
            nn.BatchNorm2d(ASPP_CHANNELS),
            nn.ReLU(),
            nn.Conv2d(ASPP_CHANNELS, classes, 1),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        coarse = self.classifier(self.backbone(images))
        return functional.interpolate(coarse, images.shape[-2:], mode="bilinear", align_corners=False)


class _DilatedResNet50(nn.Module):
    """(B, 3, H, W) -> (B, 2048, H / 8, W / 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for number, (planes, blocks, stride, first_dilation, dilation) in enumerate(STAGES, start=1):
            stage = [_Bottleneck(channels, planes, stride, first_dilation, shortcut=True)]
            channels = planes * EXPANSION
            stage += [_Bottleneck(channels, planes, 1, dilation) for _ in range(blocks - 1)]
            setattr(self, f"layer{number}", nn.Sequential(*stage))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = functional.relu(self.bn1(self.conv1(images)))
        maps = functional.max_pool2d(maps, 3, stride=2, padding=1)
        for number in range(1, len(STAGES) + 1):
            maps = getattr(self, f"layer{number}")(maps)
        return maps


class _Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut, which is a 1x1 convolution where the size changes."""

    def __init__(self, channels: int, planes: int, stride: int, dilation: int, *, shortcut: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * EXPANSION, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * EXPANSION)
        self.downsample: nn.Module = nn.Identity()
        if shortcut:
            wide = nn.Conv2d(channels, planes * EXPANSION, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(wide, nn.BatchNorm2d(planes * EXPANSION))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        out = functional.relu(self.bn1(self.conv1(maps)))
        out = functional.relu(self.bn2(self.conv2(out)))
        return functional.relu(self.bn3(self.conv3(out)) + self.downsample(maps))


class _AtrousPyramid(nn.Module):
    """Views of several widths side by side, the whole picture's mean among them, brought to one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        views = [_view(nn.Conv2d(channels, ASPP_CHANNELS, 1, bias=False))]
        for rate in ATROUS_RATES:
            views.append(_view(nn.Conv2d(channels, ASPP_CHANNELS, 3, padding=rate, dilation=rate, bias=False)))
        mean = [nn.AdaptiveAvgPool2d(1), *_view(nn.Conv2d(channels, ASPP_CHANNELS, 1, bias=False))]
        self.convs = nn.ModuleList([*views, nn.Sequential(*mean)])
        joined = nn.Conv2d(len(self.convs) * ASPP_CHANNELS, ASPP_CHANNELS, 1, bias=False)
        self.project = nn.Sequential(*_view(joined), nn.Dropout(0.5))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        *local, mean = [view(maps) for view in self.convs]
        everywhere = functional.interpolate(mean, maps.shape[-2:], mode="bilinear", align_corners=False)
        return self.project(torch.cat([*local, everywhere], dim=1))


def _view(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())
