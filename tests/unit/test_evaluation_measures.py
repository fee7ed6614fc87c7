"""Clusters, retrieval, rank, expression, slides and maps: closed forms, scikit-learn, and what cannot be said."""

import math
import re

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

from spotweave.evaluation import Origins, retrieval
from spotweave.evaluation.clusters import INDICES, cluster_quality, kmeans_agreement
from spotweave.evaluation.effective_rank import rankme
from spotweave.evaluation.genes import FLOOR, NINE_GENES, gene_errors
from spotweave.evaluation.maps import draw_map
from spotweave.evaluation.retrieval import recall
from spotweave.evaluation.slides import ACCURACY, AUC, slide_probe


def origins_of(sizes, donors=None):
    names = np.repeat(list(sizes), list(sizes.values()))
    donors = donors or {name: f"D{name}" for name in sizes}
    return Origins(names, np.array([donors[name] for name in names.tolist()]), None)


def by_what(rows, sample="", gene=""):
    return {row.what: row.value for row in rows if (row.sample, row.gene) == (sample, gene)}


# Clusters


def test_indices_by_hand():
    points = np.array([[0.0], [1.0], [10.0], [11.0]])
    found = by_what(cluster_quality(points, np.array(list("aabb")), np.array(["s"] * 4)))
    # Outer spots: 1 to their own, 10.5 to the others; inner ones 1 and 9.5.
    assert found["silhouette"] == pytest.approx((9.5 / 10.5 + 8.5 / 9.5) / 2)
    assert found["calinski_harabasz"] == pytest.approx((2 * 2 * 5**2) / (4 * 0.5**2) * (4 - 2) / (2 - 1))
    assert found["davies_bouldin"] == pytest.approx((0.5 + 0.5) / 10)


def test_indices_are_scikit_learns_by_sample_and_pooled():
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(60, 3)), rng.choice(list("abc"), 60)
    sample = np.repeat(["s", "t"], 30)
    rows = cluster_quality(points, labels, sample)
    for name, chosen in (("s", sample == "s"), ("t", sample == "t"), ("", slice(None))):
        assert list(by_what(rows, name).values()) == pytest.approx(
            [
                metrics.silhouette_score(points[chosen], labels[chosen]),
                metrics.calinski_harabasz_score(points[chosen], labels[chosen]),
                metrics.davies_bouldin_score(points[chosen], labels[chosen]),
            ]
        )


@pytest.mark.parametrize(
    ("points", "labels", "said"),
    [
        (np.ones((6, 2)), list("aabbcc"), "the same everywhere"),
        (np.arange(12).reshape(6, 2), list("aaaaaa"), r"one label only \(a\)"),
        (np.arange(12).reshape(6, 2), list("abcdef"), "as many labels as spots"),
        (np.repeat(np.arange(3.0), 2)[:, None], list("aabbcc"), "spots of one label are all alike"),
    ],
)
def test_where_an_index_means_nothing_there_is_a_reason(points, labels, said):
    if "everywhere" in said:  # what is refused here looks like the best there can be
        assert metrics.davies_bouldin_score(points, labels) == 0
    rows = cluster_quality(points.astype(float), np.array(labels), np.array(["s"] * 6))
    assert {row.what for row in rows} == set(INDICES)
    for row in rows:
        assert row.value is None
        assert re.search(said, row.note)


def test_clusters_find_planted_labels_and_nothing_in_shuffled_ones():
    rng = np.random.default_rng(1)
    labels = np.resize(["a", "b", "c"], 240)
    sample = np.repeat(["s", "t"], 120)
    planted = (labels[:, None] == np.array(["a", "b", "c"])) * 10 + rng.normal(size=(240, 3))
    assert {row.value for row in kmeans_agreement(planted, labels, sample)} == {1.0}
    rows = kmeans_agreement(rng.normal(size=(240, 3)), labels, sample)
    assert len(rows) == 2 * 5 + 5
    mean = [row.value for row in rows if not row.sample]
    for row, of in zip([row for row in rows if not row.sample], mean, strict=True):
        own = [one.value for one in rows if one.sample and one.seed == row.seed]
        assert of == pytest.approx(np.mean(own))
    assert abs(np.mean(mean)) < 0.03
    flat = kmeans_agreement(np.ones((240, 3)), labels, sample)
    assert {row.value for row in flat} == {0.0}
    alone = kmeans_agreement(planted, np.where(sample == "t", "a", labels), sample)
    assert [row.note for row in alone if row.sample == "t"] == ["one label only (a)"]


# Rank


def test_rank_in_closed_form():
    assert rankme(np.eye(7)) == pytest.approx(7)
    assert rankme(np.outer(np.arange(1, 9), [1.0, 2.0, 3.0])) == pytest.approx(1)
    assert rankme(np.zeros((5, 3))) == 1
    shares = np.array([0.7, 0.2, 0.1])
    assert rankme(np.diag(shares * 30)) == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)))


