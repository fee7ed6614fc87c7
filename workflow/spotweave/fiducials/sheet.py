"""The sheet that a frame is drawn on: its panels, parts of the picture in them, and the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from spotweave.io import atomic

RGB = NDArray[np.uint8]
# Blue for what was found, orange for what was not: told apart by everyone (Okabe and Ito's palette).
FOUND, MISSED, SPOT, CROSS, UNUSED = "#0072B2", "#D55E00", "#009E73", "#F0E442", "#404040"
MARKS = (FOUND, MISSED, SPOT, CROSS, UNUSED, "#000000", "#FFFFFF")
MOST_CONTRAST = 4.0  # times which a faint corner is stretched
# The layout, in px of the picture drawn.
WIDTH, MARGIN, GAP = 1600, 16, 12
WHOLE, CORNER, BETWEEN = 936, 300, 28
LINE = 19
NAME_WIDTH, REASON_WIDTH = 80, 205  # characters


class Sheet:
    """A figure of fixed size: headlines, a large panel at the left, small ones at the right, a legend below."""

    def __init__(self, name: str, verdict: str, is_good: bool, lines: Sequence[str], reasons: Sequence[str]) -> None:
        notes = [(line, "black") for line in lines] + [(line, MISSED) for line in _wrapped(reasons, REASON_WIDTH)]
        self._top = 2 * MARGIN + 44 + LINE * len(notes)
        self._below = self._top + WHOLE
        self.height = self._top + 3 * CORNER + 2 * BETWEEN + MARGIN + 20
        self._figure = Figure(figsize=(WIDTH / 100, self.height / 100), dpi=100, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)
        shown = name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…"
        self._text(MARGIN, MARGIN + 12, shown, size=15, weight="bold", va="center")
        badge = {"boxstyle": "round,pad=0.35", "facecolor": FOUND if is_good else MISSED, "edgecolor": "none"}
        self._text(
            WIDTH - MARGIN - 8, MARGIN + 12, verdict, size=14, weight="bold", va="center", ha="right", color="white"
        ).set_bbox(badge)
        for k, (line, colour) in enumerate(notes):
            self._text(MARGIN, MARGIN + 34 + LINE * k, line, size=10.5, va="top", color=colour)

    def _text(self, left: float, top: float, text: str, **style: Any) -> Any:
        return self._figure.text(left / WIDTH, 1 - top / self.height, text, parse_math=False, **style)

    def _panel(self, left: float, top: float, width: float, height: float) -> Any:
        return self._figure.add_axes(
            (left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)
        )

    def whole(self, picture: RGB) -> tuple[Any, float]:
        """Axes in px of the picture, the picture in them; and how many px of the sheet one of its px takes."""
        height, width = picture.shape[:2]
        scale = min(WHOLE / width, WHOLE / height)
        shown = max(round(width * scale), 1), max(round(height * scale), 1)
        axes = self._panel(MARGIN, self._top, *shown)
        self._below = self._top + shown[1]
        smaller = cv2.resize(picture, shown, interpolation=cv2.INTER_AREA) if scale < 1 else picture
        show(axes, _brightened(np.asarray(smaller)), (0.0, 0.0, width, height))
        return axes, scale

    def corner(self, panel: int, title: str) -> Any:
        """One of four square panels, row by row."""
        return self._square(panel, title)

    def map(self, title: str) -> Any:
        """The square panel below the corners."""
        return self._square(4, title)

    def chart(self, column: int, title: str) -> Any:
        """A panel below the corners with axes."""
        left, top = self._titled(4 + column, title)
        axes = self._panel(left + 32, top, CORNER - 40, CORNER - 6)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def _square(self, panel: int, title: str) -> Any:
        axes = self._panel(*self._titled(panel, title), CORNER, CORNER)
        axes.set_axis_off()
        return axes

    def _titled(self, panel: int, title: str) -> tuple[float, float]:
        """Write a panel's title; the left and top of the panel."""
        row, column = divmod(panel, 2)
        left = WIDTH - MARGIN - (2 - column) * CORNER - (1 - column) * GAP
        top = self._top + row * (CORNER + BETWEEN)
        self._text(left, top - 12, title, size=10, va="center")
        return left, top

    def legend(self, handles: Sequence[Line2D]) -> None:
        """Draw the key below the whole picture."""
        self._figure.legend(
            handles=list(handles),
            loc="upper left",
            bbox_to_anchor=(MARGIN / WIDTH, 1 - (self._below + 12) / self.height),
            ncols=len(handles),
            fontsize=10.5,
            frameon=False,
            handletextpad=0.3,
            columnspacing=1.6,
            borderaxespad=0,
            borderpad=0,
        )

    def image(self) -> Image.Image:
        """What was drawn."""
        self._canvas.draw()
        return Image.fromarray(np.asarray(self._canvas.buffer_rgba())[..., :3].copy())


