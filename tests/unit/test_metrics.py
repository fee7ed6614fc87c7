"""Metrics against scipy and scikit-learn, their averages against closed forms, the null against what chance does."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from spotweave import metrics
from spotweave.correlation import pearson_by_group
from spotweave.metrics import METRICS, Scored, mse, pearson, pearson_null95, r2, spearman, undefined_share
from spotweave.metrics._summary import mean_defined, mean_zero


def scored(truth, prediction, groups=None, samples=None, permutations=20, seed=0):
    groups = np.zeros(len(truth), int) if groups is None else groups
    counts, positions = np.rint(np.exp(truth.clip(max=9))), np.zeros((len(truth), 2))
    samples = groups if samples is None else samples
    genes = [f"G{number}" for number in range(truth.shape[1])]
    return Scored(truth, counts, prediction, positions, samples, groups, genes, permutations, seed)


@pytest.fixture
def three_groups():
    """Sixty spots in groups whose codes have gaps and are not in the order of the spots."""
    rng = np.random.default_rng(0)
    truth, prediction = rng.normal(3, 2, (2, 60, 5)).round(1)  # with ties
    return scored(truth, prediction + 0.5 * truth, rng.choice([7, 2, 5], 60))


@pytest.mark.parametrize(
    ("metric", "independent"),
    [
        (pearson, lambda truth, prediction: scipy.stats.pearsonr(truth, prediction).statistic),
        (spearman, lambda truth, prediction: scipy.stats.spearmanr(truth, prediction).statistic),
        (r2, sklearn.metrics.r2_score),
        (mse, sklearn.metrics.mean_squared_error),
    ],
)
def test_values_are_those_of_a_public_library_for_every_gene_and_group(three_groups, metric, independent):
    found = metric.score(three_groups)
    assert found.shape == (3, 5)
    for row, group in enumerate((2, 5, 7)):
        spots = three_groups.groups == group
        for gene in range(5):
            expected = independent(three_groups.truth[spots, gene], three_groups.prediction[spots, gene])
            assert found[row, gene] == pytest.approx(expected, abs=1e-12)


def test_pearson_of_single_precision_predictions_is_taken_in_double():
    rng = np.random.default_rng(0)
    target = rng.normal(size=(50, 1))
    prediction = (1e3 + target).astype(np.float32)
    expected = scipy.stats.pearsonr(target[:, 0], prediction[:, 0].astype(np.float64)).statistic
    assert pearson_by_group(target, prediction, np.zeros(50, int))[0, 0] == pytest.approx(expected, abs=1e-12)


# Columns: opposite; constant prediction; constant but for rounding; gene not in the table; constant truth.
SPOTS = np.arange(6.0)
NOISE = 0.3 + np.array([0, 1, 0, 1, 0, 1]) * 4e-17
TRUTH = np.stack([SPOTS, SPOTS, SPOTS, np.full(6, np.nan), np.full(6, 2.0)], 1)
PREDICTION = np.stack([-SPOTS, np.full(6, 0.3), NOISE, SPOTS, SPOTS], 1)


@pytest.mark.parametrize("metric", [pearson, spearman])
def test_constants_rounding_noise_unmeasured_genes_and_single_spots_have_no_correlation(metric):
    values = metric.score(scored(TRUTH, PREDICTION))
    assert values[0, 0] == pytest.approx(-1)
    assert np.isnan(values[0, 1:]).all()
    one_spot = metric.score(scored(TRUTH, PREDICTION, np.array([0, 0, 0, 0, 0, 1])))
    assert np.isnan(one_spot[1]).all()


def test_errors_need_a_gene_and_r2_a_truth_that_varies():
    errors, explained = mse.score(scored(TRUTH, PREDICTION))[0], r2.score(scored(TRUTH, PREDICTION))[0]
    assert errors[:2] == pytest.approx([((2 * SPOTS) ** 2).mean(), ((SPOTS - 0.3) ** 2).mean()])
    assert errors[4] == pytest.approx(((SPOTS - 2) ** 2).mean())
    assert explained[1] == pytest.approx(sklearn.metrics.r2_score(SPOTS, PREDICTION[:, 1]))
    assert np.isnan(errors).tolist() == [False, False, False, True, False]
    assert np.isnan(explained).tolist() == [False, False, False, True, True]
    one_spot = scored(TRUTH, PREDICTION, np.array([0, 0, 0, 0, 0, 1]))
    assert mse.score(one_spot)[1, 0] == 100
    assert np.isnan(r2.score(one_spot)[1]).all()


def test_the_undefined_are_counted_over_all_folds():
    values = undefined_share.score(scored(TRUTH, PREDICTION))
    assert values.tolist() == [[0, 1, 1, 1, 1]]
    folds = [np.array([[1.0] * 10 + [0.0] * 40]), np.zeros((9, 50))]
    assert undefined_share.summarise(folds) == {"undefined_share": 0.02}


def test_a_gene_that_one_of_the_pooled_samples_lacks_is_undefined():
    truth = TRUTH[:, :1].copy()
    truth[:2] = np.nan
    for metric in (pearson, spearman, r2, mse):
        assert np.isnan(metric.score(scored(truth, PREDICTION[:, :1], samples=np.array([0, 0, 1, 1, 1, 1])))).all()


@pytest.mark.parametrize("name", METRICS.names())
def test_every_metric_keeps_the_contract(three_groups, name):
    metric = metrics.load(name)
    values = metric.score(three_groups)
    assert values.shape in ((3, 5), ())
    assert values.dtype == np.float64
    np.testing.assert_array_equal(metric.score(three_groups), values)
    for folds in ([values], [values, values]):
        summary = metric.summarise(folds)
        assert tuple(summary) == metric.COLUMNS
        assert all(isinstance(number, float) for number in summary.values())
    assert set(metrics.best_of(name)) <= set(metric.COLUMNS)
    assert set(metrics.best_of(name).values()) <= {"high", "low"}
    if values.shape:
        nothing = metric.summarise([np.full((3, 5), np.nan)])
        assert all(np.isnan(number) or number == 0 for number in nothing.values())
    assert len(metric.__doc__.splitlines()) > 2, "it says what it measures and how it is averaged"


def test_no_two_metrics_have_a_column_in_common():
    columns = [column for name in METRICS.names() for column in metrics.load(name).COLUMNS]
    assert len(columns) == len(set(columns))


def test_genes_count_alike_however_many_samples_they_are_defined_in():
    """The mean is over genes of their means over samples; with zeros it is over all."""
    correlation = np.array([[0.9, 0.1, np.nan], [0.7, np.nan, np.nan], [0.5, np.nan, np.nan]])
    assert mean_defined(correlation) == pytest.approx(0.4)
    assert mean_zero(correlation) == pytest.approx(2.2 / 9)


def test_a_constant_gene_does_not_poison_the_mean_and_is_counted():
    correlation = np.array([[0.5, np.nan, 0.2], [0.3, np.nan, np.nan]])
    assert mean_defined(correlation) == pytest.approx((0.4 + 0.2) / 2)
    assert mean_zero(correlation) == pytest.approx((0.5 + 0.3 + 0.2) / 6)


def test_nothing_defined_has_no_mean_but_counts_as_zero():
    assert np.isnan(mean_defined(np.full((1, 4), np.nan)))
    assert mean_zero(np.full((1, 4), np.nan)) == 0


def test_folds_are_averaged_and_their_spread_is_divided_by_their_number():
    folds = [np.array([[0.1, np.nan]]), np.array([[0.3, 0.5]]), np.array([[np.nan, np.nan]])]
    assert pearson.summarise(folds) == {
        "pearson_mean": pytest.approx(0.25),
        "pearson_std": pytest.approx(np.std([0.1, 0.4])),
        "pearson_mean_zero": pytest.approx((0.05 + 0.4 + 0) / 3, abs=1e-6),
    }


def test_a_fold_is_rounded_before_folds_are_averaged():
    folds = [np.array([[1.4e-6]]), np.array([[1.4e-6]]), np.array([[2.4e-6]])]
    assert mse.summarise(folds)["mse_mean"] == 1e-6  # (1 + 1 + 2) / 3; unrounded folds would make 1.73, 2


# What chance does


def test_a_chance_prediction_exceeds_the_null_about_as_often_as_it_should():
    rng = np.random.default_rng(5)
    samples = np.repeat([0, 1], 40)
    exceeded = 0
    for trial in range(60):
        shared = rng.normal(size=(80, 1))  # genes that move together make the mean over genes much wider
        target, prediction = shared + 0.3 * rng.normal(size=(80, 8)), rng.normal(size=(80, 1)) + np.zeros((1, 8))
        fold = scored(target, prediction, samples, permutations=50, seed=trial)
        exceeded += mean_defined(pearson.score(fold)) > pearson_null95.score(fold)
    assert exceeded <= 9, "5 % of 60 is 3; more than 9 has a probability below 0.2 %"
    assert np.std(pearson_null95.null_means(fold)) > 0.05


def test_the_null_keeps_what_pooling_rewards_and_drops_what_it_should():
    rng = np.random.default_rng(1)
    samples = np.repeat([0, 1], 50)
    offset = 10.0 * samples[:, None]
    target, prediction = offset + rng.normal(size=(100, 4)), offset + rng.normal(size=(100, 4))
    pooled = pearson_null95.null_means(scored(target, prediction, samples=samples))
    by_sample = pearson_null95.null_means(scored(target, prediction, samples))
    assert pooled.min() > 0.9
    assert abs(by_sample).max() < 0.3


def test_the_null_is_that_of_plain_permutation_and_repeats_with_its_seed():
    rng = np.random.default_rng(2)
    target, prediction = rng.normal(size=(2, 30, 3))
    samples = rng.permutation(np.repeat([0, 1, 2], 10))
    fold = scored(target, prediction, samples, permutations=200, seed=4)
    first = pearson_null95.null_means(fold)
    assert np.array_equal(first, pearson_null95.null_means(fold))
    assert len(np.unique(first)) == 200
    assert not np.array_equal(first, pearson_null95.null_means(replace(fold, seed=5)))
    # A shorter run is the beginning of a longer one: the number of permutations is what was asked for.
    assert np.array_equal(first[:7], pearson_null95.null_means(replace(fold, permutations=7)))
    assert pearson_null95.score(fold) == np.percentile(first, 95)
    plain = []
    for _ in range(200):
        shuffled = prediction.copy()
        for sample in range(3):
            rows = np.flatnonzero(samples == sample)
            shuffled[rows] = prediction[rng.permutation(rows)]
        plain.append(mean_zero(pearson_by_group(target, shuffled, samples)))
    assert scipy.stats.ks_2samp(first, plain).pvalue > 0.01
