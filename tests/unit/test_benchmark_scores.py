"""Pearson against scipy, its averages against closed forms, its null against what chance does."""

import numpy as np
import pytest
import scipy.stats

from spotweave.benchmark.scores import null_means, pearson_by_unit, summarise


def test_pearson_is_that_of_scipy_for_every_gene_and_unit():
    rng = np.random.default_rng(0)
    target, prediction = rng.normal(3, 2, (2, 60, 5))
    prediction += 0.5 * target
    units = rng.choice([7, 2, 5], 60)  # codes with gaps, not in the order of the spots
    found = pearson_by_unit(target, prediction, units)
    assert found.shape == (3, 5)
    for row, unit in enumerate((2, 5, 7)):
        for gene in range(5):
            expected = scipy.stats.pearsonr(target[units == unit, gene], prediction[units == unit, gene]).statistic
            assert found[row, gene] == pytest.approx(expected, abs=1e-12)


def test_pearson_of_single_precision_predictions_is_taken_in_double():
    rng = np.random.default_rng(0)
    target = rng.normal(size=(50, 1))
    prediction = (1e3 + target).astype(np.float32)
    expected = scipy.stats.pearsonr(target[:, 0], prediction[:, 0].astype(np.float64)).statistic
    assert pearson_by_unit(target, prediction, np.zeros(50, int))[0, 0] == pytest.approx(expected, abs=1e-12)


def test_constants_rounding_noise_unmeasured_genes_and_single_spots_are_undefined():
    spots = np.arange(6.0)
    target = np.stack([spots, spots, spots, np.full(6, np.nan)], 1)
    noise = 0.3 + np.array([0, 1, 0, 1, 0, 1]) * 4e-17
    prediction = np.stack([-spots, np.full(6, 0.3), noise, spots], 1)
    scores = pearson_by_unit(target, prediction, np.zeros(6, int))
    assert scores[0, 0] == pytest.approx(-1)
    assert np.isnan(scores[0, 1:]).all()
    one_spot = pearson_by_unit(target, prediction, np.array([0, 0, 0, 0, 0, 1]))
    assert np.isnan(one_spot[1]).all()


def test_genes_count_alike_however_many_samples_they_are_defined_in():
    """The mean is over genes of their means over samples; with zeros it is over all."""
    correlation = np.array([[0.9, 0.1, np.nan], [0.7, np.nan, np.nan], [0.5, np.nan, np.nan]])
    summary = summarise(correlation)
    np.testing.assert_allclose(summary.by_gene, [0.7, 0.1, np.nan])
    assert summary.mean == pytest.approx(0.4)
    assert summary.mean_zero == pytest.approx(2.2 / 9)
    assert summary.undefined == 5


def test_a_constant_gene_does_not_poison_the_mean_and_is_counted():
    summary = summarise(np.array([[0.5, np.nan, 0.2], [0.3, np.nan, np.nan]]))
    assert summary.mean == pytest.approx((0.4 + 0.2) / 2)
    assert summary.mean_zero == pytest.approx((0.5 + 0.3 + 0.2) / 6)
    assert summary.undefined == 3
    assert np.isnan(summary.by_gene[1])


def test_nothing_defined_has_no_mean_but_counts_as_zero():
    summary = summarise(np.full((1, 4), np.nan))
    assert np.isnan(summary.mean)
    assert summary.mean_zero == 0
    assert summary.undefined == 4


def test_a_chance_prediction_exceeds_the_null_about_as_often_as_it_should():
    rng = np.random.default_rng(5)
    samples = np.repeat([0, 1], 40)
    exceeded = 0
    for trial in range(60):
        shared = rng.normal(size=(80, 1))  # genes that move together make the mean over genes much wider
        target, prediction = shared + 0.3 * rng.normal(size=(80, 8)), rng.normal(size=(80, 1)) + np.zeros((1, 8))
        null = null_means(target, prediction, samples, samples, permutations=50, seed=trial)
        observed = summarise(pearson_by_unit(target, prediction, samples)).mean
        exceeded += observed > np.percentile(null, 95)
    assert exceeded <= 9, "5 % of 60 is 3; more than 9 has a probability below 0.2 %"
    assert np.std(null) > 0.05


def test_the_null_keeps_what_pooling_rewards_and_drops_what_it_should():
    rng = np.random.default_rng(1)
    samples = np.repeat([0, 1], 50)
    offset = 10.0 * samples[:, None]
    target, prediction = offset + rng.normal(size=(100, 4)), offset + rng.normal(size=(100, 4))
    pooled = null_means(target, prediction, np.zeros(100, int), samples, permutations=20, seed=0)
    by_sample = null_means(target, prediction, samples, samples, permutations=20, seed=0)
    assert pooled.min() > 0.9
    assert abs(by_sample).max() < 0.3


def test_the_null_is_that_of_plain_permutation_and_repeats_with_its_seed():
    rng = np.random.default_rng(2)
    target, prediction = rng.normal(size=(2, 30, 3))
    samples = rng.permutation(np.repeat([0, 1, 2], 10))
    first = null_means(target, prediction, samples, samples, permutations=200, seed=4)
    again = null_means(target, prediction, samples, samples, permutations=200, seed=4)
    assert np.array_equal(first, again)
    assert len(np.unique(first)) == 200
    assert not np.array_equal(first, null_means(target, prediction, samples, samples, permutations=200, seed=5))
    # A shorter run is the beginning of a longer one: the number of permutations is what was asked for.
    assert np.array_equal(first[:7], null_means(target, prediction, samples, samples, permutations=7, seed=4))
    plain = []
    for _ in range(200):
        shuffled = prediction.copy()
        for sample in range(3):
            rows = np.flatnonzero(samples == sample)
            shuffled[rows] = prediction[rng.permutation(rows)]
        plain.append(summarise(pearson_by_unit(target, shuffled, samples)).mean)
    assert scipy.stats.ks_2samp(first, plain).pvalue > 0.01
