"""The ridge of a cross-validated penalty against scikit-learn: CPU seconds of one thread, on simulated embeddings.

    python tests/bench/ridge.py 732x1024 3000x320

prints other shapes (spots x dimensions), against a plain loop with one full decomposition a fold.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))

from turns import in_turn, seconds, times

GENES, FOLDS = 50, 5


def simulated(spots: int, dimensions: int) -> Any:
    """Training spots whose components fade as those of networks do, in ten samples and five inner folds."""
    from spotweave.probes import Training

    rng = np.random.default_rng([spots, dimensions])
    rank = min(spots, dimensions)
    factors = rng.normal(size=(spots, rank)) * np.arange(1, rank + 1) ** -0.8
    features = factors @ rng.normal(size=(rank, dimensions)) + 0.02 * rng.normal(size=(spots, dimensions))
    target = 0.3 * factors @ rng.normal(size=(rank, GENES)) + rng.normal(size=(spots, GENES))
    samples = np.arange(spots) * 2 * FOLDS // spots
    return Training(features.astype(np.float32), target, samples, samples // 2)


def ours(training: Any) -> Callable[[], object]:
    """The whole fit of `strict`: five inner folds, 19 penalties, and all spots with the chosen one."""
    from spotweave import protocols
    from spotweave.probes import ridge

    choices = protocols.load("strict").fit
    return lambda: ridge.fit(training, choices, seed=0)


def loop(training: Any) -> Callable[[], object]:
    """Scaler and full PCA once a fold, then scikit-learn's ridge for each penalty; nothing is scored."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from spotweave import protocols

    choices = protocols.load("strict").fit
    features = training.features.astype(np.float64)

    def work() -> None:
        for fold in range(FOLDS):
            train = training.inner_folds != fold
            kept = min(choices.max_components, features.shape[1], train.sum() - 1)
            reduction = make_pipeline(StandardScaler(), PCA(kept, svd_solver="full")).fit(features[train])
            components, held_out = reduction.transform(features[train]), reduction.transform(features[~train])
            for alpha in choices.alpha_grid:
                Ridge(alpha).fit(components, training.target[train]).predict(held_out)

    return work


def grid_search(training: Any, *, reduced: bool) -> Callable[[], object]:
    """`GridSearchCV` over scaler, PCA where wanted, and ridge; it fits everything anew for each penalty."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from spotweave import protocols

    choices = protocols.load("strict").fit
    reduction = [PCA(choices.max_components, svd_solver="full")] if reduced else []
    model = make_pipeline(StandardScaler(), *reduction, Ridge())
    folds = PredefinedSplit(training.inner_folds)
    search = GridSearchCV(model, {"ridge__alpha": list(choices.alpha_grid)}, cv=folds)
    return lambda: search.fit(training.features.astype(np.float64), training.target)


def bench_ridge(_: Path) -> list[str]:
    """Rows of the table."""
    import sklearn.decomposition  # noqa: F401  # its linear algebra is loaded before it is limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        plain, searched, wide = simulated(800, 256), simulated(732, 320), simulated(732, 1024)
        small = in_turn({"ours": ours(plain), "theirs": grid_search(plain, reduced=False)})
        middle = in_turn({"ours": ours(searched), "theirs": grid_search(searched, reduced=True)}, repeats=3)
        large = in_turn({"ours": ours(wide), "theirs": loop(wide)}, repeats=3)
    what = "embeddings (simulated), 50 genes, 19 penalties x 5 inner folds, one thread: the fit of `strict`"
    return [
        f"| 800 x 256 {what} | {seconds(small['ours'])}; `GridSearchCV` over scaler and ridge, without PCA, takes"
        f" {times(small['theirs'], small['ours'])} as long |",
        f"| … 732 x 320 | {seconds(middle['ours'])}; `GridSearchCV` over scaler, full PCA and ridge"
        f" {times(middle['theirs'], middle['ours'])} |",
        f"| … 732 x 1,024 | {seconds(large['ours'])}; a loop over scikit-learn with one full PCA a fold"
        f" {times(large['theirs'], large['ours'])} |",
    ]


if __name__ == "__main__":
    for shape in sys.argv[1:]:
        data = simulated(*(int(word) for word in shape.split("x")))
        found = in_turn({"ours": ours(data), "theirs": loop(data)}, repeats=3)
        print(shape, seconds(found["ours"]), times(found["theirs"], found["ours"]), flush=True)
