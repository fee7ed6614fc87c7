"""The leaderboard as a picture: one panel for each task x protocol, one bar for each predictor, with its interval."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spotweave.benchmark.leaderboard import KEYS, RANKED_BY, RankedValues, cells, ranked_values
from spotweave.report.leaderboard import ranks_of, remark_on

BAR_COLOUR, POINT_COLOUR, NULL_COLOUR, INTERVAL_COLOUR = "#9db8d2", "#1f3b57", "#b3421f", "#5b6b7a"
LEGEND = {
    "bar": "mean over folds",
    "fold": "fold",
    "interval": "95 % interval, these sections",
    "null": "null, 95th percentile",
}
WIDTH_IN, BAR_HEIGHT_IN, PANEL_MARGIN_IN = 8.0, 0.32, 1.4
# What fits beside the names, in the size of a title.
TITLE_LETTERS = 80
# Neither a date nor a version nor a random identifier: the same scores make the same file.
METADATA: dict[str, dict[str, str | None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def draw(leaderboard: pd.DataFrame, scores: pd.DataFrame, task_notes: Mapping[str, str], path: Path) -> None:
    """Draw bars (mean over folds, undefined = 0) with their interval, folds as points and the null as a line.

    Beside each bar stand the ranks that the verdicts leave open.

    Parameters
    ----------
    leaderboard, scores
        As from `ties.with_ties` and `long_table.read`.
    task_notes
        What the tasks table remarks on a task.
    path
        `.png`, `.svg` or `.pdf`.
    """
    panels = cells(leaderboard)
    with mpl.rc_context({"svg.hashsalt": "spotweave", "font.size": 8, "text.parse_math": False}):
        if not panels:
            figure = Figure(figsize=(WIDTH_IN, PANEL_MARGIN_IN))
            figure.text(0.5, 0.5, "nothing was scored: no task or no encoder is chosen", ha="center", va="center")
        else:
            rows = [leaderboard[(leaderboard[["task", "protocol"]] == list(panel)).all(axis=1)] for panel in panels]
            heights = [PANEL_MARGIN_IN + BAR_HEIGHT_IN * len(panel) for panel in rows]
            figure = Figure(figsize=(WIDTH_IN, sum(heights)), layout="constrained")
            # One scale for all, so that no panel looks better than another by its axis.
            axes = list(figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights, sharex=True)[:, 0])
            by_predictor = ranked_values(scores)
            for panel, panel_axes in zip(rows, axes, strict=True):
                _panel(panel_axes, panel, by_predictor, task_notes)
            _legend(figure, axes)
        figure.savefig(path, dpi=150, metadata=METADATA[path.suffix])


def _panel(axes: Axes, rows: pd.DataFrame, values: RankedValues, task_notes: Mapping[str, str]) -> None:
    first = rows.iloc[0]
    for place, (_, row) in enumerate(rows.iterrows()):
        if not row["n_folds"]:
            axes.text(0, place, " not scored", va="center", color="grey", style="italic")
            continue
        folds = list(values[tuple(row[KEYS])].values())
        axes.barh(place, row[RANKED_BY], height=0.7, color=BAR_COLOUR, label=LEGEND["bar"])
        if pd.notna(row["score_low"]):
            ends = [row["score_low"], row["score_high"]]
            axes.plot(ends, [place] * 2, color=INTERVAL_COLOUR, linewidth=2.5, alpha=0.6, label=LEGEND["interval"])
        axes.scatter(folds, [place] * len(folds), s=12, color=POINT_COLOUR, zorder=3, label=LEGEND["fold"])
        if pd.notna(row.get("pearson_null95")):
            ends = [place - 0.42, place + 0.42]
            axes.plot([row["pearson_null95"]] * 2, ends, color=NULL_COLOUR, zorder=4, label=LEGEND["null"])
        if pd.notna(row["rank_best"]):
            axes.annotate(f"rank {ranks_of(row)}", (1.01, place), xycoords=("axes fraction", "data"), va="center")
    axes.set_yticks(range(len(rows)), [_label(row) for _, row in rows.iterrows()])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(labelbottom=True)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_xlabel("Pearson correlation, mean over genes (undefined = 0)")
    remarks = [task_notes.get(first["task"], ""), remark_on(rows)]
    lines = [line for remark in remarks for line in textwrap.wrap(remark, TITLE_LETTERS)]
    axes.set_title("\n".join([f"{first['task']} · {first['protocol']}", *lines]), loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    named = {name: drawn for axes in panels for drawn, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    if named:
        order = [name for name in LEGEND.values() if name in named]
        figure.legend([named[name] for name in order], order, loc="outside upper right", ncols=4, frameon=False)


def _label(row: pd.Series) -> str:
    name = str(row["predictor"]).replace("+", " + ")
    return f"{name}\n(random weights)" if "random weights" in row["note"] else name
