"""How much scores, and differences of scores, vary when the tissue of the same sections is drawn again.

A small table beside the scores of a task and protocol: the standard error of every predictor's `pearson_mean_zero` and
of the difference of every pair that was scored on the same spots, with its degrees of freedom.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.benchmark.blocks import LEAST_BLOCKS, Redrawn, Sides, redraw
from spotweave.metrics import Scored

Array = NDArray[np.float64]
Unit = tuple[int, str]
DECIMALS = 9


@dataclass(frozen=True)
class SpreadRow:
    """One row; None is an empty cell.

    Attributes
    ----------
    other
        The predictor whose score is taken off; empty for the score itself.
    error, freedom
        Standard error and degrees of freedom (Satterthwaite); empty where a section is too small, as `reason` says.
    """

    task: str
    protocol: str
    predictor: str
    other: str
    error: float | None
    freedom: float | None
    reason: str


COLUMNS = tuple(field.name for field in fields(SpreadRow))


class Spread:
    """Takes up the scored folds of all predictors of a task under a protocol, one after the other.

    Parameters
    ----------
    cut
        Sample -> its blocks; asked once for each.
    """

    def __init__(self, cut: Callable[[str], Sides]) -> None:
        self._cut = cut
        self._blocks: dict[str, Sides] = {}
        self._units: dict[str, dict[Unit, Redrawn]] = {}

    def add(self, predictor: str, fold: int, scored: Scored, samples: Sequence[str], groups: Sequence[str]) -> None:
        """Draw a scored fold again.

        Parameters
        ----------
        samples, groups
            Name of each code in `scored.samples` and of each group.
        """
        self._blocks |= {name: self._cut(name) for name in samples if name not in self._blocks}
        redrawn = redraw(scored, samples, self._blocks)
        self._units.setdefault(predictor, {}).update(
            {(fold, group): one for group, one in zip(groups, redrawn, strict=True)}
        )

    def rows(self, labels: Mapping[str, Any], compared: Iterable[str]) -> list[SpreadRow]:
        """The table.

        Parameters
        ----------
        labels
            `task` and `protocol`.
        compared
            Predictors that were scored on the same spots: their differences are taken.
        """
        # Every other one has folds of its own, and so a table of its own.
        families = [sorted(set(compared) & set(self._units))]
        families += [[name] for name in sorted(set(self._units) - set(families[0]))]
        found = [row for names in families if names for row in self._family(labels, names)]
        return sorted(found, key=lambda row: (row.predictor, row.other))

    def _family(self, labels: Mapping[str, Any], names: Sequence[str]) -> list[SpreadRow]:
        units = sorted(self._units[names[0]])
        blocks = np.array([self._units[names[0]][unit].blocks for unit in units]).T
        pairs = [(first, second) for number, first in enumerate(names) for second in ("", *names[number + 1 :])]
        small = int(blocks[0].argmin())
        if blocks[0, small] < LEAST_BLOCKS:
            where = units[small][1] or f"fold {units[small][0]}"
            side_mm = next(iter(self._blocks.values()))[0].side_um / 1000
            reason = f"{where} is {blocks[0, small]:.1f} blocks of {side_mm:g} mm, at least {LEAST_BLOCKS} are needed"
            return [
                SpreadRow(**labels, predictor=a, other=b, error=None, freedom=None, reason=reason) for a, b in pairs
            ]
        # (2, U, P, P) covariances of all predictors by side and unit. Blocks drawn with replacement vary less than
        # tissue does, by one of so many.
        parts = np.stack(
            [[np.cov([self._units[name][unit].scores[side] for name in names]) for unit in units] for side in (0, 1)]
        )
        parts = parts.reshape(2, len(units), len(names), len(names))
        parts *= (_weights(units) ** 2 * blocks / (blocks - 1))[:, :, None, None]
        place = {name: number for number, name in enumerate(names)}
        rows = []
        for first, second in pairs:
            own = place[first]
            variance = parts[:, :, own, own]
            if second:
                other = place[second]
                # Where two say the same, what is left is rounding of either sign.
                variance = np.maximum(variance + parts[:, :, other, other] - 2 * parts[:, :, own, other], 0.0)
            error, freedom = _error(variance, blocks[0])
            rows.append(SpreadRow(**labels, predictor=first, other=second, error=error, freedom=freedom, reason=""))
        return rows


def _weights(units: Sequence[Unit]) -> Array:
    """(U,) share of each group in the score: folds count alike, and so do the groups of a fold."""
    folds = [fold for fold, _ in units]
    return np.array([1 / (len(set(folds)) * folds.count(fold)) for fold in folds])


def _error(variance: Array, blocks: Array) -> tuple[float, float]:
    """Standard error and degrees of freedom, from (2, U) variances with blocks of both sides.

    The error falls short of the truth by a share that is proportional to 1 / side (both edges of a block in either
    direction), so the whole side's, and what it is above the half side's, is without it (the bias correction of Politis
    & Romano, Journal of Time Series Analysis 16, 1995, by two widths). Noise must not make it smaller. What is gained
    is itself less certain than the whole side's error: half of the blocks' degrees of freedom (Satterthwaite) stay.
    """
    whole, half = np.sqrt(variance.sum(axis=1))
    total = float(variance[0].sum())
    freedom = total**2 / float((variance[0] ** 2 / (blocks - 1)).sum()) if total > 0 else float((blocks - 1).sum())
    return round(float(whole + max(whole - half, 0.0)), DECIMALS), round(max(freedom / 2, 1.0), 3)


def write(path: Path, rows: Iterable[SpreadRow]) -> None:
    """Write rows as CSV."""
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(row, column) for column in COLUMNS] for row in rows)


def read(paths: Iterable[Path]) -> pd.DataFrame:
    """All rows; texts without a value are empty, numbers missing."""
    tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in paths]
    table = pd.concat([pd.DataFrame(columns=COLUMNS, dtype=str), *tables], ignore_index=True)
    for name in ("error", "freedom"):
        table[name] = pd.to_numeric(table[name]).astype(np.float64)
    return table