def test_rank_is_that_of_training():
    contrast = pytest.importorskip("spotweave.finetune.contrast")
    import torch

    values = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32) * np.logspace(0, -5, 12, dtype="f4")
    assert rankme(values) == pytest.approx(contrast.rankme(torch.from_numpy(values)), rel=1e-9)


# Retrieval


def test_pairs_that_agree_are_found_and_an_embedding_without_content_gets_chance():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(30, 8))
    sample = np.repeat(["s", "t"], [20, 10])
    rows = recall(points, points * 3, sample, ks=(1, 5))
    for name, count in (("s", 20), ("t", 10), ("", 30)):
        found = by_what(rows, name)
        for k in (1, 5):
            for way in ("image_to_gene", "gene_to_image"):
                assert found[f"recall@{k}_{way}"] == 1
                assert found[f"recall@{k}_{way}_chance"] == pytest.approx(k / count)
                assert found[f"recall@{k}_{way}_p"] == pytest.approx(1 / 100)
    flat = recall(np.ones((30, 8)), points, sample, ks=(1, 7))
    assert by_what(flat)["recall@7_gene_to_image"] == pytest.approx(7 / 30)
    assert by_what(flat, "t")["recall@1_gene_to_image"] == pytest.approx(1 / 10)
    assert by_what(recall(np.zeros((30, 8)), points, sample, ks=(7,)))["recall@7_image_to_gene"] == pytest.approx(
        7 / 30
    )


def test_recall_by_hand():
    image = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    gene = np.array([[1.0, 0.1], [1.0, 0.0], [0.0, 2.0]])
    # Cosines from images: first prefers gene 1 to its own 0, then 2; second 2, 0, 1; third 0 (.77), then 1 and 2 equal.
    found = by_what(recall(image, gene, np.array(["s"] * 3), ks=(1, 2, 3), permutations=0))
    assert found["recall@1_image_to_gene"] == 0
    assert found["recall@2_image_to_gene"] == pytest.approx((1 + 0 + 0.5) / 3)
    assert found["recall@3_image_to_gene"] == 1
    # From genes: gene 0 prefers image 0, its own; gene 1 image 0 (1 is last); gene 2 image 1, then its own.
    assert found["recall@1_gene_to_image"] == pytest.approx(1 / 3)
    assert found["recall@2_gene_to_image"] == pytest.approx(2 / 3)


def test_recall_of_many_is_that_of_sorting_and_shuffled_pairs_get_chance(monkeypatch):
    monkeypatch.setattr(retrieval, "CELLS_AT_A_TIME", 700_000)  # three blocks and a part
    rng = np.random.default_rng(2)
    gene = rng.normal(size=(1500, 6))
    image = gene + rng.normal(size=gene.shape)
    rows = recall(image, gene, np.array(["s"] * 1500), ks=(10,), permutations=19)
    unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (image, gene)]
    order = np.argsort(-(unit[0] @ unit[1].T), axis=1)[:, :10]
    found = by_what(rows)
    assert found["recall@10_image_to_gene"] == pytest.approx((order == np.arange(1500)[:, None]).any(axis=1).mean())
    assert found["recall@10_image_to_gene_null_mean"] == pytest.approx(10 / 1500, rel=0.15)
    assert found["recall@10_image_to_gene_null_95"] < 0.012


def test_telling_samples_apart_is_not_taken_for_telling_spots_apart():
    rng = np.random.default_rng(3)
    sample = np.repeat(["s", "t"], 100)
    side = np.where(sample == "s", 9.0, -9.0)[:, None] * [[1.0, 0, 0]]
    rows = recall(side + rng.normal(size=(200, 3)), side + rng.normal(size=(200, 3)), sample, ks=(10,))
    found = by_what(rows)
    assert found["recall@10_image_to_gene"] > 1.5 * found["recall@10_image_to_gene_chance"]
    assert found["recall@10_image_to_gene_null_mean"] == pytest.approx(0.1, abs=0.01)
    assert found["recall@10_image_to_gene_p"] > 0.05


# Expression


@pytest.mark.parametrize("regressor", ["ridge", "mlp"])
def test_what_the_embedding_holds_is_predicted_and_what_it_lacks_is_not(regressor):
    rng = np.random.default_rng(0)
    origins = origins_of({"s": 200, "t": 200, "u": 200})
    embedding = rng.normal(size=(600, 4))
    targets = np.stack([embedding @ [1.0, 2, 0, 0], rng.normal(size=600)], 1)
    for way in ("random", "donor"):
        rows = gene_errors(embedding, targets, ["held", "lacking"], origins, way, (1, 2), regressor=regressor)
        held = [row.value for row in rows if row.gene == "held" and row.what != FLOOR]
        lacking = [row.value for row in rows if row.gene == "lacking" and row.what != FLOOR]
        assert max(held) < (0.01 if regressor == "ridge" else 1.0)
        assert np.mean(lacking) == pytest.approx(1, abs=0.25)
        assert {row.sample for row in rows} == ({"s", "t", "u", ""} if way == "random" else {""})


