"""The long table of evaluations, and its summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from spotweave.evaluation import Row
from spotweave.evaluation.sides import WAYS
from spotweave.evaluation.study import Named

COLUMNS = ("embedding", "encoder_fold", "what", "split", "fold", "seed", "sample", "gene", "value", "note")
DECIMALS = 9  # beyond, libraries on other machines differ


def as_cells(named: Sequence[Named]) -> list[dict[str, Any]]:
    """Rows of the long table, by `COLUMNS`; None is blank."""
    return [
        {
            "embedding": name,
            "encoder_fold": fold,
            **vars(replace(row, value=None if row.value is None else round(row.value, DECIMALS))),
        }
        for name, fold, row in named
    ]


def summarise(named: Sequence[Named]) -> list[dict[str, Any]]:
    """Mean and standard deviations (n - 1) of each measure, split, sample and gene of an embedding.

    `sd_seeds` is that of the means over folds, one a seed; `sd_folds` that of the means over seeds, one a fold; None
    of a single one. `undefined` counts rows without a value, and `notes` are those of all rows. `leaks` says what a
    split lets through.
    """
    groups: dict[tuple[str, str, str, str, str], list[tuple[tuple[int | None, int | None], Row]]] = {}
    for name, fold, row in named:
        key = (name, row.what, row.split, row.sample, row.gene)
        groups.setdefault(key, []).append(((fold, row.fold), row))
    found = []
    for (name, what, split, sample, gene), rows in sorted(groups.items()):
        valued = [(fold, row.seed, row.value) for fold, row in rows if row.value is not None]
        by_seed = _means((seed, value) for _, seed, value in valued)
        by_fold = _means((fold, value) for fold, _, value in valued)
        said = {"embedding": name, "what": what, "split": split, "sample": sample, "gene": gene}
        found.append(
            {
                **said,
                "mean": round(float(np.mean(by_fold)), DECIMALS) if by_fold else None,
                "sd_seeds": _spread(by_seed),
                "sd_folds": _spread(by_fold),
                "undefined": sum(row.value is None for _, row in rows),
                "notes": sorted({row.note for _, row in rows} - {""}),
                "leaks": WAYS.get(split, ""),
            }
        )
    return found


def _means(pairs: Iterable[tuple[Any, float]]) -> list[float]:
    values: dict[Any, list[float]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return [float(np.mean(of)) for of in values.values()]


def _spread(values: Sequence[float]) -> float | None:
    return round(float(np.std(values, ddof=1)), DECIMALS) if len(values) > 1 else None


def change(summary: Sequence[Mapping[str, Any]], encoders: Sequence[str]) -> list[dict[str, Any]]:
    """Second encoder less the first, wherever both have a mean."""
    keys = ("what", "split", "sample", "gene")
    before, after = (
        {tuple(row[key] for key in keys): row["mean"] for row in summary if row["embedding"] == one}
        for one in encoders[:2]
    )
    return [
        {
            **dict(zip(keys, key, strict=True)),
            "before": mean,
            "after": after[key],
            "change": round(after[key] - mean, DECIMALS),
        }
        for key, mean in before.items()
        if mean is not None and after.get(key) is not None
    ]
