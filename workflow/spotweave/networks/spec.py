"""One row of the encoder table, typed, and what is said when a model's weights cannot be had."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from spotweave.errors import Refusal


class ModelUnavailable(Refusal):
    """A model's weights cannot be had here.

    Parameters
    ----------
    model
        What it is and its name (`tissue method deeplabv3`).
    problem
        What is missing.
    steps
        What to do, in order; they become part of the reason.
    """

    def __init__(self, model: str, problem: str, steps: Sequence[str]) -> None:
        numbered = " ".join(f"({number}) {step}" for number, step in enumerate(steps, start=1))
        super().__init__(f"{model} is unavailable: {problem} To get it: {numbered}")
        self.steps = tuple(steps)


class EncoderUnavailable(ModelUnavailable):
    """The weights of `encoder`, by its name in the table, cannot be had here."""

    def __init__(self, encoder: str, problem: str, steps: Sequence[str]) -> None:
        super().__init__(f"encoder {encoder}", problem, steps)


@dataclass(frozen=True)
class EncoderSpec:
    """One row of the encoder table, typed. Column by column it is described in `encoders.schema.yaml`."""

    encoder: str
    builder: str
    dim: int
    input_px: int
    architecture: str = ""
    arguments: str = ""
    weights: str = "none"
    source: str = ""
    revision: str = ""
    sha256: str = ""
    tensors: str = ""
    resize: str = "none"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    pool: str = "none"
    dtype: str = "float32"
    licence: str = ""
    gated: bool = False

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> EncoderSpec:
        """Type the cells of a row that fits the schema; columns that do not shape the encoder are left out."""
        known = {name: row[name] for name in cls.__dataclass_fields__ if row.get(name, "") != ""}
        typed: dict[str, Any] = {
            **known,
            "dim": int(row["dim"]),
            "input_px": int(row["input_px"]),
            "gated": row.get("gated") == "yes",
        }
        for name in ("mean", "std"):
            if name in known:
                typed[name] = tuple(float(value) for value in known[name].split())
        return cls(**typed)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EncoderSpec:
        """The inverse of `as_dict`."""
        return cls(**{**content, "mean": tuple(content["mean"]), "std": tuple(content["std"])})

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        content = {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
        # It travels in files: one whose row does not state these has no room for them.
        return {name: value for name, value in content.items() if value or name not in ("sha256", "tensors")}

    def at(self, source: Path) -> EncoderSpec:
        """The same encoder with its weights at `source`."""
        return replace(self, source=str(source))


def parse_arguments(text: str) -> dict[str, Any]:
    """Architecture arguments from `name=value;name=value`: JSON values, and words for anything else."""
    arguments: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, value = part.partition("=")
        try:
            arguments[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            arguments[name.strip()] = value.strip()
    return arguments
