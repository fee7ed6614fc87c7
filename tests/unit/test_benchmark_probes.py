"""The ridge against scikit-learn's, and one contract for every probe and every protocol."""

import json

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spotweave import probes, protocols
from spotweave.expression.scales import SCALES
from spotweave.probes import PROBES, Training
from spotweave.probes.ridge.fixed import fixed_alpha
from spotweave.protocols import PROTOCOLS

GRID = protocols.load("strict").fit.alpha_grid


def training(seed=0, spots=90, dimensions=12, genes=4):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(spots, dimensions)).astype(np.float32)
    target = features.astype(float) @ rng.normal(size=(dimensions, genes)) + rng.normal(size=(spots, genes)) + 5
    samples = np.repeat(np.arange(3), spots // 3)
    return Training(features, target, samples, samples)


def test_the_fixed_penalty_is_that_of_hest_benchmark():
    assert fixed_alpha(256, 50) == 0.0078125


def test_components_are_limited_by_spots_and_by_dimensions():
    for spots, dimensions, expected in ((90, 300, 89), (90, 12, 12), (300, 280, 256)):
        data = training(spots=spots, dimensions=dimensions)
        probe = probes.load("ridge").fit(data, protocols.load("hest_exact").fit, seed=0)
        assert probe.details["components"] == expected
        assert probe.details["alpha"] == fixed_alpha(expected, 4)


def unlike_samples(seed, genes=4, dimensions=12):
    """Six samples of unequal size in three inner folds, rows mixed, each sample with an expression level of its own.

    Correlations over a fold's spots together are not those of its samples: the levels, which no feature tells, and the
    sizes make them differ. Codes of samples and folds have gaps and another order.
    """
    rng = np.random.default_rng(seed)
    samples = rng.permutation(np.repeat([7, 2, 9, 4, 11, 0], [14, 40, 21, 33, 12, 25]))
    features = rng.normal(size=(len(samples), dimensions)).astype(np.float32)
    level = 4 * rng.normal(size=(12, genes))[samples]
    target = features.astype(float) @ rng.normal(size=(dimensions, genes)) + 4 * rng.normal(size=level.shape) + level
    folds = np.array([5, 0, 5, 0, 3, 0, 0, 5, 0, 3, 0, 3])[samples]
    return Training(features, target, samples, folds)


@pytest.mark.parametrize("seed", [0, 2, 6])
def test_the_penalty_is_chosen_as_a_plain_loop_over_scikit_learn_chooses_it(seed):
    data = unlike_samples(seed)
    choices = protocols.load("strict").fit
    curve, pooled = [], []
    for alpha in choices.alpha_grid:
        by_fold, over_fold = [], []
        for held_out in np.unique(data.inner_folds):
            test = data.inner_folds == held_out
            model = make_pipeline(StandardScaler(), PCA(12), Ridge(alpha=alpha))
            prediction = np.full_like(data.target, np.nan)
            prediction[test] = model.fit(data.features[~test].astype(float), data.target[~test]).predict(
                data.features[test].astype(float)
            )
            by_sample = [
                np.corrcoef(prediction[rows, gene], data.target[rows, gene])[0, 1]
                for rows in (np.flatnonzero(data.samples == sample) for sample in np.unique(data.samples[test]))
                for gene in range(4)
            ]
            assert len(by_sample) > 4, "a fold of one sample could not tell"
            by_fold.append(np.mean(by_sample))
            over_fold.append(np.mean([np.corrcoef(prediction[test, g], data.target[test, g])[0, 1] for g in range(4)]))
        curve.append(np.mean(by_fold))
        pooled.append(np.mean(over_fold))
    assert np.abs(np.subtract(curve, pooled)).max() > 0.01
    probe = probes.load("ridge").fit(data, choices, seed=0)
    np.testing.assert_allclose(probe.details["alpha_curve"], curve, atol=1e-8)
    assert probe.details["alpha"] == choices.alpha_grid[int(np.argmax(curve))]
    assert not probe.details["alpha_at_edge"], "the best is inside, so that another choice would show"
    expected = make_pipeline(StandardScaler(), PCA(12), Ridge(alpha=probe.details["alpha"]))
    expected.fit(data.features.astype(float), data.target)
    tested = np.random.default_rng(5).normal(size=(9, 12)).astype(np.float32)
    np.testing.assert_allclose(probe.predict(tested), expected.predict(tested.astype(float)), atol=1e-8)


def test_a_tie_between_penalties_goes_to_the_stronger():
    data = training()
    constant = Training(np.ones_like(data.features), data.target, data.samples, data.inner_folds)
    probe = probes.load("ridge").fit(constant, protocols.load("strict").fit, seed=0)
    assert probe.details["alpha"] == max(GRID)
    assert probe.details["alpha_at_edge"]


def test_one_inner_fold_is_an_error_and_not_a_silent_choice():
    data = training()
    with pytest.raises(ValueError, match="two inner folds"):
        one = Training(data.features, data.target, data.samples, np.zeros_like(data.inner_folds))
        probes.load("ridge").fit(one, protocols.load("strict").fit, seed=0)


@pytest.mark.parametrize("protocol", PROTOCOLS.names())
@pytest.mark.parametrize("probe", PROBES.names())
def test_every_probe_keeps_the_contract_under_every_protocol(probe, protocol):
    data, choices = training(), protocols.load(protocol).fit
    fitted = probes.load(probe).fit(data, choices, seed=3)
    tested = np.random.default_rng(9).normal(size=(7, 12)).astype(np.float32)
    prediction = fitted.predict(tested)
    assert prediction.shape == (7, 4)
    assert prediction.dtype == np.float64
    assert np.isfinite(prediction).all()
    np.testing.assert_allclose(fitted.predict(tested[::-1])[::-1], prediction, rtol=1e-5)
    again = probes.load(probe).fit(data, choices, seed=3)
    assert np.array_equal(again.predict(tested), prediction)
    assert all(isinstance(name, str) for name in fitted.details)
    json.dumps(fitted.details, allow_nan=False)


@pytest.mark.parametrize("protocol", PROTOCOLS.names())
def test_every_protocol_names_all_its_choices(protocol):
    loaded = protocols.load(protocol)
    assert loaded.target in SCALES
    assert loaded.permutations >= 20, "a 95th percentile needs twenty"
    assert list(loaded.fit.alpha_grid) == sorted(loaded.fit.alpha_grid)
    assert (loaded.fit.alpha_rule == "cross-validated") == bool(loaded.fit.alpha_grid)
    json.dumps(loaded.as_record(), allow_nan=False)


def test_the_mean_probe_predicts_the_training_mean():
    data = training()
    prediction = probes.load("mean").fit(data, protocols.load("strict").fit, seed=0).predict(data.features[:2])
    np.testing.assert_allclose(prediction, np.tile(data.target.mean(0), (2, 1)))


def test_the_inner_correlation_is_taken_within_each_sample_where_a_fold_holds_several():
    """Samples differ in level: over a fold's samples together, that difference would make the correlation."""
    rng = np.random.default_rng(4)
    samples = np.repeat(np.arange(6), 15)
    features = rng.normal(size=(90, 12)).astype(np.float32)
    features[:, 0] += 4 * (samples % 2)
    target = features.astype(float) @ rng.normal(size=(12, 4)) + 8 * (samples % 2)[:, None] + rng.normal(size=(90, 4))
    data = Training(features, target, samples, samples // 2)
    choices = protocols.load("strict").fit
    curve, pooled = [], []
    for alpha in choices.alpha_grid:
        by_sample, by_fold = [], []
        for fold in range(3):
            test = data.inner_folds == fold
            model = make_pipeline(StandardScaler(), PCA(12), Ridge(alpha=alpha))
            model.fit(features[~test].astype(float), target[~test])
            for unit, found in ((samples, by_sample), (data.inner_folds, by_fold)):
                for one in np.unique(unit[test]):
                    prediction = model.predict(features[unit == one].astype(float))
                    found.append(
                        np.mean([np.corrcoef(prediction[:, g], target[unit == one, g])[0, 1] for g in range(4)])
                    )
        curve.append(np.mean(by_sample))
        pooled.append(np.mean(by_fold))
    probe = probes.load("ridge").fit(data, choices, seed=0)
    np.testing.assert_allclose(probe.details["alpha_curve"], curve, atol=1e-8)
    assert np.abs(np.subtract(curve, pooled)).max() > 0.02


def test_both_ends_of_the_grid_are_its_edges():
    weak, strong = training(seed=1), training(seed=1)
    rng = np.random.default_rng(0)
    noise = Training(strong.features, rng.normal(size=strong.target.shape), strong.samples, strong.inner_folds)
    for data in (weak, noise):
        details = probes.load("ridge").fit(data, protocols.load("strict").fit, seed=0).details
        assert details["alpha_at_edge"] == (details["alpha"] in (min(GRID), max(GRID)))
    constant = Training(np.ones_like(weak.features), weak.target, weak.samples, weak.inner_folds)
    assert probes.load("ridge").fit(constant, protocols.load("strict").fit, seed=0).details["alpha_at_edge"]
