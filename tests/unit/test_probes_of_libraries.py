"""Probes by other libraries' models: equal to them with the published settings, fed with scikit-learn's components."""

import numpy as np
import pytest
import xgboost
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from spotweave import probes, protocols
from spotweave.probes import Training
from spotweave.probes._components import components

HEST, STRICT = (protocols.load(name).fit for name in ("hest_exact", "strict"))


@pytest.fixture(scope="module")
def data():
    """120 spots with something to learn, bent so that trees and lines differ, and 30 to predict."""
    rng = np.random.default_rng(2)
    features = rng.normal(size=(150, 20)).astype(np.float32) * np.linspace(0.1, 5, 20, dtype=np.float32)
    target = np.abs(features[:, :3].astype(float)) @ rng.normal(size=(3, 5)) + rng.normal(size=(150, 5)) * 0.1
    samples = np.repeat([0, 1, 2], 40)
    return Training(features[:120], target[:120], samples, samples), features[120:]


def hest_components(data):
    """By hand, as HEST-Library does it: scaled and reduced in single precision, then doubled."""
    training, tested = data
    scaler = StandardScaler().fit(training.features)
    pca = PCA(20, random_state=4)
    own = pca.fit_transform(scaler.transform(training.features)).astype(float)
    return own, pca.transform(scaler.transform(tested)).astype(float)


def published_trees():
    return xgboost.XGBRegressor(
        n_estimators=100,
        learning_rate=0.1,
        max_depth=3,
        min_child_weight=1,
        subsample=0.8,
        colsample_bytree=0.8,
        gamma=0,
        reg_alpha=0,
        reg_lambda=1,
        random_state=4,
        n_jobs=1,
    )


@pytest.mark.parametrize(
    ("probe", "model"),
    [
        ("xgboost", published_trees),
        ("random_forest", lambda: RandomForestRegressor(70, max_depth=16, random_state=4)),
    ],
)
def test_trees_are_those_of_their_library_with_the_stated_numbers(probe, model, data):
    own, tested = hest_components(data)
    expected = model().fit(own, data[0].target).predict(tested)
    found = probes.load(probe).fit(data[0], HEST, seed=4)
    np.testing.assert_array_equal(found.predict(data[1]), expected)
    assert found.details["components"] == 20


def test_every_gene_has_boosted_trees_of_its_own(data):
    """What the other genes are changes nothing; in a forest, which shares its trees, it does."""
    training, tested = data
    others = training.target.copy()
    others[:, 1:] = others[::-1, 1:] * 3
    changed = Training(training.features, others, training.samples, training.inner_folds)
    for probe, shared in (("xgboost", False), ("random_forest", True)):
        before, after = (probes.load(probe).fit(one, HEST, seed=4).predict(tested) for one in (training, changed))
        assert (np.abs(before[:, 0] - after[:, 0]).max() > 0) == shared, probe


def test_one_gene_keeps_its_column(data):
    training, tested = data
    alone = Training(training.features, training.target[:, :1], training.samples, training.inner_folds)
    for probe in ("xgboost", "random_forest", "knn"):
        assert probes.load(probe).fit(alone, HEST, seed=4).predict(tested).shape == (len(tested), 1)


@pytest.mark.parametrize("choices", [HEST, STRICT], ids=["hest_exact", "strict"])
def test_neighbours_are_those_of_a_plain_loop(choices, data):
    training, tested = data
    scaler = StandardScaler().fit(training.features.astype(float))
    own, others = scaler.transform(training.features.astype(float)), scaler.transform(tested.astype(float))
    expected = [training.target[np.argsort(np.linalg.norm(own - one, axis=1))[:20]].mean(0) for one in others]
    found = probes.load("knn").fit(training, choices, seed=0).predict(tested)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_few_spots_are_all_neighbours(data):
    few = Training(data[0].features[:7], data[0].target[:7], data[0].samples[:7], data[0].inner_folds[:7])
    found = probes.load("knn").fit(few, STRICT, seed=0)
    np.testing.assert_allclose(found.predict(data[1]), np.tile(data[0].target[:7].mean(0), (30, 1)))
    assert found.details["neighbours"] == 7


def test_components_under_strict_are_those_of_a_full_decomposition(data):
    training, tested = data
    scaler = StandardScaler().fit(training.features.astype(float))
    pca = PCA(20, svd_solver="full").fit(scaler.transform(training.features.astype(float)))
    own, reduce = components(training, STRICT, seed=0)
    expected = pca.transform(scaler.transform(tested.astype(float)))
    np.testing.assert_allclose(np.abs(reduce(tested)), np.abs(expected), atol=1e-8)
    assert own.shape == (120, 20)


@pytest.mark.parametrize("probe", ["knn", "random_forest", "xgboost"])
def test_embeddings_that_do_not_vary_give_about_the_training_mean(probe, data):
    flat = Training(np.ones((120, 6), np.float32), data[0].target, data[0].samples, data[0].inner_folds)
    found = probes.load(probe).fit(flat, STRICT, seed=0).predict(np.ones((3, 6), np.float32))
    assert np.ptp(found, axis=0).max() == 0
    spread = data[0].target.std(axis=0)
    assert (np.abs(found[0] - data[0].target.mean(0)) < spread).all()


def test_ridge_on_all_dimensions_is_scikit_learn_without_components(data):
    training, tested = data
    scaler = StandardScaler().fit(training.features)
    own, others = (scaler.transform(part).astype(float) for part in (training.features, tested))
    ridge = Ridge(100 / (20 * 5), solver="lsqr", fit_intercept=False, max_iter=1000, random_state=0)
    expected = ridge.fit(own, training.target).predict(others)
    found = probes.load("ridge_all").fit(training, HEST, seed=0)
    np.testing.assert_array_equal(found.predict(tested), expected)
    assert found.details == {"alpha": 1.0, "components": None}


def test_ridge_on_all_dimensions_keeps_more_than_the_protocol_s_components():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 300)).astype(np.float32)
    target = features[:, -2:].astype(float) + rng.normal(size=(400, 2))
    folds = np.repeat([0, 1], 200)
    training = Training(features, target, folds, folds)
    assert probes.load("ridge").fit(training, STRICT, seed=0).details["components"] == 256
    found = probes.load("ridge_all").fit(training, STRICT, seed=0)
    assert found.details["components"] == 300
    scaler = StandardScaler().fit(features.astype(float))
    expected = Ridge(found.details["alpha"]).fit(scaler.transform(features.astype(float)), target)
    tested = rng.normal(size=(9, 300)).astype(np.float32)
    np.testing.assert_allclose(
        found.predict(tested), expected.predict(scaler.transform(tested.astype(float))), atol=1e-8
    )
