"""Clusters of predictions on one section, and the adjusted Rand index of all sections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from spotweave.benchmark.figures.clusters import MEASURED, TRUTH, Clustered, matched
from spotweave.benchmark.figures.drawing import BAR, DARK, Order, nothing, panels, save, shape_of, spots, style

ACROSS, PANEL_IN, HEAD_IN = 6, 1.5, 0.5
BARS_IN = 0.24


def draw(sections: Sequence[Clustered], order: Order, path: Path) -> None:
    """Draw bars (mean over sections, sections as points), and the clusters of the section with most spots.

    A cluster has the colour of the part that it shares most spots with.

    Parameters
    ----------
    order
        Predictors from the top, and from the left.
    """
    with style():
        if not sections:
            return nothing(path, "no test section has five spots for each cluster")
        shown = max(sections, key=lambda one: (len(one.section.spots), -one.section.fold))
        agreement = [one.agreement() for one in sections]
        names = [name for name in (MEASURED, *order.names) if any(name in one for one in agreement)]
        maps = [name for name in names if name in shown.found]
        rows = -(-(len(maps) + 1) // ACROSS)
        shape = shape_of(shown.section.positions_px)
        figure, grid = panels(rows + 1, ACROSS, shape, HEAD_IN, PANEL_IN)
        above_in, row_in = BARS_IN * (len(names) + 3), PANEL_IN * shape + HEAD_IN
        figure.set_figheight(above_in + rows * row_in + 0.3)
        grid[0, 0].get_gridspec().set_height_ratios([above_in, *[row_in] * rows])
        for one in grid[0]:
            one.remove()
        _bars(figure.add_subplot(grid[0, 0].get_gridspec()[0, :]), agreement, names, sections, order)
        below = grid[1:].ravel()
        _map(below[0], shown, shown.reference, shown.against if shown.against != TRUTH else "clusters of\nthe truth")
        for one, name in zip(below[1:], maps, strict=False):
            _map(
                one, shown, matched(shown.found[name], shown.reference), f"{order.wrapped(name)}\n{_said(shown, name)}"
            )
        for one in below[1 + len(maps) :]:
            one.set_axis_off()
        colours = mpl.colormaps["tab10" if len(shown.names) <= 10 else "tab20"]
        patches = [Patch(color=colours(number), label=name) for number, name in enumerate(shown.names)]
        figure.legend(handles=patches, loc="outside lower center", ncols=6, frameon=False, fontsize=7)
        save(figure, path)


def _said(section: Clustered, name: str) -> str:
    return f"ARI {section.agreement()[name]:.2f}"


def _bars(
    axes: Axes,
    agreement: Sequence[dict[str, float]],
    names: Sequence[str],
    sections: Sequence[Clustered],
    order: Order,
) -> None:
    for row, name in enumerate(names):
        own = [one[name] for one in agreement if name in one]
        axes.barh(row, float(np.mean(own)), height=0.7, color=BAR)
        axes.scatter(own, [row] * len(own), s=10, color=DARK, zorder=3)
    axes.set_yticks(range(len(names)), [order.named(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.axvline(0, color="black", linewidth=0.6)
    against = " or ".join(sorted({one.against for one in sections}))
    remark = order.remark([name for name in names if name != MEASURED])
    axes.set_xlabel(f"adjusted Rand index against {against}; points are {len(sections)} test sections\n{remark}")
    axes.spines[["top", "right"]].set_visible(False)


def _map(axes: Axes, shown: Clustered, codes: np.ndarray, title: str) -> None:
    colours = mpl.colormaps["tab10" if len(shown.names) <= 10 else "tab20"]
    spots(axes, shown.section.positions_px, facecolors=[colours(int(code)) for code in codes])
    axes.set_title(title, fontsize=7)
