"""Ways of splitting: what each holds out, what lies between, and what the audit of leaks says of it."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from spotweave.benchmark import leaks
from spotweave.benchmark.splits import make_splits
from spotweave.folds import rows_of
from spotweave.io import file_hash, write_json
from spotweave.plan.benchmark import task_faults
from spotweave.splitting import SPLITTINGS, Asked, Member, Places, fold_count, load, over
from spotweave.splitting.blocks import bands
from spotweave.splitting.quarters import quarters

PATCH_UM = 112.0
MEMBERS = [
    Member("b2", "B", 30, cohort="two"),
    Member("a1", "A", 50, cohort="one"),
    Member("c1", "C", 40, cohort="two"),
    Member("a2", "A", 20, cohort="one"),
    Member("b1", "B", 60, cohort="three"),
]


def lattice(columns, rows, pitch_um=100.0, turn=0.0, seed=0):
    """Spots of a turned array, in no order, with their names."""
    x, y = np.meshgrid(np.arange(columns) * pitch_um, np.arange(rows) * pitch_um)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    positions_um = np.column_stack([x.ravel(), y.ravel()]) @ turned.T + 731.5
    order = np.random.default_rng(seed).permutation(len(positions_um))
    return Places([f"{n}x" for n in order.tolist()], positions_um[order])


def parts_of(split, places):
    """Sample -> rows trained on, tested on and neither."""
    found = {}
    for name in split["test"]:
        spots = places[name].spots
        train, test = (rows_of(split, side, name, spots) for side in ("train", "test"))
        found[name] = train, test, sorted(set(range(len(spots))) - set(train) - set(test))
    return found


@pytest.mark.parametrize("way", [way for way in SPLITTINGS.names() if over(way) != "part"])
def test_whole_groups_are_held_out_and_every_sample_is_tested_once_whatever_the_order(way):
    column = {"sample": "sample_id"}.get(over(way), over(way))
    for n_folds, order in itertools.product((None, 2), (MEMBERS, MEMBERS[::-1])):
        folds = load(way).split(order, Asked(n_folds))
        assert folds == load(way).split(MEMBERS, Asked(n_folds))
        assert sorted(name for fold in folds for name in fold["test"]) == ["a1", "a2", "b1", "b2", "c1"]
        groups = {getattr(member, column) for member in MEMBERS}
        assert len(folds) <= fold_count(way, n_folds, len(groups))
        for fold in folds:
            sides = [
                {getattr(one, column) for one in MEMBERS if one.sample_id in fold[side]} for side in ("train", "test")
            ]
            assert all(sides)
            assert way == "cohort" or not sides[0] & sides[1]
            assert sorted(fold["train"] + fold["test"]) == ["a1", "a2", "b1", "b2", "c1"]


def test_cohorts_that_share_a_donor_are_held_out_together():
    folds = load("cohort").split(MEMBERS, Asked())
    assert [fold["test"] for fold in folds] == [["a1", "a2"], ["b1", "b2", "c1"]]
    # A third cohort that ties both.
    tied = [*MEMBERS, Member("a3", "A", 5, cohort="two")]
    splits = make_splits("t", None, tied, "cohort")
    assert splits["folds"] == []
    assert splits["reason"] == (
        "only cohort one+three+two has accepted samples; a fold needs a cohort to train on and another to test on"
    )


def test_sections_of_a_donor_are_on_both_sides_and_the_audit_says_so():
    splits = make_splits("t", None, MEMBERS, "section")
    assert [fold["test"] for fold in splits["folds"]] == [["a1"], ["a2"], ["b1"], ["b2"], ["c1"]]
    assert splits["split"] == "section"
    assert leaks.of_folds(splits, PATCH_UM) == ["donors on both sides: A, B"]


def test_hest_takes_patients_in_the_order_of_the_row_and_halves_them_where_asked():
    members = [Member(f"INT{n}", f"P{n}", 10) for n in range(1, 25)]
    order = [f"INT{n}" for n in range(1, 25)]
    folds = load("hest").split(members[::-1], Asked(12, order=order))
    assert [fold["test"] for fold in folds][:3] == [["INT1", "INT2"], ["INT3", "INT4"], ["INT5", "INT6"]]
    assert len(folds) == 12
    two = [Member(f"MEND{n}", "first" if n < 154 else "second", 5) for n in range(139, 163)]
    folds = load("hest").split(two, Asked())
    assert [len(fold["test"]) for fold in folds] == [15, 9]
    assert len(load("hest").split(members, Asked(99))) == 24
    # Sizes that no whole number of patients fills.
    assert [len(fold["test_donors"]) for fold in load("hest").split(members[:7], Asked(3))] == [2, 3, 2]


@pytest.mark.parametrize(
    ("way", "guard_um"), [("blocks", 150.0), ("blocks", 0.0), ("quarters", 0.0), ("quarters", 250.0)]
)
def test_parts_are_tested_once_and_nothing_within_the_band_is_trained_on(way, guard_um):
    members = [Member("a1", "A", 1), Member("b1", "B", 1), Member("tiny", "C", 1)]
    places = {"a1": lattice(14, 6, turn=0.4), "b1": lattice(5, 13, 200.0, seed=1), "tiny": lattice(3, 1)}
    splits = make_splits("t", None, members, way, Asked(guard_um=guard_um, places=places))
    assert len(splits["folds"]) == fold_count(way, None, 0) == 4
    tested = {name: [] for name in ("a1", "b1")}
    for split in splits["folds"]:
        assert split["test"] == split["train"] == ["a1", "b1"]  # the third has no spot for each part
        nearest = []
        for name, (train, test, neither) in parts_of(split, places).items():
            tested[name] += test
            distance = cdist(places[name].positions_um, places[name].positions_um[test]).min(axis=1)
            nearest.append(distance[train].min())
            assert nearest[-1] >= guard_um
            assert all(0 < distance[row] < guard_um for row in neither)
            assert bool(neither) == (guard_um > 0 and name == "a1") or guard_um > 200
        assert split["nearest_um"] == pytest.approx(min(nearest), abs=0.05)
    for name, rows in tested.items():
        assert sorted(rows) == list(range(len(places[name].spots)))
    near = leaks.of_folds(splits, PATCH_UM)
    assert near[0] == "donors on both sides: A, B"
    # Squares of 112 um meet at up to 158 um, the diagonal.
    assert (len(near) == 2) == (min(split["nearest_um"] for split in splits["folds"]) < 158.4)


def test_parts_hang_together_and_are_of_equal_size_whatever_the_order_of_spots():
    places = lattice(20, 7, turn=0.3)
    for label in (bands, quarters):
        parts = label(places.positions_um, 4)
        assert np.bincount(parts).tolist() == [35, 35, 35, 35]
        order = np.random.default_rng(5).permutation(len(parts))
        assert (label(places.positions_um[order], 4) == parts[order]).all()
    # Bands lie across the longest axis: along it their ranges meet in no more than a column of spots.
    along = places.positions_um @ [np.cos(0.3), np.sin(0.3)]
    parts = bands(places.positions_um, 4)
    ranges = sorted((along[parts == part].min(), along[parts == part].max()) for part in range(4))
    assert all(after[0] - before[1] > -1e-6 for before, after in itertools.pairwise(ranges))


def test_a_band_that_leaves_nothing_to_train_on_is_a_reason():
    asked = Asked(guard_um=5000, places={"a1": lattice(8, 8)})
    splits = make_splits("t", None, [Member("a1", "A", 64)], "blocks", asked)
    assert splits["folds"] == []
    assert splits["reason"] == "a band of 5000 um around part 0 leaves no spot to train on"


def test_a_planted_leak_of_each_kind_is_found_and_none_where_none_is():
    clean = make_splits("t", None, MEMBERS)
    cohorts = {member.sample_id: member.cohort for member in MEMBERS}

    def verdict(splits, protocol="strict", seen=(), genes="variable"):
        return leaks.of_predictor(splits, protocol, "e", leaks.Sight(cohorts, {"e": seen}, PATCH_UM, {"t": genes}))

    assert verdict(clean) == "none found"
    assert verdict(clean, "hest_exact") == "genes chosen with test spots in sight"
    assert verdict(clean, seen=["two", "elsewhere"]) == "its weights have seen pictures of two"
    assert verdict(clean, seen=["elsewhere"]) == "none found"
    assert verdict(clean, "hest_exact", genes="train_hvg") == "none found"
    listed = "genes of the list her2st_785, which may have been chosen with test spots in sight"
    assert verdict(clean, genes="her2st_785") == verdict(clean, "hest_exact", genes="her2st_785") == listed
    copied = {**clean, "donors": {**clean["donors"], "c1": "A"}}
    assert verdict(copied) == "donors on both sides: A"
    assert verdict(copied, "hest_exact").count(";") == 1


def test_small_training_sets_are_labelled():
    splits = {"t": make_splits("t", None, MEMBERS)}
    board = pd.DataFrame({"task": ["t"], "protocol": ["strict"], "predictor": ["p"], "encoder": ["e"]})
    folds = board.loc[[0, 0]].assign(n_train_spots=[700, 1200])
    sight = leaks.Sight({one.sample_id: one.cohort for one in MEMBERS}, {"e": ["one"]}, PATCH_UM)
    row = leaks.with_leaks(board, folds, splits, sight).iloc[0]
    assert row["training"] == "3 sections, 700 spots: small"
    assert row["leaks"] == "its weights have seen pictures of one"
    many = {"t": make_splits("t", None, [Member(f"s{n}", f"d{n}", 9) for n in range(16)])}
    cohorts = {f"s{n}": "x" for n in range(16)}
    row = leaks.with_leaks(board, folds.assign(n_train_spots=40_000), many, leaks.Sight(cohorts, {}, PATCH_UM)).iloc[0]
    assert (row["training"], row["leaks"]) == ("15 sections, 40,000 spots", "none found")


def faults(**row):
    samples = {"a1": ("x:2", {"cohort": "one", "organ": "Kidney"}), "b1": ("x:3", {"cohort": "one", "organ": "Lung"})}
    given = {"task": "t", "cohorts": "one", "n_genes": "5", **row}
    return task_faults("tasks.csv:2", given, samples, {"one": ("a1", "b1")}, ["organ", "cohort", "technology"])


def test_faults_of_a_tasks_row_are_one_line_each():
    assert faults(split="blocks", guard_um="150") == []
    assert faults(query="organ=kidney,lung") == []
    assert faults(split="block")[0].startswith("tasks.csv:2:split: 'block' is no way of splitting, did you mean")
    assert faults(split="blocks") == [
        "tasks.csv:2:guard_um: blank, allowed: a value, as split 'blocks' needs it",
    ]
    assert faults(guard_um="5") == ["tasks.csv:2:guard_um: '5' means nothing to split 'donor', allowed: blank"]
    assert faults(query="organ=Heart") == [
        "tasks.csv:2:query: no sample of its cohorts meets it, allowed: a choice of what they have"
        " (organ: Kidney, Lung)"
    ]
    assert faults(query="orgn=Heart") == [
        "tasks.csv:2:query: 'orgn' is not a column of the cohort tables, did you mean 'organ'?"
    ]


@pytest.mark.parametrize(
    ("n_folds", "sha256"),
    [
        (None, "8f09b0d7c0b57782c2082b292c4407980c90fb1dc5b9a58105905b222c172e9a"),
        (2, "01d201cf510e7060572341628825c3aaab21b3d014c3a945960b5528d90d796a"),
        (3, "ef4765763597e21f6514b6c4bf153c590faa92657cf9f727fddc1cc86db49fd7"),
    ],
)
def test_splits_of_whole_donors_are_the_bytes_they_were_before_there_were_other_ways(n_folds, sha256, tmp_path):
    """Hashes of the files that the code before the registry wrote for these samples."""
    counts = {"z9": ("D1", 40), "b2": ("D2", 25), "a1": ("D2", 3), "k": ("D3", None), "q": ("D4", 31), "c": ("D5", 12)}
    members = [Member(name, donor, spots, "" if spots else "spots outside") for name, (donor, spots) in counts.items()]
    write_json(tmp_path / "splits.json", make_splits("t", n_folds, members))
    assert file_hash(tmp_path / "splits.json") == sha256
