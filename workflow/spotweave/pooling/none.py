"""Not pooled: every placed unit is a unit of the dataset, as the spots of arrays are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotweave.pooling import Pooled

if TYPE_CHECKING:
    from anndata import AnnData


def pool(units: AnnData) -> Pooled:
    """Pass the units on; nothing is dropped."""
    return Pooled(units, {})
