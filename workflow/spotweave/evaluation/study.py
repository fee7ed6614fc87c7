"""All evaluations of several embeddings of the same spots, as one long list."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spotweave.evaluation import SEEDS, Origins, Row
from spotweave.evaluation.clusters import cluster_quality, kmeans_agreement
from spotweave.evaluation.effective_rank import rankme
from spotweave.evaluation.genes import gene_errors
from spotweave.evaluation.probing import FLOOR, linear_probe
from spotweave.evaluation.retrieval import PERMUTATIONS, recall
from spotweave.evaluation.sides import GUARD_UM, WAYS
from spotweave.evaluation.slides import slide_probe

Named = tuple[str, int | None, Row]  # the embedding, the fold it was learned in, the row


@dataclass(frozen=True)
class Table:
    """An embedding of N spots.

    Attributes
    ----------
    name
        As rows have it.
    embedding
        (N, D), finite.
    of_expression
        (N, D) of the spots' expression in the same space; None without.
    """

    name: str
    embedding: NDArray[np.floating]
    of_expression: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class Known:
    """What is known of the N spots.

    Attributes
    ----------
    origins
        Where they come from.
    labels
        (N,) str, blank where there is none; None without any.
    targets, genes
        (N, G) expression and its (G,) names; None and empty without.
    slide_labels
        Sample -> its label; empty without.
    tested
        The samples that the embeddings were not learned from; empty where they were learned from none of them. All
        that needs no training is done on these alone.
    """

    origins: Origins
    labels: NDArray[np.str_] | None = None
    targets: NDArray[np.float64] | None = None
    genes: Sequence[str] = ()
    slide_labels: Mapping[str, str] = field(default_factory=dict)
    tested: Collection[str] = ()


@dataclass(frozen=True)
class Settings:
    """How it is done: seeds, guard band of `blocks`, shuffles of retrieval, and what predicts expression."""

    seeds: Sequence[int] = SEEDS
    guard_um: float = GUARD_UM
    permutations: int = PERMUTATIONS
    regressor: str = "ridge"


def evaluate(
    tables: Sequence[Table], known: Known, settings: Settings = Settings(), encoder_fold: int | None = None
) -> list[Named]:
    """Everything that can be said of the embeddings with what is known; all of them by the same splits.

    Parameters
    ----------
    tables
        Before and after, or any others, rows of the same spots at the same place.
    encoder_fold
        The fold that the embeddings were learned in, for the table.

    Raises
    ------
    ValueError
        Rows do not match, or an embedding is not finite.
    """
    named: list[Named] = []
    for table in tables:
        for values in (table.embedding, table.of_expression):
            if values is not None and (len(values) != len(known.origins) or not np.isfinite(values).all()):
                raise ValueError(
                    f"embedding {table.name}: one finite row for each of {len(known.origins)} spots is due"
                )
        rows = [*_without_labels(table, known, settings), *_with_labels(table.embedding, known, settings)]
        named += [(table.name, encoder_fold, row) for row in rows]
    return named


def _seen(known: Known) -> NDArray[np.bool_]:
    """(N,) the spots that nothing was learned from."""
    sample = known.origins.sample
    return np.isin(sample, sorted(known.tested)) if known.tested else np.ones(len(sample), dtype=bool)


def _without_labels(table: Table, known: Known, settings: Settings) -> list[Row]:
    chosen = _seen(known)
    sample = known.origins.sample[chosen]
    rows = [Row("dimensions", float(table.embedding.shape[1]))]
    embedding = table.embedding[chosen]
    rows += [Row("rankme", rankme(embedding[sample == name]), sample=name) for name in sorted(set(sample.tolist()))]
    rows.append(Row("rankme", rankme(embedding)))
    if table.of_expression is not None:
        rows += recall(embedding, table.of_expression[chosen], sample, permutations=settings.permutations)
    if known.targets is not None:
        for way in ("random", "donor"):
            part = chosen if way == "random" else np.ones(len(chosen), dtype=bool)
            rows += gene_errors(
                table.embedding[part],
                known.targets[part],
                known.genes,
                known.origins.rows(part),
                way,
                settings.seeds,
                regressor=settings.regressor,
                tested=known.tested,
            )
    if known.slide_labels:
        rows += slide_probe(table.embedding, known.origins, known.slide_labels, settings.seeds, tested=known.tested)
    return rows


def _with_labels(embedding: NDArray[np.floating], known: Known, settings: Settings) -> list[Row]:
    if known.labels is None:
        return []
    has_label = known.labels != ""
    chosen = has_label & _seen(known)
    if not chosen.any():
        return [Row("labels", None, note="no spot has a label that tells")]
    origins, labels = known.origins.rows(chosen), known.labels[chosen]
    rows = cluster_quality(embedding[chosen], labels, origins.sample)
    rows += kmeans_agreement(embedding[chosen], labels, origins.sample, settings.seeds)
    for way in WAYS:
        part = has_label if way == "donor" else chosen
        for scaled in (False, True):
            found = linear_probe(
                embedding[part],
                known.labels[part],
                known.origins.rows(part),
                way,
                settings.seeds,
                scaled=scaled,
                guard_um=settings.guard_um,
                tested=known.tested,
            )
            # What says the commonest label does not ask for the embedding: once is enough.
            rows += [row for row in found if not (scaled and row.what.startswith(FLOOR))]
    return rows
