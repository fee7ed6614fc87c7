"""All chosen metrics over all predictions of one task under one protocol.

What a metric is given is the same whatever made the prediction: truth, raw counts and positions are those of
`targets.h5`, only the predicted values and which spots they are of come from the prediction's file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tqdm import tqdm

from spotweave import metrics, protocols
from spotweave.benchmark import long_table
from spotweave.benchmark.blocks import Sides, whole_and_half
from spotweave.benchmark.folds_table import FoldRow, comparable, frame
from spotweave.benchmark.predictions import PREDICTED, REFUSED, Prediction, read_prediction
from spotweave.benchmark.spread import Spread, SpreadRow
from spotweave.benchmark.targets import Targets
from spotweave.folds import rows_of, split_of
from spotweave.metrics import Array, Scored
from spotweave.protocols import Protocol


@dataclass(frozen=True)
class Scoring:
    """How the predictions of a task are scored.

    Attributes
    ----------
    splits
        Content of `splits.json`.
    metrics
        Names of the metrics to take.
    seed
        Of everything random.
    block_um
        Side of the blocks of tissue that are drawn again.
    """

    splits: Mapping[str, Any]
    protocol: str
    metrics: Sequence[str]
    seed: int
    block_um: float

    def labels(self) -> dict[str, str]:
        """What all predictions have in common."""
        return {"task": self.splits["task"], "protocol": self.protocol}


@dataclass(frozen=True)
class ScoredFold:
    """What a fold is scored on.

    Attributes
    ----------
    scored
        What the metrics are given.
    group_names
        Sample of each group, in the order of its code; one empty name where samples are pooled.
    sample_names
        Sample of each code in `scored.samples`.
    too_small
        Samples left out, with their number of spots.
    note
        What the leaderboard should remark.
    """

    scored: Scored
    group_names: list[str]
    sample_names: list[str]
    too_small: dict[str, int]
    note: str


def score_predictions(
    scoring: Scoring,
    targets: Targets,
    predictions: Mapping[tuple[str, int], Path],
    um_per_px: Mapping[str, float],
    scores: Path,
) -> tuple[list[FoldRow], list[SpreadRow]]:
    """Score prediction after prediction; the long table goes to `scores` as it grows.

    Parameters
    ----------
    predictions
        (Predictor, fold) -> its file.
    um_per_px
        Sample -> size of a pixel of its positions.
    scores
        Parquet file to write, as `long_table` says.

    Returns
    -------
    rows
        How it went, one row a prediction, sorted by predictor and fold.
    spread
        How much scores and their differences vary when the tissue is drawn again.
    """
    rows, spread = [], Spread(lambda sample: _blocks(scoring, targets, sample, um_per_px[sample]))
    with long_table.Writer(scores) as table:
        for (predictor, fold), path in tqdm(sorted(predictions.items()), desc="predictions", disable=None):
            labels = {**scoring.labels(), "predictor": predictor, "fold": fold}
            row, values = score_fold(scoring, targets, labels, path, spread)
            rows.append(row)
            table.write(values)
    return rows, spread.rows(scoring.labels(), comparable(frame(rows)) if rows else [])


def _blocks(scoring: Scoring, targets: Targets, sample: str, um_per_px: float) -> Sides:
    return whole_and_half(sample, targets.spots(sample).positions_px, um_per_px, scoring.block_um, scoring.seed)


def score_fold(
    scoring: Scoring, targets: Targets, labels: Mapping[str, Any], path: Path, spread: Spread | None = None
) -> tuple[FoldRow, pa.Table]:
    """The row of one prediction, and its part of the long table, without rows where it is not scored.

    Where a `spread` is given, it takes the prediction up.
    """
    prediction = read_prediction(path)
    row = FoldRow.of(labels, prediction)
    if prediction.status != PREDICTED:
        return row, long_table.EMPTY
    protocol = protocols.load(scoring.protocol)
    test = truth_beside(scoring, protocol, targets, labels["fold"], prediction, path)
    if len(test.scored.truth) < protocol.min_spots:
        return row.refused(REFUSED, f"no test sample has {protocol.min_spots} spots"), long_table.EMPTY
    if spread is not None:
        spread.add(labels["predictor"], labels["fold"], test.scored, test.sample_names, test.group_names)
    values = [
        _labelled(labels, name, metrics.load(name).score(test.scored), test) for name in sorted(set(scoring.metrics))
    ]
    return (
        row.scored(len(test.scored.truth), len(test.sample_names), len(test.scored.genes), test.too_small, test.note),
        long_table.sorted_table(pa.concat_tables(values)),
    )


def truth_beside(
    scoring: Scoring, protocol: Protocol, targets: Targets, fold: int, prediction: Prediction, path: Path
) -> ScoredFold:
    """Truth beside the prediction, without samples too small to be scored.

    Raises
    ------
    ValueError
        If the prediction is not one of this fold: other genes, other samples, spots in another order.
    """
    genes = targets.fold(fold).genes
    if list(prediction.genes) != genes:
        raise ValueError(f"{path}: its genes are not those of fold {fold}")
    split = split_of(scoring.splits, fold)
    test_samples = split["test"]
    rows_by = _rows_by_sample(prediction, test_samples, path)
    least = protocol.min_spots if protocol.score_over == "sample" else 1
    names = [name for name in test_samples if len(rows_by[name]) >= least]
    truth, counts, positions_px = [], [], []
    for name in names:
        spots = targets.spots(name)
        rows = _rows_of_spots(spots.names, [prediction.spots[row] for row in rows_by[name]], path)
        trained = np.setdiff1d(rows, rows_of(split, "test", name, spots.names))
        if len(trained):
            raise ValueError(f"{path}: {name} {spots.names[trained[0]]} is no test spot of fold {fold}")
        truth.append(spots.on_scale(protocol.target, genes)[rows])
        counts.append(spots.counts_of(genes)[rows])
        positions_px.append(spots.positions_px[rows])
    unmet = [name for name, values in zip(names, counts, strict=True) if np.isnan(values).all()]
    samples = np.repeat(np.arange(len(names)), [len(values) for values in truth])
    is_pooled = protocol.score_over == "pooled"
    chosen = np.concatenate([rows_by[name] for name in names]) if names else np.empty(0, dtype=np.int64)
    empty = np.empty((0, len(genes)))
    return ScoredFold(
        Scored(
            np.concatenate([empty, *truth]),
            np.concatenate([empty, *counts]),
            prediction.values[chosen].astype(np.float64),
            np.concatenate([np.empty((0, 2)), *positions_px]),
            samples,
            np.zeros_like(samples) if is_pooled else samples,
            genes,
            protocol.permutations,
            scoring.seed,
        ),
        [""] if is_pooled else names,
        names,
        {name: len(rows_by[name]) for name in test_samples if name not in names},
        f"none of the genes is in {', '.join(unmet)}, by name or by gene_id" if unmet else "",
    )


def _rows_by_sample(prediction: Prediction, test_samples: Sequence[str], path: Path) -> dict[str, NDArray[np.int64]]:
    samples = np.asarray(prediction.samples, dtype=str)
    strangers = sorted(set(samples.tolist()) - set(test_samples))
    if strangers:
        raise ValueError(f"{path}: {strangers[0]} is no test sample of its fold")
    return {name: np.flatnonzero(samples == name) for name in test_samples}


def _rows_of_spots(known: Sequence[str], named: Iterable[str], path: Path) -> NDArray[np.int64]:
    """Where the spots of a prediction are among those of their sample."""
    row_of = {name: row for row, name in enumerate(known)}
    rows = [row_of.get(name, -1) for name in named]
    if any(after <= before for before, after in zip([-1, *rows], rows, strict=False)):
        raise ValueError(f"{path}: its spots are not those of st.h5ad, once each and in their order")
    return np.array(rows, dtype=np.int64)


def _labelled(labels: Mapping[str, Any], metric: str, values: Array, test: ScoredFold) -> pa.Table:
    """Values of one metric as rows of the long table."""
    genes = test.scored.genes
    if values.ndim == 0:
        return long_table.rows(labels, metric, [""], [""], values.reshape(1))
    if values.shape != (len(test.group_names), len(genes)):
        asked = f"one value, or {len(test.group_names)} groups x {len(genes)} genes"
        raise ValueError(f"metric {metric}: its score has the shape {values.shape}, allowed: {asked}")
    groups = [name for name in test.group_names for _ in genes]
    return long_table.rows(labels, metric, groups, list(genes) * len(test.group_names), values.ravel())
