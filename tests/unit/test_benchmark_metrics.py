"""Metrics of the benchmark of eleven methods against its own R code's numbers, public libraries and closed forms."""

import numpy as np
import pytest
import sklearn.metrics
from method_oracle import Oracle
from scipy.spatial.distance import jensenshannon

from spotweave import metrics
from spotweave.metrics import Scored
from spotweave.metrics._agreement import auc, equal_frequency_bins, global_ssim, js_divergence, mutual_information

THEIRS = {
    "mutual_information": "mi",
    "js_divergence": "js_div",
    "nrmse_range": "nrmse_range",
    "nrmse_sd": "nrmse_sd",
    "rmse": "rmse",
    "global_ssim": "ssim",
    "pearson": "cor_pearson",
    "spearman": "cor_spearman",
    **{f"auc_{threshold}": f"auc_{threshold}" for threshold in (0, 1, 2, 5, 7, 10, 20)},
}


@pytest.fixture(scope="module")
def oracle():
    return Oracle("benchmark_metrics", tensors=False)


def scored_of(oracle, model, fold, image):
    truth, counts = oracle[f"in/exprs/{model}/{image}"], oracle[f"in/counts/{image}"]
    prediction = oracle[f"in/pred/{model}/{image}/fold{fold}"]
    spots = len(truth)
    one = np.zeros(spots, np.int64)
    genes = oracle["in/genes"].tolist()
    places = oracle[f"in/xy/{image}"].astype(float)
    return Scored(truth.astype(float), counts.astype(float), prediction.astype(float), places, one, one, genes, 9, 0)


@pytest.mark.parametrize("metric", THEIRS)
def test_every_value_is_that_of_the_benchmarks_own_code(oracle, metric):
    wanted = oracle[f"out/{THEIRS[metric]}"]
    compared = 0
    for model_at, model in enumerate(oracle["in/models"].tolist()):
        for fold_at, fold in enumerate(oracle["in/folds"].tolist()):
            for image_at, image in enumerate(oracle["in/images"].tolist()):
                (found,) = metrics.load(metric).score(scored_of(oracle, model, fold, image))
                expected = wanted[model_at, fold_at, image_at]
                # What it divides by 0 is undefined here, as in its ranking.
                expected = np.where(np.isinf(expected), np.nan, expected)
                assert np.array_equal(np.isnan(found), np.isnan(expected)), (model, fold, image)
                np.testing.assert_allclose(found, expected, atol=1e-12, rtol=1e-12)
                compared += int((~np.isnan(expected)).sum())
    assert compared > 100


def test_bins_are_those_of_infotheo_with_ties_zeros_and_sizes_that_do_not_divide(oracle):
    for case in oracle["in/direct/cases"].tolist():
        for side, bins in (("actual", "bin_actual"), ("predicted", "bin_predicted")):
            found = equal_frequency_bins(oracle[f"in/direct/{case}/{side}"].astype(float)) + 1
            assert np.array_equal(found, oracle[f"out/direct/{case}/{bins}"]), (case, side)


@pytest.mark.parametrize(("theirs", "ours"), [("mi", mutual_information), ("js", js_divergence), ("ssim", global_ssim)])
def test_difficult_vectors_give_what_the_benchmarks_code_gives(oracle, theirs, ours):
    for number, case in enumerate(oracle["in/direct/cases"].tolist()):
        vectors = (oracle[f"in/direct/{case}/{side}"].astype(float) for side in ("actual", "predicted"))
        np.testing.assert_allclose(ours(*vectors), oracle[f"out/direct/{theirs}"][number], atol=1e-12, err_msg=case)


def test_they_are_the_textbooks_where_definitions_meet():
    draw = np.random.default_rng(4)
    truth, prediction = draw.gamma(2, 1, 200), draw.gamma(2, 1, 200)
    bins = equal_frequency_bins(truth), equal_frequency_bins(prediction)
    library = sklearn.metrics.normalized_mutual_info_score(*bins, average_method="geometric")
    assert mutual_information(truth, prediction) == pytest.approx(library, abs=1e-12)
    assert np.bincount(bins[0]).tolist() == [20] * 10
    assert js_divergence(truth, prediction) == pytest.approx(jensenshannon(truth, prediction, 2) ** 2, abs=1e-12)
    counts = draw.poisson(1.5, 200)
    for threshold in (0, 1, 2):
        library = sklearn.metrics.roc_auc_score(counts > threshold, prediction.round(1))
        assert auc(counts, prediction.round(1), threshold) == pytest.approx(library, abs=1e-12)


def test_closed_forms():
    values = np.arange(40.0)
    assert mutual_information(values, values**3) == pytest.approx(1)
    assert global_ssim(values, values) == pytest.approx(1)
    assert global_ssim(np.full(9, 3.0), np.full(9, 8.0)) == pytest.approx(1)
    assert js_divergence(np.array([1.0, 0]), np.array([0.0, 5])) == pytest.approx(1)
    assert js_divergence(values, 7 * values) == pytest.approx(0, abs=1e-15)
    assert np.isnan(mutual_information(values, np.ones(40)))
    assert np.isnan(auc(np.array([1, 2, 3]), np.array([1.0, 2, 3]), 2))  # counted everywhere
    assert auc(np.array([0, 2, 3]), np.array([1.0, 1, 1]), 0) == 0.5


def test_the_benchmarks_similarity_does_not_know_where_a_spot_lies():
    draw = np.random.default_rng(6)
    truth, prediction = draw.gamma(1, 1, 60), draw.gamma(1, 1, 60)
    order = draw.permutation(60)
    assert global_ssim(truth[order], prediction[order]) == pytest.approx(global_ssim(truth, prediction), abs=1e-12)
