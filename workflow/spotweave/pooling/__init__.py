"""Pooling: how a technology's placed units become the units of the dataset, one module a way, with every count kept.

`resources/technologies.csv` names the way in its column `pooling`; the module of that name here has
`pool(units) -> Pooled`. What leaves has places and counts alike, whatever came in: spots, pseudo-spots or cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from spotweave.placing import PLACED_COLUMNS
from spotweave.registry import Registry

if TYPE_CHECKING:  # the registry itself must stay light
    from anndata import AnnData
    from pandas import DataFrame

POOLINGS = Registry("pooling", "way of pooling")

NO_PLACE = "units without a place on the slide"
SAME = 1e-9  # sums of counts are whole numbers; of the few deposits with fractions they are compared to this share


@dataclass(frozen=True)
class Pooled:
    """What a way of pooling makes of a sample's units.

    Attributes
    ----------
    units
        X: raw counts, CSR, units x genes, genes as they came. obs: the columns of `placing.PLACED_COLUMNS` but
        `unit_id`, which is its index; others are kept.
    dropped
        Reason -> sum of the counts that are in none of the units.
    """

    units: AnnData
    dropped: Mapping[str, float]


class Way(Protocol):
    """The face of a module of this package."""

    def pool(self, units: AnnData) -> Pooled:
        """Pool the placed units of one sample, as `Pooled.units` describes them."""
        ...


def pool_sample(way: str, expression: AnnData, placed: DataFrame) -> tuple[AnnData, dict[str, Any]]:
    """Bring counts and places together, and pool them.

    Parameters
    ----------
    way
        Name of a way of pooling.
    expression
        The read stage's: raw counts, one row for each unit that has some.
    placed
        `placing.Placement.units`.

    Returns
    -------
    units
        `Pooled.units`.
    conservation
        JSON-ready: `counts_in` (of `expression`), `counts_out` (of `units`), `counts_dropped` (reason -> sum) and
        `units_in`, `units_out`, `units_without_place`.

    Raises
    ------
    ValueError
        There is no such way, a unit with counts is in no row of `placed`, or counts were lost or made: a bug.
    """
    import numpy as np

    missing = expression.obs_names.difference(placed["unit_id"])
    if len(missing):
        raise ValueError(f"{len(missing)} units with counts are not among the placed ones, {missing[0]!r} first")
    places = placed.set_index("unit_id").loc[expression.obs_names]
    has_place = np.isfinite(places[["x_px", "y_px"]].to_numpy()).all(axis=1)
    units = expression[has_place].copy()
    for column in PLACED_COLUMNS[1:]:
        units.obs[column] = places[column].to_numpy()[has_place]
    without = _total(expression[~has_place])
    pooled = cast(Way, POOLINGS.load(way)).pool(units)
    conservation = {
        "counts_in": _total(expression),
        "counts_out": _total(pooled.units),
        "counts_dropped": {NO_PLACE: without, **pooled.dropped},
        "units_in": expression.n_obs,
        "units_out": pooled.units.n_obs,
        "units_without_place": int((~has_place).sum()),
    }
    kept = conservation["counts_out"] + sum(conservation["counts_dropped"].values())
    if not math.isclose(kept, conservation["counts_in"], rel_tol=SAME):
        raise ValueError(f"pooling {way!r} does not keep the counts: {conservation}")
    return pooled.units, conservation


def _total(units: AnnData) -> float:
    """Sum of all counts; a whole number as an int, for JSON."""
    total = float(units.X.sum(dtype=float)) if units.n_obs else 0.0
    return int(total) if total.is_integer() else total
