"""Predicted genes over the slide's thumbnail."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spotweave.pictures.reduced import read_reduced
from spotweave.predicting.places import Places
from spotweave.predicting.slides import OwnSlide

THUMBNAIL_PX = 900
ACROSS, PANEL_IN, TITLE_IN = 3, 4.0, 0.35
# Of a panel's width, what the bar of its colours leaves to the slide.
SLIDE_SHARE = 0.8
# Beyond these quantiles colours stand still: one spot must not flatten all others.
SHOWN = (0.02, 0.98)
# Of the distance between neighbours; they never touch.
DIAMETER = 0.8
BAR_UM = 1000.0


def draw_genes(
    path: Path,
    slide: OwnSlide,
    places: Places,
    genes: Sequence[str],
    values: NDArray[np.float32],
    diameter_px: float,
    label: str,
) -> None:
    """The slide, and beside it each gene over it.

    Parameters
    ----------
    values
        (N, G) of these genes.
    diameter_px
        Of a spot, px of the slide.
    label
        What the numbers are.
    """
    picture, (scale, _) = read_reduced(slide.path, THUMBNAIL_PX / max(slide.width_px, slide.height_px))
    around = _window(slide, places, diameter_px)
    high_in = SLIDE_SHARE * PANEL_IN * (around[2] - around[3]) / (around[1] - around[0])
    rows = math.ceil((len(genes) + 1) / ACROSS)
    figure = Figure(figsize=(ACROSS * PANEL_IN, rows * (min(high_in, 2 * PANEL_IN) + TITLE_IN)), layout="constrained")
    axes = figure.subplots(rows, ACROSS, squeeze=False).ravel()
    with mpl.rc_context({"text.parse_math": False}):
        for place, one in enumerate(axes):
            one.set_axis_off()
            if place > len(genes):
                continue
            one.imshow(picture, extent=(0, picture.shape[1] * scale, picture.shape[0] * scale, 0), alpha=_alpha(place))
            if place == 0:
                one.set_title(f"{slide.path.name}: {len(places.names):,} places", fontsize=9)
                _scale_bar(one, around, slide.pixel_size_um)
            else:
                _gene(one, figure, places, genes[place - 1], values[:, place - 1], diameter_px, label)
            one.set_xlim(around[0], around[1])
            one.set_ylim(around[2], around[3])
        figure.savefig(path, dpi=110, metadata={"Software": None})


def _alpha(place: int) -> float:
    """Behind colours the slide is pale."""
    return 1.0 if place == 0 else 0.35


def _gene(
    axes: Axes,
    figure: Figure,
    places: Places,
    gene: str,
    values: NDArray[np.float32],
    diameter_px: float,
    label: str,
) -> None:
    sizes = np.full(len(values), diameter_px)
    spots = EllipseCollection(
        *(sizes, sizes, np.zeros(len(values))),
        units="xy",
        offsets=places.positions_px,
        offset_transform=axes.transData,
        cmap="viridis",
    )
    spots.set_array(values)
    spots.set_clim(*np.quantile(values, SHOWN))
    axes.add_collection(spots)
    axes.set_title(gene, fontsize=10, style="italic")
    bar = figure.colorbar(spots, ax=axes, shrink=0.7, pad=0.02)
    bar.set_label(f"predicted {label}", fontsize=7)
    bar.ax.tick_params(labelsize=7)


def _window(slide: OwnSlide, places: Places, diameter_px: float) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of what is shown: the places and a margin, no more than the slide."""
    margin = 2 * diameter_px + 0.03 * np.ptp(places.positions_px, axis=0).max()
    low = np.maximum(places.positions_px.min(axis=0) - margin, 0)
    high = np.minimum(places.positions_px.max(axis=0) + margin, [slide.width_px, slide.height_px])
    return float(low[0]), float(high[0]), float(high[1]), float(low[1])


def _scale_bar(axes: Axes, around: tuple[float, float, float, float], pixel_size_um: float) -> None:
    left, right, bottom, top = around
    x, y = left + 0.04 * (right - left), bottom - 0.04 * (bottom - top)
    axes.plot([x, x + BAR_UM / pixel_size_um], [y, y], color="black", linewidth=3, solid_capstyle="butt")
    axes.text(x, y - 0.015 * (bottom - top), f"{BAR_UM / 1000:g} mm", fontsize=8, va="bottom")