def test_errors_of_the_mean_in_closed_form_and_donors_apart():
    origins = origins_of({"s": 10, "t": 20, "u": 30}, {"s": "A", "t": "B", "u": "B"})
    targets = np.repeat([1.0, 4.0, 10.0], [10, 20, 30])[:, None] * [[1.0, 2.0]]
    rows = gene_errors(np.ones((60, 3)), targets, ["g", "h"], origins, "donor", (1,))
    learned = (4 * 20 + 10 * 30) / 50
    first, second = (learned - 1) ** 2, (20 * (1 - 4) ** 2 + 30 * (1 - 10) ** 2) / 50
    for what in (FLOOR, "gene_mse_ridge"):  # an embedding without content predicts the mean
        assert [row.value for row in rows if row.what == what and row.gene == "g"] == pytest.approx([first, second])
        assert [row.value for row in rows if row.what == what and row.gene == "h"] == pytest.approx(
            [4 * first, 4 * second]
        )
        assert [row.value for row in rows if row.what == what and not row.gene] == pytest.approx(
            [2.5 * first, 2.5 * second]
        )
    alone = gene_errors(np.ones((60, 3)), targets, ["g", "h"], origins_of({"s": 60}), "donor", (1,))
    assert [row.value for row in alone] == [None]
    assert "donor" in alone[0].note


def test_the_nine_genes_are_those_of_the_paper():
    assert " ".join(NINE_GENES) == "FABP7 CCK PVALB PCP4 MOBP SNAP25 IGKC HBB NPY"


# Slides


def slides(count, signal, rng):
    labels = {f"s{at:02d}": ("yes" if at % 2 else "no") for at in range(count)}
    origins = origins_of(dict.fromkeys(labels, 5), {name: f"D{int(name[1:]) // 2}" for name in labels})
    shift = np.array([signal if labels[name] == "yes" else -signal for name in origins.sample.tolist()])
    return labels, origins, rng.normal(size=(len(origins), 6)) + shift[:, None] * [1.0, 0, 0, 0, 0, 0]


def test_slides_are_told_apart_by_what_is_planted_and_else_by_chance():
    rng = np.random.default_rng(0)
    labels, origins, embedding = slides(40, 4.0, rng)
    rows = slide_probe(embedding, origins, labels)
    assert len(rows) == 5 * 5 * 2
    assert {row.value for row in rows} == {1.0}
    told = []
    for _ in range(6):
        labels, origins, embedding = slides(40, 0.0, rng)
        told += [row.value for row in slide_probe(embedding, origins, labels, (1, 2)) if row.what == AUC]
    assert np.mean(told) == pytest.approx(0.5, abs=0.12)


def test_a_donor_of_slides_is_never_on_both_sides():
    """Slides are told by their donor alone, and half of each donor's have either label: nothing carries over."""
    rng = np.random.default_rng(0)
    labels, origins, _ = slides(24, 0.0, rng)
    donors = sorted(set(origins.donor.tolist()))
    embedding = (origins.donor[:, None] == np.array(donors)).astype(float)
    turned = {name: ("yes" if int(name[1:]) // 2 % 2 else "no") for name in labels}
    rows = slide_probe(embedding, origins, turned)  # with a donor on both sides, this would be told without a fault
    found = [row.value for row in rows if row.what == AUC]
    assert max(found) < 1  # what differs is the last digit of a constant
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "5 labelled slides with 1 labels"),
        ({"s01": "b", "s02": "c"}, "5 labelled slides with 3 labels"),
        ({"s04": "b"}, "slides of one donor only"),
    ],
)
def test_slides_that_cannot_be_told_apart_are_said(change, said):
    _, origins, embedding = slides(5, 0.0, np.random.default_rng(0))
    rows = slide_probe(embedding, origins, dict.fromkeys(origins.samples(), "a") | change)
    assert [row.what for row in rows] == [AUC, ACCURACY]
    assert all(row.value is None and said in row.note for row in rows)


def test_slides_held_out_with_their_encoder_are_tested_once():
    labels, origins, embedding = slides(12, 4.0, np.random.default_rng(0))
    (auc, accuracy) = slide_probe(embedding, origins, labels, tested=["s00", "s01"])
    assert (auc.value, accuracy.value) == (1.0, 1.0)
    (auc, _) = slide_probe(embedding, origins, labels, tested=["s01"])
    assert auc.note == "slides that are tested have one label only"


# Maps


def test_a_map_is_the_same_bytes_and_shows_planted_groups_apart(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.resize(["a", "b", ""], 60)
    shown = {"before": rng.normal(size=(60, 5)), "after": rng.normal(size=(60, 1)) + (labels == "a")[:, None] * 9}
    for name in ("one", "two"):
        assert draw_map(tmp_path / f"{name}.png", shown, labels, "s") == ""
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {(31, 119, 180), (255, 127, 14), (204, 204, 204)} <= colours
    assert (
        draw_map(tmp_path / "no.png", {"after": np.ones((60, 5))}, labels, "s")
        == "embedding after is the same everywhere"
    )
    assert "too few" in draw_map(tmp_path / "no.png", {"after": np.eye(3)}, labels[:3], "s")
    assert not (tmp_path / "no.png").exists()
