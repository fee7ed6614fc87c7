"""A probe over an encoder: fitted to the training donors of one fold, it predicts the test donors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave import probes, protocols
from spotweave.benchmark.embeddings import Joined, join, note_of, read_embeddings, require_embeddings
from spotweave.benchmark.predictions import NotPredicted, Prediction
from spotweave.benchmark.sides import require_enough, require_genes, require_split, sides_of
from spotweave.benchmark.splits import inner_folds
from spotweave.benchmark.targets import Spots, Targets
from spotweave.folds import Side, rows_of
from spotweave.probes import Training
from spotweave.protocols import Protocol


@dataclass(frozen=True)
class Cell:
    """What is fitted: a probe over an encoder, under a protocol.

    Attributes
    ----------
    encoder
        Its name; one that ends in `-random` has random weights.
    seed
        Of PCA and whatever a probe draws.
    """

    protocol: str
    encoder: str
    probe: str
    seed: int

    def choices(self, splits: Mapping[str, Any], fold: int) -> dict[str, Any]:
        """What is known before anything is fitted."""
        return {
            "task": splits["task"],
            "protocol": self.protocol,
            "predictor": f"{self.encoder}+{self.probe}",
            "encoder": self.encoder,
            "probe": self.probe,
            "fold": fold,
            "seed": self.seed,
            "note": note_of(self.encoder),
        }


@dataclass(frozen=True)
class Sample:
    """Spots of one sample that have an embedding."""

    name: str
    spots: Spots
    joined: Joined

    def target(self, scale: str, genes: Sequence[str]) -> NDArray[np.float64]:
        """(N, len(genes)) expression of these spots."""
        return self.spots.on_scale(scale, genes)[self.joined.rows]

    def depth(self) -> NDArray[np.float64]:
        """(N,) ln(1 + all counts) of these spots."""
        return np.log1p(self.spots.totals[self.joined.rows])


def predict_fold(
    cell: Cell,
    fold: int,
    splits: Mapping[str, Any],
    targets: Targets,
    embeddings: Mapping[str, Path],
    refusals: Mapping[str, str] | None = None,
) -> Prediction:
    """Fit a probe to the training samples of one fold and predict its test samples.

    Parameters
    ----------
    fold
        Its number; the splits may lack it.
    splits
        Content of `splits.json`.
    embeddings
        Sample id -> `embeddings/{encoder}.h5`; one that is marked as refused is of a refused sample or of an encoder
        that could not be had. Samples outside the folds are not read.
    refusals
        Sample id -> why its embeddings were refused, where they were.

    Returns
    -------
    prediction
        Without rows, and with the reason, where the fold cannot be predicted.
    """
    choices = cell.choices(splits, fold)
    try:
        split = require_split(splits, fold)
        choices |= sides_of(split)
        require_embeddings(splits, embeddings, refusals or {})
        genes = require_genes(targets, fold)
        train, test = (
            [_sample(name, split, side, targets, embeddings) for name in split[side]] for side in ("train", "test")
        )
        protocol = protocols.load(cell.protocol)
        values, details = _fit(cell, protocol, genes, train, test, splits["donors"])
    except NotPredicted as why:
        return Prediction.none(why, choices)
    spots = [np.asarray(sample.spots.names)[sample.joined.rows].tolist() for sample in test]
    both = [sample.joined for sample in (*train, *test)]
    return Prediction(
        values.astype(np.float32),
        [name for names in spots for name in names],
        [sample.name for sample, names in zip(test, spots, strict=True) for _ in names],
        genes,
        choices={
            **details,
            **choices,
            "n_train_spots": sum(len(sample.joined.rows) for sample in train),
            "spots_without_embedding": sum(joined.without_features for joined in both),
            "embeddings_without_spot": sum(joined.without_expression for joined in both),
            "protocol_choices": protocol.as_record(),
        },
    )


def _sample(
    name: str, split: Mapping[str, Any], side: Side, targets: Targets, embeddings: Mapping[str, Path]
) -> Sample:
    found = read_embeddings(embeddings[name], split["fold"])
    if found is None:
        raise NotPredicted(f"the encoder has no embeddings of {name} for fold {split['fold']}")
    spots = targets.spots(name)
    spots = spots.at(rows_of(split, side, name, spots.names))
    return Sample(name, spots, join(spots.names, found))


def _fit(
    cell: Cell,
    protocol: Protocol,
    genes: Sequence[str],
    train: Sequence[Sample],
    test: Sequence[Sample],
    donors: Mapping[str, str],
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """(N, G) predictions of the test spots, and what was chosen on the way."""
    train = [sample for sample in train if len(sample.joined.rows)]
    names = [sample.name for sample in train for _ in sample.joined.rows]
    require_enough(len(names))
    positions_px = np.concatenate([sample.spots.positions_px[sample.joined.rows] for sample in train])
    folds, kind = inner_folds(names, [donors[name] for name in names], positions_px)
    training = Training(
        np.concatenate([sample.joined.features for sample in train]),
        np.concatenate([sample.target(protocol.target, genes) for sample in train]),
        np.repeat(np.arange(len(train)), [len(sample.joined.rows) for sample in train]),
        folds,
        np.concatenate([sample.depth() for sample in train]),
    )
    probe = probes.load(cell.probe).fit(training, protocol.fit, cell.seed)
    values = probe.predict(np.concatenate([sample.joined.features for sample in test]))
    chosen_within = {"inner_folds_of": kind} if protocol.fit.alpha_rule == "cross-validated" else {}
    return values, {**probe.details, **chosen_within}
