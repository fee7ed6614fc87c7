"""UMAPs of the spots, before and after each correction, a row for each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

matplotlib.use("Agg")

NEIGHBOURS = 15
PANEL_INCHES = 2.9
NAMED_MAX = 14  # of a label's values; more are not in the legend
PAIRS = matplotlib.colormaps["tab20"]
COLOURS = np.array([PAIRS(index) for index in (*range(0, PAIRS.N, 2), *range(1, PAIRS.N, 2))])  # likest last

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """(N, 2) `places` of spots, None where there was nothing to draw, and their (N,) values of `label`."""

    label: str
    batches: NDArray[np.str_]
    places: Array | None


def layout(components: Array, seed: int) -> Array:
    """(N, 2) UMAP (McInnes et al. 2018) of (N, D) components, begun at the first two: the same for the same seed."""
    import umap

    neighbours = min(NEIGHBOURS, len(components) - 1)
    model = umap.UMAP(n_neighbors=neighbours, init="pca", random_state=seed, n_jobs=1)
    found: Array = np.asarray(model.fit_transform(components), dtype=np.float64)
    return found


def draw(target: Path, title: str, rows: Sequence[Sequence[Panel]], corrections: Sequence[str], seed: int) -> None:
    """Draw a row of panels for each label: as it was, and after each correction; without rows, the title alone."""
    columns = 1 + len(corrections)
    size = (PANEL_INCHES * columns + 1.6, PANEL_INCHES * max(len(rows), 0.3) + 0.4)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    figure.suptitle(title, fontsize=10)
    for row, panels in enumerate(rows):
        named: dict[str, Artist] = {}
        for column, panel in enumerate(panels):
            axes = figure.add_subplot(len(rows), columns, row * columns + column + 1)
            axes.set(xticks=[], yticks=[])
            axes.set_title(corrections[column - 1] if column else "as measured", fontsize=9)
            axes.set_ylabel("" if column else panel.label, fontsize=9)
            if panel.places is None:
                axes.text(0.5, 0.5, "not corrected: see scores.csv", ha="center", fontsize=8, transform=axes.transAxes)
            else:
                named = _dots(axes, panel.places, panel.batches, seed)
        if named and len(named) <= NAMED_MAX:
            where = (1.02, 0.5)
            axes.legend(
                list(named.values()), list(named), loc="center left", bbox_to_anchor=where, fontsize=8, frameon=False
            )
    figure.savefig(target, format="png", metadata={"Software": None})


def _dots(axes: Axes, places: Array, batches: NDArray[np.str_], seed: int) -> dict[str, Artist]:
    """The spots in an order of chance, else the last batch hides the others; a sign of each batch."""
    names, codes = np.unique(batches, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(places))
    size = max(1.0, min(12.0, 6000 / len(places)))
    axes.scatter(places[order, 0], places[order, 1], s=size, c=COLOURS[codes[order] % len(COLOURS)], linewidths=0)
    return {
        name: axes.scatter([], [], s=14, color=COLOURS[code % len(COLOURS)]) for code, name in enumerate(names.tolist())
    }
