"""Transcripts pooled into the spots of grids on the slide, all grids in one pass over the file.

Counted are transcripts of genes of the sample's counts, of at least the quality of the configuration, within the
picture; what is left out is counted by reason and by gene. The grid `hest_…` counts as HEST-Library does, for
comparison with published numbers: every feature is a gene, whatever the quality, and the squares begin at the smallest
x and y of all transcripts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from anndata import AnnData
from anndata.io import read_elem
from numpy.typing import NDArray
from tqdm import tqdm

from spotweave.deposits.arrow_tables import in_batches
from spotweave.errors import Refusal
from spotweave.io import read_json
from spotweave.pool.grids import Grid
from spotweave.pool.points import Points, Summed
from spotweave.pool.units import BETWEEN, OFF_PICTURE
from spotweave.pooling import BY_PICTURE, GRID, HEST, PARTIAL, Options, Parts, Pooled, describe_grid
from spotweave.xenium import calls
from spotweave.xenium.warping import IMAGED, METADATA, X, Y

GRIDS = True
TAKES = ("transcripts",)

ROWS_AT_ONCE = 1 << 19
MAX_SHARE_OF_OTHER_PANEL = 0.5  # counts and transcripts of two bundles share few genes, or none
MOST_SPOTS = 1 << 26  # squares of 3 um over a slide of 25 x 24 mm
TOLERANCE_UM = 0.01  # a spot that reaches this far beyond what was imaged lacks nothing

Numbers = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Slide:
    """The picture: `size_px` (width, height), `pixel_size_um`; `imaged` is the part that the instrument saw, px."""

    size_px: tuple[int, int]
    pixel_size_um: float
    imaged: shapely.Geometry


@dataclass
class _Pool:
    """One grid while it is filled; `takes_all` of a grid that counts every transcript as HEST-Library does."""

    points: Points
    takes_all: bool
    between: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def grid(self) -> Grid:
        return self.points.grid


def pool(parts: Parts, grids: Sequence[Grid], options: Options) -> Pooled:
    """Pool a sample's transcripts into each grid.

    Raises
    ------
    Refusal
        There are no transcripts, a grid lies on an array of bins, or the transcripts are of another panel than the
        counts.
    """
    if parts.transcripts is None:
        raise Refusal("no transcripts to pool; give the transcripts.parquet of the bundle in the column transcripts")
    for grid in grids:
        if grid.frame != "slide":
            raise Refusal(f"{grid.name}: transcripts have no array to pool in; choose a grid such as square_55um")
    with h5py.File(parts.expression, "r") as file:
        var = read_elem(file["var"])
    there = pq.read_schema(parts.transcripts).names
    coded = [name for name in ("feature_name", "codeword_category") if name in there]
    with pq.ParquetFile(parts.transcripts, read_dictionary=coded) as file:
        table = _Table(file, parts.transcripts.name)
        slide = _slide(parts.alignment, table)
        coder = calls.Coder(table.name, var.index.tolist(), options.min_qv)
        if any(grid.layout == HEST for grid in grids):
            coder.learn(table.features())
        pools = [_begin(grid, slide, table, coder) for grid in grids]
        off_picture = _fill(table, slide, coder, pools)
    tally = coder.tally()
    _refuse_another_panel(table.name, tally)
    left_out = _left_out(tally)
    made, excluded = {}, {}
    for one in pools:
        name = one.grid.name
        genes = _all_features(var, tally.index) if one.takes_all else var
        made[name] = _annotated(one, slide, genes)
        between = {BETWEEN: _by_feature(one.between, tally.index)} if one.grid.layout == "hexagonal" else {}
        outside = {OFF_PICTURE: _by_feature(off_picture, tally.index)}
        no_position = {calls.REASONS[calls.NO_POSITION]: coder.without_position()}
        excluded[name] = no_position if one.takes_all else {**left_out, **outside, **between}
    return Pooled(made, tally.sum(axis=1), excluded, _measures(tally, coder, made, options))


@dataclass(frozen=True)
class _Table:
    """The transcripts on the slide."""

    file: pq.ParquetFile
    name: str

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Those of the columns that there are, some hundred thousand rows at a time."""
        there = [name for name in columns if name in self.file.schema_arrow.names]
        with tqdm(total=self.file.metadata.num_rows, desc="pool", unit=" transcripts", disable=None) as progress:
            for batch in in_batches(self.file, there, ROWS_AT_ONCE):
                yield batch
                progress.update(len(batch))

    def features(self) -> list[str]:
        """Names of all features, sorted."""
        found: set[str] = set()
        for batch in self.batches(["feature_name"]):
            found.update(calls.encoded(batch.column(0))[0])
        return sorted(found)

    def box(self) -> NDArray[np.float64]:
        """Smallest x, y and largest x, y of all positions, px; zeros without any.

        Parquet files note them for every group of rows; those of one that does not are read.
        """
        noted = self._noted()
        if noted is not None:
            return noted
        low, high = np.full(2, np.inf), np.full(2, -np.inf)
        for batch in self.batches([X, Y]):
            xy = np.column_stack(_positions(batch))
            xy = xy[np.isfinite(xy).all(axis=1)]
            low, high = (
                np.minimum(low, xy.min(axis=0, initial=np.inf)),
                np.maximum(high, xy.max(axis=0, initial=-np.inf)),
            )
        return np.concatenate([low, high]) if np.isfinite(low).all() else np.zeros(4)

    def _noted(self) -> NDArray[np.float64] | None:
        """The box as the file notes it, None where it does not."""
        found = self.file.metadata
        at = [self.file.schema_arrow.names.index(name) for name in (X, Y)]
        groups = [found.row_group(k) for k in range(found.num_row_groups)]
        notes = [[group.column(k).statistics for k in at] for group in groups]
        if not notes or not all(one is not None and one.has_min_max for both in notes for one in both):
            return None
        low = np.min([[one.min for one in both] for both in notes], axis=0)
        high = np.max([[one.max for one in both] for both in notes], axis=0)
        return np.concatenate([low, high]).astype(np.float64)

    def imaged(self) -> shapely.Geometry | None:
        """What the instrument saw, slide px, as the warping stage noted it."""
        noted = (self.file.metadata.metadata or {}).get(METADATA)
        return None if noted is None else shapely.Polygon(json.loads(noted)[IMAGED])


