"""Usability of software by a filled sheet: weighted total, and a mean for each category.

As the benchmark of eleven methods scores (Wang, Chan et al. 2025): each item 0, .25, .5, .75 or 1; the total is the sum
of weight times score, a category the plain mean of its items. Its own sheet is not published with its paper: the rubric
here has the items that the paper names, and ours beside them, so that totals are not comparable with its 31 points.

What is scored is software that somebody installs, by its version: its authors' release or commit, or this project's. A
method re-implemented here says nothing of how usable its authors' code is, so its column names this project's version.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from spotweave.errors import plain

CATEGORIES = (
    "availability",
    "behaviour",
    "code_assurance",
    "code_quality",
    "documentation",
    "generalisability",
    "paper",
    "reproducibility",
)
SCORES = (0.0, 0.25, 0.5, 0.75, 1.0)
SOFTWARE = re.compile(r"[^@\s]+@[^@\s]+")
ITEM = "item"
# Columns of a sheet beside those of software: why a row is scored so, and files that show it.
REASON, EVIDENCE = "reason", "evidence"


def read_rubric(path: Path) -> pd.DataFrame:
    """Items by name: `category`, `weight` above 0, what the item `asks`.

    Raises
    ------
    ValueError
        A column is missing, an item is there twice, a category is unknown, a weight is no number above 0: which row.
    """
    table = _read(path, (ITEM, "category", "weight"))
    weights = pd.to_numeric(table["weight"], errors="coerce")
    for row, (category, weight) in enumerate(zip(table["category"], weights, strict=True), 2):
        if category not in CATEGORIES:
            raise ValueError(
                f"{path.name}: category of row {row} is {plain(category)!r}; one of {', '.join(CATEGORIES)}"
            )
        if not 0 < weight < np.inf:
            raise ValueError(f"{path.name}: weight of row {row} is no number above 0; write one")
    return table.assign(weight=weights).set_index(ITEM)


def read_sheet(path: Path, rubric: pd.DataFrame) -> pd.DataFrame:
    """A filled sheet, items by software: a score of each item of the rubric, in its order.

    With a column `reason` a cell may be left empty, of a row that says why: the item is not asked of that software, and
    is NaN. `evidence` is for people.

    Raises
    ------
    ValueError
        An item is missing, unknown or there twice, a column names no version, a score is none of the five, a row gives
        no reason: which.
    """
    table = _read(path, (ITEM,)).set_index(ITEM)
    reasons = table.pop(REASON) if REASON in table else None
    if reasons is not None and (reasons == "").any():
        raise ValueError(f"{path.name}: no reason for {plain(reasons.index[reasons == ''][0])!r}; say why it is so")
    table = table.drop(columns=EVIDENCE, errors="ignore")
    for item in rubric.index.symmetric_difference(table.index):
        what = "the rubric has no item" if item in table.index else "no row for the item"
        raise ValueError(f"{path.name}: {what} {plain(item)!r}; fill in the items of the rubric, each once")
    for name in table.columns:
        if not SOFTWARE.fullmatch(name):
            raise ValueError(
                f"{path.name}: column {plain(name)!r} names no version; write software@version: a release or commit of"
                " its authors, or of this project (a method re-implemented here is not theirs)"
            )
    numbers = table.loc[rubric.index].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    wrong = ~numbers.isin(SCORES).to_numpy()
    if reasons is not None:
        wrong &= (table.loc[rubric.index] != "").to_numpy()
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{path.name}: {numbers.columns[column]} has {plain(table.loc[numbers.index[row]].iloc[column])!r} for"
            f" {numbers.index[row]}; write {', '.join(f'{score:g}' for score in SCORES)}"
        )
    return numbers


def scored(sheet: pd.DataFrame, rubric: pd.DataFrame) -> pd.DataFrame:
    """Score software.

    Parameters
    ----------
    sheet
        (I, S) scores, items by software; NaN for an item that is not asked of it.
    rubric
        `category` and `weight` of the same items.

    Returns
    -------
    scores
        By software, best total first: `total`, `share` of the highest total there can be of the items it is asked (0 to
        1), and the mean of each category, 0 to 1, NaN for one without such an item.
    """
    weights = rubric.loc[sheet.index, "weight"]
    total, most = sheet.mul(weights, axis=0).sum(), sheet.notna().mul(weights, axis=0).sum()
    means = sheet.groupby(rubric.loc[sheet.index, "category"]).mean().reindex(list(CATEGORIES)).T
    table = pd.DataFrame({"total": total, "share": total / most}).join(means)
    table = table.rename_axis("software").reset_index()
    return table.sort_values(["total", "software"], ascending=[False, True], ignore_index=True)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in columns:
        if column not in table:
            raise ValueError(f"{path.name}: no column {column!r}; it needs {', '.join(columns)}")
    twice = table[ITEM][table[ITEM].duplicated()]
    if len(twice):
        raise ValueError(f"{path.name}: item {plain(twice.iloc[0])!r} has two rows; keep one")
    return table
