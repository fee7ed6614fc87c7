"""Scaling laws: scores of encoders against their parameters and the patches that they were pretrained on.

HEST-1k (Jaume et al. 2024, section 5.3 and figure 2) states a logarithmic law with R = .81 for parameters and R = .48
for patches. Those are the correlations with the numbers themselves; with their logarithms, as the law has it, its
table 1 gives .94 and .83. Both are in the table here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

READS = ("resources/published/*.csv",)
PUBLISHED = Path(__file__).resolve().parents[3] / "resources/published"
AGAINST = ("parameters", "pretraining_patches")
MEASURED = "measured here"
# A line through two points fits whatever they are.
MIN_ENCODERS = 3
POINT_COLUMNS = ["source", "protocol", "probe", "encoder", "n_tasks", "score", *AGAINST]
LAW_COLUMNS = ["source", "protocol", "probe", "against", "n_encoders", "n_tasks"]
LAW_COLUMNS += ["slope_per_decade", "r_log", "p_log", "r_linear", "p_linear"]
SERIES = ["source", "protocol", "probe"]


def read_published() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and sizes that others have published, `resources/published/hest_benchmark.csv` and `encoders.csv`."""
    return pd.read_csv(PUBLISHED / "hest_benchmark.csv"), pd.read_csv(PUBLISHED / "encoders.csv")


def points(leaderboard: pd.DataFrame, published: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """One row an encoder of a series (source, protocol, probe): its mean score over tasks beside its sizes.

    Parameters
    ----------
    leaderboard
        As from `leaderboard.rank`; rows without a rank, which lack folds or spots of others, are left out.
    published
        `encoder, probe, task, pearson_mean, source`: scores of others.
    sizes
        `encoder, parameters, pretraining_patches`; encoders without a row are left out.

    Returns
    -------
    points
        Columns as `POINT_COLUMNS`, sorted by series and parameters; `score` is `pearson_mean`.
    """
    ours = leaderboard.loc[leaderboard["rank"].notna(), ["protocol", "probe", "encoder", "task", "pearson_mean"]]
    both = pd.concat(
        [table for table in (ours.assign(source=MEASURED), published.assign(protocol="")) if len(table)] or [ours],
        ignore_index=True,
    )
    known = both.dropna(subset=["encoder", "probe", "pearson_mean"]).merge(sizes[["encoder", *AGAINST]], on="encoder")
    rows = []
    for _, series in known.groupby(SERIES, sort=True):
        tasks = series.groupby("encoder")["task"].agg(frozenset)
        # Means over other tasks are other scores: the largest set of tasks stands, and of these that of most encoders.
        many = tasks.value_counts()
        whole = max(many.index, key=lambda one: (len(one), many[one], sorted(one)))
        full = series[series["encoder"].map(tasks) == whole]
        means = full.groupby([*SERIES, "encoder", *AGAINST], as_index=False).agg(
            n_tasks=("task", "nunique"), score=("pearson_mean", "mean")
        )
        rows.append(means.sort_values(["parameters", "encoder"]))
    return pd.concat(rows, ignore_index=True)[POINT_COLUMNS] if rows else pd.DataFrame(columns=POINT_COLUMNS)


def laws(points: pd.DataFrame) -> pd.DataFrame:
    """A line through each series of `points`, against either size; columns as `LAW_COLUMNS`.

    `slope_per_decade` is the gain in score for ten times as many; R and P are Pearson's, with logarithms and without.
    Numbers are empty below `MIN_ENCODERS` encoders.
    """
    rows = []
    for series, own in points.groupby(SERIES, sort=True):
        for against in AGAINST:
            row = dict(zip(SERIES, series, strict=True)) | {"against": against, "n_encoders": len(own)}
            row["n_tasks"] = int(own["n_tasks"].min())
            if own[against].nunique() >= MIN_ENCODERS:
                row |= _law(own[against], own["score"])
            rows.append(row)
    return pd.DataFrame(rows, columns=LAW_COLUMNS)


def _law(size: ArrayLike, score: ArrayLike) -> dict[str, float]:
    from scipy.stats import linregress

    numbers = np.asarray(size, dtype=np.float64)
    log, linear = linregress(np.log10(numbers), score), linregress(numbers, score)
    found = {"slope_per_decade": log.slope, "r_log": log.rvalue, "p_log": log.pvalue}
    found |= {"r_linear": linear.rvalue, "p_linear": linear.pvalue}
    return {name: round(float(value), 6) for name, value in found.items()}


def draw(points: pd.DataFrame, path: Path) -> None:
    """Draw each series against both sizes (logarithmic), with its line; format by suffix, same points same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    from spotweave.benchmark.figure import METADATA

    with mpl.rc_context({"font.size": 8, "text.parse_math": False}):
        figure = Figure(figsize=(9.0, 4.2), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, against in zip(panels, AGAINST, strict=True):
            for number, (series, own) in enumerate(points.groupby(SERIES, sort=True)):
                _draw_series(axes, own, against, f"C{number}", _label(series), named=number == 0)
            axes.set(xscale="log", xlabel=against.replace("_", " "))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        panels[0].set_ylabel("mean Pearson correlation over tasks")
        if len(points):
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(handles, labels, fontsize=7, loc="outside lower center", ncols=2)
        else:
            panels[0].set_title("no encoder of known size was scored")
        figure.savefig(path, dpi=150, metadata=METADATA[path.suffix])


def _draw_series(axes: Axes, own: pd.DataFrame, against: str, colour: str, label: str, *, named: bool) -> None:
    measured = own["source"].iloc[0] == MEASURED
    axes.scatter(own[against], own["score"], s=18, color=colour, marker="o" if measured else "x", label=label)
    if own[against].nunique() >= MIN_ENCODERS:
        slope, intercept = np.polyfit(np.log10(own[against]), own["score"], 1)
        ends = np.array([own[against].min(), own[against].max()])
        axes.plot(ends, intercept + slope * np.log10(ends), color=colour, linewidth=0.8)
    if named or measured:
        for _, row in own.iterrows():
            axes.annotate(
                row["encoder"], (row[against], row["score"]), xytext=(3, 3), textcoords="offset points", fontsize=6
            )


def _label(series: Sequence[str]) -> str:
    return ", ".join(filter(None, (series[0], series[1], series[2])))
