"""Pooling: how a technology's placed units become the units of the dataset, one module a way, with every count kept.

`resources/technologies.csv` names the way in its column `pooling`; the module of that name here has
`pool(parts, grids, options) -> Pooled`, and `GRIDS = True` where it sums into the grids of the configuration: a job of
its own then writes a file for each grid, and the first grid's spots are the dataset's units. A way without `GRIDS` is
given no grids and makes one pool, `UNITS`. What leaves has places and counts alike, whatever came in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from spotweave.placing import PLACED_COLUMNS
from spotweave.registry import Registry

if TYPE_CHECKING:  # the registry itself must stay light
    from anndata import AnnData
    from pandas import DataFrame, Series

    from spotweave.pool.grids import Grid

POOLINGS = Registry("pooling", "way of pooling")

UNITS = "units"  # the name of the one pool of a way without grids
NO_PLACE = "units without a place on the slide"
CONSERVATION = "conservation"  # in `uns` of a pool: counts of every feature, in, out, and by reason of exclusion
GRID = "grid"  # in `uns` of a pool: name, layout, size_um, pitch_um, frame, preset, selected_by
HEST = "hest"  # the layout that pools as HEST-Library does, and the name of that preset
BY_VENDOR, BY_PICTURE = "vendor", "picture"  # who says which spots are in tissue: the deposit, or the tissue found
PARTIAL = "is_partial"  # in obs of a pool: the spot reaches beyond what was imaged, so counts are missing in it
COUNTS_IN, COUNTS_OUT = "counts_in", "counts_out"
LARGEST_IN_FLOAT32 = 1 << 24  # whole numbers up to it are exact
SAME = 1e-9  # sums of counts are whole numbers; of the few deposits with fractions they are compared to this share


@dataclass(frozen=True)
class Parts:
    """What a sample is pooled from, all of it files of its store.

    Attributes
    ----------
    expression
        `expression.h5ad` of the read stage: raw counts, one row for each unit that has some.
    alignment, units
        `alignment.json` and `units.parquet` of the placing stage.
    transcripts
        `transcripts.parquet` on the slide (`he_x`, `he_y`); None for technologies without.
    """

    expression: Path
    alignment: Path
    units: Path
    transcripts: Path | None = None


@dataclass(frozen=True)
class Options:
    """What the configuration says of pooling.

    Attributes
    ----------
    min_qv
        Transcripts of a lower phred-scaled quality are in no gene.
    """

    min_qv: float = 20.0


@dataclass(frozen=True)
class Pooled:
    """What a way of pooling makes of a sample.

    Attributes
    ----------
    pools
        By name of the grid, in the order given (or `UNITS` alone). X: raw counts, CSR, units x genes. obs: the columns
        of `placing.PLACED_COLUMNS` but `unit_id`, which is its index; others are kept.
    counts_in
        Feature -> counts that came in, counted before anything is left out. Features are the genes of the pools, and
        whatever else was counted (controls).
    excluded
        Grid -> reason -> (feature -> counts) that are in none of its units.
    measures
        JSON-ready, for the record.
    """

    pools: Mapping[str, AnnData]
    counts_in: Series
    excluded: Mapping[str, Mapping[str, Series]]
    measures: Mapping[str, Any] = field(default_factory=dict)


class Way(Protocol):
    """The face of a module of this package."""

    def pool(self, parts: Parts, grids: Sequence[Grid], options: Options) -> Pooled:
        """Pool one sample; `Refusal` where its data do not let it be pooled."""
        ...


def describe_grid(grid: Grid, origin_um: Sequence[float], selected_by: str) -> dict[str, Any]:
    """What a pool of a grid has in `uns[GRID]`; `selected_by` is `BY_VENDOR` or `BY_PICTURE`."""
    import numpy as np

    return {
        "name": grid.name,
        "layout": grid.layout,
        "size_um": grid.size_um,
        "pitch_um": grid.pitch_um,
        "frame": grid.frame,
        "origin_um": np.asarray(origin_um),
        "preset": HEST if grid.layout == HEST else "",
        "selected_by": selected_by,
    }


def has_grids(way: str) -> bool:
    """Whether a way of pooling sums into grids; nothing is imported."""
    return bool(POOLINGS.constant(way, "GRIDS", default=False))


def pool_sample(
    way: str, parts: Parts, grids: Sequence[str] = (), options: Options | None = None
) -> tuple[dict[str, AnnData], dict[str, Any]]:
    """Pool a sample, and hold what leaves against what came in.

    Parameters
    ----------
    way
        Name of a way of pooling.
    grids
        Names of grids (`pool.grids`), none for a way without.

    Returns
    -------
    pools
        `Pooled.pools`. Those of grids have `uns['conservation']`: a table of features with the columns `counts_in`,
        `counts_out` and one for each reason, int64.
    measures
        JSON-ready: those of the way, and `conservation`: by pool `counts_in`, `counts_out`, `counts_dropped` (reason ->
        sum), `units_out`.

    Raises
    ------
    Refusal
        The sample's own data do not let it be pooled.
    ValueError
        There is no such way or grid, or counts were lost or made, in all or of a feature: a bug.
    """
    from spotweave.pool.grids import Grid

    wanted = [Grid.of(name) for name in grids]
    pooled = cast(Way, POOLINGS.load(way)).pool(parts, wanted, options or Options())
    names = [grid.name for grid in wanted] or [UNITS]
    if list(pooled.pools) != names:
        raise ValueError(f"pooling {way!r} made the pools {list(pooled.pools)}, not {names}")
    conservation = {}
    for name, pool in pooled.pools.items():
        table = _balance(way, name, pooled)
        if wanted:
            pool.uns[CONSERVATION] = table
        conservation[name] = _summary(table, pool)
    return dict(pooled.pools), {**pooled.measures, CONSERVATION: conservation}


def write_pools(
    way: str, parts: Parts, grids: Sequence[str], options: Options, paths: Sequence[Path]
) -> dict[str, Any]:
    """Pool a sample and write a file for each grid (.h5ad); returns the measures of `pool_sample`.

    Raises
    ------
    ValueError
        Not one path for each grid.
    """
    if len(paths) != len(grids):
        raise ValueError(f"{len(grids)} grids and {len(paths)} files for their pools")
    pools, measures = pool_sample(way, parts, grids, options)
    for path, pool in zip(paths, pools.values(), strict=True):
        pool.write_h5ad(path, compression="gzip")
    return measures


def read_pool(path: Path) -> tuple[AnnData, dict[str, Any]]:
    """Read a pool of a grid, and where every count went, as `pool_sample` says it.

    X is float32 here, as that of arrays, or float64 where a count is too large for it.
    """
    import anndata
    import numpy as np

    pool = anndata.read_h5ad(path)
    pool.X = pool.X.astype(np.float32 if pool.X.nnz == 0 or pool.X.data.max() < LARGEST_IN_FLOAT32 else np.float64)
    return pool, _summary(pool.uns[CONSERVATION], pool)


def _summary(table: DataFrame, pool: AnnData) -> dict[str, Any]:
    """Totals of a table of `_balance`, JSON-ready."""
    totals = {column: _whole(table[column].sum()) for column in table}
    known = {COUNTS_IN: totals.pop(COUNTS_IN), COUNTS_OUT: totals.pop(COUNTS_OUT)}
    return {**known, "counts_dropped": totals, "units_out": pool.n_obs}


def _balance(way: str, name: str, pooled: Pooled) -> DataFrame:
    """Counts of every feature in and out of a pool; ValueError where they do not add up."""
    import numpy as np
    import pandas as pd

    excluded = pooled.excluded.get(name, {})
    columns = {COUNTS_IN: pooled.counts_in, COUNTS_OUT: by_gene(pooled.pools[name]), **excluded}
    features = pooled.counts_in.index
    for column, counts in columns.items():
        strange = counts.index.difference(features)
        if len(strange) or not counts.index.is_unique:
            raise ValueError(f"pooling {way!r}, {name}: {column} has features that did not come in or come twice")
    table = pd.DataFrame({column: counts.reindex(features, fill_value=0) for column, counts in columns.items()})
    kept = table.drop(columns=COUNTS_IN).sum(axis=1)
    wrong = ~np.isclose(kept, table[COUNTS_IN], rtol=SAME, atol=0)
    total_in, total_kept = float(table[COUNTS_IN].sum()), float(kept.sum())
    if wrong.any() or not math.isclose(total_in, total_kept, rel_tol=SAME):
        first = table[wrong].iloc[0].to_dict() if wrong.any() else {}
        raise ValueError(
            f"pooling {way!r} does not keep the counts of {name}: {total_in:g} in, {total_kept:g} out and dropped,"
            f" {int(wrong.sum())} features differ, {features[wrong][:1].tolist()} first: {first}"
        )
    return table


@dataclass(frozen=True)
class Joined:
    """Counts and places of a sample's units, brought together by name.

    Attributes
    ----------
    placed
        The units that have a place, `placing.PLACED_COLUMNS` in obs, in the order of the counts.
    counts_in, dropped
        Gene -> counts of all units, and of those without a place.
    without_place
        How many have none.
    """

    placed: AnnData
    counts_in: Series
    dropped: Series
    without_place: int


def join(parts: Parts) -> Joined:
    """Bring counts and places together.

    Raises
    ------
    ValueError
        A unit with counts is in no row of the table of units: a bug.
    """
    import anndata
    import numpy as np

    from spotweave.placing import read_units

    expression, units = anndata.read_h5ad(parts.expression), read_units(parts.units)
    missing = expression.obs_names.difference(units["unit_id"])
    if len(missing):
        raise ValueError(f"{len(missing)} units with counts are not among the placed ones, {missing[0]!r} first")
    places = units.set_index("unit_id").loc[expression.obs_names]
    has_place = np.isfinite(places[["x_px", "y_px"]].to_numpy()).all(axis=1)
    counts_in, dropped = by_gene(expression), by_gene(expression[~has_place])
    placed = expression if has_place.all() else expression[has_place].copy()
    for column in PLACED_COLUMNS[1:]:
        placed.obs[column] = places[column].to_numpy()[has_place]
    return Joined(placed, counts_in, dropped, int((~has_place).sum()))


def by_gene(units: AnnData) -> Series:
    """Sum of the counts of each gene: int64, float64 where a count has a fraction."""
    import numpy as np
    import pandas as pd

    if not units.n_obs:
        return pd.Series(np.zeros(units.n_vars, dtype=np.int64), index=units.var_names)
    kind = np.int64 if np.issubdtype(units.X.dtype, np.integer) else np.float64
    sums = np.asarray(units.X.sum(axis=0, dtype=kind)).ravel()
    whole = np.rint(sums)
    return pd.Series(whole.astype(np.int64) if np.array_equal(whole, sums) else sums, index=units.var_names)


def _whole(total: float) -> float:
    """A whole number as an int, for JSON."""
    return int(total) if float(total).is_integer() else float(total)
