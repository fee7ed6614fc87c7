"""The robustness index: counted by hand, known where biology or centre alone decides, and as croma has it."""

import csv
import importlib.util
import json

import h5py
import numpy as np
import pytest

from spotweave.errors import Refusal
from spotweave.robustness import command, margins
from spotweave.robustness.index import NONE, best, nearest, robustness
from spotweave.robustness.labels import Labels, of_metadata, of_spots, of_table

HAS_CROMA = importlib.util.find_spec("croma") is not None


def angles(*degrees):
    """Embeddings on a circle: the cosine falls with the angle between them, whatever their lengths."""
    radians = np.radians(degrees)
    return np.column_stack([np.cos(radians), np.sin(radians)]) * np.arange(1, len(degrees) + 1)[:, None]


def codes(text):
    return np.unique(list(text), return_inverse=True)[1].astype(np.int64)


def test_neighbours_are_the_nearest_of_other_groups_whatever_the_lengths():
    features = angles(0, 10, 25, 45, 180)
    assert nearest(features, np.arange(5), 2).tolist() == [[1, 2], [0, 2], [1, 3], [2, 1], [3, 2]]
    # The first two are one donor: they are no neighbours of each other, and have three left.
    groups = np.array([0, 0, 1, 2, 3])
    assert nearest(features, groups, 4).tolist()[:2] == [[2, 3, 4, NONE], [2, 3, 4, NONE]]


def test_neighbours_of_many_patches_are_found_in_blocks():
    rng = np.random.default_rng(0)
    features, groups = rng.normal(size=(1100, 6)), rng.integers(0, 40, 1100)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = nearest(features, groups, 7)
    for row in (0, 511, 512, 1099):
        others = np.flatnonzero(groups != groups[row])
        assert found[row].tolist() == others[np.argsort(-(unit[others] @ unit[row]))[:7]].tolist()


def test_the_index_is_counted_by_hand():
    """Patches a to e on a circle at 0, 10, 25, 45 and 180 degrees; biology TTNTN, centres XYXYY."""
    neighbours = nearest(angles(0, 10, 25, 45, 180), np.arange(5), 2)
    biology, centres = codes("TTNTN"), codes("XYXYY")
    at_one = robustness(neighbours, biology, centres, 1)
    # Nearest: a-b SO, b-a SO, c-b neither, d-c neither, e-d OS.
    assert (at_one.index, at_one.support) == (2 / 3, 3 / 5)
    at_two = robustness(neighbours, biology, centres, 2)
    # Second: a-c OS, b-c neither, c-d neither, d-b both, e-c SO.
    assert (at_two.index, at_two.support) == (3 / 5, 3 / 5)
    # Most of one neighbour: T T T N T for TTNTN: two of three T right, no N.
    assert at_one.accuracy == (2 / 3 + 0) / 2


def design(rng, by, patches=240, dimensions=8):
    """Two biologies in two centres, ten donors each: what embeddings follow is `by` (their weights), and noise."""
    biology, centres = np.arange(patches) % 2, np.arange(patches) // 2 % 2
    groups = np.arange(patches) // 4 % 10 * 4 + np.arange(patches) % 4
    features = rng.normal(size=(patches, dimensions)) * 0.3
    features[:, 0] += by[0] * np.where(biology, 1, -1)
    features[:, 1] += by[1] * np.where(centres, 1, -1)
    return features, biology, centres, groups


@pytest.mark.parametrize(
    ("by", "low", "high"), [((9, 0), 1, 1), ((0, 9), 0, 0), ((0, 0), 0.42, 0.58), ((3, 3), 0.4, 0.6)]
)
def test_biology_alone_is_one_centres_alone_zero_and_neither_a_half(by, low, high):
    features, biology, centres, groups = design(np.random.default_rng(1), by)
    # Enough neighbours to look beyond those that share both.
    found = robustness(nearest(features, groups, 100), biology, centres, 100)
    assert low <= found.index <= high
    assert found.support > 0.5


def test_nothing_to_count_is_undefined():
    found = robustness(np.array([[1], [0]]), np.array([0, 0]), np.array([0, 0]), 1)
    assert np.isnan(found.index)
    assert found.support == 0


def test_k_is_that_of_the_best_accuracy_and_of_several_the_smallest():
    features, biology, centres, groups = design(np.random.default_rng(3), (1.0, 0.5))
    neighbours = nearest(features, groups, 51)
    tried = [robustness(neighbours, biology, centres, k) for k in (5, 11, 51)]
    top = max(one.accuracy for one in tried)
    assert best(neighbours, biology, centres, [51, 11, 5]) == next(one for one in tried if one.accuracy == top)
    easy = design(np.random.default_rng(3), (9, 0))
    assert best(nearest(easy[0], easy[3], 21), easy[1], easy[2], [21, 5]).k == 5


