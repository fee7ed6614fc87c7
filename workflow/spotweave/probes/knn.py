"""The mean of the training spots whose patches are most alike: what an embedding tells without anything learned.

Alike is near in the space of principal components, each of which counts by its spread. The number of spots is fixed:
where genes are noisy, fewer would repeat the noise of single spots.
"""

from __future__ import annotations

from spotweave.probes import Choices, Training
from spotweave.probes._components import OnComponents, components

NEIGHBOURS = 20


def fit(training: Training, choices: Choices, seed: int) -> OnComponents:
    """Keep the training spots; with fewer than `NEIGHBOURS` all of them are averaged."""
    from sklearn.neighbors import KNeighborsRegressor

    features, reduce = components(training, choices, seed)
    model = KNeighborsRegressor(min(NEIGHBOURS, len(features)), algorithm="brute").fit(features, training.target)
    details = {"components": features.shape[1], "neighbours": model.n_neighbors}
    return OnComponents(reduce, model, training.target.shape[1], details)
