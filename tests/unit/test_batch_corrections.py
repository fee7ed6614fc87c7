"""Corrections of batch effects do what they say: held against planted effects, closed forms and other libraries."""

from __future__ import annotations

from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy

from spotweave.batch import explore, scores
from spotweave.batch.corrections import CORRECTIONS, CannotCorrect, combat, corrected, harmony, mnn, space_of

SPOTS, GENES = 400, 40


@pytest.fixture(scope="module")
def planted():
    """Two batches with a shift and a scale a gene, and two kinds of tissue that they share unevenly."""
    rng = np.random.default_rng(20261127)
    batches = np.repeat(["one", "two"], SPOTS // 2)
    kinds = np.where(rng.random(SPOTS) < np.where(batches == "one", 0.7, 0.35), "tumour", "stroma")
    marks = np.where(np.arange(GENES) < GENES // 2, rng.normal(0, 1.5, GENES), 0.0)
    values = rng.uniform(2, 4, GENES) + (kinds == "tumour")[:, None] * marks + rng.normal(0, 0.5, (SPOTS, GENES))
    centre, two = values.mean(axis=0), batches == "two"
    scale, shift = np.exp(rng.normal(0, 0.3, GENES)), rng.normal(0, 0.7, GENES)
    values[two] = centre + (values[two] - centre) * scale + shift
    return values, batches, kinds


def judge(before, after, batches, kinds):
    """Batches come together, and kinds of tissue stay apart."""
    apart = [scores.silhouette(values, batches) for values in (before, after)]
    assert apart[1] < 0.5 * apart[0], "batches lie as far apart as before"
    mixed = [scores.lisi(values, batches) for values in (before, after)]
    assert mixed[1] > mixed[0] + 0.1, "spots have no more neighbours of other batches than before"
    assert scores.kbet_rejection(after, batches) < scores.kbet_rejection(before, batches)
    kept = [scores.silhouette(values, kinds) for values in (before, after)]
    assert kept[1] > 0.8 * kept[0], "kinds of tissue come together"
    assert scores.lisi(after, kinds) < 1.1, "spots have neighbours of the other kind"
    assert scores.neighbours_kept(before, after, batches) > 0.5, "spots have other neighbours in their own batch"


@pytest.mark.parametrize("name", CORRECTIONS.names())
def test_a_planted_effect_goes_and_planted_biology_stays(planted, name):
    values, batches, kinds = planted
    before, given = explore.components_of(values), values.copy()
    after = explore.after_correction(name, values, before, batches.tolist(), seed=1)
    judge(before, after, batches, kinds)
    assert np.array_equal(values, given)
    assert np.array_equal(after, explore.after_correction(name, values, before, batches.tolist(), seed=1))
    assert space_of(name) in ("genes", "components")


def test_what_corrects_nothing_and_what_takes_everything_do_not_pass(planted):
    values, batches, kinds = planted
    with pytest.raises(AssertionError, match="as far apart as before"):
        judge(values, values, batches, kinds)
    flat = values.copy()
    for batch in ("one", "two"):
        for kind in ("tumour", "stroma"):
            own = (batches == batch) & (kinds == kind)
            flat[own] -= flat[own].mean(axis=0)
    with pytest.raises(AssertionError, match="kinds of tissue come together"):
        judge(values, flat, batches, kinds)


@pytest.mark.parametrize(
    ("correct", "why"),
    [
        (lambda values, batches, seed: values, "changed no value"),
        (lambda values, batches, seed: values[:, :3], "values of"),
        (lambda values, batches, seed: values * np.nan, "not finite"),
    ],
)
def test_a_broken_correction_is_an_error(planted, monkeypatch, correct, why):
    monkeypatch.setattr(type(CORRECTIONS), "load", lambda self, name: SimpleNamespace(correct=correct))
    with pytest.raises(RuntimeError, match=why):
        corrected("any", planted[0], planted[1].tolist(), 0)


@pytest.mark.parametrize("name", CORRECTIONS.names())
@pytest.mark.parametrize(
    ("batches", "why"), [(["one"] * 6, "one batch, one"), (["one"] * 5 + ["two"], "two is a batch of one spot")]
)
def test_batches_that_cannot_be_corrected_are_told(name, batches, why):
    with pytest.raises(CannotCorrect, match=why):
        corrected(name, np.random.default_rng(0).normal(size=(6, 4)), batches, 0)


def test_combat_refuses_what_its_iteration_ends_on():
    values = np.random.default_rng(0).normal(size=(8, 3))
    batches = ["one", "two"] * 4
    values[:, 1] = np.array([1.0, 2.0] * 4)  # constant within each
    with pytest.raises(CannotCorrect, match="1 of 3 genes are constant within every batch"):
        combat.correct(values, batches, 0)
    with pytest.raises(CannotCorrect, match="many genes"):
        combat.correct(values[:, :1], batches, 0)
    values[::2, 1] += [0.0, 0.5, 1.0, 0.2]  # constant within one
    assert np.isfinite(combat.correct(values, batches, 0)).all()


def test_combat_is_scanpys_and_that_of_johnson(planted):
    values, batches, _ = planted
    order = np.random.default_rng(5).permutation(SPOTS)
    values, batches = values[order], batches[order]
    found = corrected("combat", values, batches.tolist(), 0)
    data = anndata.AnnData(values.copy(), obs=pd.DataFrame({"b": batches}, index=[str(n) for n in range(SPOTS)]))
    scanpy.pp.combat(data, "b")
    assert np.array_equal(found, data.X)
    assert np.allclose(found, _johnson(values, batches), atol=2e-4)


def _johnson(values, batches):
    """Parametric ComBat from the paper's equations, iterated far."""
    parts = {batch: values[batches == batch] for batch in ("one", "two")}
    alpha = sum(len(part) * part.mean(axis=0) for part in parts.values()) / len(values)
    sigma = np.sqrt(sum(np.square(part - part.mean(axis=0)).sum(axis=0) for part in parts.values()) / len(values))
    found = np.empty_like(values)
    for batch, part in parts.items():
        z = (part - alpha) / sigma
        gamma_hat, delta_hat, n = z.mean(axis=0), z.var(axis=0, ddof=1), len(z)
        gamma_bar, tau2 = gamma_hat.mean(), gamma_hat.var(ddof=0)
        mean, spread = delta_hat.mean(), delta_hat.var(ddof=1)
        lam, theta = (mean**2 + 2 * spread) / spread, (mean**3 + mean * spread) / spread
        gamma, delta = gamma_hat, delta_hat
        for _ in range(100):
            gamma = (n * tau2 * gamma_hat + delta * gamma_bar) / (n * tau2 + delta)
            delta = (theta + 0.5 * np.square(z - gamma).sum(axis=0)) / (n / 2 + lam - 1)
        found[batches == batch] = sigma * (z - gamma) / np.sqrt(delta) + alpha
    return found


def test_neighbours_move_a_batch_by_the_smoothed_vectors_of_its_pairs():
    """Two spots in each batch, on the axes and next to them: each is the mutual nearest of one, weights are known."""
    one, step, bandwidth = np.eye(3)[:2], 0.3, 0.9
    two = np.array([[1, 0, step], [0, 1, step]])
    far = two / np.sqrt(1 + step**2)
    weight = np.exp(-np.square(far[0] - far[1]).sum() / bandwidth**2)
    vectors = one - far
    values = np.vstack([5 * one, 2 * one[:1], 3 * two])  # lengths do not count; `one` is larger, so the reference
    found = mnn.correct(values, ["one", "one", "one", "two", "two"], 0, neighbours=1, bandwidth=bandwidth)
    assert np.allclose(found[:3], [one[0], one[1], one[0]])
    assert np.allclose(found[3], far[0] + (vectors[0] + weight * vectors[1]) / (1 + weight))
    assert np.allclose(found[4], far[1] + (vectors[1] + weight * vectors[0]) / (1 + weight))
    narrow = mnn.correct(values, ["one", "one", "one", "two", "two"], 0, neighbours=1, bandwidth=0.01)
    assert np.allclose(narrow[3:], one)


def test_pairs_are_those_of_which_each_is_among_the_others_nearest():
    rng = np.random.default_rng(2)
    one, two = rng.normal(size=(30, 3)), rng.normal(size=(20, 3)) + 0.5
    distances = np.linalg.norm(one[:, None] - two, axis=2)
    rank_in_two, rank_in_one = distances.argsort(axis=1).argsort(axis=1), distances.argsort(axis=0).argsort(axis=0)
    expected = np.argwhere((rank_in_two < 4) & (rank_in_one < 4))
    assert np.array_equal(np.stack(mnn.mutual_pairs(one, two, 4), axis=1), expected)


def test_a_spot_far_from_all_pairs_takes_the_vector_of_the_nearest():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = mnn.smoothed(np.array([[100.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0]]), vectors, 0.1)
    assert np.allclose(found, [[1.0, 0.0]])


def test_batches_are_merged_from_the_largest_and_moved_ones_are_reference():
    """c has only a kind that b has and a lacks: it moves onto b, where b was moved to."""
    c, s = np.cos(0.2), np.sin(0.2)
    a, b = np.array([[1.0, 0, 0, 0]] * 4), np.array([[c, 0, 0, s], [c, 0, 0, s], [0, 0, c, s]])
    of_c = np.array([[0, np.sin(0.3), np.cos(0.3), 0]] * 2)
    found = mnn.correct(np.vstack([of_c, b, a]), ["c"] * 2 + ["b"] * 3 + ["a"] * 4, 0, neighbours=1)
    assert np.allclose(found[5:], a)
    assert np.allclose(found[2:5], b + a[0] - b[0])
    assert np.allclose(found[:2], found[4])


def test_harmonys_regression_is_that_of_its_normal_equations():
    rng = np.random.default_rng(4)
    values, codes = rng.normal(size=(50, 3)), np.repeat([0, 1, 2], [20, 20, 10])
    membership = rng.dirichlet(np.ones(4), 50).T
    design = np.hstack([np.ones((50, 1)), np.eye(3)[codes]])
    expected = values.copy()
    for weights in membership:
        gram = design.T @ (weights[:, None] * design) + np.diag([0.0, 1, 1, 1])
        effect = np.linalg.solve(gram, design.T @ (weights[:, None] * values))
        expected -= weights[:, None] * (design[:, 1:] @ effect[1:])
    assert np.allclose(harmony.moved(values, codes, membership), expected)


def test_in_one_cluster_harmony_moves_means_together_but_for_the_ridge():
    """Two batches of n spots, means at +-m: a ridge of 1 takes n / (n + 1) of m."""
    values = np.concatenate([np.full((9, 1), 5.0), np.full((9, 1), -5.0)])
    found = harmony.moved(values, np.repeat([0, 1], 9), np.ones((1, 18)))
    assert np.allclose(found[:, 0], np.repeat([0.5, -0.5], 9))


@pytest.fixture(scope="module")
def harmonypy():
    """The reference in Python, before it was compiled: `pip install --no-deps harmonypy==0.0.10`."""
    library = pytest.importorskip("harmonypy", reason="harmonypy 0.0.10 is not installed")
    if not hasattr(library.harmony, "moe_correct_ridge"):
        pytest.skip("harmonypy is compiled: 0.0.10 is the last whose start and order can be given")
    return library


def test_harmony_is_harmonypys_given_its_start_and_order(planted, harmonypy):
    values, batches, _ = planted
    components = explore.components_of(values)
    start = harmony.KMeans(13, n_init=1, random_state=0).fit(harmony.of_length_one(components)).cluster_centers_
    theirs = harmonypy.run_harmony(
        components,
        pd.DataFrame({"b": batches}),
        "b",
        theta=2,
        nclust=13,
        cluster_fn=lambda data, K: start,
        verbose=False,
    )
    shuffling = np.random.RandomState(0)

    def order(spots):
        rows = np.arange(spots)
        shuffling.shuffle(rows)
        return rows

    ours = harmony.harmonised(components, np.unique(batches, return_inverse=True)[1], start, order)
    assert len(theirs.kmeans_rounds) > 1
    assert np.abs(theirs.Z_corr.T - components).max() > 0.5
    assert np.allclose(ours, theirs.Z_corr.T, atol=1e-9)


def test_lisi_is_harmonypys(planted, harmonypy):
    values, batches, _ = planted
    theirs = harmonypy.compute_lisi(values, pd.DataFrame({"b": batches}), ["b"], perplexity=30)
    assert scores.lisi(values, batches) == pytest.approx(float(theirs.mean()), abs=1e-6)


def _groups(rng, sizes, apart=0.0):
    labels = np.repeat([f"g{number}" for number in range(len(sizes))], sizes)
    return rng.normal(size=(len(labels), 3)) + apart * np.repeat(np.arange(len(sizes)), sizes)[:, None], labels


@pytest.mark.parametrize("sizes", [[400, 400, 400], [600, 600], [900, 300]])
def test_mixed_groups_have_as_many_around_a_spot_as_there_are(sizes):
    """By the inverse Simpson's index of their shares, of as many draws as the weights of the neighbours are worth."""
    values, labels = _groups(np.random.default_rng(6), sizes)
    distances = np.sort(np.linalg.norm(values[:, None] - values, axis=2), axis=1)[:, 1:90]
    draws = 1 / np.square(scores.perplexity_weights(distances, 30)).sum(axis=1).mean()
    simpson = np.square(np.array(sizes) / sum(sizes)).sum()
    assert draws > 15
    assert scores.lisi(values, labels) == pytest.approx(1 / (simpson + (1 - simpson) / draws), abs=0.05)


def test_groups_apart_have_one_around_a_spot():
    assert scores.lisi(*_groups(np.random.default_rng(6), [200, 200], apart=50)) == pytest.approx(1)


def test_lisi_of_spots_at_equal_distances():
    labels = np.repeat(["a", "b"], [6, 6])
    assert scores.lisi(np.eye(12), labels) == pytest.approx(1 / ((5 / 11) ** 2 + (6 / 11) ** 2))


def test_weights_have_the_perplexity_asked_for():
    distances = np.sort(np.random.default_rng(7).gamma(2, 40, (50, 89)), axis=1)
    weights = scores.perplexity_weights(distances, 30)
    assert np.allclose(weights.sum(axis=1), 1)
    assert np.allclose(np.exp(-(weights * np.log(weights)).sum(axis=1)), 30, rtol=1e-3)
    beta = np.log(weights[:, :-1] / weights[:, 1:]) / np.diff(distances, axis=1)
    assert np.allclose(beta, beta[:, :1], rtol=1e-3)


@pytest.mark.parametrize("sizes", [[200, 200], [300, 100], [100, 100, 100]])
def test_kbets_tests_hold_their_level_where_groups_are_mixed(sizes):
    """The statistic has the mean of its distribution, the degrees of freedom."""
    rng = np.random.default_rng(8)
    drawn = [scores.kbet_statistics(*_groups(rng, sizes)) for _ in range(40)]
    assert np.mean(drawn) == pytest.approx(len(sizes) - 1, rel=0.06)
    rejected = np.mean([scores.kbet_rejection(*_groups(rng, sizes)) for _ in range(40)])
    assert rejected == pytest.approx(scores.ALPHA, abs=0.02)


def test_kbet_rejects_always_where_groups_are_apart():
    assert scores.kbet_rejection(*_groups(np.random.default_rng(8), [100, 100], apart=50)) == 1


def test_structure_is_kept_where_batches_are_moved_and_turned_and_lost_where_they_are_shuffled():
    rng = np.random.default_rng(9)
    values, labels = _groups(rng, [100, 60])
    moved = values + 7 * (labels == "g0")[:, None]
    moved[labels == "g1"] = moved[labels == "g1"] @ np.linalg.qr(rng.normal(size=(3, 3)))[0] * 2
    assert scores.neighbours_kept(values, moved, labels) == 1
    shuffled = values.copy()
    for group in ("g0", "g1"):
        shuffled[labels == group] = rng.permutation(values[labels == group])
    by_chance = (100 * 15 / 99 + 60 * 15 / 59) / 160
    assert scores.neighbours_kept(values, shuffled, labels) == pytest.approx(by_chance, abs=0.04)


def test_silhouette_of_two_pairs():
    """Within 1 apart, between 10 apart: 1 - 1 / 10.5 outside, 1 - 1 / 9.5 inside."""
    found = scores.silhouette(np.array([[0.0], [1.0], [10.0], [11.0]]), np.array(["a", "a", "b", "b"]))
    assert found == pytest.approx(1 - (1 / 10.5 + 1 / 9.5) / 2)
