"""One study: what every method predicted of the same patients, held against bulk, pictures and outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spotweave.io import write_text
from spotweave.studies import bulk, colours, risks
from spotweave.studies.outcomes import Outcomes, high_risk, kaplan_meier
from spotweave.studies.patients import by_patient, centred, followed

# The comparator of every method in survival: what was measured of the patient, and not predicted.
MEASURED = "bulk"
AGREEMENT = ("method", *bulk.COLUMNS)
QUALITY = ("method", "quality", "slides", "r", "p", "q")
RISKS = ("method", "patient", "days", "died", "risk", "high", "risk_held_out", "high_held_out")
CURVES = ("method", "way", "group", "day", "at_risk", "deaths", "share_alive")
SUMMARY = ("method", "category", "metric", "value")
# Category -> metric -> which end is best. `quality` ranks nothing: no relation with colour is neither end.
BEST: dict[str, dict[str, str]] = {
    **{f"bulk_{level}": {"pearson": "high", "mutual_information": "high", "js_divergence": "low", "nrmse_range": "low"}
       for level in (bulk.PATIENT, bulk.GENE)},
    "clinical": {"c_index": "high", "log_rank_p": "low", "c_index_held_out": "high", "log_rank_p_held_out": "low"},
}  # fmt: skip
DECIMALS = 9


@dataclass
class Tables:
    """Tables of a study, rows of the columns above; empty where there was nothing to hold methods against."""

    summary: list[tuple[Any, ...]] = field(default_factory=list)
    agreement: list[tuple[Any, ...]] = field(default_factory=list)
    quality: list[tuple[Any, ...]] = field(default_factory=list)
    risks: list[tuple[Any, ...]] = field(default_factory=list)
    curves: list[tuple[Any, ...]] = field(default_factory=list)

    def of(self, name: str) -> pd.DataFrame:
        """One of them, with its columns."""
        columns = {"summary": SUMMARY, "agreement": AGREEMENT, "quality": QUALITY, "risks": RISKS, "curves": CURVES}
        return pd.DataFrame(getattr(self, name), columns=list(columns[name]))


@dataclass(frozen=True)
class Truth:
    """What predictions are held against; None where it was not given. Tables are patients by genes or by numbers."""

    bulk: pd.DataFrame | None = None
    clinical: tuple[list[str], Outcomes] | None = None
    colours: pd.DataFrame | None = None

    @classmethod
    def read(cls, bulk: Path | None, clinical: Path | None, colours: Path | None) -> Truth:
        """From CSV files, a row a patient."""
        return cls(
            None if bulk is None else read_patients(bulk),
            None if clinical is None else followed(pd.read_csv(clinical, dtype=str), clinical.name),
            None if colours is None else read_patients(colours),
        )


def read_patients(path: Path) -> pd.DataFrame:
    """A CSV file of numbers, a row a patient, as `by_patient` has it."""
    return by_patient(pd.read_csv(path, dtype=str), path.name)


def assess(
    predicted: Mapping[str, pd.DataFrame],
    truth: Truth,
    seed: int,
    repeats: int = risks.REPEATS,
    way: str = risks.FIVE,
) -> Tables:
    """Hold the predictions of every method against all there is.

    Parameters
    ----------
    predicted
        Method -> patients by genes, not transformed.
    seed
        Of the folds of patients, the same for all methods.
    way
        How genes of a risk are chosen, one of `risks.WAYS`.

    Returns
    -------
    tables
        In survival `bulk` stands beside the methods: measured expression of the genes that some method predicts.
    """
    tables = Tables()
    for method, table in sorted(predicted.items()):
        by_patients = None
        if truth.bulk is not None:
            by_patients = _held_against_bulk(method, table, truth.bulk, tables)
        if truth.colours is not None and by_patients is not None:
            _held_against_colours(method, by_patients, truth.colours, tables)
    if truth.clinical is not None:
        genes = sorted(set().union(*(table.columns for table in predicted.values())))
        known = {} if truth.bulk is None else {MEASURED: truth.bulk[truth.bulk.columns.intersection(genes)]}
        for method, table in [*sorted(predicted.items()), *known.items()]:
            _held_against_outcomes(method, table, truth.clinical, seed, repeats, way, tables)
    return tables


def write(table: pd.DataFrame, path: Path) -> None:
    """As CSV, with fixed decimals: the last bits of another processor make no other file."""
    write_text(path, table.round(DECIMALS).to_csv(index=False, lineterminator="\n"))


def write_all(tables: Tables, paths: Mapping[str, Path]) -> None:
    """Write tables by name."""
    for name, path in paths.items():
        write(tables.of(name), path)


def _held_against_bulk(method: str, table: pd.DataFrame, measured: pd.DataFrame, tables: Tables) -> pd.Series:
    found = bulk.agreement(table, measured)
    tables.agreement += [(method, *row) for row in found.itertuples(index=False)]
    tables.summary += [
        (method, f"bulk_{level}", metric, value) for level, metric, value in bulk.means(found).itertuples(index=False)
    ]
    own = found[(found["level"] == bulk.PATIENT) & (found["metric"] == "pearson")]
    return own.set_index("unit")["value"]


def _held_against_colours(method: str, scores: pd.Series, pictures: pd.DataFrame, tables: Tables) -> None:
    found = colours.followed_by(pictures, scores)
    tables.quality += [(method, *row) for row in found.itertuples(index=False)]
    first = found.iloc[0]
    tables.summary += [(method, "quality", f"{first['quality']}_{name}", float(first[name])) for name in ("r", "p")]


def _held_against_outcomes(
    method: str,
    table: pd.DataFrame,
    clinical: tuple[list[str], Outcomes],
    seed: int,
    repeats: int,
    way: str,
    tables: Tables,
) -> None:
    names, everyone = clinical
    values = centred(table)
    some = np.array([name in values.index for name in names], dtype=bool)
    kept = [name for name in names if name in values.index]
    if not kept:
        raise ValueError(f"{method}: none of its patients is followed; name patients as the clinical table does")
    outcomes, expression = everyone[some], values.loc[kept, sorted(values.columns)].to_numpy()
    same = risks.resubstituted(outcomes, expression, way=way, seed=seed)
    other = risks.cross_validated(outcomes, expression, seed, way=way, repeats=repeats)
    tables.summary += [
        (method, "clinical", f"{name}{suffix}", getattr(judged, name))
        for name in ("c_index", "c_index_error", "log_rank_p", "peto_p")
        for judged, suffix in ((same, ""), (other, "_held_out"))
    ]
    halves = high_risk(same.risk), high_risk(other.risk)
    died = outcomes.died.astype(int)
    columns = kept, outcomes.days, died, same.risk, halves[0].astype(int), other.risk, halves[1].astype(int)
    tables.risks += [(method, *row) for row in zip(*columns, strict=True)]
    for judged_on, high in zip(("resubstituted", "held_out"), halves, strict=True):
        for group, who in (("high", high), ("low", ~high)):
            curve = kaplan_meier(outcomes[who])
            steps = zip(curve.days, curve.at_risk, curve.deaths, curve.share, strict=True)
            tables.curves += [(method, judged_on, group, *step) for step in steps]
