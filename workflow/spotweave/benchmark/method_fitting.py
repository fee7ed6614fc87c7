"""A method without a probe: fitted to the training spots of one fold, it predicts the test spots."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave import methods, protocols
from spotweave.benchmark.embeddings import note_of, require_embeddings
from spotweave.benchmark.method_inputs import Inputs
from spotweave.benchmark.predictions import NotPredicted, Prediction
from spotweave.benchmark.sides import require_enough, require_genes, require_split, sides_of
from spotweave.benchmark.splits import inner_folds
from spotweave.benchmark.targets import Spots, Targets
from spotweave.folds import Side, rows_of
from spotweave.methods import PATCHES, CannotPredict, Job, Method, Sample, Training, TrainingSample

# Cells of a row that say where and with what its jobs run, and what the file says elsewhere.
NO_SETTINGS = {"method", "kind", "env"}


def predict_fold(
    row: Mapping[str, str],
    protocol_name: str,
    fold: int,
    splits: Mapping[str, Any],
    targets: Targets,
    given: Inputs,
    job: Job,
    model: Path | None = None,
) -> Prediction:
    """Fit a method to the training spots of one fold and predict its test spots.

    Parameters
    ----------
    row
        The method's, of the table of methods, without remarks.
    fold
        Its number; the splits may lack it.
    splits
        Content of `splits.json`.
    given
        Patches are handed to methods that need them and to no others, and embeddings of all samples of the folds to one
        that names an encoder.
    model
        Where a network is kept, once it has predicted; its checkpoints are then thrown away. None keeps none.

    Returns
    -------
    prediction
        Without rows, and with the reason, where the fold cannot be predicted.

    Raises
    ------
    ValueError
        If the method's answer has not a row for each spot and a column for each gene.
    """
    settings = {name: cell for name, cell in row.items() if name not in NO_SETTINGS}
    choices: dict[str, Any] = {
        "task": splits["task"],
        "protocol": protocol_name,
        "predictor": row["method"],
        "method": row["method"],
        "kind": row["kind"],
        "settings": json.dumps(settings, sort_keys=True),
        "fold": fold,
        "seed": job.seed,
    }
    encoder = row.get("encoder")
    if encoder:
        choices |= {"encoder": encoder, "note": note_of(encoder)}
    if not methods.needs(row, PATCHES):
        given = replace(given, pictures={})
    protocol = protocols.load(protocol_name)
    try:
        split = require_split(splits, fold)
        choices |= sides_of(split)
        if encoder:
            require_embeddings(splits, given.embeddings, given.refusals)
        genes = require_genes(targets, fold)

        def sample(name: str, spots: Spots) -> Sample:
            vectors = given.vectors(encoder, name, fold) if encoder else None
            pictures = given.pictures.get(name)
            return Sample(name, splits["donors"][name], spots.names, spots.positions_px, pictures, vectors)

        training = _training(split, splits["donors"], genes, protocol.target, targets, sample)
        choices["n_train_spots"] = sum(len(known.totals) for known in training.samples)
        test = [own for own, _ in _side(split, "test", targets, sample)]
        method = methods.load(row["kind"]).fit(training, row, job)
        predicted = [_checked(method.predict(own), own, genes) for own in test]
        _keep(method, model, job)
    except NotPredicted as why:
        return Prediction.none(why, choices)
    except CannotPredict as why:
        return Prediction.none(NotPredicted(str(why)), choices)
    return Prediction(
        np.concatenate([np.empty((0, len(genes)), np.float32), *predicted]),
        [name for own in test for name in own.spots],
        [own.name for own in test for _ in own.spots],
        genes,
        choices={**method.details, **choices, "protocol_choices": protocol.as_record()},
    )


def _side(
    split: Mapping[str, Any],
    side: Side,
    targets: Targets,
    sample: Callable[[str, Spots], Sample],
) -> list[tuple[Sample, Spots]]:
    """The samples of a side that have spots in it, as a method sees them, beside their counts."""
    found = []
    for name in split[side]:
        spots = targets.spots(name)
        spots = spots.at(rows_of(split, side, name, spots.names))
        if spots.names:
            found.append((sample(name, spots), spots))
    return found


def _training(
    split: Mapping[str, Any],
    donors: Mapping[str, str],
    genes: Sequence[str],
    scale: str,
    targets: Targets,
    sample: Callable[[str, Spots], Sample],
) -> Training:
    side = _side(split, "train", targets, sample)
    sizes = [len(spots.names) for _, spots in side]
    require_enough(sum(sizes))
    names = [own.name for own, spots in side for _ in spots.names]
    positions_px = np.concatenate([spots.positions_px for _, spots in side])
    folds, held_out = inner_folds(names, [donors[name] for name in names], positions_px)
    samples = [
        TrainingSample(own, spots.on_scale(scale, genes), spots.counts_of(genes), spots.totals, inner)
        for (own, spots), inner in zip(side, np.split(folds, np.cumsum(sizes)[:-1]), strict=True)
    ]
    return Training(samples, genes, scale, held_out)


def _checked(values: NDArray[np.float64], sample: Sample, genes: Sequence[str]) -> NDArray[np.float32]:
    """What a method said of one sample; `write_prediction` looks for what is not finite."""
    shape = (len(sample.spots), len(genes))
    if np.shape(values) != shape:
        raise ValueError(f"{sample.name}: a method predicts {np.shape(values)}, asked for {shape} spots and genes")
    return np.asarray(values, dtype=np.float32)


def _keep(method: Method, model: Path | None, job: Job) -> None:
    """A network's folder, whole or not at all."""
    if model is None:
        return
    part = model.with_name(f"{model.name}.part")
    for stale in (part, model):
        shutil.rmtree(stale, ignore_errors=True)
    method.save(part)  # type: ignore[attr-defined]  # only learned kinds are given a folder
    part.rename(model)
    if job.scratch is not None:
        shutil.rmtree(job.scratch, ignore_errors=True)
