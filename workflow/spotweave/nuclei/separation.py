"""What a worker process does with one tile: nuclei, outlines, shape, and a file of those that are the tile's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from spotweave.nuclei import Instances
from spotweave.nuclei.morphology import of_labels
from spotweave.nuclei.outlines import trace
from spotweave.nuclei.tiles import Grid, Tile

ROUNDED_TO = 16  # parts of a px: binary, so that coordinates pack well


@dataclass(frozen=True)
class Shard:
    """The nuclei of one tile: where they are, slide px; whether they come near a neighbour's; and their file."""

    tile: Tile
    path: Path
    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    classes: NDArray[np.uint8]
    is_near_seam: NDArray[np.bool_]


@dataclass(frozen=True)
class Separation:
    """The work on a tile, picklable.

    Attributes
    ----------
    separator
        The model's.
    grid
        How the slide is cut.
    um_per_px
        Of the model's pixels as they are read.
    folder
        Where the files of tiles go.
    """

    separator: Callable[[Any], Instances]
    grid: Grid
    um_per_px: float
    folder: Path

    def __call__(self, number: int, tile: Tile, maps: Any) -> Shard:
        """Separate what a model said of a tile, keep what has its centroid in the core, and write it."""
        found = self.separator(maps)
        labels, xy, kept = _own(found.labels, self.grid)
        boxes = ndimage.find_objects(labels)
        margin, core, step = self.grid.margin_px, self.grid.core_px, self.grid.step
        corner = np.array([tile.left - margin, tile.top - margin])
        polygons = shapely.transform(
            trace(labels, boxes), lambda ring: np.round((ring + corner) * step * ROUNDED_TO) / ROUNDED_TO
        )
        xy_px = (xy + corner) * step
        # Whatever a neighbour's nucleus can touch: it reaches a margin across the seam at most.
        near = [min(box[0].start, box[1].start) < 2 * margin or max(box[0].stop, box[1].stop) > core for box in boxes]
        columns = {
            "geometry": pa.array(shapely.to_wkb(polygons), pa.binary()),
            "x_px": xy_px[:, 0],
            "y_px": xy_px[:, 1],
            "class": found.classes[kept],
            "class_probability": found.probabilities[kept].astype(np.float32),
            **of_labels(labels, self.um_per_px),
        }
        path = self.folder / f"{number:06d}.arrow"
        table = pa.table(columns)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return Shard(tile, path, xy_px[:, 0], xy_px[:, 1], found.classes[kept], np.array(near, dtype=bool))


def _own(labels: NDArray[np.int32], grid: Grid) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_]]:
    """Labels of those nuclei only whose centroid lies in the core (its lower edges included), numbered anew.

    Returns
    -------
    labels, centroids (n, 2) x, y in px of the tile from its corner, and which of the nuclei were kept.
    """
    count = int(labels.max(initial=0))
    rows, columns = np.nonzero(labels)
    which = labels[rows, columns]
    area = np.bincount(which, minlength=count + 1)[1:]
    if (area == 0).any():
        raise ValueError("the separator's labels have a gap: they must be 1 to n")
    xy = np.column_stack([np.bincount(which, at, minlength=count + 1)[1:] / area + 0.5 for at in (columns, rows)])
    low, high = grid.margin_px, grid.margin_px + grid.core_px
    kept: NDArray[np.bool_] = np.all((xy >= low) & (xy < high), axis=1)
    number = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    return number[labels], xy[kept], kept
