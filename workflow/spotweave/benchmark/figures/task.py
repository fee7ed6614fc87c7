"""All pictures of one task under one protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spotweave.benchmark import long_table
from spotweave.benchmark.figures import cluster_maps, clusters, ranking, spatial, violins
from spotweave.benchmark.figures.drawing import Order
from spotweave.benchmark.figures.gathered import read_ranks, sections_of, task_ranks
from spotweave.io import read_json


@dataclass(frozen=True)
class Files:
    """What pictures are drawn from: `category_ranks.csv`; `scores.parquet` and `targets.h5` of the task and protocol;
    its `splits.json`; its predictions; and sample -> table of labels: with any, only sections with one are clustered.
    """

    ranks: Path
    scores: Path
    splits: Path
    targets: Path
    predictions: Sequence[Path]
    labels: Mapping[str, Path]


@dataclass(frozen=True)
class Drawn:
    """Where pictures go, and the table of adjusted Rand indices."""

    ranking: Path
    violins: Path
    spatial: Path
    clusters: Path
    clusters_table: Path


def draw_task(
    files: Files, protocol: str, metrics: Sequence[str], genes: Sequence[str], seed: int, drawn: Drawn
) -> None:
    """Draw a task; a predictor stands in the same place in every picture.

    Parameters
    ----------
    metrics
        Modules of `metrics/`, for the violins, in this order.
    genes
        That are drawn on a section; none for those that are predicted best.
    seed
        Of the clusters.
    """
    splits = read_json(files.splits)
    ranks = read_ranks(files.ranks, protocol)
    scores = long_table.read([files.scores])
    everyone = sorted({path.parent.name for path in files.predictions})
    order = Order.by(everyone, task_ranks(ranks, splits["task"]))
    ranking.draw(ranks, splits["task"], drawn.ranking)
    violins.draw(scores, order, metrics, drawn.violins)
    sections = sections_of(splits, files.targets, protocol, files.predictions, largest=True)
    spatial.draw(sections[0] if sections else None, order, genes, drawn.spatial)
    parts = []
    for section in sections_of(splits, files.targets, protocol, files.predictions, largest=False):
        if not files.labels:
            parts.append(clusters.clustered(section, None, seed))
        elif section.sample in files.labels:
            parts.append(clusters.clustered(section, clusters.read_labels(files.labels[section.sample]), seed))
    kept = [one for one in parts if one is not None]
    clusters.write(drawn.clusters_table, kept)
    cluster_maps.draw(kept, order, drawn.clusters)
