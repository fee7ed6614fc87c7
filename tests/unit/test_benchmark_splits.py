"""Donors stay on one side; who is left out is said."""

import itertools
import json
import random

import make_splits
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold

from spotweave.benchmark.splits import inner_folds
from spotweave.benchmark.splits import make_splits as split
from spotweave.io import write_refused
from spotweave.splitting import Member
from spotweave.splitting._groups import balanced_folds


def sample(name, donor, *, status="accepted", spots=100):
    return Member(name, donor, spots) if status == "accepted" else Member(name, donor, None, "the spots do not fit")


@st.composite
def cohorts(draw):
    drawn = draw(
        st.lists(
            st.tuples(st.sampled_from("ABCDEFG"), st.sampled_from(["accepted", "refused"]), st.integers(0, 500)),
            max_size=15,
        )
    )
    return [sample(f"S{i}", donor, status=status, spots=spots) for i, (donor, status, spots) in enumerate(drawn)]


@given(cohorts(), st.one_of(st.none(), st.integers(2, 8)), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_no_donor_is_on_both_sides_and_every_accepted_sample_is_tested_once(metadata, n_folds, order):
    splits = split("task", n_folds, metadata)
    donor_of = {entry.sample_id: entry.donor for entry in metadata}
    accepted = {entry.sample_id for entry in metadata if entry.spots is not None}
    donors = {donor_of[name] for name in accepted}
    assert [fold["fold"] for fold in splits["folds"]] == list(range(len(splits["folds"])))
    if len(donors) < 2:
        assert splits["folds"] == []
        assert splits["reason"]
    else:
        assert len(splits["folds"]) == min(n_folds or len(donors), len(donors))
        assert sorted(name for fold in splits["folds"] for name in fold["test"]) == sorted(accepted)
    for fold in splits["folds"]:
        assert fold["test"]
        assert fold["train"]
        assert set(fold["train"]) | set(fold["test"]) == accepted
        assert {donor_of[name] for name in fold["test"]} == set(fold["test_donors"])
        assert not set(fold["test_donors"]) & {donor_of[name] for name in fold["train"]}
    refused = {entry.sample_id for entry in metadata if entry.spots is None}
    assert {entry["sample_id"] for entry in splits["left_out"] if "sample_id" in entry} == refused

    shuffled = list(metadata)
    order.shuffle(shuffled)
    assert split("task", n_folds, shuffled) == splits


def test_one_fold_per_donor_where_no_number_is_given():
    splits = split("her2st", None, [sample("B4", "B"), sample("C2", "C"), sample("C3", "C")])
    assert [(fold["test_donors"], fold["train"], fold["test"]) for fold in splits["folds"]] == [
        (["B"], ["C2", "C3"], ["B4"]),
        (["C"], ["B4"], ["C2", "C3"]),
    ]
    assert splits["donors"] == {"B4": "B", "C2": "C", "C3": "C"}


def test_fewer_folds_than_donors_are_those_of_group_k_fold():
    spots = dict(zip("ABCDEFGH", random.Random(3).sample(range(1, 400), 8), strict=True))
    groups = np.repeat(list(spots), list(spots.values()))
    expected = {
        frozenset(groups[test].tolist()) for _, test in GroupKFold(3).split(np.zeros(len(groups)), groups=groups)
    }
    splits = split("task", 3, [sample(f"S{donor}", donor, spots=n) for donor, n in spots.items()])
    assert {frozenset(fold["test_donors"]) for fold in splits["folds"]} == expected


def test_refused_samples_are_listed_with_what_they_cost():
    splits = split("task", None, [sample("a", "A"), sample("b", "B"), sample("c1", "C", status="refused")])
    assert splits["left_out"] == [
        {"sample_id": "c1", "reason": "refused: the spots do not fit"},
        {"donor": "C", "reason": "all its samples were refused: c1"},
    ]
    assert [fold["test_donors"] for fold in splits["folds"]] == [["A"], ["B"]]


def test_one_accepted_donor_makes_no_fold_and_says_why():
    splits = split("task", None, [sample("a", "A"), sample("b", "B", status="refused")])
    assert splits["folds"] == []
    assert splits["reason"].startswith("only donor A has accepted samples")


def test_more_folds_than_groups_are_an_error():
    with pytest.raises(ValueError, match="2 groups into 3 folds"):
        balanced_folds({"a": 1, "b": 2}, 3)


def test_groups_without_spots_leave_no_fold_empty():
    assert balanced_folds({"a": 0, "b": 0, "c": 0}, 3) == [["a"], ["b"], ["c"]]
    assert balanced_folds({"a": 9, "b": 0, "c": 0, "d": 0}, 3) == [["a"], ["b", "d"], ["c"]]


def test_inner_folds_hold_out_donors_else_samples_else_blocks():
    samples = ["a"] * 20 + ["b"] * 10 + ["c"] * 10
    positions_px = np.random.default_rng(0).normal(size=(40, 2))
    folds, kind = inner_folds(samples, ["A"] * 20 + ["B"] * 20, positions_px)
    assert kind == "donor"
    assert folds.tolist() == [0] * 20 + [1] * 20
    folds, kind = inner_folds(samples, ["A"] * 40, positions_px)
    assert kind == "sample"
    assert folds.tolist() == [0] * 20 + [1] * 10 + [2] * 10
    folds, kind = inner_folds(["a"] * 40, ["A"] * 40, positions_px)
    assert kind == "block"
    assert np.bincount(folds).tolist() == [10] * 4


def test_a_group_of_few_spots_is_held_out_with_a_larger_one():
    samples = ["a"] * 30 + ["b"] * 12 + ["c"]
    folds, kind = inner_folds(samples, ["A"] * 43, np.zeros((43, 2)))
    assert kind == "sample"
    assert folds.tolist() == [0] * 30 + [1] * 13
    _, kind = inner_folds(["a"] * 30 + ["c"] * 9, ["A"] * 39, np.random.default_rng(0).normal(size=(39, 2)))
    assert kind == "block"


def test_inner_folds_of_many_donors_are_five():
    names = [f"D{number}" for number in range(23) for _ in range(10)]
    folds, _ = inner_folds(names, names, np.zeros((230, 2)))
    assert sorted(np.bincount(folds)) == [40, 40, 50, 50, 50]


def test_blocks_of_one_sample_are_bands_across_its_longest_axis():
    rng = np.random.default_rng(0)
    along, across = rng.uniform(0, 1000, 103), rng.uniform(0, 200, 103)
    turn = np.deg2rad(30)
    positions_px = np.stack(
        [along * np.cos(turn) - across * np.sin(turn), along * np.sin(turn) + across * np.cos(turn)], 1
    )
    folds, kind = inner_folds(["a"] * 103, ["A"] * 103, positions_px)
    assert kind == "block"
    assert sorted(np.bincount(folds)) == [20, 20, 21, 21, 21]
    extents = sorted((along[folds == band].min(), along[folds == band].max()) for band in range(5))
    overlap = [end - begin for (_, end), (begin, _) in itertools.pairwise(extents)]
    assert max(overlap) < 30, "bands follow each other along the axis, up to its error of estimate"


# Folds of whole donors need no positions.
NOT_READ = ["--expression", "nowhere/{sample}.h5ad", "--alignments", "nowhere/{sample}.json"]


def fingerprint(sample, like=None):
    """A fingerprint of a sample's own, or a copy of another's."""
    start = 1000 * (ord(like or sample) + 1)
    hashes = list(range(start, start + 100))
    sketch = {"genes": hashes, "genes_informative": 100, "spots": [], "entries": 0, "places": "", "total_counts": 1}
    return {"expression": sketch, "picture": {"whole": "", "tissue": ""}}


def test_donors_of_a_copied_sample_are_never_split(tmp_path):
    donors = {"a": "A", "b": "B", "c": "C", "d": "D"}
    for name in donors:
        (tmp_path / f"{name}.json").write_text(json.dumps({"status": "accepted", "measures": {"patches": 100}}))
        (tmp_path / f"{name}.print.json").write_text(json.dumps(fingerprint(name, "a" if name == "c" else None)))
    known = [
        {
            "sample_a": "b",
            "sample_b": "d",
            "relation": "same_block",
            "confidence": "hint",
            "evidence": "e",
            "source": "s",
        }
    ]
    task = json.dumps({"task": "demo", "cohorts": "demo", "n_genes": "5"})
    argv = ["--samples", *donors, "--donors", *donors.values(), "--records", str(tmp_path / "{sample}.json")]
    argv += ["--fingerprints", str(tmp_path / "{sample}.print.json"), "--known", json.dumps(known)]
    argv += ["--cohorts", *("one" for _ in donors), *NOT_READ]
    make_splits.stage.run(make_splits.work, [*argv, "--task", task, "--splits", str(tmp_path / "splits.json")])
    splits = json.loads((tmp_path / "splits.json").read_text())
    assert splits["donors"] == {"a": "A+C", "b": "B", "c": "A+C", "d": "D"}
    assert len(splits["folds"]) == 3
    for fold in splits["folds"]:
        assert ("a" in fold["test"]) == ("c" in fold["test"])
    assert [(one["sample_a"], one["sample_b"]) for one in splits["joined_donors"]] == [("a", "c")]


def test_the_script_writes_the_same_bytes_whatever_the_order_of_its_inputs(tmp_path):
    good = {"status": "accepted", "measures": {"patches": 100}}
    records = {"a": ("A", good), "b": ("B", good), "c": ("C", {"status": "passed_on"})}
    for name, (_, content) in records.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        (tmp_path / f"{name}.print.json").write_text(json.dumps(fingerprint(name)))
    write_refused(tmp_path / "c.print.json")  # a refused sample has none
    task = json.dumps({"task": "demo", "cohorts": "demo", "n_genes": "5"})
    written = []
    for number, order in enumerate(("abc", "cba")):
        out = tmp_path / f"{number}" / "splits.json"
        argv = ["--samples", *order, "--donors", *(records[name][0] for name in order)]
        argv += ["--records", str(tmp_path / "{sample}.json"), "--task", task, "--splits", str(out)]
        argv += ["--fingerprints", str(tmp_path / "{sample}.print.json"), "--known", "[]"]
        argv += ["--cohorts", "one", "one", "one", *NOT_READ]
        make_splits.stage.run(make_splits.work, argv)
        written.append(out.read_bytes())
    assert written[0] == written[1]
    splits = json.loads(written[0])
    assert splits["donors"] == {"a": "A", "b": "B"}
    assert splits["left_out"][0] == {
        "sample_id": "c",
        "reason": "refused: by an earlier stage; quarantine.csv says why",
    }


@pytest.mark.parametrize("spots", [9, 20, 35, 200, 3000])
def test_blocks_of_one_sample_are_two_to_five(spots):
    rng = np.random.default_rng(spots)
    positions_px = rng.uniform(0, 1, (spots, 2)) * (4000, 1000)
    folds, kind = inner_folds(["s"] * spots, ["d"] * spots, positions_px)
    assert kind == "block"
    assert len(np.unique(folds)) == min(5, max(2, spots // 10))
    # Bands across the longer axis: the means of the bands lie along it.
    means = np.array([positions_px[folds == fold].mean(axis=0) for fold in np.unique(folds)])
    assert np.ptp(means[:, 0]) > 1000


@pytest.mark.parametrize(("groups", "expected"), [(3, 3), (5, 5), (6, 5), (12, 5)])
def test_inner_folds_are_never_more_than_five(groups, expected):
    donors = np.repeat([f"d{number:02d}" for number in range(groups)], 12)
    folds, kind = inner_folds(list(donors), list(donors), np.zeros((len(donors), 2)))
    assert (kind, len(np.unique(folds))) == ("donor", expected)
