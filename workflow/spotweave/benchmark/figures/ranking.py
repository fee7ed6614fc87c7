"""Ranks of all predictors at a glance: a row a predictor, a circle a metric, a bar for all of them.

After the funky heatmaps of benchmarks of single cells. Everything is read from `category_ranks.csv`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from spotweave import metrics
from spotweave.benchmark.figures.drawing import BAR, DARK, PALE, RANKS, Order, nothing, save, style
from spotweave.benchmark.figures.gathered import task_ranks

# Everything is laid out in cells, one a circle.
CELL_IN, GAP, BAR_CELLS = 0.33, 0.5, 4.0
# What the head of a group and the lines below all rows take.
HEAD_CELLS, LEGEND_CELLS = 3.6, 17.0
LARGEST, SMALLEST = 0.46, 0.22
HEADS = {"high": "higher is better", "low": "lower is better"}
MEANS = "mean over metrics"


@dataclass(frozen=True)
class Column:
    """A column of circles: its name, and predictor -> rank; those without a value are not in it."""

    name: str
    ranks: dict[str, float]


def draw(ranks: pd.DataFrame, task: str, path: Path) -> None:
    """Draw the ranks of one task: its metrics, its mean and those of the other tasks, and bars over all tasks.

    The best predictor of the task is first; those that lack folds or spots of others are last, without circles. A
    larger and lighter circle is a better rank; its number stands in it.

    Parameters
    ----------
    ranks
        As from `gathered.read_ranks`.
    path
        `.png`, `.svg` or `.pdf`.
    """
    order = Order.by(list(ranks["predictor"].unique()), task_ranks(ranks, task))
    groups = _groups(ranks, task)
    with style():
        if not groups:
            return nothing(path, f"{task}: no predictor was scored on all folds, or no chosen metric ranks")
        overall = {str(row["predictor"]): row for _, row in ranks[ranks["category"] == ""].iterrows()}
        widths = [max(len(columns), HEAD_CELLS) + GAP for _, columns in groups]
        names = max(len(order.named(name)) for name in order.names) * 0.22 + 0.5
        width = max(sum(widths) + BAR_CELLS, LEGEND_CELLS - names)
        heads = max(len(column.name) for _, columns in groups for column in columns) * 0.16 + 1.6
        remark = order.remark(order.names)
        foot = 2.65 if remark else 1.9
        size = ((names + width + 0.6) * CELL_IN, (len(order.names) + heads + foot) * CELL_IN)
        figure = Figure(figsize=size)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-names, width + 0.6), ylim=(len(order.names) + foot, -heads))
        axes.set_axis_off()
        for row, name in enumerate(order.names):
            if row % 2 == 0:
                axes.add_patch(Rectangle((-names, row), names + width + 0.6, 1, color="#f3f4f6", linewidth=0, zorder=0))
            axes.text(-0.2, row + 0.5, order.named(name), ha="right", va="center")
        left = 0.0
        for (head, columns), wide in zip(groups, widths, strict=True):
            _head(axes, left, len(columns), head, heads)
            for number, column in enumerate(columns):
                _circles(axes, left + number, column, order)
            left += wide
        _bars(axes, left, order, overall)
        _legend(axes, 0.3 - names, len(order.names), remark)
        axes.text(-0.2, -heads + 0.75, task, ha="right", va="bottom", weight="bold", color=DARK)
        save(figure, path)


def _groups(ranks: pd.DataFrame, task: str) -> list[tuple[str, list[Column]]]:
    """Heads and columns, from the left."""
    own = ranks[(ranks["category"] == task) & (ranks["metric"] != "")]
    by_end: dict[str, list[Column]] = {}
    for name in sorted(own["metric"].unique()):
        scored = own[(own["metric"] == name) & own["value"].notna()]
        column = Column(name.replace("_", " "), dict(zip(scored["predictor"], scored["rank"], strict=True)))
        by_end.setdefault(HEADS[next(iter(metrics.best_of(name).values()))], []).append(column)
    if not by_end:
        return []
    tasks = sorted(set(ranks["category"]) - {""}, key=lambda name: (name != task, name))
    means = [Column(name, task_ranks(ranks, name)) for name in tasks]
    return [*sorted(by_end.items()), (MEANS, means)]


def _head(axes: Axes, left: float, columns: int, text: str, heads: float) -> None:
    top = -heads + 0.75
    axes.plot([left + 0.1, left + columns - 0.1], [top + 0.25] * 2, color=DARK, linewidth=1)
    axes.text(left + 0.1, top, text, ha="left", va="bottom", fontsize=7, weight="bold", color=DARK)


def _circles(axes: Axes, left: float, column: Column, order: Order) -> None:
    axes.text(left + 0.35, -0.15, column.name, rotation=60, ha="left", va="bottom", rotation_mode="anchor")
    colours = mpl.colormaps[RANKS]
    for row, name in enumerate(order.names):
        if name not in column.ranks:
            axes.text(left + 0.5, row + 0.5, "\u2013", ha="center", va="center", color=PALE)
            continue
        rank = column.ranks[name]
        good = _goodness(rank, len(order.names))
        radius = SMALLEST + (LARGEST - SMALLEST) * good
        axes.add_patch(Circle((left + 0.5, row + 0.5), radius, facecolor=colours(0.15 + 0.8 * good), linewidth=0))
        shown = f"{rank:g}" if rank == int(rank) else f"{rank:.1f}"
        axes.text(
            left + 0.5, row + 0.5, shown, ha="center", va="center_baseline", fontsize=4 + 3 * good, color=_ink(good)
        )


def _bars(axes: Axes, left: float, order: Order, overall: dict[str, pd.Series]) -> None:
    axes.text(left + 0.1, -0.15, "mean over tasks", ha="left", va="bottom", weight="bold", color=DARK)
    for row, name in enumerate(order.names):
        if name not in overall:
            continue
        good = _goodness(float(overall[name]["value"]), len(order.names))
        axes.add_patch(
            Rectangle((left, row + 0.15), max(good, 0.01) * (BAR_CELLS - 1), 0.7, facecolor=BAR, linewidth=0)
        )
        axes.text(left + 0.1, row + 0.5, f"{overall[name]['value']:.2f}", va="center_baseline", fontsize=7, color=DARK)


def _legend(axes: Axes, left: float, rows: int, remark: str) -> None:
    axes.text(left, rows + 0.75, "rank among predictors:", va="center", fontsize=7)
    colours = mpl.colormaps[RANKS]
    for number, (good, text) in enumerate(((1.0, "first"), (0.5, "middle"), (0.0, "last"))):
        x = left + 4.4 + 2.8 * number
        radius = SMALLEST + (LARGEST - SMALLEST) * good
        axes.add_patch(Circle((x, rows + 0.75), radius, facecolor=colours(0.15 + 0.8 * good), linewidth=0))
        axes.text(x + 0.55, rows + 0.75, text, va="center", fontsize=7)
    said = (
        "bars: mean of the ranks of tasks, longer is better   \u2013 undefined, or not scored on all that others were"
    )
    axes.text(left, rows + 1.5, said, va="center", fontsize=7)
    axes.text(left, rows + 2.25, remark, va="center", fontsize=7)


def _goodness(rank: float, count: int) -> float:
    """1 for the first, 0 for the last."""
    return 1.0 if count < 2 else 1 - (min(max(rank, 1.0), count) - 1) / (count - 1)


def _ink(good: float) -> str:
    return "black" if good > 0.6 else "white"
