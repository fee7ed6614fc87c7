"""Nuclei in the discs of spots: how many, of which class, and of which size and shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spotweave.nuclei.morphology import FEATURES, NEIGHBOURHOOD
from spotweave.nuclei.table import NucleiTable, read_nuclei

COUNT = "nuclei"
PER_TISSUE = "nuclei_per_mm2"
SHARE = "nuclei_share_"
MEASURED = (*FEATURES, *NEIGHBOURHOOD)
STATISTICS = ("mean", "median", "std", "p10", "p90")
CHUNK = 4096

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def share_name(name: str) -> str:
    """The column of a class's share."""
    return SHARE + name.lower().replace(" ", "_")


def counts(nuclei: Path, xy_px: Floats, diameter_px: float) -> pd.DataFrame:
    """Count the nuclei whose centroid lies in each spot's disc.

    Parameters
    ----------
    nuclei
        `nuclei/<model>.parquet`.
    xy_px
        (N, 2) centres of the spots, slide px.
    diameter_px
        Of the disc.

    Returns
    -------
    (N,) rows: `nuclei` float64, and of models with classes `nuclei_share_<class>` float64 (NaN without nuclei). All NaN
    where no nuclei were looked for, and for spots without a place.
    """
    table = read_nuclei(nuclei, ["class"])
    return _counted(table, xy_px, *within(table.xy_px, xy_px, diameter_px / 2))


def within(points: Floats, centres: Floats, radius: float) -> tuple[Ints, Ints]:
    """Every pair (m,) of a disc and a point in it, by disc, then point; a centre with NaN has none."""
    tree = cKDTree(points)
    known = np.flatnonzero(np.isfinite(centres).all(axis=1))
    discs, inside = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(known), CHUNK):
        piece = known[start : start + CHUNK]
        found = tree.query_ball_point(centres[piece], radius, return_sorted=True)
        many = np.array([len(one) for one in found], dtype=np.int64)
        discs.append(np.repeat(piece, many))
        inside.append(np.fromiter((index for one in found for index in one), dtype=np.int64, count=int(many.sum())))
    return np.concatenate(discs), np.concatenate(inside)


def _counted(table: NucleiTable, xy_px: Floats, spot: Ints, nucleus: Ints) -> pd.DataFrame:
    spots = len(xy_px)
    unknown = ~np.isfinite(xy_px).all(axis=1) | (table.note is not None)
    many = np.bincount(spot, minlength=spots).astype(np.float64)
    found = pd.DataFrame({COUNT: np.where(unknown, np.nan, many)})
    classes = table.made_by.get("classes", [])
    if len(classes) > 1:
        names = table.columns["class"].to_numpy()[nucleus]
        for name in classes:
            own = np.bincount(spot[names == name], minlength=spots)
            found[share_name(name)] = np.divide(own, many, out=np.full(spots, np.nan), where=many > 0)
    return found


def summaries(table: NucleiTable, xy_px: Floats, diameter_px: float, tissue_mm2: Floats) -> pd.DataFrame:
    """Sum up size, shape and neighbourhood of the nuclei in each spot's disc.

    Parameters
    ----------
    table
        With the columns `class` and `MEASURED`.
    xy_px, diameter_px
        (N, 2) and the diameter of the discs, slide px.
    tissue_mm2
        (N,) tissue in each disc.

    Returns
    -------
    (N,) rows: what `counts` gives; `nuclei_per_mm2` of tissue in the disc (NaN without any); and of every feature
    `<feature>_mean`, `_median`, `_std` (of the sample; NaN for one nucleus), `_p10`, `_p90` float32, over the nuclei
    for which it is known, NaN without any.
    """
    spot, nucleus = within(table.xy_px, xy_px, diameter_px / 2)
    found = _counted(table, xy_px, spot, nucleus)
    many = found[COUNT].to_numpy()
    found[PER_TISSUE] = np.divide(many, tissue_mm2, out=np.full(len(many), np.nan), where=tissue_mm2 > 0)
    summed = {}
    for name in MEASURED:
        values = table.columns[name].to_numpy(dtype=np.float64)[nucleus]
        for statistic, column in _summed(values, spot, len(xy_px)).items():
            summed[f"{name}_{statistic}"] = column.astype(np.float32)
    return pd.concat([found, pd.DataFrame(summed)], axis=1)


def _summed(values: Floats, spot: Ints, spots: int) -> dict[str, Floats]:
    """`STATISTICS` (spots,) of values (m,); NaN counts nowhere."""
    known = np.isfinite(values)
    values, spot = values[known], spot[known]
    order = np.lexsort((values, spot))
    values, spot = values[order], spot[order]
    many = np.bincount(spot, minlength=spots)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(spot, values, spots) / many
        deviation = np.bincount(spot, (values - mean[spot]) ** 2, spots)
        std = np.sqrt(deviation / np.where(many > 1, many - 1, np.nan))
    quantile = {name: _quantile(values, many, level) for name, level in (("median", 0.5), ("p10", 0.1), ("p90", 0.9))}
    return {"mean": mean, "median": quantile["median"], "std": std, "p10": quantile["p10"], "p90": quantile["p90"]}


def _quantile(values: Floats, many: Ints, level: float) -> Floats:
    """The quantile (spots,) of values sorted by spot, between neighbours by proportion, as numpy does by default."""
    some = np.flatnonzero(many)
    starts = (np.cumsum(many) - many)[some]
    place = level * (many[some] - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, many[some] - 1)
    first, second = values[starts + low], values[starts + high]
    found = np.full(len(many), np.nan)
    found[some] = first + (place - low) * (second - first)
    return found
