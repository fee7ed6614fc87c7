"""A random forest on principal components.

HEST-Library's `hest/bench` has a forest of 70 trees that its paper does not mention, by a library for GPUs, whose
defaults are kept here: depth 16, all components tried at every split. There each gene has a forest of its own; here the
trees are shared by all genes (a split is the one that explains most of all of them), as scikit-learn has it.
"""

from __future__ import annotations

from typing import Any

from spotweave.probes import Choices, Training
from spotweave.probes._components import OnComponents, components

PARAMETERS: dict[str, Any] = {"n_estimators": 70, "max_depth": 16, "max_features": 1.0}


def fit(training: Training, choices: Choices, seed: int) -> OnComponents:
    """Fit one forest to all genes."""
    from sklearn.ensemble import RandomForestRegressor

    features, reduce = components(training, choices, seed)
    target = training.target[:, 0] if training.target.shape[1] == 1 else training.target
    model = RandomForestRegressor(**PARAMETERS, random_state=seed, n_jobs=1).fit(features, target)
    return OnComponents(reduce, model, training.target.shape[1], {"components": features.shape[1]})