def _positions(batch: pa.RecordBatch) -> tuple[Numbers, Numbers]:
    x, y = (np.asarray(batch.column(name).to_numpy(zero_copy_only=False)) for name in (X, Y))
    return x, y


def _slide(alignment: Path, table: _Table) -> Slide:
    content = read_json(alignment)
    size_px = (content["image_width_px"], content["image_height_px"])
    imaged = table.imaged()
    return Slide(size_px, content["pixel_size_um"], shapely.box(*table.box()) if imaged is None else imaged)


def _begin(grid: Grid, slide: Slide, table: _Table, coder: calls.Coder) -> _Pool:
    to_um = slide.pixel_size_um
    left, top, right, bottom = (table.box() * to_um).tolist()
    takes_all = grid.layout == HEST
    if takes_all:
        points = Points(grid, (left, top, right, bottom), len(coder.features), (left, top))
    else:
        wide, high = slide.size_px[0] * to_um, slide.size_px[1] * to_um
        on_picture = (max(left, 0), max(top, 0), min(max(right, 0), wide), min(max(bottom, 0), high))
        points = Points(grid, on_picture, len(coder.genes))
    if points.spots > MOST_SPOTS:
        raise Refusal(
            f"{table.name}: {points.spots:,} spots of {grid.name} cover the transcripts, which span"
            f" {(right - left) / 1000:,.0f} x {(bottom - top) / 1000:,.0f} mm; choose larger spots, or look at the"
            " alignment if no section is as large",
            measured=points.spots,
            threshold=MOST_SPOTS,
        )
    return _Pool(points, takes_all)


def _fill(table: _Table, slide: Slide, coder: calls.Coder, pools: Sequence[_Pool]) -> NDArray[np.int64]:
    """Add all transcripts to all pools; returns by feature how many of those to count lie off the picture."""
    off_picture = np.zeros(0, dtype=np.int64)
    right, bottom = slide.size_px
    for batch in table.batches([*calls.COLUMNS, *calls.ALSO, X, Y]):
        x, y = _positions(batch)
        coded = coder.code(batch, (x, y))
        for takes_all in {one.takes_all for one in pools}:
            chosen = coded.has_position if takes_all else coded.reason == calls.COUNTED
            feature, x_px, y_px = coded.feature[chosen], x[chosen], y[chosen]
            if not takes_all:
                inside = (x_px >= 0) & (y_px >= 0) & (x_px < right) & (y_px < bottom)
                if not inside.all():
                    off_picture = calls.plus(off_picture, feature[~inside])
                    feature, x_px, y_px = feature[inside], x_px[inside], y_px[inside]
            xy_um = (x_px * np.float64(slide.pixel_size_um), y_px * np.float64(slide.pixel_size_um))
            for one in pools:
                if one.takes_all == takes_all:
                    between = one.points.add(xy_um, feature)
                    one.between = one.between if between is None else calls.plus(one.between, feature[between])
    return off_picture


def _by_feature(counted: NDArray[np.int64], features: pd.Index) -> pd.Series:
    return pd.Series(np.pad(counted, (0, len(features) - len(counted))), index=features)


def _left_out(tally: pd.DataFrame) -> dict[str, pd.Series]:
    """What is not counted whatever the grid, by reason."""
    return {str(reason): tally[reason] for reason in tally.columns[calls.COUNTED + 1 :]}


