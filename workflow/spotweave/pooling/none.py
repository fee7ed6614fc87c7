"""Not pooled: every placed unit is a unit of the dataset, as the spots of arrays are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spotweave.pooling import NO_PLACE, UNITS, Options, Parts, Pooled, join

if TYPE_CHECKING:
    from spotweave.pool.grids import Grid


def pool(parts: Parts, grids: Sequence[Grid], options: Options) -> Pooled:
    """Pass the placed units on."""
    joined = join(parts)
    units = joined.placed
    measures = {"units_in": units.n_obs + joined.without_place, "units_without_place": joined.without_place}
    return Pooled({UNITS: units}, joined.counts_in, {UNITS: {NO_PLACE: joined.dropped}}, measures)
