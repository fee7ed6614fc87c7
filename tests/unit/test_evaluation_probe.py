"""The linear probe: splits that hold apart what they say, scores held against scikit-learn, and a leak that shows."""

import re

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import f1_score

from spotweave.evaluation import Origins
from spotweave.evaluation.probing import ALPHAS, FLOOR, OVER_FOLDS, SCALED, WHAT, linear_probe, macro_f1
from spotweave.evaluation.sides import NoSides, rounds, without_validation

SIDE, PITCH_UM = 20, 100.0
SEEDS = (1, 2, 3)


def grid(samples=3, side=SIDE):
    """Slides of one donor each, side x side spots."""
    place = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) * PITCH_UM
    names = np.repeat([f"s{at}" for at in range(samples)], side * side)
    return Origins(names, np.char.replace(names, "s", "D"), np.tile(place, (samples, 1)))


def smooth(place, rng, count, wave_um=2500.0):
    """(N, count) fields that change over some millimetres, and say nothing but where a spot is."""
    waves = rng.normal(size=(2, count)) * 2 * np.pi / wave_um
    return np.cos(place @ waves + rng.uniform(0, 2 * np.pi, count))


def values(rows, what=WHAT):
    return np.array([row.value for row in rows if row.what == what], dtype=float)


@pytest.mark.parametrize("way", ["random", "donor", "blocks"])
def test_labels_that_lie_apart_are_told_and_shuffled_ones_are_not(way):
    rng = np.random.default_rng(0)
    origins = grid(4, 10)
    labels = rng.choice(["a", "b", "c"], len(origins))
    centres = {"a": (6, 0), "b": (-6, 6), "c": (-6, -6)}
    embedding = np.array([centres[label] for label in labels]) + rng.normal(size=(len(labels), 2)) / 4
    assert values(linear_probe(embedding, labels, origins, way, SEEDS, guard_um=100)).min() == 1.0
    told = values(linear_probe(rng.normal(size=(len(labels), 5)), labels, origins, way, SEEDS, guard_um=100))
    assert abs(told.mean() - 1 / 3) < 0.08
    # One label everywhere: F1 of it about 2 p / (1 + p) at p = 1/3, of the other two 0.
    floor = values(linear_probe(embedding, labels, origins, way, SEEDS, guard_um=100), FLOOR)
    assert abs(floor.mean() - 1 / 6) < 0.03


def test_a_random_split_rewards_position_and_blocks_do_not():
    """Labels in smooth patches, and an embedding that knows nothing of them but is smooth too."""
    found = {"random": [], "blocks": []}
    for draw in range(4):
        rng = np.random.default_rng(draw)
        origins = grid(1)
        field = smooth(origins.position_um, rng, 6).sum(axis=1)
        labels = np.array(["low", "middle", "high"])[np.digitize(field, np.quantile(field, [1 / 3, 2 / 3]))]
        embedding = smooth(origins.position_um, rng, 64)
        for way, scores in found.items():
            scores.append(values(linear_probe(embedding, labels, origins, way, SEEDS[:1])).mean())
    assert np.mean(found["random"]) > 0.85
    assert np.mean(found["blocks"]) < 0.6
    assert all(random > block + 0.15 for random, block in zip(*found.values(), strict=True)), found


