"""What the pictures of a comparison share: names, colours, one way to write, sections as spots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spotweave.benchmark.figure import METADATA
from spotweave.learning.array_places import lattice_of

DARK, BAR, PALE = "#1f3b57", "#9db8d2", "#c9ced4"
RANKS = "viridis"
# Spots of a lattice that nearly touch.
DIAMETER = 0.9
MARK = " \u2020"
REMARK = "\u2020 lacks folds or spots that others were scored on: not to be held against them"


@contextmanager
def style() -> Iterator[None]:
    """Letters as they are written, and no random names in files."""
    with mpl.rc_context({"svg.hashsalt": "spotweave", "font.size": 8, "text.parse_math": False}):
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a picture; the same content makes the same bytes."""
    figure.savefig(path, dpi=150, metadata=METADATA[path.suffix])


def nothing(path: Path, why: str) -> None:
    """A picture that says why there is none."""
    figure = Figure(figsize=(7.0, 1.2))
    figure.text(0.5, 0.5, why, ha="center", va="center")
    save(figure, path)


@dataclass(frozen=True)
class Order:
    """Predictors as they stand in every picture of a task.

    Attributes
    ----------
    names
        The best first; those without a rank in the task last, by name.
    ranked
        Those with one: they were scored on all folds and spots that others were.
    """

    names: Sequence[str]
    ranked: frozenset[str]

    @classmethod
    def by(cls, predictors: Sequence[str], ranks: Mapping[str, float]) -> Order:
        """Of all `predictors` by their ranks in the task."""
        names = sorted(predictors, key=lambda name: (ranks.get(name, np.inf), name))
        return cls(names, frozenset(name for name in names if name in ranks))

    def named(self, predictor: str) -> str:
        """A name as it is written beside a row, with a mark where it is not ranked."""
        return predictor.replace("+", " + ") + ("" if predictor in self.ranked or predictor not in self.names else MARK)

    def wrapped(self, predictor: str) -> str:
        """The same on two lines, for heads of panels."""
        name = self.named(predictor)
        return name.replace(" + ", "\n+ ") if " + " in name else name.replace("-", "\n-", 1)

    def remark(self, shown: Sequence[str]) -> str:
        """What the mark means, where one of those shown has it."""
        return "" if self.ranked.issuperset(shown) else REMARK


def spots(axes: Axes, positions_px: NDArray[np.float64], **colours: Any) -> EllipseCollection:
    """Draw (N, 2) spots as they lie on the slide, x right and y down; `colours` are those of the collection."""
    found = lattice_of(positions_px)
    sizes = np.full(len(positions_px), DIAMETER * found[1] if found else 1.0)
    drawn = EllipseCollection(
        *(sizes, sizes, np.zeros(len(sizes))),
        units="xy",
        offsets=positions_px,
        offset_transform=axes.transData,
        linewidth=0,
        **colours,
    )
    axes.add_collection(drawn)
    low, high = positions_px.min(axis=0) - sizes[0], positions_px.max(axis=0) + sizes[0]
    axes.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return drawn


def panels(rows: int, columns: int, shape: float, head_in: float, width_in: float) -> tuple[Figure, Any]:
    """A figure of panels `width_in` wide, `shape` as high as wide, with a head; (rows, columns) axes."""
    size = (columns * width_in, rows * (width_in * shape + head_in))
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def shape_of(positions_px: NDArray[np.float64]) -> float:
    """How high spots are for their width, within what a page takes."""
    wide, high = np.maximum(np.ptp(positions_px, axis=0), 1.0)
    return float(np.clip(high / wide, 0.4, 2.0))
