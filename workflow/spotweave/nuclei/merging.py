"""The nuclei of all tiles as one table: what two tiles found twice is dropped, the rest is sorted and written.

Only places are kept in memory; outlines and shapes are read again a row of tiles at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from spotweave.nuclei.files import SCHEMA
from spotweave.nuclei.morphology import neighbourhood
from spotweave.nuclei.separation import Shard

SAME_IOU = 0.3
SAME_CONTAINED = 0.5  # of the smaller one's area


@dataclass(frozen=True)
class Merged:
    """All nuclei in their order.

    Attributes
    ----------
    x_px, y_px
        (N,) float64 centroids, slide px, sorted by y, then x.
    classes
        (N,) uint8 ids.
    off_tissue, duplicates
        How many were left out for either reason.
    """

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    classes: NDArray[np.uint8]
    off_tissue: int
    duplicates: int
    order: list[tuple[list[Shard], NDArray[np.int64]]]

    def parts(
        self, names: Sequence[str], tissue: Sequence[shapely.Polygon], pixel_size_um: float
    ) -> Iterator[pa.Table]:
        """Tables of `files.SCHEMA`, a row of tiles each."""
        xy_um = np.column_stack([self.x_px, self.y_px]) * pixel_size_um
        around = neighbourhood(xy_um, [scaled(piece, pixel_size_um) for piece in tissue])
        start = 0
        for shards, order in self.order:
            table = pa.concat_tables([read(shard) for shard in shards]).take(pa.array(order))
            end = start + len(order)
            columns = {name: table[name] for name in table.column_names}
            columns["nucleus"] = pa.array(np.arange(start, end))
            columns["class"] = pa.array(np.array(["", *names], dtype=object)[table["class"].to_numpy()], pa.string())
            columns |= {name: pa.array(values[start:end]) for name, values in around.items()}
            yield pa.table({name: columns[name] for name in SCHEMA.names})
            start = end


def merge(shards: Sequence[Shard], tissue: Sequence[shapely.Polygon]) -> Merged:
    """Put the nuclei of all tiles into one order.

    Parameters
    ----------
    shards
        In the order of their tiles, row by row.
    tissue
        Polygons in slide px: a nucleus off it, found only because its tile touches some, is left out.
    """
    area = shapely.union_all(list(tissue))
    shapely.prepare(area)
    kept = [shapely.contains_xy(area, shard.x_px, shard.y_px) for shard in shards]
    off = sum(int((~one).sum()) for one in kept)
    doubles = _duplicates(shards, kept)
    for shard, rows in doubles.items():
        kept[shard][rows] = False
    order = []
    numbered = list(zip(shards, kept, strict=True))
    for _, row in groupby(numbered, key=lambda one: one[0].tile.row):
        members = list(row)
        x, y = (np.concatenate([getattr(shard, name) for shard, _ in members]) for name in ("x_px", "y_px"))
        chosen = np.flatnonzero(np.concatenate([is_kept for _, is_kept in members]))
        order.append(([shard for shard, _ in members], chosen[np.lexsort((x[chosen], y[chosen]))]))
    places = {
        name: np.concatenate(
            [np.concatenate([getattr(shard, name) for shard in members])[chosen] for members, chosen in order]
            or [np.empty(0, dtype)]
        )
        for name, dtype in (("x_px", np.float64), ("y_px", np.float64), ("classes", np.uint8))
    }
    return Merged(**places, off_tissue=off, duplicates=sum(map(len, doubles.values())), order=order)


def _duplicates(shards: Sequence[Shard], kept: Sequence[NDArray[np.bool_]]) -> dict[int, NDArray[np.int64]]:
    """Shard -> its nuclei that overlap a larger one of another tile, or of the same size that comes first in y, x."""
    near = [np.flatnonzero(shard.is_near_seam & one) for shard, one in zip(shards, kept, strict=True)]
    owner = np.repeat(np.arange(len(shards)), [len(rows) for rows in near])
    if not len(owner):
        return {}
    rows = np.concatenate(near)
    outlines = np.concatenate([_outlines(shard, chosen) for shard, chosen in zip(shards, near, strict=True)])
    x, y = (
        np.concatenate([getattr(shard, name)[chosen] for shard, chosen in zip(shards, near, strict=True)])
        for name in ("x_px", "y_px")
    )
    one, other = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    across = owner[one] < owner[other]
    one, other = one[across], other[across]
    areas = shapely.area(outlines)
    common = shapely.area(shapely.intersection(outlines[one], outlines[other]))
    least = np.minimum(areas[one], areas[other])
    is_same = (common > SAME_IOU * (areas[one] + areas[other] - common)) | (common > SAME_CONTAINED * least)
    rank = np.empty(len(areas), np.int64)
    rank[np.lexsort((x, y, -areas))] = np.arange(len(areas))
    better = np.where(rank[one] < rank[other], one, other)[is_same]
    worse = np.where(rank[one] < rank[other], other, one)[is_same]
    dropped = np.zeros(len(areas), bool)
    for pair in np.lexsort((rank[worse], rank[better])):
        # What was dropped for a third one drops nothing.
        if not dropped[better[pair]]:
            dropped[worse[pair]] = True
    lost = np.flatnonzero(dropped)
    return {int(shard): rows[lost[owner[lost] == shard]] for shard in np.unique(owner[lost])}


def _outlines(shard: Shard, rows: NDArray[np.int64]) -> NDArray[np.object_]:
    if not len(rows):
        return np.empty(0, dtype=object)
    return np.asarray(shapely.from_wkb(read(shard)["geometry"].take(pa.array(rows)).to_numpy()), dtype=object)


def read(shard: Shard) -> pa.Table:
    """A tile's file."""
    with pa.memory_map(str(shard.path)) as source:
        return pa.ipc.open_file(source).read_all()


def scaled(polygon: shapely.Polygon, factor: float) -> shapely.Polygon:
    """A polygon in another measure."""
    return shapely.transform(polygon, lambda xy: xy * factor)
