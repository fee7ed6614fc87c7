"""What the pictures of a task are drawn from: predictions of test spots beside what was measured, and ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave import protocols
from spotweave.benchmark.categories import COLUMNS
from spotweave.benchmark.predictions import PREDICTED, place_of, read_prediction
from spotweave.benchmark.targets import Targets
from spotweave.folds import rows_of, split_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Section:
    """The test spots of one sample in one fold.

    Attributes
    ----------
    fold, sample, genes
        Which they are.
    spots, positions_px
        N names, and (N, 2) px.
    truth
        (N, G) on the protocol's scale; NaN of a gene that the sample's table lacks.
    predicted
        Predictor -> (N, G); those that predict the fold.
    """

    fold: int
    sample: str
    genes: Sequence[str]
    spots: Sequence[str]
    positions_px: Array
    truth: Array
    predicted: Mapping[str, Array]


def sections_of(
    splits: Mapping[str, Any], targets: Path, protocol: str, predictions: Iterable[Path], *, largest: bool
) -> list[Section]:
    """Test samples with what predictors say of them, by fold and sample.

    Parameters
    ----------
    largest
        Only the one with most test spots.
    """
    scale = protocols.load(protocol).target
    paths: dict[int, dict[str, Path]] = {}
    for path in predictions:
        predictor, fold = place_of(path)
        paths.setdefault(fold, {})[predictor] = path
    found = []
    with Targets(targets) as known:
        places = []
        for split in splits["folds"]:
            for sample in split["test"]:
                names = known.spots(sample).names
                places.append((-len(rows_of(split, "test", sample, names)), split["fold"], sample))
        for _, fold, sample in sorted(places)[:1] if largest else sorted(places, key=lambda place: place[1:]):
            found.append(_of_sample(known, splits, scale, fold, sample, paths.get(fold, {})))
    return [one for one in found if len(one.genes) and len(one.spots)]


def _of_sample(
    known: Targets, splits: Mapping[str, Any], scale: str, fold: int, sample: str, paths: Mapping[str, Path]
) -> Section:
    genes = known.fold(fold).genes
    everyone = known.spots(sample)
    own = everyone.at(rows_of(split_of(splits, fold), "test", sample, everyone.names))
    predicted = {}
    for predictor, path in sorted(paths.items()):
        said = read_prediction(path)
        if said.status != PREDICTED:
            continue
        rows = [row for row, name in enumerate(said.samples) if name == sample]
        if [said.spots[row] for row in rows] != own.names or list(said.genes) != genes:
            raise ValueError(f"{path}: its spots or genes of {sample} are not those of {known}")
        predicted[predictor] = said.values[rows].astype(np.float64)
    return Section(fold, sample, genes, own.names, own.positions_px, own.on_scale(scale, genes), predicted)


def read_ranks(path: Path, protocol: str) -> pd.DataFrame:
    """`category_ranks.csv` of one protocol; texts without a value are empty."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)[list(COLUMNS)]
    for name in ("value", "rank"):
        table[name] = pd.to_numeric(table[name])
    return table[table["protocol"] == protocol].drop(columns="protocol").reset_index(drop=True)


def task_ranks(ranks: pd.DataFrame, task: str) -> dict[str, float]:
    """Predictor -> rank in a task; only those that were scored there on all that others were."""
    own = ranks[ranks["category"] == task]
    scored = set(own.loc[(own["metric"] != "") & own["value"].notna(), "predictor"])
    overall = own[own["metric"] == ""]
    return {name: rank for name, rank in zip(overall["predictor"], overall["rank"], strict=True) if name in scored}
