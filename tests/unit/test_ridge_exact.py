"""The cross-validated ridge against the recipe by singular values of everything, on features of every kind."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from spotweave import probes, protocols
from spotweave.correlation import pearson_by_group
from spotweave.probes import Training
from spotweave.probes.ridge import principal

CHOICES = protocols.load("strict").fit
GENES = 5
EXACT = 1e-9  # of the spread of the target


def by_singular_values(train, target, test, kept, grid):
    """The recipe for each penalty, with NumPy's decomposition of the standardised features."""
    train, test = train.astype(np.float64), test.astype(np.float64)
    scaler = StandardScaler().fit(train)
    left, singular, right = np.linalg.svd(scaler.transform(train), full_matrices=False)
    left, singular, right = left[:, :kept], singular[:kept], right[:kept]
    projected, components = left.T @ (target - target.mean(axis=0)), scaler.transform(test) @ right.T
    shrunk = [(singular / (singular**2 + alpha))[:, None] * projected for alpha in grid]
    return np.stack([components @ weights for weights in shrunk]) + target.mean(axis=0)


def spectrum(rng, spots, dimensions, decay):
    """Features whose components fade as a power of their number."""
    rank = min(spots, dimensions)
    factors = rng.normal(size=(spots, rank)) * np.arange(1, rank + 1) ** -decay
    return factors @ rng.normal(size=(rank, dimensions)) + rng.normal(size=dimensions)


def plain(rng, features):
    return features


def single_precision(rng, features):
    return features.astype(np.float32)


def far_from_zero(rng, features):
    return features + 1e5 * rng.normal(size=features.shape[1])


def ill_scaled(rng, features):
    return features * 10.0 ** rng.uniform(-20, 20, features.shape[1])


def copied_columns(rng, features):
    features[:, -3:] = features[:, :3]
    return features


def nearly_a_sum(rng, features):
    features[:, -1] = features[:, 0] + features[:, 1] + 10 ** rng.uniform(-9, -1) * features[:, -1]
    return features


def dead_columns(rng, features):
    features[:, [0, 5]] = 0.1, 0.0
    return features


