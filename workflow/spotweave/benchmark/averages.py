"""Averages of scores over images, donors or cohorts, genes and folds, in the order of a path.

The order matters where donors have unlike numbers of images, or genes and images are undefined in unlike places. The
benchmark of eleven methods (Wang, Chan et al. 2025) states one path and computes two others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from spotweave.benchmark.long_table import KEYS

# Levels that are averaged over, the first one first. What is not named stays.
# Its text: images of a donor, donors, genes. Folds last, as in its code.
DONORS = ("sample_id", "donor", "gene", "fold")
# Its code's ranking: images of a data set, data sets, genes, folds. No donor enters it.
COHORTS = ("sample_id", "cohort", "gene", "fold")
# Its code's figures of single genes: images, folds.
GENES = ("sample_id", "fold")


def averaged(values: pd.DataFrame, path: Sequence[str]) -> pd.DataFrame:
    """Average `value` over one column after another.

    Parameters
    ----------
    values
        A column for each level, `value`, and whatever else tells rows apart.
    path
        The columns that are averaged over, in this order: at each step over the rows that share all columns left.

    Returns
    -------
    means
        The columns that are not of the path, and `value`, sorted by them. Undefined values are skipped at every step;
        a mean of none is undefined. An infinite value counts as undefined.
    """
    left = [column for column in values.columns if column != "value"]
    means = values.assign(value=values["value"].where(values["value"].abs() < float("inf")))
    for level in path:
        left.remove(level)
        means = means.groupby(left, sort=True, observed=True, as_index=False)["value"].mean()
    return means


def with_donors(scores: pd.DataFrame, splits: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of one task, with a column `donor`.

    Parameters
    ----------
    scores
        Of the long table.
    splits
        Content of the task's `splits.json`. What is over all samples of a fold has its donors as one.
    """
    of_fold = {split["fold"]: " ".join(split["test_donors"]) for split in splits["folds"]}
    return scores.assign(donor=_of_unit(scores, splits["donors"], of_fold))


def with_cohorts(scores: pd.DataFrame, splits: Mapping[str, Any], cohorts: Mapping[str, str]) -> pd.DataFrame:
    """The same with `cohort`, by sample; cohorts of samples that are scored together are one."""
    of_fold = {
        split["fold"]: " ".join(sorted({cohorts[sample] for sample in split["test"]})) for split in splits["folds"]
    }
    return scores.assign(cohort=_of_unit(scores, cohorts, of_fold))


def _of_unit(scores: pd.DataFrame, of_sample: Mapping[str, str], of_fold: Mapping[int, str]) -> list[str]:
    units = zip(scores["sample_id"].astype(str), scores["fold"], strict=True)
    return [of_sample[sample] if sample else of_fold[fold] for sample, fold in units]


def by_metric(scores: pd.DataFrame, path: Sequence[str]) -> pd.DataFrame:
    """Mean of each task, protocol, predictor and metric: those columns and `value`."""
    return averaged(scores[[*KEYS, "metric", *path, "value"]], path)
