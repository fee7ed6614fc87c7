"""Textbook forms of metrics against scipy, scikit-learn and scikit-image, and where the benchmark's differ."""

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from scipy.spatial.distance import jensenshannon
from skimage.metrics import structural_similarity

from spotweave import metrics
from spotweave.metrics import Scored
from spotweave.metrics._textbook import js_distance, mutual_information_nats, quantile_bins, roc_auc


def scored(truth, prediction, positions=None, samples=None, counts=None, groups=None):
    truth, prediction = (np.asarray(values, float).reshape(len(values), -1) for values in (truth, prediction))
    spots = len(truth)
    nowhere = np.zeros(spots, np.int64)
    samples = nowhere if samples is None else samples
    return Scored(
        truth,
        truth if counts is None else counts,
        prediction,
        np.zeros((spots, 2)) if positions is None else positions,
        samples,
        nowhere if groups is None else groups,
        [f"G{gene}" for gene in range(truth.shape[1])],
        9,
        0,
    )


def pair(spots=300, seed=0):
    draw = np.random.default_rng(seed)
    truth = draw.gamma(2, 1, spots)
    return truth, truth + draw.gamma(2, 1, spots)


def test_mutual_information_is_that_of_scikit_learn_in_the_bins_of_pandas():
    for spots in (50, 300, 2744):
        truth, prediction = pair(spots)
        bins = max(10, round(spots ** (1 / 3)))
        theirs = [pd.qcut(values, bins, labels=False) for values in (truth, prediction)]
        assert quantile_bins(truth).tolist() == theirs[0].tolist()
        found = mutual_information_nats(truth, prediction)
        assert found == pytest.approx(sklearn.metrics.mutual_info_score(*theirs), abs=1e-12)
    assert mutual_information_nats(truth, truth**3) == pytest.approx(np.log(14), abs=1e-3)
    assert np.isnan(mutual_information_nats(truth, np.ones(len(truth))))
    ties = np.repeat([0.0, 1, 2], [80, 15, 5])
    assert mutual_information_nats(ties, ties) == pytest.approx(sklearn.metrics.mutual_info_score(ties, ties))


def test_mutual_information_of_normal_variables_is_nearly_the_closed_form():
    draw = np.random.default_rng(1)
    one = draw.normal(size=200_000)
    other = 0.6 * one + 0.8 * draw.normal(size=200_000)
    # Bins lose some of -ln(1 - r^2) / 2, and chance adds a little.
    found = mutual_information_nats(one, other) - 57**2 / (2 * 200_000)
    assert 0.98 < found / (-np.log(1 - 0.36) / 2) < 1


def test_mutual_information_by_chance_is_about_what_its_page_says():
    found = [mutual_information_nats(*np.random.default_rng(seed).normal(size=(2, 2500))) for seed in range(20)]
    assert np.mean(found) == pytest.approx(12**2 / 5000, rel=0.1)


def test_distance_is_that_of_scipy():
    truth, prediction = pair()
    assert js_distance(truth, prediction) == pytest.approx(jensenshannon(truth, prediction, 2), abs=1e-12)
    signed = np.where(np.arange(300) % 3 == 0, -truth, prediction)
    theirs = jensenshannon(np.maximum(signed, 0), prediction, 2)
    assert js_distance(signed, prediction) == pytest.approx(theirs, abs=1e-12)
    assert js_distance(np.array([1.0, 0]), np.array([0.0, 2])) == 1
    assert js_distance(truth, 3 * truth) == pytest.approx(0, abs=1e-7)
    assert np.isnan(js_distance(truth, -truth))


def test_the_curve_of_a_gene_counted_everywhere_is_there():
    draw = np.random.default_rng(2)
    counts, prediction = 1.0 + draw.poisson(5, 200), draw.normal(size=200).round(1)
    for threshold in (1, 5, 10):
        theirs = sklearn.metrics.roc_auc_score(counts > threshold, prediction)
        assert roc_auc(counts, prediction, threshold) == pytest.approx(theirs, abs=1e-12)
        given = scored(counts, prediction)
        assert metrics.load(f"roc_auc_{threshold}").score(given)[0, 0] == pytest.approx(theirs, abs=1e-12)
        assert np.isnan(metrics.load(f"auc_{threshold}").score(given)).all()
    assert np.isnan(roc_auc(counts, prediction, 0))
    assert np.isnan(metrics.load("roc_auc_20").score(scored(counts.clip(max=9), prediction))).all()


# Similarity of pictures


