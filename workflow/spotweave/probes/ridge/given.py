"""The ridge of a given penalty, the published formula or a number: exact, without the unfinished path of `lsqr`."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from spotweave.probes import Choices, Training
from spotweave.probes.ridge.nested import BLAS_THREADS, NestedProbe
from spotweave.probes.ridge.principal import LARGE, fixed_alpha, kept_components, of_spots


def fit_given(training: Training, choices: Choices) -> NestedProbe:
    """Fit all training spots once, in double; `details` has `alpha` and `components`."""
    if not np.isfinite(training.features).all():
        raise ValueError("an embedding is not finite")
    if min(training.features.shape) >= LARGE:
        import scipy.linalg  # noqa: F401  # what is loaded later would not be limited
    kept = kept_components(choices.max_components, *training.features.shape)
    given = choices.alpha_rule == "given"
    alpha = choices.alpha_grid[0] if given else fixed_alpha(kept, training.target.shape[1])
    with threadpool_limits(BLAS_THREADS, user_api="blas"):
        principal = of_spots(training.features, training.target, kept)
        coefficients = principal.basis @ principal.weights(np.array([alpha]))[:, 0]
    intercept = principal.target_mean if choices.fit_intercept else np.zeros_like(principal.target_mean)
    return NestedProbe(principal.features_mean, coefficients, intercept, {"alpha": alpha, "components": kept})