def alive_in_one_fold(rng, features):
    features[len(features) // 6 :, 2] = 0.1
    return features


def sums_to_one(rng, features):
    shares = np.exp(features - features.max(axis=0))
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def copied_spots(rng, features):
    features[1::2] = features[::2]
    return features


def few_directions(rng, features):
    return features[:, :9] @ rng.normal(size=(9, features.shape[1]))


def samples_far_apart(rng, features):
    return features + 300 * rng.normal(size=(6, features.shape[1]))[np.arange(len(features)) * 6 // len(features)]


KINDS = [plain, single_precision, far_from_zero, ill_scaled, copied_columns, nearly_a_sum, dead_columns]
KINDS += [alive_in_one_fold, sums_to_one, copied_spots, few_directions, samples_far_apart]
# Spots, dimensions, most components: all components, a few, more dimensions than spots, fewer spots than components.
SHAPES = [(90, 12, 256), (90, 60, 15), (48, 100, 12), (24, 60, 256)]


def drawn(kind, seed, shape):
    """Training spots of six samples in three inner folds, and others to predict."""
    rng = np.random.default_rng([seed, *shape[:2]])
    features = kind(rng, spectrum(rng, shape[0] + 10, shape[1], rng.uniform(0.3, 1.5)))
    scores = StandardScaler().fit_transform(features.astype(np.float64))
    target = scores @ rng.normal(size=(shape[1], GENES)) / 3 + rng.normal(size=(len(scores), GENES)) + 2
    samples = np.arange(shape[0]) * 6 // shape[0]
    return Training(features[:-10], target[:-10], samples, samples // 2), features[-10:]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_and_curve_are_those_of_all_singular_values(kind, shape):
    data, test = drawn(kind, 3, shape)
    grid = CHOICES.alpha_grid[::9]
    choices = replace(CHOICES, max_components=shape[2], alpha_grid=grid)
    probe = probes.load("ridge").fit(data, choices, seed=0)
    curves = []
    for fold in range(3):
        held_out = data.inner_folds == fold
        kept = min(shape[2], shape[1], (~held_out).sum() - 1)
        predictions = by_singular_values(
            data.features[~held_out], data.target[~held_out], data.features[held_out], kept, grid
        )
        groups = data.target[held_out], data.samples[held_out]
        scores = [pearson_by_group(groups[0], predicted, groups[1]) for predicted in predictions]
        curves.append(np.nan_to_num(scores).mean(axis=(1, 2)))
    curve = np.mean(curves, axis=0)
    np.testing.assert_allclose(probe.details["alpha_curve"], curve, rtol=0, atol=EXACT)
    assert probe.details["alpha"] == grid[int(np.argmax(curve))]
    assert probe.details["components"] == min(shape[2], shape[1], shape[0] - 1)
    predictions = by_singular_values(data.features, data.target, test, probe.details["components"], grid)
    for alpha, expected in zip(grid, predictions, strict=True):
        one = probes.load("ridge").fit(data, replace(choices, alpha_grid=(alpha,)), seed=0)
        np.testing.assert_allclose(one.predict(test), expected, rtol=0, atol=EXACT * data.target.std())


@pytest.mark.parametrize(("spots", "dimensions"), [(420, 300), (300, 420), (240, 1400)])
def test_full_size_meets_scikit_learn_with_its_full_decomposition(spots, dimensions):
    """With 256 components; the last has so many dimensions that scikit-learn would decompose at random by itself."""
    rng = np.random.default_rng(dimensions)
    features = spectrum(rng, spots, dimensions, 0.8).astype(np.float32)
    target = rng.normal(size=(spots, GENES)) + features[:, :GENES]
    kept = min(256, dimensions, spots - 1)
    samples = np.arange(spots) % 2
    for alpha in (CHOICES.alpha_grid[0], 100.0):
        data = Training(features, target, samples, samples)
        probe = probes.load("ridge").fit(data, replace(CHOICES, alpha_grid=(alpha,)), seed=0)
        assert probe.details["components"] == kept
        expected = make_pipeline(StandardScaler(), PCA(kept, svd_solver="full"), Ridge(alpha=alpha, solver="svd"))
        expected.fit(features.astype(np.float64), target)
        test = spectrum(rng, 20, dimensions, 0.8)
        np.testing.assert_allclose(probe.predict(test), expected.predict(test), rtol=0, atol=EXACT * target.std())


@pytest.mark.parametrize("shape", [(90, 60, 15), (60, 150, 15)])
def test_some_of_many_components_taken_alone_are_the_same(shape, monkeypatch):
    data, test = drawn(plain, 4, shape)
    monkeypatch.setattr(principal, "LARGE", 30)
    probe = probes.load("ridge").fit(data, replace(CHOICES, max_components=15, alpha_grid=(0.1,)), seed=0)
    (expected,) = by_singular_values(data.features, data.target, test, 15, (0.1,))
    np.testing.assert_allclose(probe.predict(test), expected, rtol=0, atol=EXACT * data.target.std())


def waves(rng, strengths, spots):
    """(spots, D) features, all columns of one spread, whose singular values are `strengths`, each of them twice."""
    dimensions = 2 * len(strengths) + 20
    at = 2 * np.pi * np.outer(np.arange(dimensions), 1 + np.arange(len(strengths))) / dimensions
    right = np.concatenate([np.cos(at), np.sin(at)], axis=1) * np.sqrt(2 / dimensions)
    left, _ = np.linalg.qr(np.column_stack([np.ones(spots), rng.normal(size=(spots, right.shape[1]))]))
    return left[:, 1:], right, left[:, 1:] * np.tile(strengths, 2) @ right.T


def test_components_that_nearly_tie_at_the_cut_are_told_apart():
    """By the covariance alone the last ones kept and the first ones left out would mix, by 1e-7 and more."""
    rng = np.random.default_rng(0)
    strengths = np.array([1.0, 0.3, 0.1, 2e-3, 2e-3 - 1e-7, 1e-4])
    left, right, features = waves(rng, strengths, 80)
    target = left[:, [3, 4, 9, 10]] @ rng.normal(size=(4, GENES)) + 0.01 * left[:, :GENES]
    samples = np.arange(80) % 2
    choices = replace(CHOICES, max_components=8, alpha_grid=(1e-2,))
    probe = probes.load("ridge").fit(Training(features, target, samples, samples), choices, seed=0)
    # In closed form: every column is scaled by the same spread, so the waves are the components.
    scale = np.sqrt(np.tile(strengths, 2) ** 2 @ np.ones(12) / len(right) / 80)
    singular = np.tile(strengths[:4], 2) / scale
    kept = np.r_[0:4, 6:10]
    shrunk = (singular**2 / (singular**2 + 1e-2))[:, None] * (left[:, kept].T @ target)
    expected = left[:, kept] @ shrunk + target.mean(axis=0)
    np.testing.assert_allclose(probe.predict(features), expected, rtol=0, atol=5e-9 * target.std())


@pytest.mark.parametrize("shape", [(120, 90, 20), (120, 300, 20)])
def test_the_same_bytes_whatever_the_threads(shape):
    data, test = drawn(plain, 1, shape)
    made = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads, user_api="blas"):
            probe = probes.load("ridge").fit(data, replace(CHOICES, max_components=20), seed=0)
            made.append((probe.predict(test).tobytes(), tuple(probe.details["alpha_curve"])))
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("probe", sorted({*probes.PROBES.names()} - {"ridge", "depth"}))
def test_other_probes_make_the_same_bytes_whatever_the_threads(probe):
    data, test = drawn(plain, 1, (300, 200, 40))
    made = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads, user_api="blas"):
            fitted = probes.load(probe).fit(data, replace(CHOICES, max_components=20), seed=0)
            made.append(fitted.predict(test).tobytes())
    assert made[0] == made[1] == made[2]


def test_without_an_intercept_nothing_is_added_to_what_the_components_say():
    data, test = drawn(plain, 2, (120, 12, 256))
    choices = replace(CHOICES, fit_intercept=False, alpha_grid=(10.0,))
    expected = make_pipeline(StandardScaler(), PCA(12), Ridge(alpha=10.0, fit_intercept=False))
    predicted = expected.fit(data.features, data.target).predict(test)
    np.testing.assert_allclose(probes.load("ridge").fit(data, choices, seed=0).predict(test), predicted, atol=1e-9)


def test_what_cannot_be_fitted_is_refused():
    data, _ = drawn(plain, 2, (120, 12, 256))
    with pytest.raises(ValueError, match="in float64, not in float32"):
        probes.load("ridge").fit(data, replace(CHOICES, features_dtype="float32"), seed=0)
    data.features[3, 4] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        probes.load("ridge").fit(data, CHOICES, seed=0)