def smooth(shape, seed):
    draw = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    waves = sum(np.sin(rows / draw.uniform(2, 6) + columns / draw.uniform(2, 6) + draw.uniform(0, 6)) for _ in range(4))
    return 3 + waves + 0.2 * draw.normal(size=shape)


def similarity(truth, prediction, positions, **more):
    return metrics.load("spatial_ssim").score(scored(truth, prediction, positions, **more))


def test_similarity_of_a_square_lattice_is_that_of_scikit_image():
    shape = (19, 23)
    truth, prediction = smooth(shape, 0), 0.7 * smooth(shape, 0) + 0.5 * smooth(shape, 1)
    rows, columns = np.indices(shape)
    places = np.column_stack([columns.ravel(), rows.ravel()]) * 87.3 + 1000
    _, theirs = structural_similarity(
        truth,
        prediction,
        data_range=np.ptp(truth),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    windows = metrics.load("spatial_ssim").windows(places, np.zeros(len(places), np.int64))
    inside = ((rows >= 5) & (rows < 14) & (columns >= 5) & (columns < 18)).ravel()
    from spotweave.metrics._textbook import spatial_ssim

    found = spatial_ssim(truth.reshape(-1, 1), prediction.reshape(-1, 1), windows[inside])
    assert found[0] == pytest.approx(theirs.ravel()[inside].mean(), abs=1e-10)
    assert inside.sum() == 9 * 13
    # The mean over all spots, edges too, is near: there the library mirrors the picture, and here it ends.
    whole = similarity(truth.ravel(), prediction.ravel(), places)[0, 0]
    assert whole == pytest.approx(theirs.mean(), abs=0.05)


def test_similarity_knows_where_a_spot_lies_and_the_benchmarks_does_not():
    truth, prediction = smooth((15, 15), 2).ravel(), smooth((15, 15), 2).ravel() + 0.3 * smooth((15, 15), 3).ravel()
    rows, columns = np.indices((15, 15))
    places = np.column_stack([columns.ravel(), rows.ravel()]) * 100.0
    order = np.random.default_rng(0).permutation(225)
    moved = similarity(truth, prediction, places[order])[0, 0]
    together = similarity(truth[order], prediction[order], places[order])[0, 0]
    found = similarity(truth, prediction, places)[0, 0]
    assert together == pytest.approx(found, abs=1e-12)
    assert abs(moved - found) > 0.02
    one_window = metrics.load("global_ssim")
    assert one_window.score(scored(truth, prediction, places)) == one_window.score(
        scored(truth, prediction, places[order])
    )
    # Larger pixels, the same tissue; 1 for the truth itself; a hexagonal lattice and single spots have values.
    assert similarity(truth, prediction, places * 3.7 + 9)[0, 0] == pytest.approx(found, abs=1e-9)
    assert similarity(truth, truth, places)[0, 0] == pytest.approx(1)
    hexagonal = places + np.column_stack([50.0 * (rows.ravel() % 2), -13.4 * rows.ravel()])
    assert -1 < similarity(truth, prediction, hexagonal)[0, 0] < 1
    assert np.isnan(similarity(truth[:1], prediction[:1], places[:1])[0, 0])
    assert np.isnan(similarity(np.ones(225), prediction, places)[0, 0])


def test_no_window_reaches_into_another_sample():
    truth, prediction = smooth((12, 12), 4).ravel(), smooth((12, 12), 5).ravel()
    rows, columns = np.indices((12, 12))
    places = np.column_stack([columns.ravel(), rows.ravel()]) * 100.0
    samples = np.repeat([0, 1], 72)
    both = np.tile(truth, 2), np.tile(prediction, 2)
    two = np.repeat([0, 1], 144)
    # Two samples at the same px, pooled into one group: as each by itself.
    found = similarity(*both, np.tile(places, (2, 1)), samples=two)[0, 0]
    assert found == pytest.approx(similarity(truth, prediction, places)[0, 0], abs=1e-12)
    cut = similarity(truth, prediction, places, samples=samples)[0, 0]
    assert cut != pytest.approx(similarity(truth, prediction, places)[0, 0], abs=1e-6)


def test_a_gene_that_a_sample_lacks_is_undefined_and_no_other():
    truth = np.column_stack([smooth((8, 8), 6).ravel(), np.full(64, np.nan)])
    rows, columns = np.indices((8, 8))
    places = np.column_stack([columns.ravel(), rows.ravel()]) * 50.0
    for name in ("spatial_ssim", "js_distance", "mutual_information_nats", "roc_auc_5"):
        values = metrics.load(name).score(scored(truth, truth[:, :1] + np.zeros((1, 2)), places))
        assert np.isnan(values).tolist() == [[name == "roc_auc_5", True]]
