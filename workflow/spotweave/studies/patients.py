"""Tables with a row a patient: numbers, how they are made alike, and who was followed for how long."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spotweave.errors import plain
from spotweave.studies.outcomes import Outcomes

PATIENT = "patient"
CLINICAL = (PATIENT, "vital_status", "days_to_death", "days_to_last_follow_up")
ALIVE, DEAD = "Alive", "Dead"


def centred(expression: pd.DataFrame) -> pd.DataFrame:
    """ln(max(x, 0) + 1) less the mean over a patient's genes; patients that lack a gene are left out."""
    whole = np.log1p(expression.dropna().clip(lower=0))
    return whole.sub(whole.mean(axis=1), axis=0)


def by_patient(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows of a table as float64 by its column `patient`, in alphabetical order; empty cells are NaN.

    Raises
    ------
    ValueError
        There is no such column, a patient is there twice, or a cell is no number: which, and what to do.
    """
    if PATIENT not in table:
        raise ValueError(f"{name}: no column {PATIENT!r}; it needs one row a patient, named there")
    _require_once(table[PATIENT], name)
    own = table.set_index(table[PATIENT].astype(str)).drop(columns=PATIENT)
    numbers = own.apply(pd.to_numeric, errors="coerce")
    wrong = (numbers.isna() & own.notna()) | np.isinf(numbers)
    if wrong.to_numpy().any():
        row, column = np.argwhere(wrong.to_numpy())[0]
        cell, where = plain(str(own.iat[row, column])), plain(str(own.columns[column]))
        raise ValueError(
            f"{name}: {where} of patient {plain(str(own.index[row]))!r} is {cell!r}; write a number or nothing"
        )
    return numbers.astype(np.float64).sort_index()


def followed(clinical: pd.DataFrame, name: str) -> tuple[list[str], Outcomes]:
    """Patients whose status and time are known.

    Parameters
    ----------
    clinical
        Columns `CLINICAL`, text: `vital_status` is `Alive`, `Dead` or empty, days are numbers or empty. The days are
        those to death where they are known, else those to the last visit.
    name
        Of the table, for messages.

    Returns
    -------
    patients, outcomes
        In alphabetical order; who has no status, no days, or none above 0 is not there.

    Raises
    ------
    ValueError
        A column is missing, a patient is there twice, a status is another word, days are no number: which, and what to
        do.
    """
    missing = [column for column in CLINICAL if column not in clinical]
    if missing:
        raise ValueError(f"{name}: no column {missing[0]!r}; it needs {', '.join(CLINICAL)}")
    status = clinical["vital_status"].fillna("")
    other = clinical[~status.isin(["", ALIVE, DEAD])]
    if len(other):
        who, what = (plain(str(value)) for value in other[[PATIENT, "vital_status"]].iloc[0])
        raise ValueError(f"{name}: vital_status of {who!r} is {what!r}; write {ALIVE}, {DEAD}, or nothing")
    times = by_patient(clinical[[PATIENT, "days_to_death", "days_to_last_follow_up"]], name)
    days = times["days_to_death"].fillna(times["days_to_last_follow_up"])
    status = status.set_axis(clinical[PATIENT].astype(str)).reindex(days.index)
    kept = (status != "") & (days > 0)
    outcomes = Outcomes(days[kept].to_numpy(), (status[kept] == DEAD).to_numpy())
    return list(days.index[kept]), outcomes


def _require_once(patients: pd.Series, name: str) -> None:
    twice = patients[patients.duplicated()]
    if len(twice):
        raise ValueError(f"{name}: patient {plain(str(twice.iloc[0]))!r} has two rows; keep one")
