"""One task x protocol x encoder x probe: fit on the training donors of each fold, score the test donors."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spotweave import probes, protocols
from spotweave.benchmark.scores import null_means, pearson_by_unit, summarise
from spotweave.benchmark.splits import inner_folds
from spotweave.benchmark.tasks import Task
from spotweave.expression.gene_names import why_they_do_not_meet
from spotweave.expression.genes import most_variable_genes
from spotweave.expression.samples import Expression, Joined, join, read_embeddings, read_expression, with_meeting_genes
from spotweave.expression.targets import target_of
from spotweave.io import is_refused, remove, write_json
from spotweave.probes import Training
from spotweave.protocols import Protocol

Row = dict[str, Any]

COLUMNS = (
    "task",
    "protocol",
    "encoder",
    "probe",
    "fold",
    "test_donors",
    "n_train_spots",
    "n_test_spots",
    "n_test_samples",
    "n_genes",
    "pearson_mean",
    "pearson_mean_zero",
    "pearson_undefined",
    "n_pearson",
    "pearson_null95",
    "alpha",
    "components",
    "inner_folds_of",
    "seed",
    "task_notes",
    "note",
)
MIN_TRAIN_SPOTS = 10
NULL_PERCENTILE = 95
SCORE_DECIMALS = 6
RANDOM_WEIGHTS = "random weights"


class NotScored(Exception):
    """A fold, or all of them, cannot be scored; the message says why and goes to the tables."""


@dataclass(frozen=True)
class Cell:
    """One cell of the leaderboard.

    Attributes
    ----------
    encoder
        Its name; one that ends in `-random` has random weights.
    seed
        Of PCA, permutations and whatever a probe draws.
    """

    task: Task
    protocol: str
    encoder: str
    probe: str
    seed: int

    def labels(self) -> Row:
        """The columns that every row of the cell begins and ends with."""
        return {
            "task": self.task.name,
            "protocol": self.protocol,
            "encoder": self.encoder,
            "probe": self.probe,
            "seed": self.seed,
            "task_notes": self.task.notes,
            "note": RANDOM_WEIGHTS if self.encoder.endswith("-random") else "",
        }


@dataclass(frozen=True)
class Fold:
    """What one fold is made of.

    Attributes
    ----------
    split
        Its entry in `splits.json`.
    genes
        Names of the genes to predict.
    train, test
        Samples with at least one spot, and with enough test spots to be scored.
    too_small
        Test samples that have not, with their number of spots.
    """

    split: Mapping[str, Any]
    genes: list[str]
    train: list[Joined]
    test: list[Joined]
    too_small: dict[str, int]


@dataclass(frozen=True)
class Outcome:
    """One row of `scores.csv` and, if the fold was scored, the content of its `fold{k}.json`."""

    row: Row
    record: dict[str, Any] | None = None


def evaluate(
    cell: Cell,
    splits: Mapping[str, Any],
    expression: Mapping[str, Path],
    embeddings: Mapping[str, Path],
    refusals: Mapping[str, str] | None = None,
) -> list[Outcome]:
    """Score every fold of `splits`.

    Parameters
    ----------
    splits
        Content of `splits.json`.
    expression, embeddings
        Sample id -> `st.h5ad`, and -> `embeddings/{encoder}.h5`; an empty file is a refused sample or an encoder that
        could not be had. Samples outside the folds are not read.
    refusals
        Sample id -> why its embeddings were refused, where they were.

    Returns
    -------
    outcomes
        One for each fold in order. If nothing can be scored (no folds, no encoder), a single row without a fold whose
        `note` says why.
    """
    try:
        samples = _samples_of(splits)
        _require_embeddings(samples, embeddings, refusals or {})
    except NotScored as reason:
        return [Outcome(_row(cell, note=str(reason)))]
    read = [read_expression(expression[name], name) for name in tqdm(samples, desc="expression", disable=None)]
    counts = dict(zip(samples, with_meeting_genes(read), strict=True))
    protocol = protocols.load(cell.protocol)
    outcomes = []
    for split in tqdm(splits["folds"], desc="folds", disable=None):
        try:
            fold = assemble(cell, protocol, split, counts, embeddings)
            outcomes.append(_score(cell, protocol, fold, splits["donors"]))
        except NotScored as reason:
            outcomes.append(Outcome(_row(cell, split, note=str(reason))))
    return outcomes


def write_outcomes(outcomes: Sequence[Outcome], scores: Path, folder: Path) -> list[Path]:
    """Write `fold{k}.json` of every scored fold into `folder` (older ones go first), then the table to `scores`.

    Returns
    -------
    list of Path
        The folds' files.
    """
    for stale in sorted(folder.glob("fold*.json")):
        if re.fullmatch(r"fold\d+\.json", stale.name):
            remove(stale)
    folds = {folder / f"fold{outcome.row['fold']}.json": outcome.record for outcome in outcomes if outcome.record}
    for path, record in folds.items():
        write_json(path, record)
    with open(scores, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(outcome.row for outcome in outcomes)
    return list(folds)


def _samples_of(splits: Mapping[str, Any]) -> list[str]:
    if not splits["folds"]:
        raise NotScored(splits.get("reason") or "the task has no folds")
    return sorted({name for fold in splits["folds"] for name in (*fold["train"], *fold["test"])})


def _require_embeddings(samples: Sequence[str], embeddings: Mapping[str, Path], refusals: Mapping[str, str]) -> None:
    # An encoder scored on fewer samples than the others would not be comparable with them.
    missing = [name for name in samples if is_refused(embeddings[name])]
    if missing:
        which = "any sample" if len(missing) == len(samples) else ", ".join(missing)
        why = next((f"; {refusals[name]}" for name in missing if name in refusals), "")
        raise NotScored(f"the encoder is unavailable: no embeddings of {which}{why}")


def assemble(
    cell: Cell,
    protocol: Protocol,
    split: Mapping[str, Any],
    counts: Mapping[str, Expression],
    embeddings: Mapping[str, Path],
) -> Fold:
    """Choose the genes and join the spots of one fold; `NotScored` where too little is left."""
    chosen_on = sorted(counts) if protocol.genes_from == "all" else split["train"]
    genes = most_variable_genes([counts[name] for name in chosen_on], cell.task.n_genes, cell.task.min_spot_share)
    if not genes:
        share = f"{cell.task.min_spot_share:.0%}"
        why = why_they_do_not_meet(chosen_on, [counts[name].genes.tolist() for name in chosen_on])
        raise NotScored(why or f"no gene is counted in {share} of the spots of every sample it is chosen on")
    train = [_joined(name, split["fold"], counts, embeddings) for name in split["train"]]
    test = [_joined(name, split["fold"], counts, embeddings) for name in split["test"]]
    least = protocol.min_spots if protocol.pearson_over == "sample" else 1
    fold = Fold(
        split,
        genes,
        [sample for sample in train if len(sample.features)],
        [sample for sample in test if len(sample.features) >= least],
        {sample.expression.sample_id: len(sample.features) for sample in test if len(sample.features) < least},
    )
    n_train, n_test = (sum(len(sample.features) for sample in side) for side in (fold.train, fold.test))
    if n_train < MIN_TRAIN_SPOTS:
        raise NotScored(f"{n_train} training spots, at least {MIN_TRAIN_SPOTS} are needed")
    if n_test < protocol.min_spots:
        raise NotScored(f"no test sample has {protocol.min_spots} spots")
    return fold


def _joined(name: str, fold: int, counts: Mapping[str, Expression], embeddings: Mapping[str, Path]) -> Joined:
    found = read_embeddings(embeddings[name], fold)
    if found is None:
        raise NotScored(f"the encoder has no embeddings of {name} for fold {fold}")
    return join(counts[name], found)


def _training(protocol: Protocol, fold: Fold, donors: Mapping[str, str]) -> tuple[Training, str]:
    """Training spots, sample after sample, and what an inner fold holds out."""
    names = [sample.expression.sample_id for sample in fold.train for _ in range(len(sample.features))]
    positions_px = np.concatenate([sample.expression.positions_px for sample in fold.train])
    folds, kind = inner_folds(names, [donors[name] for name in names], positions_px)
    return Training(_features(fold.train), _target(protocol, fold.train, fold.genes), _codes(fold.train), folds), kind


def _features(samples: Sequence[Joined]) -> NDArray[np.float32]:
    return np.concatenate([sample.features for sample in samples])


def _target(protocol: Protocol, samples: Sequence[Joined], genes: Sequence[str]) -> NDArray[np.float64]:
    return np.concatenate([target_of(protocol.target, sample.expression, genes) for sample in samples])


def _codes(samples: Sequence[Joined]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(samples)), [len(sample.features) for sample in samples])


def predict(
    cell: Cell, protocol: Protocol, fold: Fold, donors: Mapping[str, str]
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Fit on the fold's training spots; return (N, G) predictions of its test spots and the probe's details."""
    training, kind = _training(protocol, fold, donors)
    probe = probes.load(cell.probe).fit(training, protocol.fit, cell.seed)
    return probe.predict(_features(fold.test)), {**probe.details, "inner_folds_of": kind}


