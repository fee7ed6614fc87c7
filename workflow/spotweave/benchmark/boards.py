"""From the parts of all tasks and protocols to the tables that people read: leaderboard, comparisons, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from spotweave.benchmark import folds_table, leaderboard, long_table, pairs, ranks, spread, ties
from spotweave.io import read_json


@dataclass(frozen=True)
class Boards:
    """`leaderboard.rank` with ties, `pairs.compare`, `ranks.rank_all`, and the long table they come from."""

    leaderboard: pd.DataFrame
    comparisons: pd.DataFrame
    ranks: pd.DataFrame
    scores: pd.DataFrame

    def write(self, to_leaderboard: Path, to_comparisons: Path, to_ranks: Path) -> None:
        """Write the CSV files."""
        for table, path in (
            (self.leaderboard, to_leaderboard),
            (self.comparisons, to_comparisons),
            (self.ranks, to_ranks),
        ):
            leaderboard.write(table, path)


def gather(parts: Sequence[Path], fold_parts: Sequence[Path], scores: Path, folds: Path) -> None:
    """Write one long table, `scores`, and one of folds, of the parts of all tasks and protocols."""
    long_table.gather(parts, scores)
    folds_table.gather(fold_parts, folds)


def ranked(
    scores: Path,
    folds: Path,
    spread_parts: Sequence[Path],
    splits: Sequence[Path],
    metrics: Sequence[str],
    task_notes: Mapping[str, str],
) -> Boards:
    """Rank all predictors, and say which of them are not told apart.

    Parameters
    ----------
    scores, folds
        As `gather` writes them.
    spread_parts, splits
        `spread.csv` of each task and protocol, `splits.json` of each task.
    metrics
        Modules of `metrics/` that the leaderboard shows.
    task_notes
        What the tasks table remarks on a task.
    """
    long, by_fold = long_table.read([scores]), folds_table.read([folds])
    errors = spread.read(spread_parts)
    of_task = {content["task"]: content for content in map(read_json, splits)}
    comparisons = pairs.compare(long, by_fold, of_task, errors)
    table = ties.with_ties(leaderboard.rank(long, by_fold, metrics, task_notes), comparisons, errors)
    return Boards(table, comparisons, ranks.rank_all(table, long, by_fold, of_task, metrics), long)
