"""From the parts of all tasks and protocols to the tables that people read: leaderboard, comparisons, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from spotweave.benchmark import categories, folds_table, leaderboard, long_table, pairs, ranks, spread, ties
from spotweave.benchmark.leaks import Sight, with_leaks
from spotweave.io import read_json
from spotweave.splitting import DEFAULT, SPLITTINGS


@dataclass(frozen=True)
class Boards:
    """`leaderboard.rank` with ties and leaks, `pairs.compare`, `ranks.rank_all`, `categories.of_boards`, the long
    table they come from, and what is remarked on each task."""

    leaderboard: pd.DataFrame
    comparisons: pd.DataFrame
    ranks: pd.DataFrame
    categories: pd.DataFrame
    scores: pd.DataFrame
    notes: Mapping[str, str]

    def write(self, to_leaderboard: Path, to_comparisons: Path, to_ranks: Path, to_categories: Path) -> None:
        """Write the CSV files."""
        for table, path in (
            (self.leaderboard, to_leaderboard),
            (self.comparisons, to_comparisons),
            (self.ranks, to_ranks),
            (self.categories, to_categories),
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
    sight: Sight,
    ranking: str,
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
        What the tasks table remarks on a task; what its way of splitting says of scores is added.
    sight
        What the audit of leaks knows.
    ranking
        How categories are ranked, `donors` or `published`.
    """
    long, by_fold = long_table.read([scores]), folds_table.read([folds])
    errors = spread.read(spread_parts)
    of_task = {content["task"]: content for content in map(read_json, splits)}
    comparisons = pairs.compare(long, by_fold, of_task, errors)
    notes = {task: _remarks(content, task_notes.get(task, "")) for task, content in of_task.items()}
    table = ties.with_ties(leaderboard.rank(long, by_fold, metrics, notes), comparisons, errors)
    table = with_leaks(table, by_fold, of_task, sight)
    by_score = ranks.rank_all(table, long, by_fold, of_task, metrics)
    by_category = categories.of_boards(long, by_fold, of_task, sight.cohorts, metrics, ranking)
    return Boards(table, comparisons, by_score, by_category, long, notes)


def _remarks(splits: Mapping[str, Any], note: str) -> str:
    label = SPLITTINGS.constant(splits.get("split", DEFAULT), "LABEL", "")
    return "; ".join(part for part in (note, label) if part)
