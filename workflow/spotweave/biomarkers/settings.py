"""What the configuration says of biomarkers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spotweave.nuclei.morphology import FEATURES, NEIGHBOURHOOD

SPOT, CELL, AUTO = "spot", "cell", "auto"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The block `biomarkers:`; each is described in `config/config.yaml`.

    Attributes
    ----------
    genes
        How many of the most variable ones, or their names.
    features
        Of a nucleus; per spot their mean is meant, or columns of `measure_spots` by their own names.
    classes
        Of nuclei that count; none for all.
    level
        `spot`, `cell` or `auto`: cells where enough of them were matched.
    permutations
        Shifts of the section.
    block_um
        Side of the blocks of the bootstrap, or `auto`.
    fdr
        False discovery rate that is marked in the figure.
    pair
        Gene and feature of the figures; none for the most significant.
    """

    genes: int | Sequence[str] = 50
    features: Sequence[str] = (*FEATURES, *NEIGHBOURHOOD)
    classes: Sequence[str] = ()
    level: str = AUTO
    permutations: int = 999
    block_um: float | str = AUTO
    fdr: float = 0.05
    pair: Sequence[str] = ()
