"""ST-Align over patches: the middle of a patch is the spot's picture, the whole is its niche's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spotweave import torchvision_shim
from spotweave.networks.stalign import Aligned, Sizes, StAlign, Views

torchvision_shim.install()

import timm  # noqa: E402  (it imports torchvision)

# The gene encoder that is none of ours: its vectors come in.
SCGPT = "scgpt"


class SmallPicture(nn.Module):
    """The middle of normalised patches (B, 3, H, W), shrunk, through a ResNet -> (B, dim).

    The first convolution has no stride and nothing is pooled after it, as pictures are small (He et al. 2016, CIFAR).
    """

    def __init__(self, architecture: str, dim: int, share: float, size_px: int) -> None:
        super().__init__()
        self.share, self.size_px = share, size_px
        self.network: Any = timm.create_model(architecture, pretrained=False, num_classes=dim)
        first: Any = self.network.conv1
        if isinstance(first, nn.Conv2d):
            self.network.conv1 = nn.Conv2d(3, first.out_channels, 3, padding=1, bias=False)
        else:  # a stem of several convolutions, of which the first has the stride
            first[0].stride = (1, 1)
        self.network.maxpool = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        edge = max(1, round(images.shape[-1] * self.share))
        margin = (images.shape[-1] - edge) // 2
        middle = images[..., margin : margin + edge, margin : margin + edge]
        if edge != self.size_px:
            middle = functional.interpolate(
                middle, self.size_px, mode="bilinear", antialias=edge > self.size_px, align_corners=False
            )
        out: Tensor = self.network(middle)
        return out


class SpotGenes(nn.Module):
    """Log-normalised expression (B, G) -> (B, width), in the place of a foundation model of single cells.

    Parameters
    ----------
    kind
        `mlp`, learned; `pca`, a projection that `project` is given and that stays; or `scgpt`: what comes in,
        (B, width), is what that model made of a spot, and goes through as it is.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, genes: int, width: int, kind: str) -> None:
        super().__init__()
        self.width = width
        incoming = width if kind == SCGPT else genes
        self.register_buffer("mean", torch.zeros(incoming))
        self.register_buffer("std", torch.ones(incoming))
        self.layers: nn.Module
        if kind == SCGPT:
            self.layers = nn.Identity()
        elif kind == "pca":
            self.layers = nn.Linear(genes, width, bias=False).requires_grad_(False)
        else:
            self.layers = nn.Sequential(
                nn.Linear(genes, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, width)
            )

    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """Genes are shifted and scaled by these (G,) before anything else."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    def project(self, components: Tensor) -> None:
        """The rows (C, G) of a projection; what is missing to the width is nought."""
        weight: Any = self.layers.weight
        with torch.no_grad():
            weight.zero_()
            weight[: len(components)] = components

    def forward(self, expression: Tensor) -> Tensor:
        out: Tensor = self.layers((expression - self.mean) / self.std)
        return out


class StAlignPictures(nn.Module):
    """The whole network; of normalised patches (B, 3, H, W) alone -> (B, 2 x out), spot and niche side by side."""

    def __init__(self, network: StAlign) -> None:
        super().__init__()
        self.network = network

    @property
    def spot_genes(self) -> Any:
        """Its `SpotGenes`."""
        return self.network.spot_gene

    def aligned(self, views: Views) -> Aligned:
        """Embeddings of pictures and genes: `Views` of patches twice, expression of spots and of niches."""
        found: Aligned = self.network(views)
        return found

    def expression(self, spot_gene: Tensor, niche_gene: Tensor) -> Tensor:
        """Of expression (B, G) of spots and of niches alone -> (B, 2 x out), to be found by what `forward` gives."""
        network: Any = self.network
        spot = network.spot_gene_tokens(network.spot_gene(spot_gene)).flatten(1)
        niche = network.niche_genes(niche_gene).flatten(1)
        return torch.cat([network.projections["spot_gene"](spot), network.projections["niche_gene"](niche)], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        network: Any = self.network
        spot = network.spot_image_tokens(network.spot_image(images)).flatten(1)
        niche = network.niche_image_tokens(network.niche_image(images)).flatten(1)
        return torch.cat([network.projections["spot_image"](spot), network.projections["niche_image"](niche)], dim=1)


def stalign_pictures(said: Mapping[str, Any], niche_image: nn.Module) -> StAlignPictures:
    """The network that a header describes (`stalign` of a fold's file), around the encoder of niches."""
    sizes = Sizes(**said["sizes"])
    return StAlignPictures(
        StAlign(
            sizes,
            spot_image=SmallPicture(said["spot_architecture"], sizes.spot_image, said["spot_share"], said["spot_px"]),
            spot_gene=SpotGenes(sizes.niche_genes, sizes.spot_gene, said["gene_encoder"]),
            niche_image=niche_image,
            fusion=said["fusion"],
        )
    )