def _score(cell: Cell, protocol: Protocol, fold: Fold, donors: Mapping[str, str]) -> Outcome:
    prediction, details = predict(cell, protocol, fold, donors)
    target = _target(protocol, fold.test, fold.genes)
    samples = _codes(fold.test)
    units = samples if protocol.pearson_over == "sample" else np.zeros_like(samples)
    correlation = pearson_by_unit(target, prediction, units)
    summary = summarise(correlation)
    null = null_means(target, prediction, units, samples, permutations=protocol.permutations, seed=cell.seed)
    numbers: Row = {
        "n_train_spots": sum(len(sample.features) for sample in fold.train),
        "n_test_spots": len(target),
        "n_test_samples": len(fold.test),
        "n_genes": len(fold.genes),
        "pearson_mean": _rounded(summary.mean),
        "pearson_mean_zero": _rounded(summary.mean_zero),
        "pearson_undefined": summary.undefined,
        "n_pearson": correlation.size,
        "pearson_null95": _rounded(np.percentile(null, NULL_PERCENTILE)),
        "alpha": details["alpha"],
        "components": details["components"],
        "inner_folds_of": details["inner_folds_of"] if "alpha_curve" in details else None,
    }
    unit_names = [sample.expression.sample_id for sample in fold.test] if protocol.pearson_over == "sample" else ["all"]
    record = {
        **cell.labels(),
        **fold.split,
        **numbers,
        "choices": {**protocol.as_record(), "n_genes": cell.task.n_genes, "min_spot_share": cell.task.min_spot_share},
        "alpha_curve": [_rounded(score) for score in details.get("alpha_curve", [])] or None,
        "null_means": [_rounded(mean) for mean in null],
        "genes": [
            {
                "gene": gene,
                "pearson": _rounded(summary.by_gene[column]),
                "pearson_by_sample": dict(zip(unit_names, map(_rounded, correlation[:, column]), strict=True)),
            }
            for column, gene in enumerate(fold.genes)
        ],
        "samples": {sample.expression.sample_id: _spots_record(sample) for sample in (*fold.train, *fold.test)},
        "samples_too_small_to_score": fold.too_small,
    }
    return Outcome(_row(cell, fold.split, note=_unmet(fold), **numbers), record)


