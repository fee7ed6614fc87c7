"""Predictions averaged over a patient against bulk expression of the patient: over genes, and over patients.

As the benchmark of eleven methods does with TCGA (Wang, Chan et al. 2025): ln(max(prediction, 0) + 1) against ln(bulk)
of genes whose ln(bulk) is above 5. Its figures by patient are those of its code; the ones by gene that it ranks by are
made nowhere in that code, and are here the same functions over the same pairs, by gene.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from spotweave.correlation import pearson_by_group
from spotweave.metrics._agreement import js_divergence, mutual_information, rmse
from spotweave.studies.outcomes import Array

PATIENT, GENE = "patient", "gene"
COLUMNS = ("level", "unit", "metric", "value")
EXPRESSED = 5.0
# Fewer values than bins say nothing of mutual information; infotheo reads beyond them.
LEAST = 10


def pearson(truth: Array, prediction: Array) -> float:
    """Pearson's correlation; NaN where one of both is constant."""
    return float(pearson_by_group(truth[:, None], prediction[:, None], np.zeros(len(truth), np.int64))[0, 0])


def nrmse_range(truth: Array, prediction: Array) -> float:
    """Root of the mean squared error by the range of the truth; NaN where that is constant."""
    width = float(np.ptp(truth))
    return rmse(truth, prediction) / width if width > 0 else float("nan")


# Metric -> its function of (N,) truth and prediction.
METRICS: dict[str, Callable[[Array, Array], float]] = {
    "pearson": pearson,
    "mutual_information": mutual_information,
    "js_divergence": js_divergence,
    "nrmse_range": nrmse_range,
}


def agreement(predicted: pd.DataFrame, bulk: pd.DataFrame) -> pd.DataFrame:
    """Every metric of every patient over genes, and of every gene over patients.

    Parameters
    ----------
    predicted, bulk
        Patients by genes, not transformed; what one of them lacks, or has as NaN, is left out.

    Returns
    -------
    table
        `COLUMNS`: `level` (`patient`, `gene`), `unit` (which one), `metric`, `value`; sorted. Units of fewer than ten
        pairs have no value.

    Raises
    ------
    ValueError
        No patient and gene are in both.
    """
    patients, genes = predicted.index.intersection(bulk.index), predicted.columns.intersection(bulk.columns)
    if not len(patients) or not len(genes):
        raise ValueError(
            f"predictions and bulk have {len(patients)} patients and {len(genes)} genes in common;"
            " name both as the other table does"
        )
    patients, genes = patients.sort_values(), genes.sort_values()
    with np.errstate(divide="ignore", invalid="ignore"):
        truth = np.log(bulk.loc[patients, genes].to_numpy(np.float64))
        found = np.log1p(predicted.loc[patients, genes].clip(lower=0).to_numpy(np.float64))
    pairs = (truth > EXPRESSED) & ~np.isnan(found)
    rows = [
        (level, unit, metric, value_of(own[kept], other[kept]) if kept.sum() >= LEAST else float("nan"))
        for level, units, sides in (
            (GENE, genes, (truth.T, found.T, pairs.T)),
            (PATIENT, patients, (truth, found, pairs)),
        )
        for unit, own, other, kept in zip(units, *sides, strict=True)
        for metric, value_of in sorted(METRICS.items())
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def means(table: pd.DataFrame) -> pd.DataFrame:
    """`level, metric, value`: means of `agreement` over units that have a value, NaN where none has."""
    return table.groupby(["level", "metric"], as_index=False)["value"].mean()
