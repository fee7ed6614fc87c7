"""How well expression is predicted from an embedding that stays as it is: mean squared errors by gene."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from spotweave.evaluation import SEEDS, Origins, Row
from spotweave.evaluation.sides import GUARD_UM, NoSides, Round, Sides, rounds, without_validation

# Markers of layers, laminar genes and others: ST-Align, table 3.
NINE_GENES = ("FABP7", "CCK", "PVALB", "PCP4", "MOBP", "SNAP25", "IGKC", "HBB", "NPY")
REGRESSORS = ("ridge", "mlp")
STRENGTHS = np.logspace(
    -2, 6, 17
)  # of the ridge, for columns of variance 1; chosen by leaving out single training spots
HIDDEN = (256,)  # of the MLP; ST-Align gives no size
FLOOR = "gene_mse_of_mean"

Array = NDArray[np.float64]


def gene_errors(
    embedding: NDArray[np.floating],
    targets: Array,
    genes: Sequence[str],
    origins: Origins,
    way: str,
    seeds: Sequence[int] = SEEDS,
    *,
    regressor: str = "ridge",
    guard_um: float = GUARD_UM,
    tested: Collection[str] = (),
) -> list[Row]:
    """Mean squared error of each gene on test spots, and its mean over genes (rows without a gene).

    `random` deals out the spots of each sample on its own, 80:20, as published with ST-Align; rows without a sample are
    the mean over samples. Other ways learn from all samples together.

    Parameters
    ----------
    embedding, targets
        (N, D), and (N, G) expression on the scale of the errors.
    way, guard_um, tested
        As for `sides.rounds`.
    seeds
        Of the split where one is drawn, and of the MLP; a ridge is the same for all where nothing is drawn.
    regressor
        `ridge`, or `mlp` (one hidden layer, stopped early).

    Returns
    -------
    Rows `gene_mse_<regressor>`, and `gene_mse_of_mean`, which predicts the mean of training spots.
    """
    if regressor not in REGRESSORS:
        raise ValueError(f"no regressor {regressor!r}: {', '.join(REGRESSORS)} are")
    what = f"gene_mse_{regressor}"
    parts = origins.samples() if way == "random" else [""]
    rows: list[Row] = []
    for name in parts:
        chosen = origins.sample == name if name else np.ones(len(origins), dtype=bool)
        try:
            found = rounds(way, origins.rows(chosen), seeds, guard_um=guard_um, tested=tested)
        except NoSides as error:
            rows.append(Row(what, None, way, sample=name, note=str(error)))
            continue
        for one in found:
            rows += _round(embedding[chosen], targets[chosen], genes, (what, way, name), one)
    return rows + (_over_samples(rows) if way == "random" else [])


def _round(
    embedding: NDArray[np.floating], targets: Array, genes: Sequence[str], where: tuple[str, str, str], one: Round
) -> list[Row]:
    what, way, sample = where
    rows = []
    for seed, validated in one.by_seed.items():
        sides = without_validation(way, validated)
        if len(sides.train) < 2 or not len(sides.test):
            note = f"{len(sides.train)} spots to learn from, {len(sides.test)} to test on"
            return [Row(what, None, way, one.fold, sample=sample, note=note)]
        predicted = _predict(embedding, targets, sides, what.removeprefix("gene_mse_"), seed)
        mean = np.broadcast_to(targets[sides.train].mean(axis=0), predicted.shape)
        for name, given in ((what, predicted), (FLOOR, mean)):
            errors = ((given - targets[sides.test]) ** 2).mean(axis=0)
            values = [*zip(genes, errors.tolist(), strict=True), ("", float(errors.mean()))]
            rows += [Row(name, value, way, one.fold, seed, sample, gene) for gene, value in values]
    return rows


def _predict(
    embedding: NDArray[np.floating], targets: Array, sides: Sides, regressor: str, seed: int
) -> NDArray[np.float64]:
    """(test spots, G), columns of the embedding scaled by training spots."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import RidgeCV
    from sklearn.neural_network import MLPRegressor

    learned = embedding[sides.train].astype(np.float64)
    centre, spread = learned.mean(axis=0), learned.std(axis=0)
    spread[spread == 0] = 1.0
    mlp = MLPRegressor(hidden_layer_sizes=HIDDEN, early_stopping=True, random_state=seed)
    model = RidgeCV(STRENGTHS) if regressor == "ridge" else mlp
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((learned - centre) / spread, targets[sides.train])
    predicted = model.predict((embedding[sides.test] - centre) / spread)
    return np.asarray(predicted, dtype=np.float64).reshape(len(sides.test), targets.shape[1])


def _over_samples(rows: Sequence[Row]) -> list[Row]:
    values: dict[tuple[str, str, int | None, str], list[float]] = {}
    for row in rows:
        if row.value is not None:
            values.setdefault((row.what, row.split, row.seed, row.gene), []).append(row.value)
    return [
        Row(what, float(np.mean(of)), split, seed=seed, gene=gene) for (what, split, seed, gene), of in values.items()
    ]