def _unmet(fold: Fold) -> str:
    """The test samples that have none of the genes, by name or by id; empty if all have some."""
    names = [sample.expression.sample_id for sample in fold.test if not set(fold.genes) & set(sample.expression.genes)]
    return f"none of the genes is in {', '.join(names)}, by name or by gene_id" if names else ""


def _spots_record(sample: Joined) -> Row:
    return {
        "spots": len(sample.features),
        "spots_without_embedding": sample.without_features,
        "embeddings_without_spot": sample.without_expression,
        "embeddings": sample.dataset,
    }


def _row(cell: Cell, split: Mapping[str, Any] | None = None, note: str = "", **numbers: Any) -> Row:
    """One row of `scores.csv`, columns in order, None (an empty cell) where there is nothing to say."""
    labels = cell.labels()
    if note:
        labels["note"] = "; ".join(filter(None, (labels["note"], note)))
    fold = {"fold": split["fold"], "test_donors": " ".join(split["test_donors"])} if split else {}
    row = {**labels, **fold, **numbers}
    return {column: row.get(column) for column in COLUMNS}


def _rounded(value: float) -> float | None:
    """Fixed decimals, so that the last bits of another BLAS make no other file; None for an undefined value."""
    return None if math.isnan(value) else round(float(value), SCORE_DECIMALS)
