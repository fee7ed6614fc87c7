"""How a picture is lit and stained, in nine numbers, and whether predictions follow them.

The numbers are those of HistoQC (Janowczyk et al. 2019) that the benchmark of eleven methods takes; their first
principal component, over slides, is held against how well each slide was predicted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from skimage.color import rgb2gray, rgb2yuv

from spotweave.correlation import standardised
from spotweave.studies.outcomes import Array

METRICS = (
    "rms_contrast",
    "michelson_contrast",
    "grayscale_brightness",
    *(f"chan{channel}_brightness" for channel in (1, 2, 3)),
    *(f"chan{channel}_brightness_YUV" for channel in (1, 2, 3)),
)
# The benchmark leaves out slides whose first component is 4 or more; its sign is open, so here both ends are.
COMPONENT_MAX = 4.0
LEAST_SLIDES = 4


def measure(picture: NDArray[np.uint8], tissue: NDArray[np.bool_]) -> dict[str, float]:
    """The nine numbers of a picture, by the names that HistoQC gives them.

    Parameters
    ----------
    picture
        (H, W, 3) RGB.
    tissue
        (H, W), which pixels count; at least one.

    Returns
    -------
    values
        Of grey levels 0 to 1 (.2125 R + .7154 G + .0721 B): their standard deviation, (highest - lowest) / (highest +
        lowest), which is NaN where all is black, and mean; means of R, G, B, 0 to 255; means of Y (0 to 1), U and V.

    Raises
    ------
    ValueError
        No pixel counts.
    """
    if not tissue.any():
        raise ValueError("a picture without tissue has no colours: look at its tissue mask")
    pixels = picture[tissue][None]
    grey, yuv = rgb2gray(pixels), rgb2yuv(pixels)
    high, low = float(grey.max()), float(grey.min())
    values = [grey.std(), (high - low) / (high + low) if high > 0 else math.nan, grey.mean()]
    values += [*pixels[0].mean(axis=0), *yuv[0].mean(axis=0)]
    return dict(zip(METRICS, map(float, values), strict=True))


@dataclass(frozen=True)
class Component:
    """The first principal component of slides.

    Attributes
    ----------
    scores
        (S,) of each slide; positive where slides are brighter than most.
    share
        Of the variance of the standardised metrics, 0 to 1.
    """

    scores: Array
    share: float

    @property
    def is_usual(self) -> NDArray[np.bool_]:
        """(S,) whether a slide is less than `COMPONENT_MAX` from the middle."""
        return np.abs(self.scores) < COMPONENT_MAX


def first_component(colours: pd.DataFrame) -> Component:
    """First principal component of slides by `METRICS`, each with mean 0 and variance 1 (n - 1); constant ones as 0.

    Raises
    ------
    ValueError
        Fewer than four slides, or a number is missing.
    """
    values = colours[list(METRICS)].to_numpy(np.float64)
    if len(values) < LEAST_SLIDES or np.isnan(values).any():
        raise ValueError(f"{len(values)} slides: a component takes {LEAST_SLIDES} or more, all nine numbers of each")
    # Of length 1 a column; of variance 1 it is longer by the root of n - 1.
    scaled = np.nan_to_num(standardised(values)) * math.sqrt(len(values) - 1)
    _, sizes, directions = np.linalg.svd(scaled, full_matrices=False)
    direction = directions[0] * np.sign(directions[0, METRICS.index("grayscale_brightness")] or 1)
    return Component(scaled @ direction, float(sizes[0] ** 2 / max((sizes**2).sum(), np.finfo(float).tiny)))


def followed_by(colours: pd.DataFrame, scores: pd.Series) -> pd.DataFrame:
    """Whether slides of certain colours are predicted better.

    Parameters
    ----------
    colours
        Slides by `METRICS`.
    scores
        How well each slide was predicted (a correlation); NaN, and slides of the other alone, are left out.

    Returns
    -------
    table
        `quality` (`component_1`, then `METRICS`), `slides`, `r` (Pearson), `p` (Student's t, two sides) and `q`
        (Benjamini & Hochberg 1995, over the nine; of the component it is its `p`). Slides beyond `COMPONENT_MAX` are
        not used.
    """
    from scipy import stats

    component = first_component(colours)
    usual = colours.assign(component_1=component.scores)[component.is_usual]
    own = scores.reindex(usual.index).dropna()
    usual = usual.loc[own.index]
    rows = []
    for name in ("component_1", *METRICS):
        values = usual[name].to_numpy(np.float64)
        is_told = len(own) > 2 and np.ptp(values) > 0 and np.ptp(own.to_numpy()) > 0
        found = stats.pearsonr(values, own) if is_told else (math.nan, math.nan)
        rows.append((name, len(own), float(found[0]), float(found[1])))
    table = pd.DataFrame(rows, columns=["quality", "slides", "r", "p"])
    table["q"] = table["p"]
    nine = table["quality"] != "component_1"
    told = nine & table["p"].notna()
    if told.any():
        table.loc[told, "q"] = stats.false_discovery_control(table.loc[told, "p"])
    return table
