"""The figures of HEST-1k (figure 3): gene and feature on the slide, their scatter, and all pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.collections import EllipseCollection
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spotweave.biomarkers.settings import SPOT
from spotweave.biomarkers.units import Units
from spotweave.nuclei.morphology import FEATURES, NEIGHBOURHOOD

matplotlib.use("Agg")

Floats = NDArray[np.float64]

UNITS = {"um2": "µm²", "um": "µm", "mm2": "mm²"}
MOST_POINTS = 20_000  # of a scatter; more are drawn as densities
PANEL_INCHES = 5.3  # width of a slide in the heatmaps
TAIL = 0.02  # of the values at each end that get the ends' colours
STARS = ((0.001, "***"), (0.01, "**"), (1.0, "*"))  # by q, of those below the configured rate


@dataclass(frozen=True)
class Slide:
    """The slide reduced, (H, W, 3) uint8, its px per slide px, and how wide a unit is drawn, slide px."""

    picture: NDArray[np.uint8]
    scale: float
    diameter_px: float


def label_of(feature: str) -> str:
    """A feature as a person reads it: `area_um2_mean` is \"area (µm²), mean\"."""
    name = next((known for known in (*FEATURES, *NEIGHBOURHOOD) if feature.startswith(known)), feature)
    statistic = feature.removeprefix(name).strip("_")
    stem, _, unit = name.rpartition("_")
    text = f"{stem.replace('_', ' ')} ({UNITS[unit]})" if unit in UNITS else name.replace("_", " ")
    text = text.replace("density per (mm²)", "density (per mm²)").replace("nuclei per (mm²)", "nuclei (per mm²)")
    return f"{text}, {statistic}" if statistic else text


def p_text(value: float, permutations: int | None = None) -> str:
    """A P as it is printed; that of permutations is never smaller than they can tell."""
    if permutations is not None and value <= 1.0001 / (permutations + 1):
        return f"P ≤ {1 / (permutations + 1):.2g}"
    return f"P = {value:.2g}"


def q_text(value: float) -> str:
    """A q as it is printed; so far out the tail is no more than a guess."""
    return "q < 1e-6" if value < 1e-6 else f"q = {value:.2g}"


def nothing(target: Path, sample: str, note: str) -> None:
    """A figure that says why there is none."""
    figure = Figure(figsize=(7, 2), dpi=100)
    figure.text(0.5, 0.62, sample, ha="center", fontsize=11)
    figure.text(0.5, 0.3, note, ha="center", fontsize=9, wrap=True)
    _save(figure, target)


