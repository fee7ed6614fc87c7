"""A slide's nuclei read again, as `files.write_nuclei` has written them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

MADE_BY = "spotweave"


@dataclass(frozen=True)
class NucleiTable:
    """Nuclei of a slide.

    Attributes
    ----------
    xy_px
        (N, 2) centroids, slide px.
    columns
        (N, ...) the columns asked for.
    made_by
        What the file says of itself: `model`, `classes`, `um_per_px`, `slide_pixel_size_um` ...
    """

    xy_px: NDArray[np.float64]
    columns: pd.DataFrame
    made_by: dict[str, Any]

    @property
    def note(self) -> str | None:
        """Why no nuclei were looked for; None where they were, though none may have been found."""
        return self.made_by.get("note")

    def of_classes(self, classes: Sequence[str]) -> NucleiTable:
        """The nuclei of some classes only, which `columns` must have been read with."""
        chosen = self.columns["class"].isin(list(classes)).to_numpy()
        return NucleiTable(self.xy_px[chosen], self.columns[chosen].reset_index(drop=True), self.made_by)


def read_made_by(path: Path) -> dict[str, Any]:
    """What `nuclei/<model>.parquet` says of itself; no nucleus is read."""
    found: dict[str, Any] = json.loads((pq.read_schema(path).metadata or {}).get(MADE_BY.encode(), b"{}"))
    return found


def read_nuclei(path: Path, columns: Sequence[str]) -> NucleiTable:
    """Read the centroids and some columns of `nuclei/<model>.parquet`; outlines are not touched unless asked for."""
    table = pq.read_table(path, columns=["x_px", "y_px", *columns])
    xy_px = np.stack([table[name].to_numpy() for name in ("x_px", "y_px")], axis=1).astype(np.float64)
    return NucleiTable(xy_px, table.select(list(columns)).to_pandas(), read_made_by(path))
