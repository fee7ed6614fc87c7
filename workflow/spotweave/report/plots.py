"""Pictures a person judges a sample by. All are deterministic: no dates, fixed sizes, Agg backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure

matplotlib.use("Agg")

WIDTH_IN = 9.0
MARGIN_IN = 0.1
TITLE_IN = 0.4
BAR_IN = 0.9  # the colour bar with its numbers and its label


def _picture_axes(picture: np.ndarray, scale: float, title: str, beside_in: float = 0) -> tuple[Figure, Any]:
    """A figure that shows a picture reduced by `scale` (reduced px per slide px) in slide pixels.

    Places are given in inches: a layout that is searched for draws everything once more. `beside_in` is left free on
    the right.
    """
    height, width = picture.shape[:2]
    wide_in = WIDTH_IN - 2 * MARGIN_IN - beside_in
    high_in = wide_in * height / width
    figure_in = (WIDTH_IN, high_in + MARGIN_IN + TITLE_IN)
    figure = Figure(figsize=figure_in, dpi=100)
    axes = figure.add_axes(_shares(figure_in, MARGIN_IN, MARGIN_IN, wide_in, high_in))
    axes.imshow(picture, extent=(0, width / scale, height / scale, 0), interpolation="bilinear")
    axes.set_title(title, fontsize=11)
    axes.set_axis_off()
    return figure, axes


def _shares(
    figure_in: tuple[float, float], left_in: float, bottom_in: float, width_in: float, height_in: float
) -> tuple[float, float, float, float]:
    """A place in inches as shares of the figure."""
    across, up = figure_in
    return left_in / across, bottom_in / up, width_in / across, height_in / up


def _save(figure: Figure, target: Path) -> None:
    figure.savefig(target, format="png", metadata={"Software": None})


def spatial_plot(
    target: Path,
    picture: np.ndarray,
    scale: float,
    xy_px: np.ndarray,
    diameter_px: float,
    values: np.ndarray,
    title: str,
    label: str,
) -> None:
    """Spots at their true size over the picture, coloured by one value each.

    Parameters
    ----------
    picture, scale
        (H, W, 3) uint8 and its px per slide px.
    xy_px, diameter_px
        (N, 2) centres and the diameter, in slide px.
    values
        (N,) float.
    """
    figure, axes = _picture_axes(picture, scale, title, BAR_IN)
    discs = EllipseCollection(
        np.full(len(xy_px), diameter_px),
        np.full(len(xy_px), diameter_px),
        np.zeros(len(xy_px)),
        units="xy",
        offsets=xy_px,
        transOffset=axes.transData,
        cmap="viridis",
        alpha=0.75,
    )
    discs.set_array(values)
    axes.add_collection(discs)
    inches = float(figure.get_figwidth()), float(figure.get_figheight())
    high_in = inches[1] - MARGIN_IN - TITLE_IN
    place_in = (WIDTH_IN - MARGIN_IN - BAR_IN + 0.1, MARGIN_IN + 0.2 * high_in, 0.2, 0.6 * high_in)
    figure.colorbar(discs, cax=figure.add_axes(_shares(inches, *place_in)), label=label)
    _save(figure, target)


def pixel_size_plot(
    target: Path,
    picture: np.ndarray,
    scale: float,
    fitted_px: np.ndarray,
    vendor_px: np.ndarray,
    pixel_size_um: float,
    title: str,
) -> None:
    """The fitted lattice (crosses) over the vendor's spot centres (dots), and a scale bar of 1 mm.

    Where crosses drift off dots across the section, the pixel size is wrong; where the bar is wrong against
    the tissue, the pitch is.
    """
    figure, axes = _picture_axes(picture, scale, title)
    axes.plot(*vendor_px.T, "o", markersize=4, color="#1f77b4", alpha=0.7, label="spot, by the vendor")
    axes.plot(*fitted_px.T, "+", markersize=7, color="#d62728", label="fitted lattice")
    bar_px = 1000 / pixel_size_um
    margin_px = 0.4 * bar_px
    low, high = np.nanmin(vendor_px, axis=0) - margin_px, np.nanmax(vendor_px, axis=0) + margin_px
    low, high = np.maximum(low, 0), np.minimum(high, np.array(picture.shape[1::-1]) / scale)
    x0, y0 = low[0] + 0.2 * margin_px, high[1] - 0.3 * margin_px
    axes.plot([x0, x0 + bar_px], [y0, y0], color="black", linewidth=3, solid_capstyle="butt")
    axes.text(x0 + bar_px / 2, y0 - 0.1 * margin_px, "1 mm", ha="center", va="bottom", fontsize=10)
    axes.legend(loc="upper right", fontsize=9)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(high[1], low[1])
    _save(figure, target)
