"""The small table beside the scores: of each prediction, whether it was scored, on how much, or why not."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spotweave.benchmark.predictions import Prediction

SCORED = "scored"


@dataclass(frozen=True)
class FoldRow:
    """One row; None is an empty cell.

    Attributes
    ----------
    encoder, probe
        Empty for a method trained end to end.
    components
        Principal components that were kept, where the predictor has any.
    status
        `scored`; `refused`, with the `reason`; or `absent`, a fold that the accepted samples do not make.
    samples_too_small
        Test samples that have too few spots to be scored, each with their number: `a2 (1)`.
    note
        What the leaderboard remarks on a predictor or a fold.
    """

    task: str
    protocol: str
    predictor: str
    encoder: str | None
    probe: str | None
    fold: int
    test_donors: str | None
    status: str
    n_train_spots: int | None = None
    n_test_spots: int | None = None
    n_test_samples: int | None = None
    n_genes: int | None = None
    components: int | None = None
    samples_too_small: str | None = None
    reason: str | None = None
    note: str | None = None

    @classmethod
    def of(cls, labels: Mapping[str, Any], prediction: Prediction) -> FoldRow:
        """What a prediction's file says of itself."""
        said = prediction.choices
        return cls(
            **labels,
            encoder=said.get("encoder"),
            probe=said.get("probe"),
            test_donors=said.get("test_donors"),
            status=prediction.status,
            n_train_spots=said.get("n_train_spots"),
            components=said.get("components"),
            reason=prediction.reason or None,
            note=said.get("note"),
        )

    def refused(self, status: str, reason: str) -> FoldRow:
        """The same, not scored."""
        return replace(self, status=status, reason=reason)

    def scored(self, spots: int, samples: int, genes: int, too_small: Mapping[str, int], remark: str) -> FoldRow:
        """The same, scored on so many test spots, samples and genes, without the samples too small; one remark more."""
        note = "; ".join(filter(None, (self.note, remark))) or None
        small = ", ".join(f"{name} ({count})" for name, count in too_small.items()) or None
        return replace(
            self,
            status=SCORED,
            n_test_spots=spots,
            n_test_samples=samples,
            n_genes=genes,
            samples_too_small=small,
            note=note,
        )


COLUMNS = tuple(field.name for field in fields(FoldRow))
WHOLE_NUMBERS = ("fold", "n_train_spots", "n_test_spots", "n_test_samples", "n_genes", "components")


def write(path: Path, rows: Iterable[FoldRow]) -> None:
    """Write rows as CSV."""
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(row, column) for column in COLUMNS] for row in rows)


def frame(rows: Iterable[FoldRow]) -> pd.DataFrame:
    """The same rows as `read` has them, of one task and protocol, unsorted."""
    table = pd.DataFrame([[getattr(row, column) for column in COLUMNS] for row in rows], columns=list(COLUMNS))
    return table.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))


def beside_the_others(folds: pd.DataFrame) -> pd.DataFrame:
    """The folds with one column more, `lacking`: how many test spots less than the predictor that has most of them."""
    spots = folds["n_test_spots"].where(folds["status"] == SCORED, 0).astype(np.int64)
    most = spots.groupby([folds["task"], folds["protocol"], folds["fold"]]).transform("max")
    return folds.assign(lacking=most - spots)


def comparable(folds: pd.DataFrame) -> list[str]:
    """Predictors that lack no fold and no spots that others of their task and protocol were scored on.

    Parameters
    ----------
    folds
        Of one task and protocol.
    """
    own = beside_the_others(folds).groupby("predictor")
    is_scored = own["status"].agg(lambda status: (status == SCORED).any())
    return [str(name) for name in is_scored.index[is_scored & (own["lacking"].sum() == 0)]]


def read(paths: Iterable[Path]) -> pd.DataFrame:
    """All rows, sorted by task, protocol, predictor and fold; texts without a value are empty, numbers missing."""
    # A task called "null" is a name; only blank cells are missing.
    tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in paths]
    table = pd.concat([pd.DataFrame(columns=COLUMNS, dtype=str), *tables], ignore_index=True)
    for name in WHOLE_NUMBERS:
        table[name] = pd.to_numeric(table[name]).astype("Int64")
    return table.sort_values(["task", "protocol", "predictor", "fold"], kind="stable", ignore_index=True)


def gather(parts: Iterable[Path], path: Path) -> None:
    """Lay several tables together."""
    read(parts).to_csv(path, index=False, lineterminator="\n")
