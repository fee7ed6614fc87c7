"""The exploration of one sample: a table of correlations, and three figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from spotweave.biomarkers import figures
from spotweave.biomarkers.correlate import correlate
from spotweave.biomarkers.settings import SPOT, Settings
from spotweave.biomarkers.shifts import pitch_of
from spotweave.biomarkers.units import Files, Units, gather

METADATA = "spotweave"


@dataclass(frozen=True)
class Outputs:
    """Where the results go: a .parquet and three .png."""

    correlations: Path
    matrix: Path
    heatmaps: Path
    scatter: Path


def explore(sample: str, files: Files, settings: Settings, seed: int, outputs: Outputs) -> dict[str, Any]:
    """Correlate the morphology of a sample's nuclei with its expression.

    Returns
    -------
    Measures of the record: `level`, `model`, `units`, `units_without_nuclei`, `genes`, `genes_missing`, `features`,
    `pairs`, `significant` (pairs of q up to the configured rate), `top` (the pair of smallest P: `gene`, `feature`,
    `r`, `r_low`, `r_high`, `p`, `q`), `range_um`, `block_um`, `permutations`, `fdr`, `note` (why the table
    is empty). The same stand in the table's metadata under `spotweave`.
    """
    units = gather(sample, files, settings)
    table, found = correlate(units, settings, seed)
    top = _top(table)
    measures: dict[str, Any] = {
        "level": units.level,
        "units": len(units.xy_px),
        "genes": len(units.genes),
        "features": len(units.features),
        **units.said,
        "classes": list(settings.classes),
        "pairs": len(table),
        "significant": int((table["q"] <= settings.fdr).sum()),
        "top": None if top is None else {name: top[name] for name in _TOLD},
        "fdr": settings.fdr,
        "seed": seed,
        **found,
    }
    written = pa.Table.from_pandas(table, preserve_index=False)
    said = {METADATA: json.dumps({"sample": sample, **measures}, sort_keys=True)}
    pq.write_table(written.replace_schema_metadata(said), outputs.correlations, compression="zstd")
    if top is None:
        for target in (outputs.matrix, outputs.heatmaps, outputs.scatter):
            figures.nothing(target, sample, str(found["note"]))
        return measures
    _draw(sample, files, table, _shown(table, settings.pair, top), units, settings, outputs)
    return measures


_TOLD = ("gene", "feature", "r", "r_low", "r_high", "p", "q")


def _top(table: pd.DataFrame) -> pd.Series | None:
    """The pair of smallest P; of equal ones that of larger R."""
    if table.empty:
        return None
    order = np.lexsort((-table["r"].abs().to_numpy(), table["p"].to_numpy()))
    return table.iloc[order[0]]


def _shown(table: pd.DataFrame, pair: Sequence[str], top: pd.Series) -> pd.Series:
    """The pair that is configured, `top` where there is none or the sample does not have it."""
    if len(pair) != 2:
        return top
    gene, feature = pair
    own = table[(table["gene"] == gene) & table["feature"].isin([feature, f"{feature}_mean"])]
    return top if own.empty else own.iloc[0]


def _draw(
    sample: str,
    files: Files,
    table: pd.DataFrame,
    pair: pd.Series,
    units: Units,
    settings: Settings,
    outputs: Outputs,
) -> None:
    spatial = anndata.read_h5ad(files.st, backed="r").uns["spatial"]["ST"]
    picture = np.asarray(spatial["images"]["downscaled_fullres"])
    scale = float(spatial["scalefactors"]["tissue_downscaled_fullres_scalef"])
    spot_px = float(spatial["scalefactors"]["spot_diameter_fullres"])
    diameter_px = spot_px if units.level == SPOT else pitch_of(units.xy_px)
    figures.matrix(outputs.matrix, sample, table, units, settings.fdr)
    figures.heatmaps(outputs.heatmaps, sample, pair, units, figures.Slide(picture, scale, diameter_px))
    figures.scatter(outputs.scatter, sample, pair, units)
