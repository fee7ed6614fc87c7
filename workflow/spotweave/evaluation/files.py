"""What the command evaluates, read from a dataset's folder and joined by spot: embeddings, counts, labels, donors."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spotweave.benchmark.embeddings import Embeddings, read_embeddings
from spotweave.errors import Refusal
from spotweave.evaluation import SEEDS, Origins
from spotweave.evaluation.genes import NINE_GENES
from spotweave.evaluation.labels import labels_of, read_slide_labels
from spotweave.evaluation.sides import GUARD_UM
from spotweave.evaluation.study import Known, Table
from spotweave.expression.samples import Expression, columns, read_expression
from spotweave.expression.scales import log_share
from spotweave.folds import shared_samples
from spotweave.io import is_refused, read_json

NO_FOLD = -1  # no dataset of an embeddings file has that number


@dataclass(frozen=True)
class Asked:
    """What is evaluated, and how.

    Attributes
    ----------
    encoders
        Two or more names of embeddings; the change from the first to the second is reported.
    task
        The task whose folds an encoder was learned in; blank where none was.
    labels
        Tables of labels of spots, `sample=file` or `file`.
    slide_labels
        A csv with `sample,label`.
    of_expression
        A folder with `<encoder>/<sample>.h5`, laid out as embeddings are: of expression, in the space of the encoder.
        None for those of the dataset, which recipes leave; an encoder without any is asked for no retrieval.
    genes
        To be predicted; those that not all samples have are left out.
    stand_ins
        What stands in for parts of what was published in the making of these embeddings, to be said.
    """

    encoders: Sequence[str]
    task: str = ""
    labels: Sequence[str] = ()
    slide_labels: Path | None = None
    of_expression: Path | None = None
    genes: Sequence[str] = NINE_GENES
    regressor: str = "ridge"
    guard_um: float = GUARD_UM
    seeds: Sequence[int] = SEEDS
    with_maps: bool = False
    stand_ins: Sequence[str] = ()


@dataclass(frozen=True)
class Samples:
    """Of the accepted samples of a dataset: donor and um per px by sample, and sample by its name in its series."""

    donor: dict[str, str]
    pixel_size_um: dict[str, float | None]
    other_names: dict[str, str]


def read_samples(results: Path) -> Samples:
    """The accepted samples of a dataset.

    Raises
    ------
    Refusal
        It was not built.
    """
    table = results / f"{results.name}.csv"
    if not table.is_file():
        raise Refusal(f"{table} is not there: name a dataset's folder, results/<dataset>, that was built")
    with open(table, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    sizes = {row["id"]: float(row["pixel_size_um_estimated"] or 0) or None for row in rows}
    series = [row.get("subseries") or "" for row in rows]
    others = {name: row["id"] for name, row in zip(series, rows, strict=True) if name and series.count(name) == 1}
    return Samples({row["id"]: row["donor"] for row in rows}, sizes, others)


def read_folds(results: Path, task: str) -> list[tuple[int | None, list[str]]]:
    """Each fold and the samples it tests; one without a number for encoders that were not learned in folds."""
    if not task:
        return [(None, [])]
    path = results / "benchmark" / task / "splits.json"
    if not path.is_file():
        raise Refusal(f"{path} is not there: run the benchmark of task {task} first")
    splits = read_json(path)
    if not splits["folds"]:
        raise Refusal(f"task {task} has no folds ({splits['reason']})")
    for split in splits["folds"]:
        shared = shared_samples(split)
        if shared:
            raise Refusal(f"task {task}: {shared[0]} is on both sides of fold {split['fold']}; no encoder learns so")
    return [(split["fold"], sorted(split["test"])) for split in splits["folds"]]


def read(
    results: Path, samples: Samples, asked: Asked, fold: int | None, tested: Sequence[str]
) -> tuple[list[Table], Known, dict[str, Any]]:
    """Embeddings and what is known of the spots that all of them have, sample after sample, and how many these are.

    Raises
    ------
    Refusal
        A file is missing or contradicts another, or labels meet no spot.
    """
    names = [name for name in sorted(samples.donor) if _are_there(results, name, asked.encoders)]
    if not names:
        raise Refusal(f"{results}: no sample has embeddings of {' and '.join(asked.encoders)}")
    lacking = sorted(set(tested) - set(names))
    if lacking:
        raise Refusal(f"{results}: {lacking[0]} is tested in fold {fold} and has no embeddings of all encoders")
    paired = [one for one in asked.encoders if _has_pairs(_of_expression(results, names[0], one, asked))]
    found: dict[str, list[np.ndarray]] = {name: [] for name in (*asked.encoders, *map(_pair_of, paired))}
    kept: list[Expression] = []
    for name in names:
        expression = read_expression(results / "samples" / name / "st.h5ad", name)
        read = {one: _embeddings(_path(results, name, one), fold) for one in asked.encoders}
        read |= {_pair_of(one): _embeddings(_of_expression(results, name, one, asked), fold) for one in paired}
        row_of = {one: {spot: row for row, spot in enumerate(of.barcodes.tolist())} for one, of in read.items()}
        spots = [spot for spot in expression.barcodes.tolist() if all(spot in rows for rows in row_of.values())]
        kept.append(expression.spots(spots))
        for one, of in read.items():
            found[one].append(of.features[[row_of[one][spot] for spot in spots]])
    joined = {one: np.concatenate(parts) for one, parts in found.items()}
    for one in paired:
        own, other = joined[one].shape[1], joined[_pair_of(one)].shape[1]
        if own != other:
            raise Refusal(f"{one} has {own} dimensions, the embeddings of expression {other}")
    tables = [Table(one, joined[one], joined.get(_pair_of(one))) for one in asked.encoders]
    known, said = _known(samples, asked, kept, tested)
    return tables, known, said


def _known(
    samples: Samples, asked: Asked, kept: Sequence[Expression], tested: Sequence[str]
) -> tuple[Known, dict[str, Any]]:
    sizes = [samples.pixel_size_um[one.sample_id] for one in kept]
    places = [one.positions_px * (size or 0) for one, size in zip(kept, sizes, strict=True)]
    counts = [len(one.barcodes) for one in kept]
    origins = Origins(
        np.repeat([one.sample_id for one in kept], counts),
        np.repeat([samples.donor[one.sample_id] for one in kept], counts),
        np.concatenate(places) if all(sizes) else None,
    )
    genes = [gene for gene in asked.genes if all(gene in set(one.genes.tolist()) for one in kept)]
    targets = (
        [log_share(columns(one, genes).toarray().astype(np.float64), one.totals()) for one in kept] if genes else []
    )
    spots = {one.sample_id: one.barcodes.tolist() for one in kept}
    labels = labels_of(asked.labels, spots, samples.other_names)
    said = {
        "spots": {name: len(listed) for name, listed in spots.items()},
        "labelled": {name: sum(map(bool, listed)) for name, listed in labels.items()},
        "tested": list(tested),
        "genes": genes,
        "genes_not_in_all_samples": [gene for gene in asked.genes if gene not in genes],
    }
    known = Known(
        origins,
        np.array([label for name in spots for label in labels[name]], dtype=str) if labels else None,
        np.concatenate(targets) if targets else None,
        genes,
        read_slide_labels(asked.slide_labels),
        tested,
    )
    return known, said


def _path(results: Path, sample: str, encoder: str) -> Path:
    return results / "samples" / sample / "embeddings" / f"{encoder}.h5"


def _of_expression(results: Path, sample: str, encoder: str, asked: Asked) -> Path:
    if asked.of_expression is not None:
        return asked.of_expression / encoder / f"{sample}.h5"
    return results / "samples" / sample / "expression_embeddings" / f"{encoder}.h5"


def _has_pairs(path: Path) -> bool:
    return path.is_file() and not is_refused(path)


def _pair_of(encoder: str) -> str:
    return f"expression of {encoder}"  # no encoder has a blank in its name


def _are_there(results: Path, sample: str, encoders: Sequence[str]) -> bool:
    paths = [_path(results, sample, one) for one in encoders]
    return all(path.is_file() and not is_refused(path) for path in paths)


def _embeddings(path: Path, fold: int | None) -> Embeddings:
    if not path.is_file() or is_refused(path):
        raise Refusal(f"{path} is not there, or refused")
    found = read_embeddings(path, NO_FOLD if fold is None else fold)
    if found is None:
        lacks = "was learned in folds: name their task (--task)" if fold is None else f"knows no fold {fold}"
        raise Refusal(f"{path}: its encoder {lacks}")
    return found
