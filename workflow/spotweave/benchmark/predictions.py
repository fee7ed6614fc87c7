"""A prediction is a file: what one predictor says of the test spots of one fold, and every choice that made it.

A predictor is a probe over an encoder (`uni+ridge`) or a method trained end to end (`egnv2`): both write this file, and
nothing that reads it asks which. It holds no time, no cost and no device: the same choices make the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotweave.benchmark.hdf5 import read_text, write_numbers, write_text

PREDICTED = "predicted"
# The fold could be run, and this predictor cannot: no weights, too few spots, no genes.
REFUSED = "refused"
# There is no such fold: a donor fell away.
ABSENT = "absent"


class NotPredicted(Exception):
    """A fold cannot be predicted; the message says why and goes to the tables."""

    def __init__(self, reason: str, status: str = REFUSED) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Prediction:
    """The content of `fold{k}.h5`.

    Attributes
    ----------
    values
        (N, G) float32, on the protocol's scale of expression. Without rows where the fold could not be predicted.
    spots, samples
        N names: one row a test spot, sample after sample as in `splits.json`, spots in the order of their `st.h5ad`.
    genes
        G names, those of `targets.h5`.
    status, reason
        `predicted`, `refused` or `absent`, and why where it is not predicted.
    choices
        Attributes of the file: whatever made the prediction, by name. What there is none of is left out. `note`, if
        there is one, is shown in the leaderboard; `encoder` and `probe` fill its columns.
    """

    values: NDArray[np.float32]
    spots: Sequence[str]
    samples: Sequence[str]
    genes: Sequence[str]
    status: str = PREDICTED
    reason: str = ""
    choices: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def none(cls, why: NotPredicted, choices: Mapping[str, Any]) -> Prediction:
        """Of a fold that is not predicted."""
        return cls(np.empty((0, 0), np.float32), [], [], [], why.status, str(why), choices)


def write_prediction(path: Path, prediction: Prediction) -> None:
    """Write a prediction; the same content makes the same bytes.

    Raises
    ------
    ValueError
        If rows or columns do not match their names, or a value is not finite.
    """
    values = np.asarray(prediction.values, dtype=np.float32)
    shape = (len(prediction.spots), len(prediction.genes))
    if values.shape != shape or len(prediction.samples) != shape[0]:
        raise ValueError(f"{path}: {values.shape} values for {shape[0]} spots and {shape[1]} genes")
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: a prediction is not finite")
    with h5py.File(path, "w") as file:
        write_numbers(file, "prediction", values)
        write_text(file, "spot", prediction.spots)
        write_text(file, "sample", prediction.samples)
        write_text(file, "genes", prediction.genes)
        given = {**prediction.choices, "status": prediction.status, "reason": prediction.reason}
        for name, value in sorted(given.items()):
            if value is not None:
                file.attrs[name] = _as_attribute(value)


def read_prediction(path: Path) -> Prediction:
    """Read a prediction; `choices` are as HDF5 gives them, strings and NumPy numbers."""
    with h5py.File(path, "r") as file:
        choices = dict(file.attrs)
        return Prediction(
            file["prediction"][...],
            read_text(file["spot"]),
            read_text(file["sample"]),
            read_text(file["genes"]),
            str(choices.pop("status")),
            str(choices.pop("reason")),
            choices,
        )


def place_of(path: Path) -> tuple[str, int]:
    """Predictor and fold of `predictions/{task}/{protocol}/{predictor}/fold{k}.h5`."""
    return path.parent.name, int(path.stem.removeprefix("fold"))


def _as_attribute(value: Any) -> Any:
    """Numbers, texts and lists of numbers as they are; anything else as JSON."""
    if isinstance(value, str):
        return str(value)  # HDF5 knows no text of NumPy
    value = value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(one, (int, float)) for one in value):
        return np.asarray(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
