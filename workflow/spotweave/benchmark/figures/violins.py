"""How a metric spreads over genes and sections, predictor by predictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from spotweave import metrics
from spotweave.benchmark.figures.drawing import BAR, DARK, Order, nothing, panels, save, style

ACROSS, ROW_IN = 3, 0.26
# Fewer values than this are drawn one by one: a density of them would be made up.
DENSE = 20
# One value far out must not make all others a line.
SHOWN = (0.02, 0.98)
HEAD_IN = 0.75


def draw(scores: pd.DataFrame, order: Order, names: Sequence[str], path: Path) -> None:
    """Draw a panel a metric: a violin a predictor, its median and quartiles, and how many values are undefined.

    Parameters
    ----------
    scores
        Rows of one task and protocol of the long table; a value a fold, sample and gene.
    order
        Predictors from the top.
    names
        Metrics; those that tell no two genes of a predictor apart are left out.
    path
        `.png`, `.svg` or `.pdf`.
    """
    by_gene = scores[scores["gene"].astype(str) != ""]
    values = {name: _by_predictor(by_gene[by_gene["metric"] == name]) for name in names}
    drawn = [
        name
        for name in names
        if any(np.ptp(own[np.isfinite(own)]) > 0 for own in values[name].values() if np.isfinite(own).any())
    ]
    with style():
        if not drawn:
            return nothing(path, "no chosen metric has values of genes")
        across = min(ACROSS, len(drawn))
        width_in = 3.4
        figure, axes = panels(
            -(-len(drawn) // across), across, ROW_IN * (len(order.names) + 1) / width_in, HEAD_IN, width_in
        )
        for place, one in enumerate(axes.ravel()):
            if place >= len(drawn):
                one.set_axis_off()
                continue
            _panel(one, drawn[place], values[drawn[place]], order, is_first=place % across == 0)
        figure.supxlabel(order.remark(order.names), fontsize=7)
        save(figure, path)


def _by_predictor(rows: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    grouped = rows.groupby("predictor", observed=True)["value"]
    return {str(name): own.to_numpy(np.float64) for name, own in grouped}


def _panel(axes: Axes, metric: str, values: dict[str, NDArray[np.float64]], order: Order, *, is_first: bool) -> None:
    defined = {name: own[np.isfinite(own)] for name, own in values.items()}
    shares = {name: 1 - len(defined[name]) / len(own) for name, own in values.items()}
    alike = {round(share, 2) for share in shares.values()}
    undefined = f", {max(alike):.0%} undefined" if len(alike) == 1 and max(alike) else ""
    for row, name in enumerate(order.names):
        own = defined.get(name, np.empty(0))
        if name not in values or not len(own):
            text = "not scored" if name not in values else "undefined for every gene"
            axes.annotate(
                text, (0.5, row), xycoords=("axes fraction", "data"), ha="center", va="center", color="grey", fontsize=6
            )
            continue
        _violin(axes, own, row)
        if shares[name] and len(alike) > 1:
            share = f"{shares[name]:.0%} undefined"
            axes.annotate(
                share, (0.99, row - 0.32), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=5,
                color="dimgrey",
            )  # fmt: skip
    ends = np.array([np.quantile(own, SHOWN) for own in defined.values() if len(own)])
    if len(ends):
        low, high = ends[:, 0].min(), ends[:, 1].max()
        margin = 0.04 * (high - low) or 1.0
        axes.set_xlim(low - margin, high + margin)
        if low < 0 < high:
            axes.axvline(0, color="black", linewidth=0.5, zorder=0)
    axes.set_yticks(
        range(len(order.names)), [order.named(name) for name in order.names] if is_first else [""] * len(order.names)
    )
    axes.set_ylim(len(order.names) - 0.4, -0.6)
    end = {"high": "higher is better", "low": "lower is better"}.get(
        next(iter(metrics.best_of(metric).values()), ""), ""
    )
    axes.set_title(f"{metric.replace('_', ' ')}{end and f' ({end})'}{undefined}", loc="left", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=7)


def _violin(axes: Axes, own: NDArray[np.float64], row: int) -> None:
    if len(own) >= DENSE and np.ptp(np.quantile(own, SHOWN)) > 0:
        shown = own[(own >= np.quantile(own, SHOWN[0])) & (own <= np.quantile(own, SHOWN[1]))]
        body = axes.violinplot([shown], [row], orientation="horizontal", widths=0.85, showextrema=False, points=80)
        for part in body["bodies"]:  # type: ignore[attr-defined]
            part.set(facecolor=BAR, edgecolor="none", alpha=1.0)
    else:
        axes.plot(own, np.full(len(own), row), "o", markersize=2, color=BAR)
    low, middle, high = np.quantile(own, (0.25, 0.5, 0.75))
    axes.plot([low, high], [row, row], color=DARK, linewidth=2, solid_capstyle="butt")
    axes.plot([middle], [row], "o", markersize=3.5, color="white", markeredgecolor=DARK, markeredgewidth=0.8)
