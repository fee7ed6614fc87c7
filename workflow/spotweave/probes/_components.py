"""What probes that are not linear are fitted on: the standardised embedding on the protocol's principal components."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from spotweave.probes import Choices, Training

Array = NDArray[np.float64]


class Regressor(Protocol):
    """A model of scikit-learn's manners."""

    def predict(self, features: Array) -> Any:
        """(N, K) -> (N, G), or (N,) for one gene."""


@dataclass(frozen=True)
class OnComponents:
    """A model fitted on components: (N, D) embeddings -> (N, G) float64."""

    reduce: Callable[[NDArray[np.floating]], Array]
    model: Regressor
    genes: int
    details: dict[str, Any]

    def predict(self, features: NDArray[np.floating]) -> Array:
        """(N, D) embeddings -> (N, G) float64."""
        return np.asarray(self.model.predict(self.reduce(features)), dtype=np.float64).reshape(-1, self.genes)


def components(training: Training, choices: Choices, seed: int) -> tuple[Array, Callable[[Any], Array]]:
    """(N, K) components of the training spots, and the function that makes those of others.

    They are the ridge's under the same protocol: scikit-learn's in single precision, exact ones in double. Embeddings
    that do not vary at all have one component, of zeros.
    """
    if choices.features_dtype == "float32":
        from spotweave.probes.ridge.fixed import fit_reduction

        return fit_reduction(training.features, choices, seed)
    from spotweave.probes.ridge.nested import BLAS_THREADS
    from spotweave.probes.ridge.principal import kept_components, of_spots

    kept = kept_components(choices.max_components, *training.features.shape)
    # Trees turn the last bit of a component into another split: the score must not depend on the cores of a job.
    with threadpool_limits(BLAS_THREADS, user_api="blas"):
        principal = of_spots(training.features, training.target, kept)

    def reduce(features: NDArray[np.floating]) -> Array:
        with threadpool_limits(BLAS_THREADS, user_api="blas"):
            found = principal.components(features)
        return found if found.shape[1] else np.zeros((len(features), 1))

    return reduce(training.features), reduce