def _all_features(var: pd.DataFrame, features: pd.Index) -> pd.DataFrame:
    """The genes, and whatever else is counted as one."""
    return var.reindex(features, fill_value="")


def _refuse_another_panel(name: str, tally: pd.DataFrame) -> None:
    genes = tally[[calls.REASONS[calls.COUNTED], calls.REASONS[calls.LOW_QUALITY]]].to_numpy().sum()
    other = int(tally[calls.REASONS[calls.OTHER_PANEL]].sum())
    if other > MAX_SHARE_OF_OTHER_PANEL * (other + genes):
        first = tally.index[tally[calls.REASONS[calls.OTHER_PANEL]] > 0][0]
        raise Refusal(
            f"{name}: {other:,} transcripts are of features that the counts of the cells do not have, {first!r} first;"
            " give counts and transcripts of one bundle",
            measured=other / (other + genes),
            threshold=MAX_SHARE_OF_OTHER_PANEL,
        )


def _annotated(one: _Pool, slide: Slide, genes: pd.DataFrame) -> AnnData:
    """The spots of one grid as `pooling.Pooled` describes them."""
    grid, summed = one.grid, one.points.result()
    centres_um = grid.centres_um(summed.rows, summed.columns, one.points.origin_um)
    x, y = (centres_um / slide.pixel_size_um).T
    nowhere = np.full(len(x), np.nan)
    obs = pd.DataFrame(
        {
            "in_tissue": np.ones(len(x), dtype=np.int64),
            "x_px": x,
            "y_px": y,
            "modelled_x_px": x,
            "modelled_y_px": y,
            "vendor_x_px": nowhere,
            "vendor_y_px": nowhere,
            "array_row": summed.rows,
            "array_col": summed.columns,
            PARTIAL: _partial(grid, slide, np.column_stack([x, y])),
        },
        index=_names(grid, summed),
    )
    of_grid = describe_grid(grid, one.points.origin_um, BY_PICTURE)
    return AnnData(X=summed.counts, obs=obs, var=genes.copy(), uns={GRID: of_grid})


def _names(grid: Grid, summed: Summed) -> pd.Index:
    """Of spots, unique and sorted as the spots are: 0012x0345, row and column; HEST-Library's have three digits."""
    least = 3 if grid.layout == HEST else 4
    width = max(least, len(str(max(summed.rows.max(initial=0), summed.columns.max(initial=0)))))
    pairs = zip(summed.rows.tolist(), summed.columns.tolist(), strict=True)
    return pd.Index([f"{row:0{width}d}x{column:0{width}d}" for row, column in pairs], dtype=object)


def _partial(grid: Grid, slide: Slide, centres_px: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Spots that reach beyond what was imaged, or beyond the picture."""
    half_px = grid.size_um / 2 / slide.pixel_size_um
    tolerance_px = TOLERANCE_UM / slide.pixel_size_um
    whole = shapely.intersection(slide.imaged, shapely.box(0, 0, *slide.size_px)).buffer(
        tolerance_px, join_style="mitre"
    )
    shapely.prepare(whole)
    corners = [centres_px + half_px * np.array(corner) for corner in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    partial = ~np.all([shapely.contains_xy(whole, corner) for corner in corners], axis=0)
    if grid.layout == "hexagonal":  # a disc may be whole where the square around it is not
        beside = np.flatnonzero(partial)
        border_px = shapely.distance(shapely.boundary(whole), shapely.points(centres_px[beside]))
        partial[beside] = ~shapely.contains_xy(whole, centres_px[beside]) | (border_px < half_px)
    return np.asarray(partial, dtype=np.bool_)


def _measures(
    tally: pd.DataFrame, coder: calls.Coder, pools: Mapping[str, AnnData], options: Options
) -> dict[str, Any]:
    """JSON-ready."""
    sums = {str(reason): int(count) for reason, count in tally.sum().items()}
    of_genes = tally.drop(columns=[reason for reason in tally if str(reason).startswith("control")]).sum(axis=1)
    counted, low = (sums[calls.REASONS[code]] for code in (calls.COUNTED, calls.LOW_QUALITY))
    controls = coder.controls_of_quality
    return {
        "transcripts": sum(sums.values()),
        "transcripts_by_reason": sums,
        "min_qv": options.min_qv,
        "control_rate": controls / (controls + counted) if controls + counted else None,
        "low_quality_rate": low / (low + counted) if low + counted else None,
        "genes_without_transcripts": int((of_genes.reindex(coder.genes) == 0).sum()),
        "spots": {
            name: {
                "spots": pool.n_obs,
                "spots_partial": int(pool.obs[PARTIAL].sum()),
                "preset": str(pool.uns[GRID]["preset"]),
            }
            for name, pool in pools.items()
        },
        "flags": [
            f"hest_preset: {name} counts controls and transcripts of any quality, for comparison with HEST-1k only"
            for name, pool in pools.items()
            if pool.uns[GRID]["preset"]
        ],
    }
