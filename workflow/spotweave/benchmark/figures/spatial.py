"""Genes on a test section: what was measured, and what each predictor says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from spotweave.benchmark.figures.drawing import PALE, Order, nothing, panels, save, shape_of, spots, style
from spotweave.benchmark.figures.gathered import Section
from spotweave.correlation import pearson_by_group

CHOSEN = 3
PANEL_IN, HEAD_IN = 1.45, 0.5
SHOWN = (0.02, 0.98)


def choose(section: Section, asked: Sequence[str]) -> list[str]:
    """The genes to be drawn: those asked for that are there, or the `CHOSEN` that predictors together predict best.

    By the mean correlation over predictors, undefined ones 0; equal ones by name. They show predictors at their best.
    """
    if asked:
        return [gene for gene in asked if gene in section.genes]
    found = [_correlations(section.truth, values) for values in section.predicted.values()]
    mean = np.mean(found, axis=0) if found else np.zeros(len(section.genes))
    order = sorted(
        range(len(section.genes)), key=lambda column: (-round(float(mean[column]), 9), section.genes[column])
    )
    return [section.genes[column] for column in order[:CHOSEN]]


def draw(section: Section | None, order: Order, asked: Sequence[str], path: Path) -> None:
    """Draw a row a gene: the truth, and beside it the predictors, each in its own range of colours.

    Predictions vary less than what was measured: by one range for all they would be of one colour. The correlation
    with the truth stands above each.

    Parameters
    ----------
    section
        None where nothing was tested.
    order
        Predictors from the left; those that do not predict the section are left out.
    asked
        Genes; none for those of `choose`.
    """
    chosen = [] if section is None else choose(section, asked)
    with style():
        if section is None or not chosen:
            return nothing(path, "no gene to draw: none was tested, or none of those asked for is among the task's")
        shown = [name for name in order.names if name in section.predicted]
        shape = shape_of(section.positions_px)
        figure, axes = panels(len(chosen), 1 + len(shown), shape, HEAD_IN, PANEL_IN)
        figure.suptitle(f"{section.sample}, fold {section.fold}: each panel in its own range of colours", fontsize=8)
        figure.supxlabel(order.remark(shown), fontsize=7)
        for row, gene in enumerate(chosen):
            column = list(section.genes).index(gene)
            truth = section.truth[:, column]
            _panel(axes[row, 0], section, truth, "measured")
            axes[row, 0].set_ylabel(gene, style="italic", fontsize=9)
            for place, name in enumerate(shown, 1):
                values = section.predicted[name][:, column]
                correlation = _correlations(truth[:, None], values[:, None], undefined=np.nan)[0]
                said = "undefined" if np.isnan(correlation) else f"r {correlation:.2f}"
                _panel(axes[row, place], section, values, f"{order.wrapped(name)}\n{said}" if row == 0 else said)
        save(figure, path)


def _panel(axes: Axes, section: Section, values: NDArray[np.float64], title: str) -> None:
    axes.set_title(title, fontsize=7)
    if not np.nanstd(values) > 1e-6:
        spots(axes, section.positions_px, facecolors=PALE)
        return
    drawn = spots(axes, section.positions_px, cmap="viridis")
    drawn.set_array(values)
    low, high = np.nanquantile(values, SHOWN)
    drawn.set_clim(low, high if high > low else np.nanmax(values))


def _correlations(
    truth: NDArray[np.float64], predicted: NDArray[np.float64], undefined: float = 0.0
) -> NDArray[np.float64]:
    found = pearson_by_group(truth, predicted, np.zeros(len(truth), np.int64))[0]
    return np.where(np.isnan(found), undefined, found)
