"""What is handed to a person: a table of predictions, a summary by gene, pictures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.predicting.places import Places

SUMMARY = ("gene", "mean", "sd", "q05", "median", "q95", "drawn")
DIGITS = 6


def write_predictions(
    path: Path,
    values: NDArray[np.float32],
    genes: Sequence[str],
    places: Places,
    padded: NDArray[np.bool_],
    about: Mapping[str, Any],
) -> None:
    """Write an AnnData: `X` (N, G) float32, `obs` `x`, `y` (px) and `padded`, `obsm/spatial`, `uns/prediction`.

    Parameters
    ----------
    about
        Texts, numbers and lists of texts; what there is none of is left out.
    """
    import anndata
    import pandas as pd

    obs = pd.DataFrame(
        {"x": places.positions_px[:, 0], "y": places.positions_px[:, 1], "padded": padded}, index=list(places.names)
    )
    table = anndata.AnnData(values, obs=obs, var=pd.DataFrame(index=list(genes)))
    table.obsm["spatial"] = places.positions_px
    table.uns["prediction"] = {
        name: np.array(value, dtype=object) if isinstance(value, list) else value
        for name, value in sorted(about.items())
        if value is not None
    }
    table.write_h5ad(path, compression="gzip")


def write_summary(path: Path, values: NDArray[np.float32], genes: Sequence[str], drawn: Sequence[str]) -> None:
    """Write a row a gene, those that differ most between places first."""
    low, middle, high = np.quantile(values.astype(np.float64), (0.05, 0.5, 0.95), axis=0)
    mean, sd = values.mean(axis=0, dtype=np.float64), spread(values)
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(SUMMARY)
        for row in most_varied(values):
            numbers = [round(float(one[row]), DIGITS) for one in (mean, sd, low, middle, high)]
            writer.writerow([genes[row], *numbers, "yes" if genes[row] in drawn else "no"])


def spread(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """(G,) standard deviation over places."""
    return np.asarray(values.std(axis=0, dtype=np.float64))


def most_varied(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """(G,) columns, the one that differs most between places first; equal ones in their order."""
    return np.argsort(-np.round(spread(values), DIGITS), kind="stable")