def test_the_strength_is_chosen_by_the_mean_over_seeds_and_scores_are_scikit_learns():
    rng = np.random.default_rng(9)
    origins = grid(2, 12)
    labels = rng.choice(["a", "b", "c", "d"], len(origins), p=[0.5, 0.3, 0.15, 0.05])
    embedding = (labels[:, None] == np.array(["a", "b", "c", "d"])) * 1.2 + rng.normal(size=(len(labels), 4))
    (only,) = rounds("random", origins, SEEDS)
    tried = {}
    for alpha in ALPHAS:
        for seed, sides in only.by_seed.items():
            model = SGDClassifier(
                loss="log_loss", penalty="l2", alpha=alpha, max_iter=10000, class_weight="balanced", random_state=seed
            ).fit(embedding[sides.train], labels[sides.train])
            tried[alpha, seed] = [
                f1_score(labels[part], model.predict(embedding[part]), average="macro", zero_division=0)
                for part in (sides.validation, sides.test)
            ]
    best = max(ALPHAS, key=lambda alpha: np.mean([tried[alpha, seed][0] for seed in SEEDS]))
    by_test = max(ALPHAS, key=lambda alpha: np.mean([tried[alpha, seed][1] for seed in SEEDS]))
    assert best != by_test  # or the test could not tell
    rows = [row for row in linear_probe(embedding, labels, origins, "random", SEEDS) if row.what == WHAT]
    assert [row.value for row in rows] == pytest.approx([tried[best, seed][1] for seed in SEEDS], abs=1e-12)
    assert all(f"alpha {best:g}" in row.note for row in rows)


def test_macro_f1_by_hand_and_by_scikit_learn():
    truth, said = np.array(list("aabbc")), np.array(list("aabcd"))
    # a 1, b 2/3, c 0 (never right), d 0 (never true).
    assert macro_f1(truth, said) == pytest.approx((1 + 2 / 3) / 4)
    rng = np.random.default_rng(1)
    for _ in range(20):
        truth, said = rng.choice(list("abcde"), 12), rng.choice(list("bcdef"), 12)
        assert macro_f1(truth, said) == pytest.approx(f1_score(truth, said, average="macro", zero_division=0))


def test_random_sides_are_eight_to_one_to_one_and_differ_by_seed():
    (one,) = rounds("random", grid(1, 11), (1, 2))
    first, second = one.by_seed.values()
    assert [len(side) for side in (first.train, first.validation, first.test)] == [96, 12, 13]
    assert sorted(np.concatenate([first.train, first.validation, first.test])) == list(range(121))
    assert not np.array_equal(first.test, second.test)
    both = without_validation("random", first)
    assert (len(both.train), len(both.validation), len(both.test)) == (96, 0, 25)


@pytest.mark.parametrize("donors", [3, 4, 9])
def test_donors_are_on_one_side_and_each_is_tested_once(donors):
    origins = grid(donors, 4)
    tested = []
    for one in rounds("donor", origins, SEEDS):
        sides = one.by_seed[1]
        of = [set(origins.donor[side].tolist()) for side in (sides.train, sides.validation, sides.test)]
        assert all(of)
        assert not (of[0] & of[1] or of[0] & of[2] or of[1] & of[2])
        tested += sorted(of[2])
        assert set(without_validation("donor", sides).train) == set(sides.train) | set(sides.validation)
    assert sorted(tested) == sorted(set(origins.donor.tolist()))


def test_where_the_embedding_was_learned_in_a_fold_its_test_samples_are_held_out():
    origins = grid(4, 4)
    (one,) = rounds("donor", origins, SEEDS, tested=["s2"])
    sides = one.by_seed[1]
    assert set(origins.sample[sides.test]) == {"s2"}
    assert set(origins.sample[sides.validation]) == {"s0"}
    assert set(origins.sample[sides.train]) == {"s1", "s3"}
    origins.donor[origins.sample == "s3"] = "D2"
    with pytest.raises(NoSides, match="donor D2 is held out in part only"):
        rounds("donor", origins, SEEDS, tested=["s2"])


@pytest.mark.parametrize("guard_um", [150.0, 300.0])
def test_blocks_keep_a_guard_band_between_all_sides(guard_um):
    origins = grid(2)
    found = rounds("blocks", origins, SEEDS, guard_um=guard_um)
    tests = np.concatenate([one.by_seed[1].test for one in found])
    assert sorted(tests) == list(range(len(origins)))  # every spot is tested once
    for one in found:
        sides = one.by_seed[1]
        parts = [sides.train, sides.validation, sides.test]
        for sample in origins.samples():
            places = [origins.position_um[part[origins.sample[part] == sample]] for part in parts]
            for first, second in ((0, 1), (0, 2), (1, 2)):
                assert cdist(places[first], places[second]).min() >= guard_um


