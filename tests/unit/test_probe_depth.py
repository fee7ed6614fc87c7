"""The floor of depth: what it reaches where depth is all there is, and that it reaches nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from benchmark_cohort import Cohort

from spotweave import probes, protocols
from spotweave.benchmark.choosing import choose_genes
from spotweave.benchmark.fitting import Cell, predict_fold
from spotweave.benchmark.targets import Targets
from spotweave.benchmark.tasks import Task
from spotweave.correlation import pearson_by_group
from spotweave.probes import Training

SPOTS, DIMENSIONS = 1200, 10
SLOPES = np.array([1.5, 0.6, 0.2, -0.8, 0.0])
NOISE = 0.7
PROTOCOLS = ("strict", "hest_exact")


def planted(seed, knows="depth"):
    """Genes that are lines in the depth, with noise; features in which the depth is linear, or nothing is.

    With `knows` "genes" each gene has a direction of its own in the features, and the depth has none.
    """
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(SPOTS, DIMENSIONS)).astype(np.float32)
    depth = features[:, 0].astype(float) if knows == "depth" else rng.normal(size=SPOTS)
    noise = NOISE * rng.normal(size=(SPOTS, len(SLOPES)))
    target = 3 + depth[:, None] * SLOPES + noise
    if knows == "genes":
        target = 3 + features[:, 1 : 1 + len(SLOPES)].astype(float) + noise
    samples = np.repeat(np.arange(4), SPOTS // 4)
    return Training(features, target, samples, samples, 8 + 0.5 * depth)


def scored(name, protocol, knows):
    data, test = planted(1, knows), planted(2, knows)
    fitted = probes.load(name).fit(data, protocols.load(protocol).fit, seed=0)
    prediction = fitted.predict(test.features)
    return pearson_by_group(test.target, prediction, np.zeros(SPOTS, int))[0], prediction, data


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_where_depth_is_all_there_is_each_gene_reaches_what_its_noise_leaves(protocol):
    """Depth has a variance of 1 here: r = |slope| / sqrt(slope^2 + noise^2)."""
    found, prediction, _ = scored("depth", protocol, "depth")
    expected = np.abs(SLOPES) / np.hypot(SLOPES, NOISE)
    np.testing.assert_allclose(found[:4], expected[:4], atol=0.06)
    test = planted(2)
    exact = np.corrcoef(test.depth, test.target, rowvar=False)[0, 1:]
    np.testing.assert_allclose(found[:4], np.abs(exact[:4]), atol=0.005)
    assert abs(found[4]) < 0.09, "three standard errors of a gene that depth says nothing of"
    np.testing.assert_allclose(prediction.mean(axis=0), 3, atol=0.15)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_picture_that_knows_nothing_of_depth_reaches_nothing(protocol):
    assert np.abs(scored("depth", protocol, "nothing")[0]).max() < 0.09


def test_what_a_picture_knows_beside_depth_does_not_pass():
    ridge, depth = (scored(name, "strict", "genes")[0] for name in ("ridge", "depth"))
    assert ridge.min() > 0.75
    assert np.abs(depth).max() < 0.5 and depth.mean() < 0.25, "one direction cannot be that of five genes"


def test_all_genes_are_lines_in_one_predicted_depth():
    _, prediction, data = scored("depth", "strict", "depth")
    assert np.linalg.matrix_rank(prediction - prediction.mean(axis=0), tol=1e-8) == 1
    fitted = probes.load("depth").fit(data, protocols.load("strict").fit, seed=0)
    known = fitted.depth.predict(data.features)[:, 0]
    lines = np.polynomial.polynomial.polyfit(known, data.target, 1)
    np.testing.assert_allclose(fitted.predict(data.features), lines[0] + known[:, None] * lines[1], atol=1e-9)


def test_its_penalty_is_chosen_for_the_depth_and_not_for_the_genes():
    data, choices = planted(1), protocols.load("strict").fit
    alone = replace(data, target=data.depth[:, None])
    expected = probes.load("ridge").fit(alone, choices, seed=0).details
    assert probes.load("depth").fit(data, choices, seed=0).details == expected


def test_an_embedding_that_is_the_same_everywhere_leaves_the_training_mean():
    data = replace(planted(1), features=np.ones((SPOTS, DIMENSIONS), np.float32))
    fitted = probes.load("depth").fit(data, protocols.load("strict").fit, seed=0)
    np.testing.assert_allclose(fitted.predict(data.features[:2]), np.tile(data.target.mean(axis=0), (2, 1)))


def test_without_the_depth_it_says_so():
    with pytest.raises(ValueError, match="needs the depth of the training spots"):
        probes.load("depth").fit(replace(planted(1), depth=None), protocols.load("strict").fit, seed=0)


def test_on_counts_whose_depth_alone_the_picture_tells(tmp_path):
    """Every gene has its share of a total that is linear in the embedding: depth is all that raw counts show."""
    cohort = Cohort(tmp_path)
    rng = np.random.default_rng(6)
    for name, features in cohort.features.items():
        depth = np.exp(0.6 * features[:, 0])[:, None]
        cohort.counts[name] = rng.poisson(depth * np.linspace(20, 80, 60)).astype(np.float32)
        cohort.write_expression(name)
    path, splits = tmp_path / "targets.h5", cohort.splits()
    every = Task("demo", 60, None, 0.1, "simulated")  # nothing to choose: fast
    choose_genes(every, protocols.load("hest_exact"), splits, cohort.expression, path)
    cell = Cell("hest_exact", "colour", "depth", 1)
    with Targets(path) as targets:
        found = predict_fold(cell, 0, splits, targets, cohort.embeddings)
        truth = np.concatenate([targets.spots(name).on_scale("log1p", found.genes) for name in ("a1", "a2")])
    assert pearson_by_group(truth, found.values, np.zeros(100, int)).mean() > 0.9
    assert (found.choices["probe"], found.choices["components"]) == ("depth", 16)
