"""Scores of instances against their definitions, written out pair by pair, and against known cases."""

import numpy as np
import pytest

from spotweave.nuclei.scoring import bootstrap, overlaps, score, total


def blobs(seed: int, shape: tuple[int, int] = (60, 70), count: int = 25) -> np.ndarray:
    """Discs at random places; later ones lie over earlier ones, and numbers have gaps."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    labels = np.zeros(shape, dtype=np.int32)
    for number in rng.permutation(np.arange(1, 3 * count, 3)):
        y, x, radius = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(2, 7)
        labels[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = number
    return labels


def moved(labels: np.ndarray, seed: int) -> np.ndarray:
    """The same instances, shifted, some lost, some merged, some new."""
    rng = np.random.default_rng(seed)
    other = np.roll(labels, rng.integers(-2, 3, 2), axis=(0, 1))
    numbers = np.unique(other)[1:]
    other[np.isin(other, rng.choice(numbers, 4, replace=False))] = 0
    other[other == numbers[0]] = numbers[1]
    extra = blobs(seed + 50, labels.shape, 5)
    return np.where((other == 0) & (extra > 0), extra + 1000, other)


def plainly(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """DQ, SQ, PQ as Kirillov et al. define them, AJI as algorithm 1 of Kumar et al., with plain loops over masks."""
    true_masks = [truth == number for number in np.unique(truth) if number]
    masks = [predicted == number for number in np.unique(predicted) if number]

    def iou(a: np.ndarray, b: np.ndarray) -> float:
        return float((a & b).sum() / (a | b).sum())

    matched = [iou(a, b) for a in true_masks for b in masks if iou(a, b) > 0.5]
    tp, fp, fn = len(matched), len(masks) - len(matched), len(true_masks) - len(matched)
    dq, sq = tp / (tp + fp / 2 + fn / 2), sum(matched) / tp
    intersection = union = 0
    used = set()
    for a in true_masks:
        values = [iou(a, b) for b in masks]
        best = int(np.argmax(values))
        if values[best] == 0:
            union += int(a.sum())
            continue
        intersection += int((a & masks[best]).sum())
        union += int((a | masks[best]).sum())
        used.add(best)
    union += sum(int(b.sum()) for index, b in enumerate(masks) if index not in used)
    return {"f1": dq, "sq": sq, "pq": dq * sq, "aji": intersection / union}


@pytest.mark.parametrize("seed", range(8))
def test_scores_are_what_the_definitions_say(seed):
    truth = blobs(seed)
    found = score(truth, moved(truth, seed))
    for name, value in plainly(truth, moved(truth, seed)).items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-12), name


def test_the_best_partner_of_aji_may_serve_twice_and_ties_go_to_the_first():
    truth = np.array([[1, 1, 2, 2, 0, 3, 3]])
    predicted = np.array([[7, 7, 7, 7, 0, 8, 9]])
    found = score(truth, predicted)
    # 1 and 2: the same partner, 2 of 4 px each; 3: the first of two halves, 1 of 2 px; the other half is unused, 1 px.
    assert (found.intersection_px, found.union_px) == (2 + 2 + 1, 4 + 4 + 2 + 1)
    assert (found.matched, found.missed, found.spurious) == (0, 3, 3), "an IoU of exactly .5 is no match"


def test_what_is_equal_scores_one_and_what_is_empty_has_no_ratio():
    truth = blobs(3)
    same = score(truth, truth)
    assert same.f1 == same.pq == same.aji == same.sq == 1.0
    nothing = np.zeros_like(truth)
    assert np.isnan(score(nothing, nothing).f1)
    assert score(truth, nothing).f1 == score(nothing, truth).f1 == 0.0
    assert score(truth, nothing).aji == score(nothing, truth).aji == 0.0


def test_shared_px_add_up_to_the_areas():
    truth = blobs(5)
    shared, true_px, predicted_px = overlaps(truth, truth > 0)
    assert shared.shape == (len(true_px), 1)
    assert (shared.toarray().ravel() == true_px).all()
    assert predicted_px.sum() == (truth > 0).sum()


def test_maps_of_different_shapes_are_an_error():
    with pytest.raises(ValueError, match="shape"):
        score(np.zeros((3, 4), int), np.zeros((4, 3), int))


def test_sums_add_up_and_intervals_cover_a_known_rate():
    patches = [score(blobs(seed), moved(blobs(seed), seed)) for seed in range(6)]
    whole = total(patches)
    assert whole.matched == sum(one.matched for one in patches)
    low, high = bootstrap(patches, lambda one: one.f1, seed=0)
    assert low <= whole.f1 <= high
    assert bootstrap(patches, lambda one: one.f1, seed=0) == (low, high)
    # Patches of n nuclei found independently with probability p: the interval is that of a share.
    rng = np.random.default_rng(1)
    rows = []
    for found in rng.binomial(100, 0.8, 200):
        labels = np.arange(1, 101)[None]
        rows.append(score(labels, np.where(labels <= found, labels, 0)))
    low, high = bootstrap(rows, lambda one: one.recall, seed=2)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 20_000)
    assert (high - low) / 2 == pytest.approx(half, rel=0.2)