@pytest.mark.parametrize(
    ("way", "change", "said"),
    [
        ("donor", {"samples": 2}, "no spots to choose by"),
        ("donor", {"samples": 1}, "a fold needs a donor to train on"),
        ("blocks", {"position_um": None}, "no pixel size"),
        ("blocks", {"guard_um": 5000.0}, "leaves no spot to train on"),
        ("random", {"labels": "x"}, r"training spots have one label only \(x\)"),
        ("random", {"spots": 9}, "9 spots cannot be dealt out"),
    ],
)
def test_a_split_that_cannot_be_is_said_and_scores_nothing(way, change, said):
    origins = grid(change.get("samples", 3), 6)
    origins = origins.rows(np.arange(change.get("spots", len(origins))))
    if "position_um" in change:
        origins = Origins(origins.sample, origins.donor, None)
    labels = np.resize([change.get("labels", "a"), change.get("labels", "b")], len(origins))
    embedding = np.random.default_rng(0).normal(size=(len(origins), 3))
    rows = linear_probe(embedding, labels, origins, way, SEEDS, guard_um=change.get("guard_um", 150.0))
    assert {row.value for row in rows if row.what == WHAT} == {None}
    assert all(re.search(said, row.note) for row in rows)


def test_a_label_that_only_the_tested_donor_has_is_named():
    origins = grid(3, 6)
    labels = np.resize(["a", "b"], len(origins)).astype("U3")
    labels[origins.donor == "D1"] = np.resize(["a", "odd"], 36)
    embedding = np.stack([labels == "a", labels == "b"], 1).astype(float)
    rows = [row for row in linear_probe(embedding, labels, origins, "donor", (1,)) if row.what == WHAT]
    assert "tested but never learned: odd" in rows[1].note
    assert rows[1].value <= 0.5  # what was never learned is never right
    assert "learned but not tested: odd" in rows[0].note + rows[2].note


def test_scaled_columns_count_alike_whatever_their_size():
    rng = np.random.default_rng(5)
    origins = grid(3, 8)
    labels = rng.choice(["a", "b"], len(origins))
    points = rng.normal(size=(len(labels), 3)) + (labels == "a")[:, None] * [2.0, 0, 0]
    sizes, shift = np.array([1e-4, 1e3, 1.0]), np.array([0, 5e5, -3.0])
    found = [
        values(linear_probe(one, labels, origins, "donor", SEEDS, scaled=True), SCALED)
        for one in (points, points * sizes + shift)
    ]
    assert found[1] == pytest.approx(found[0], abs=0.02)
    assert found[0].mean() > 0.75
    as_it_is = values(linear_probe(points * sizes + shift, labels, origins, "donor", SEEDS))
    assert as_it_is.mean() < found[0].mean() - 0.1


def test_over_folds_is_of_all_test_spots_together():
    """Donors of one label each: within a fold nothing but that label is tested, and F1 of it is 1 or 0."""
    origins = grid(5, 6)
    labels = np.where(np.isin(origins.donor, ["D0", "D2"]), "a", "b")
    points = (labels == "a")[:, None] + np.zeros((1, 2))
    rows = linear_probe(points, labels, origins, "donor", (1,))
    assert [row.fold for row in rows if row.what == WHAT] == [0, 1, 2, 3, 4]
    assert values(rows, WHAT + OVER_FOLDS).tolist() == [1.0]
    # The commonest of the three donors that neither test nor choose: abb, abb, abb, aba (0, 1, 2) and bab (1, 2, 3).
    truth, said = ["a", "b", "a", "b", "b"], ["b", "b", "b", "a", "b"]
    assert values(rows, FLOOR).tolist() == [float(one == other) for one, other in zip(truth, said, strict=True)]
    # a: never right; b: D1 and D4 of three true and four said.
    assert values(rows, FLOOR + OVER_FOLDS) == pytest.approx([(0 + 2 * 2 / (3 + 4)) / 2])
