"""Methods: what predicts expression without a probe over an encoder. One module is one kind, one row of the table one
method of some kind.

A kind is a module with

    fit(training: Training, row: Mapping[str, str], job: Job) -> Method
        Fits on training spots only. `row` is the method's row of the table, without remarks. Raises `CannotPredict`,
        with the reason, where the fold cannot be run.
    COLUMNS: dict[str, dict]
        The columns of the table that are its own: name -> JSON Schema of a cell, with a description; none, left out.
    REQUIRED: tuple[str, ...]
        Those of them that may not be blank; none, left out.
    NEEDS: tuple[str, ...]
        What its jobs wait for beside genes, counts and positions: `patches`; nothing, left out.

    LEARNED: bool
        Whether it trains a network: it then has the columns of `learning.settings`, a literal table `PRESETS`, and
        `load(folder) -> Method`, and what it fits has `save(folder)`; false, left out.

    SEES: str
        `section`, where what it says of a spot depends on the others that it is asked for: it is then asked for a
        section at once. `spot`, left out.

    ENCODER: bool | str
        Of a learned kind, whether a row may name an `encoder`, whose vectors of the spots (`Sample.embedded`) it then
        takes in the place of a trunk of its own, without patches; else why not; false, left out.

The last six are literals: they are read before the first job, without importing the module. What the table knows of a
row (`COLUMNS`) is checked then, and only methods that need patches run again when patches change.

What a kind is given to fit, and what it is asked for, is in `spotweave.spots`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from spotweave.registry import Registry
from spotweave.spots import CannotPredict, Job, Method, Pictures, Sample, Training, TrainingSample, Vectors

__all__ = [
    "METHODS",
    "PATCHES",
    "SECTION",
    "CannotPredict",
    "Job",
    "Method",
    "MethodModule",
    "Pictures",
    "Sample",
    "Training",
    "TrainingSample",
    "Vectors",
    "load",
    "needs",
]

METHODS = Registry("methods", "method kind")
PATCHES = "patches"
SECTION = "section"


class MethodModule(Protocol):
    """What a kind's module offers."""

    def fit(self, training: Training, row: Mapping[str, str], job: Job) -> Method:
        """Fit on training spots only."""


def load(kind: str) -> MethodModule:
    """The module of a kind."""
    module: MethodModule = METHODS.load(kind)
    return module


def needs(row: Mapping[str, str], what: str) -> bool:
    """Whether a method's kind names, in its `NEEDS`, what a job must wait for; it is not imported.

    Over an encoder nothing needs patches: the encoder has seen them.
    """
    if row.get("encoder") and what == PATCHES:
        return False
    return what in METHODS.constant(row["kind"], "NEEDS", ())