def write(path: Path, image: Image.Image) -> None:
    """Write a picture as a PNG in 256 colours."""
    with atomic(path) as part:
        _with_palette(image).save(part, format="png")


def _with_palette(image: Image.Image) -> Image.Image:
    """In 256 colours, which take a third of the bytes: H&E has few hues, and the marks keep theirs."""
    marks = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in MARKS]
    own = image.quantize(256 - len(MARKS), method=Image.Quantize.FASTOCTREE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*np.ravel(marks).tolist(), *own][: 3 * 256])
    reduced = image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    index, pixels = np.array(reduced), np.asarray(image)
    for number, colour in enumerate(marks):
        index[(pixels == colour).all(axis=2)] = number
    exact = Image.fromarray(index)
    exact.putpalette(reduced.getpalette() or [])
    return exact


def _wrapped(lines: Sequence[str], width: int) -> list[str]:
    return [part for line in lines for part in wrap(line, width)]


def _brightened(picture: RGB) -> RGB:
    """The glass nearly white, so that lines stand out."""
    bright = max(float(np.percentile(picture, 95)), 1.0)
    gain = min(max(243 / bright, 1.0), 1.6)
    return np.minimum(picture * gain, 255).astype(np.uint8)


def _stretched(picture: RGB) -> RGB:
    """Contrast for faint dots; all channels alike, that hues stay."""
    low, high = np.percentile(picture, (0.5, 99.5))
    gain = min(235 / max(high - low, 1.0), MOST_CONTRAST)
    return np.clip(245 - (high - picture.astype(np.float32)) * gain, 0, 255).astype(np.uint8)


def show(axes: Any, picture: RGB, box: tuple[float, float, float, float]) -> None:
    """Show a picture in axes of its px; `box` is left, top, right, bottom."""
    left, top, right, bottom = box
    axes.imshow(picture, extent=(left, right, bottom, top), interpolation="bicubic", aspect="auto")
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.set_axis_off()
    axes.set_autoscale_on(False)


def zoom(axes: Any, picture: RGB, centre: NDArray[np.float64], reach_px: float) -> bool:
    """Show a square of the picture, white beyond its edges; whether any of it lies inside."""
    low, high = np.floor(centre - reach_px).astype(int), np.ceil(centre + reach_px).astype(int)
    first, last = np.clip(low, 0, picture.shape[1::-1]), np.clip(high, 0, picture.shape[1::-1])
    (left, top), (right, bottom) = first, last
    is_inside = bool(left < right and top < bottom)
    if is_inside:
        part = picture[top:bottom, left:right]
        factor = CORNER / (high - low).max()
        if factor < 1:
            size = max(round((right - left) * factor), 1), max(round((bottom - top) * factor), 1)
            part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA))
        show(axes, _stretched(part), (left, top, right, bottom))
    else:
        say(axes, "outside the picture")
    edge = centre[:, None] + reach_px * np.array([(-1, 1), (-1, 1)])
    axes.set(xlim=edge[0], ylim=edge[1, ::-1])
    axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, edgecolor="0.6", clip_on=False))
    return is_inside


def say(axes: Any, text: str) -> None:
    """Write a text into an empty panel."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, size=10.5, ha="center", va="center", transform=axes.transAxes, parse_math=False)
