"""The loss of ST-Align: spots with their genes, niches with theirs, and fused spots with fused niches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from spotweave.finetune.losses.info_nce import info_nce, info_nce_one_way
from spotweave.networks.stalign import Aligned

# Of what, the side that asks and the side that is found.
TERMS = {"spot": ("spot_image", "spot_gene"), "niche": ("niche_image", "niche_gene"), "fusion": ("spot", "niche")}


@dataclass(frozen=True)
class Weights:
    """Shares of the spot and of the niche term; what they leave of 1 is that of the fusion.

    The published ablation without alignment has both 0; without niches, `niche` is 0.

    Raises
    ------
    ValueError
        If a share is negative, or both together exceed 1.
    """

    spot: float = 0.3
    niche: float = 0.3

    def __post_init__(self) -> None:
        if min(self.spot, self.niche) < 0 or self.spot + self.niche > 1 + 1e-12:
            raise ValueError(
                f"shares of spot {self.spot} and niche {self.niche}, allowed: 0 or above, and together at most 1"
            )

    @property
    def fusion(self) -> float:
        return max(1 - self.spot - self.niche, 0.0)


class Losses(NamedTuple):
    """Scalars; `total` is the weighted sum of the others."""

    spot: torch.Tensor
    niche: torch.Tensor
    fusion: torch.Tensor
    total: torch.Tensor


def stalign_losses(
    aligned: Aligned, weights: Weights, *, temperature: float = 0.1, negatives: Sequence[Aligned] = ()
) -> Losses:
    """The terms and their sum.

    Parameters
    ----------
    aligned
        Of B spots; every part (B, D).
    negatives
        Of B other spots each, row by row a spot that is no partner of that row's: InfoNCE is then in one direction, as
        in the published code. Without them the rest of the batch is what a spot is told from, in both directions.

    Raises
    ------
    ValueError
        If parts are tokens that were not flattened, as those of a niche are without projections.
    """

    def term(asking: str, found: str) -> torch.Tensor:
        query, positive = getattr(aligned, asking), getattr(aligned, found)
        if negatives:
            others = torch.stack([getattr(one, found) for one in negatives], dim=1)
            return info_nce_one_way(query, positive, others, temperature=temperature)
        if query.ndim != 2:
            raise ValueError(f"ST-Align: {asking} is {tuple(query.shape)}, expected is (B, D)")
        return info_nce(query, positive, temperature)

    spot, niche, fusion = (term(*sides) for sides in TERMS.values())
    return Losses(spot, niche, fusion, weights.spot * spot + weights.niche * niche + weights.fusion * fusion)