@pytest.mark.skipif(not HAS_CROMA, reason="the package croma is not installed")
@pytest.mark.parametrize("by", [(1.0, 0.5), (0.4, 1.0), (0, 0)])
def test_the_index_is_that_of_croma(by):
    features, biology, centres, groups = design(np.random.default_rng(7), by)
    labels = Labels([f"b{one}" for one in biology], [f"c{one}" for one in centres], [f"g{one}" for one in groups])
    mine = best(nearest(features, groups, 21), biology, centres, [5, 11, 21])
    theirs = margins.margins(features, labels, [5, 11, 21])
    assert theirs["croma_index"] == pytest.approx(mine.index, abs=1e-12)
    assert (theirs["croma"] > 0) == (by[0] > by[1]) or by == (0, 0)


def test_what_cannot_be_told_apart_is_said():
    assert Labels(["T", "N"], ["X", "X"], ["1", "2"]).fault().startswith("no label comes from two centres")
    assert Labels(["T", "T"], ["X", "Y"], ["1", "2"]).fault().startswith("no centre has two labels")
    assert Labels([], [], []).fault() == "no patch has a label and a centre"
    assert Labels(["T", "N", "T"], ["X", "X", "Y"], ["1", "2", "3"]).fault() == ""


def test_labels_are_the_spots_own_else_the_samples():
    known = of_metadata(
        {
            "a": {"oncotree_code": "IDC", "cohort": "x", "donor": "d"},
            "b": {"oncotree_code": None, "cohort": "x", "donor": "d"},
        }
    )
    assert known == {("a", ""): ("IDC", "x", "d")}
    known["a", "1x2"] = ("DCIS", "x", "d")
    assert of_spots(known, "a", ["1x1", "1x2"]) == [("IDC", "x", "d"), ("DCIS", "x", "d")]
    assert of_spots(known, "b", ["1x1"]) == [None]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sample_id,label\na,T\n", "no column centre; it needs sample_id, label, centre"),
        ("sample_id,label,centre\na,T,\n", "t.csv:2: centre is blank"),
        ("sample_id,barcode,label,centre\na,1x1,T,X\na,1x1,N,X\n", "t.csv:3: a 1x1 is there twice"),
    ],
)
def test_a_table_of_labels_that_cannot_be_read_is_refused(text, said, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(Refusal, match=said):
        of_table(tmp_path / "t.csv")


@pytest.fixture
def results(tmp_path):
    """Eight samples, two codes in two cohorts, two donors each; an encoder that knows, and one that lacks b."""
    rng = np.random.default_rng(2)
    for number, name in enumerate("abcdefgh"):
        code, cohort = ("IDC", "ILC")[number % 2], ("x", "y")[number // 2 % 2]
        folder = tmp_path / "samples" / name
        (folder / "embeddings").mkdir(parents=True)
        said = {"oncotree_code": code, "cohort": cohort, "donor": f"d{number}"}
        (folder / "metadata.json").write_text(json.dumps(said))
        features = rng.normal(size=(30, 4)) * 0.2 + [5 * (number % 2), 0, 0, 1]
        for encoder in ("knows", "lacks"):
            if (encoder, name) == ("lacks", "b"):
                continue
            with h5py.File(folder / "embeddings" / f"{encoder}.h5", "w") as file:
                names = np.array([[f"{row}x1"] for row in range(30)], dtype=object)
                file.create_dataset("barcode", data=names, dtype=h5py.string_dtype())
                file["embeddings"] = features.astype(np.float32)
    return tmp_path


def rows_of(path):
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_command_writes_a_row_an_encoder(results, tmp_path):
    asked = command.Asked(["knows", "lacks", "none"], 20, 1, None)
    command.measure(results, asked, tmp_path / "r.csv")
    knows, lacks, none = rows_of(tmp_path / "r.csv")
    assert {name: knows[name] for name in ("patches", "samples", "labels", "centres")} == {
        "patches": "160",
        "samples": "8",
        "labels": "2",
        "centres": "2",
    }
    assert float(knows["robustness_index"]) == float(knows["knn_accuracy"]) == 1.0
    assert bool(knows["mari"]) == HAS_CROMA
    assert ("pip install" in knows["note"]) != HAS_CROMA
    assert lacks["patches"] == "140"
    assert lacks["note"].startswith("no embeddings of b")
    assert none["robustness_index"] == ""
    assert none["note"].endswith("no patch has a label and a centre")
    first = (tmp_path / "r.csv").read_bytes()
    command.measure(results, asked, tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_bytes() == first


def test_one_cohort_has_no_index_and_says_why(results, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("sample_id,label,centre\n" + "".join(f"{name},IDC,x\n" for name in "abcd"))
    command.measure(results, command.Asked(["knows"], 500, 1, table))
    (row,) = rows_of(results / "benchmark/robustness.csv")
    assert (row["patches"], row["robustness_index"]) == ("120", "")
    assert row["note"] == "no label comes from two centres: biology and centre cannot be told apart"
