"""Pearson's R of every gene with every feature, and what chance, given that neighbours are alike, would have done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from spotweave.biomarkers.autocorrelation import correlograms
from spotweave.biomarkers.bootstrap import block_side, intervals
from spotweave.biomarkers.settings import AUTO, Settings
from spotweave.biomarkers.shifts import effective_size, p_by_rank, p_of_size, pitch_of, shifted
from spotweave.biomarkers.units import Units
from spotweave.correlation import standardised

COLUMNS = {
    "gene": str,
    "feature": str,
    "r": float,
    "r_low": float,
    "r_high": float,
    "p": float,
    "q": float,
    "p_permutation": float,
    "p_clifford": float,
    "p_naive": float,
    "effective_size": float,
}
BLOCKS_OF_RANGE = 3.0  # side of a block by the range of autocorrelation
LEAST_PITCHES = 2.0
DRAWS = 999
SHARE = 0.95

Floats = NDArray[np.float64]


def correlate(units: Units, settings: Settings, seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Correlate every gene with every feature.

    Returns
    -------
    table
        A row a pair, by gene, then feature, of `COLUMNS`: `r`; `r_low`, `r_high` the 95 % interval, the wider of
        blocks drawn again and of the effective size; `p` by Student's t of the effective size, the smaller of what
        shifts of the section and correlograms leave; `q` the same after Benjamini & Hochberg (1995) over all pairs of
        the table; beside it `p_permutation`, the rank among shifts (never below 1 / (permutations + 1)), `p_clifford`
        by Clifford, Richardson & Hemon (1989) from correlograms, and `p_naive`, as if units were independent.
        Without units that can be correlated it has no row.
    measures
        `range_um` of autocorrelation, `block_um` used, `permutations`, `note`.
    """
    if units.note is not None:
        return empty(), {"note": units.note}
    genes, features, xy_um = units.expression, units.morphology, units.xy_um
    null = shifted(genes, features, xy_um, permutations=settings.permutations, seed=seed)
    if null is None:
        return empty(), {
            "note": "the units lie on a line or so that no shift keeps a quarter of them on others: no test"
        }
    r = np.clip(standardised(genes).T @ standardised(features), -1, 1)
    alike = correlograms(genes, features, xy_um, seed)
    range_um = alike.range_um()
    auto = max(BLOCKS_OF_RANGE * range_um, LEAST_PITCHES * pitch_of(xy_um))
    side_um = block_side(xy_um, auto if settings.block_um == AUTO else float(settings.block_um))
    of_correlograms = 1 + 1 / alike.variance()
    # Shifts know nothing of cells that crowd where a feature is low, correlograms little of maps as wide as a section.
    size = np.minimum(effective_size(null), of_correlograms)
    low, high = _wider(r, intervals(genes, features, xy_um, side_um=side_um, draws=DRAWS, seed=seed, share=SHARE), size)
    p = p_of_size(r, size)
    values = {
        "r": r,
        "r_low": low,
        "r_high": high,
        "p": p,
        "q": stats.false_discovery_control(p.ravel()).reshape(p.shape),
        "p_permutation": p_by_rank(r, null),
        "p_clifford": p_of_size(r, of_correlograms),
        "p_naive": p_of_size(r, float(null.units)),
        "effective_size": size,
    }
    pairs = pd.MultiIndex.from_product([units.genes, units.features], names=["gene", "feature"])
    table = pd.DataFrame({name: _rounded(column) for name, column in values.items()}, index=pairs)
    measures = {
        "range_um": round(range_um, 1),
        "block_um": round(side_um, 1),
        "permutations": len(null.r),
        "note": None,
    }
    return table.reset_index(), measures


def empty() -> pd.DataFrame:
    """The table without a row."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})


def _wider(r: Floats, ends: tuple[Floats, Floats], size: Floats) -> tuple[Floats, Floats]:
    """The wider of an interval and Fisher's for a sample of the effective size, on his scale."""
    middle = np.arctanh(np.clip(r, -0.999999, 0.999999))
    reach = np.maximum(np.arctanh(ends[1]) - middle, stats.norm.ppf((1 + SHARE) / 2) / np.sqrt(np.maximum(size - 3, 1)))
    return np.tanh(middle - reach), np.tanh(middle + reach)


def _rounded(values: Floats) -> Floats:
    """Flat, to six significant digits: sums in another order differ in the sixteenth."""
    return np.array([float(f"{value:.6g}") for value in values.ravel()])