def matrix(target: Path, sample: str, table: pd.DataFrame, units: Units, fdr: float) -> None:
    """R of every gene (rows, by the largest of them) with every feature; stars where q is below `fdr`."""
    r = table.pivot(index="gene", columns="feature", values="r").loc[:, units.features]
    q = table.pivot(index="gene", columns="feature", values="q").loc[r.index, units.features]
    strongest = r.to_numpy()[np.arange(len(r)), np.abs(r.to_numpy()).argmax(axis=1)]
    order = np.lexsort((r.index.to_numpy().astype(str), -strongest))
    r, q = r.iloc[order], q.iloc[order]
    figure = Figure(figsize=(2.6 + 0.52 * r.shape[1], 2.6 + 0.2 * len(r)), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    most = max(float(np.abs(r.to_numpy()).max()), 0.05)
    shown = axes.imshow(r.to_numpy(), cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    for row, column in zip(*np.nonzero((q <= fdr).to_numpy()), strict=True):
        star = next(text for limit, text in STARS if q.iloc[row, column] <= limit)
        dark = abs(r.iloc[row, column]) > 0.6 * most
        axes.text(column, row + 0.1, star, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(r.shape[1]), [label_of(name) for name in r.columns], rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(r)), r.index, fontsize=7)
    axes.set_title(f"{sample}: {len(units.xy_px):,} {units.level}s", fontsize=10)
    figure.colorbar(shown, ax=axes, shrink=0.5, label="Pearson R")
    figure.supxlabel(f"* q ≤ {fdr:g}, ** .01, *** .001 (Benjamini-Hochberg, all pairs; shifted sections)", fontsize=7)
    _save(figure, target)


def heatmaps(target: Path, sample: str, pair: pd.Series, units: Units, slide: Slide) -> None:
    """A gene and a feature on the slide, side by side: blue below the mean, white at it, red above."""
    gene, feature = pair["gene"], pair["feature"]
    picture, scale = slide.picture, slide.scale
    height, width = picture.shape[:2]
    figure = Figure(figsize=(12, 5.6 * height / width + 0.8), dpi=110, layout="constrained")
    pale = (255 - (255 - picture.astype(np.float32)) * 0.45).astype(np.uint8)
    columns = ((gene, _column(units, gene), "ln(1 + 10⁴ share)"), (label_of(feature), _column(units, feature), ""))
    for index, (name, values, label) in enumerate(columns):
        axes = figure.add_subplot(1, 2, index + 1)
        axes.imshow(pale, extent=(0, width / scale, height / scale, 0), interpolation="bilinear")
        low, high = np.quantile(values, (TAIL, 1 - TAIL))
        middle, step = float(values.mean()), max(float(np.ptp(values)), 1e-6) * 1e-3
        norm = TwoSlopeNorm(middle, min(low, middle - step), max(high, middle + step))
        drawn: Any
        if units.level == SPOT:
            size = np.full(len(values), slide.diameter_px)
            drawn = EllipseCollection(
                size, size, np.zeros(len(values)), units="xy", offsets=units.xy_px, offset_transform=axes.transData
            )
            drawn.set(cmap="RdBu_r", norm=norm, array=values, alpha=0.85, linewidth=0.2, edgecolor="#888888")
            axes.add_collection(drawn)
        else:
            points = slide.diameter_px * scale / width * PANEL_INCHES * 72
            x, y = units.xy_px.T
            drawn = axes.scatter(x, y, s=points**2, c=values, cmap="RdBu_r", norm=norm, linewidths=0)
            axes.set_xlim(0, width / scale)
            axes.set_ylim(height / scale, 0)
        axes.set_title(name, fontsize=11)
        axes.set_axis_off()
        figure.colorbar(drawn, ax=axes, shrink=0.6, pad=0.01, label=label, extend="both")
    figure.suptitle(sample, fontsize=10)
    _save(figure, target)


def scatter(target: Path, sample: str, pair: pd.Series, units: Units, permutations: int) -> None:
    """The pair's values, unit by unit, with the line of least squares, R, its interval and P."""
    gene, feature = pair["gene"], pair["feature"]
    x, y = _column(units, feature), _column(units, gene)
    figure = Figure(figsize=(5.6, 4.8), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    if len(x) > MOST_POINTS:
        shown = axes.hexbin(x, y, gridsize=70, bins="log", mincnt=1, cmap="Greys", linewidths=0)
        figure.colorbar(shown, ax=axes, label=f"{units.level}s")
    else:
        axes.scatter(x, y, s=5 if units.level == SPOT else 2.5, color="#444444", alpha=0.35, linewidths=0)
    slope, offset = np.polyfit(x, y, 1)
    ends = np.array([x.min(), x.max()])
    axes.set_xlim(*np.quantile(x, (0.001, 0.999)))
    axes.set_ylim(*(y.min() + np.ptp(y) * np.array([-0.04, 1.04])))
    axes.plot(ends, slope * ends + offset, color="#d62728", linewidth=1.5)
    axes.set_xlabel(f"nuclear {label_of(feature)}")
    axes.set_ylabel(f"{gene}, ln(1 + 10⁴ share)")
    axes.set_title(
        f"{sample}: R = {pair['r']:.2f} [{pair['r_low']:.2f}, {pair['r_high']:.2f}], "
        f"{p_text(float(pair['p_permutation']), permutations)}, {q_text(float(pair['q']))}\n"
        f"{len(x):,} {units.level}s, worth {pair['effective_size']:,.0f} independent ones",
        fontsize=9,
    )
    _save(figure, target)


def _column(units: Units, name: str) -> Floats:
    if name in units.features:
        return units.morphology[:, units.features.index(name)]
    return units.expression[:, units.genes.index(name)]


def _save(figure: Any, target: Path) -> None:
    figure.savefig(target, format="png", metadata={"Software": None})
