"""iStar (Zhang et al. 2024): superpixels to expression, learned from spots that are means over their superpixels.

Re-implemented from a description of the published method. Mended: a spot that touches a superpixel without features is
left out by the original, without a word; here its mean is over those that have some (`finite_mean`). Its batch of
min(128, n // 16) spots is empty below 16 spots; here it is never below one (`batch_size`). Kept: members
are merged by the median, of outputs, which is meaningful, and of latents, which are not aligned: for pictures only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from spotweave.networks.renaming import renamed

HIDDEN = 256
N_HIDDEN = 4
SLOPE = 0.1
FLOOR = 0.01
EPSILON = 1e-12


class Regressor(nn.Module):
    """One member: four hidden layers (leaky ReLU, slope 0.1), and outputs above 0 (ELU with alpha 0.01, plus 0.01)."""

    def __init__(self, n_features: int, n_genes: int, hidden: int = HIDDEN, n_hidden: int = N_HIDDEN) -> None:
        super().__init__()
        widths = [n_features, *[hidden] * n_hidden]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.out = nn.Linear(hidden, n_genes)

    def latent(self, features: Tensor) -> Tensor:
        """(..., hidden) of (..., n_features)."""
        for layer in self.hidden:
            features = nn.functional.leaky_relu(layer(features), SLOPE)
        return features

    def forward(self, features: Tensor, genes: Sequence[int] | None = None) -> Tensor:
        """(..., G) scaled expression of superpixels, above 0; of these genes only, where they are given."""
        latent = self.latent(features)
        if genes is None:
            return positive(self.out(latent))
        at = torch.as_tensor(genes) % self.out.out_features
        return positive(nn.functional.linear(latent, self.out.weight[at], self.out.bias[at]))


def positive(x: Tensor) -> Tensor:
    """ELU with alpha 0.01, plus 0.01: at least 0."""
    return nn.functional.elu(x, alpha=FLOOR) + FLOOR


class Ensemble(nn.Module):
    """Members that were trained on their own; their median is what is predicted."""

    def __init__(
        self, n_members: int, n_features: int, n_genes: int, hidden: int = HIDDEN, n_hidden: int = N_HIDDEN
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(Regressor(n_features, n_genes, hidden, n_hidden) for _ in range(n_members))

    def forward(self, features: Tensor, genes: Sequence[int] | None = None) -> Tensor:
        """(..., G): the median over members; of an even number, the mean of the middle two; NaN where one is."""
        return median(torch.stack([member(features, genes) for member in self.members]))

    def latent(self, features: Tensor) -> Tensor:
        """(..., hidden): the median over members, whose latents are not aligned: for pictures, not for distances."""
        members = cast("list[Regressor]", list(self.members))
        return median(torch.stack([member.latent(features) for member in members]))


def median(of_members: Tensor) -> Tensor:
    """(...) of (members, ...)."""
    ordered = of_members.sort(dim=0).values
    middle = len(ordered) // 2
    merged = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return torch.where(of_members.isnan().any(dim=0), torch.nan, merged)


class Range(NamedTuple):
    """Smallest and largest value of each gene over spots, (G,) each."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, expression: Tensor) -> Range:
        """Of (N, G) spots: all of them, also those without features."""
        return cls(expression.amin(dim=0), expression.amax(dim=0))

    def scaled(self, expression: Tensor) -> Tensor:
        """(N, G) in [0, 1]; a constant gene is 0."""
        return (expression - self.low) / (self.high - self.low + EPSILON)

    def of_superpixels(self, scaled: Tensor, n_in_disk: int) -> Tensor:
        """(..., G) share of one superpixel in a spot of so many: they sum to the spot's expression."""
        return scaled * ((self.high - self.low) / n_in_disk) + self.low / n_in_disk

    def of_spots(self, means: Tensor) -> Tensor:
        """(N, G) expression of spots of (N, G) scaled means over their disks."""
        return means * (self.high - self.low) + self.low


def finite_mean(values: Tensor, known: Tensor) -> Tensor:
    """(N, G): mean of the values (N, K, G) of the superpixels that are known (N, K) bool, at least one a spot."""
    share = known.to(values.dtype) / known.sum(dim=1, keepdim=True)
    return torch.einsum("nkg,nk->ng", torch.where(known[..., None], values, 0.0), share)


def spot_loss(member: Regressor, superpixels: Tensor, scaled: Tensor) -> Tensor:
    """Mean over spots and genes of (mean output over the disk - scaled expression)^2.

    Parameters
    ----------
    superpixels
        (N, K, C); those with a value that is not finite do not count in the mean of their spot.
    scaled
        (N, G) in [0, 1].
    """
    known = superpixels.isfinite().all(dim=-1)
    outputs = member(torch.where(known[..., None], superpixels, 0.0))
    return (finite_mean(outputs, known) - scaled).square().mean()


def batch_size(n_spots: int, published: bool = False) -> int:
    """min(128, n // 16) spots, at least one unless `published`."""
    return max(min(128, n_spots // 16), 0 if published else 1)


_NAMES = (
    (r"0*(\d+)\.net_lat\.(\d+)\.linear", r"members.\1.hidden.\2"),
    (r"0*(\d+)\.net_out\.linear", r"members.\1.out"),
    (r"net_lat\.(\d+)\.linear", r"hidden.\1"),
    (r"net_out\.linear", "out"),
)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state under our names, for `load_state_dict(strict=True)`.

    Names with the number of a member before them (`00.net_lat.0.linear.weight`) become those of `Ensemble`, names
    without one those of `Regressor`.

    Raises
    ------
    KeyError
        If a name is not one of the published network's.
    """
    return renamed(state, _NAMES)
