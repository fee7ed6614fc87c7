"""Boosted trees on principal components, with the numbers of HEST-Benchmark.

HEST-1k (Jaume et al. 2024, section 5 and appendix C.3) and HEST-Library's `hest/bench`: 100 trees of depth 3, learning
rate .1, four fifths of the spots and of the components for each tree, no penalty but lambda = 1. Each gene has trees of
its own. Nothing is chosen by trying.
"""

from __future__ import annotations

from typing import Any

from spotweave.probes import Choices, Training
from spotweave.probes._components import OnComponents, components

PARAMETERS: dict[str, Any] = {
    "n_estimators": 100,
    "learning_rate": 0.1,
    "max_depth": 3,
    "min_child_weight": 1,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
    "gamma": 0,
    "reg_alpha": 0,
    "reg_lambda": 1,
}
# Histograms summed by several threads round by their order: the score must not depend on the cores of a job.
THREADS = 1


def fit(training: Training, choices: Choices, seed: int) -> OnComponents:
    """Fit one booster to all genes."""
    from xgboost import XGBRegressor

    features, reduce = components(training, choices, seed)
    model = XGBRegressor(**PARAMETERS, random_state=seed, n_jobs=THREADS).fit(features, training.target)
    return OnComponents(reduce, model, training.target.shape[1], {"components": features.shape[1]})
