"""Probes: what is fitted from embedding to expression. One probe is one file; its module has `fit`.

    fit(training: Training, choices: Choices, seed: int) -> Probe

To add a probe, add a file and name it under `probes:` of the configuration; the contract test runs over every module of
this folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from spotweave.registry import Registry

PROBES = Registry("probes", "probe")


@dataclass(frozen=True)
class Choices:
    """What a protocol fixes about the fitting.

    Attributes
    ----------
    max_components
        Principal components kept; fewer where there are fewer dimensions or training spots.
    features_dtype
        Type in which features are standardised and reduced to components. The regression is in float64.
    fit_intercept
        Whether the regression has an intercept.
    alpha_rule
        `"100/(components*genes)"`, `"cross-validated"` (over `alpha_grid`, within the training spots), or `"given"`:
        the one number in `alpha_grid`.
    alpha_grid
        Ascending ridge penalties to choose from; empty where none is chosen or given.
    """

    max_components: int
    features_dtype: Literal["float32", "float64"]
    fit_intercept: bool
    alpha_rule: Literal["100/(components*genes)", "cross-validated", "given"]
    alpha_grid: tuple[float, ...] = ()


@dataclass(frozen=True)
class Training:
    """Training spots.

    Attributes
    ----------
    features
        (N, D) embeddings.
    target
        (N, G) float64 expression on the protocol's scale.
    samples
        (N,) int code of the sample of each spot.
    inner_folds
        (N,) int; spots of one inner fold are held out together when a setting is cross-validated.
    depth
        (N,) float64, ln(1 + all counts of the spot); None where nobody asks for it.
    """

    features: NDArray[np.floating]
    target: NDArray[np.float64]
    samples: NDArray[np.int64]
    inner_folds: NDArray[np.int64]
    depth: NDArray[np.float64] | None = None


class Probe(Protocol):
    """A fitted probe."""

    @property
    def details(self) -> dict[str, Any]:
        """Settings that were chosen, by name; they become attributes of the prediction's file, None is left out."""

    def predict(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, D) embeddings -> (N, G) expression, float64."""


class ProbeModule(Protocol):
    """What a probe's module offers."""

    def fit(self, training: Training, choices: Choices, seed: int) -> Probe:
        """Fit on training spots only."""


def load(name: str) -> ProbeModule:
    """The module of the probe `name`."""
    module: ProbeModule = PROBES.load(name)
    return module
