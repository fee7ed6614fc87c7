"""Scaling laws: the published correlations from the published tables, lines in closed form, what enters a mean."""

import numpy as np
import pandas as pd
import pytest

from spotweave.benchmark import scaling

SCORES, SIZES = scaling.read_published()
NOTHING = pd.DataFrame(columns=["task", "protocol", "probe", "encoder", "rank", "pearson_mean"])
# Average column of table 1 of HEST-1k, as printed.
AVERAGES = {"resnet50": 0.326, "ctranspath": 0.3447, "phikon": 0.3656, "conch": 0.3709, "remedis": 0.3742}
AVERAGES |= {"gigapath": 0.3853, "uni": 0.3862, "virchow": 0.3977, "virchow2": 0.3984, "univ1.5": 0.4090}
AVERAGES |= {"h-optimus-0": 0.4146}


@pytest.fixture(scope="module")
def published():
    return scaling.points(NOTHING, SCORES, SIZES)


def test_the_tables_of_the_paper_are_whole_and_average_to_what_it_prints(published):
    tables = SCORES[SCORES["source"].str.startswith("HEST-1k")]
    assert tables.groupby("source")["encoder"].nunique().tolist() == [11, 11, 11]
    assert tables.groupby(["source", "encoder"])["task"].nunique().eq(9).all()
    found = published[published["source"] == "HEST-1k table 1"].set_index("encoder")["score"]
    assert found.to_dict() == pytest.approx(AVERAGES, abs=1e-4)


def test_the_correlations_of_its_figure_are_those_with_plain_numbers(published):
    found = scaling.laws(published[published["source"] == "HEST-1k table 1"]).set_index("against")
    assert found.loc["parameters", "r_linear"] == pytest.approx(0.81, abs=0.005)
    assert found.loc["parameters", "p_linear"] < 0.01
    assert found.loc["pretraining_patches", "r_linear"] == pytest.approx(0.48, abs=0.005)
    assert found.loc["pretraining_patches", "p_linear"] == pytest.approx(0.13, abs=0.005)


def table(rows):
    names = ["task", "protocol", "probe", "encoder", "pearson_mean"]
    return pd.DataFrame(rows, columns=names).assign(rank=1)


def test_a_planted_law_is_found_to_the_digit():
    sizes = pd.DataFrame(
        {"encoder": list("abcd"), "parameters": [1e6, 1e7, 1e8, 1e9], "pretraining_patches": [1, 9, 2, 5]}
    )
    ours = table([("t", "strict", "ridge", name, 0.1 + 0.05 * i) for i, name in enumerate("abcd")])
    law = scaling.laws(scaling.points(ours, SCORES.iloc[:0], sizes)).set_index("against").loc["parameters"]
    assert law[["slope_per_decade", "r_log"]].tolist() == pytest.approx([0.05, 1])
    assert law["r_linear"] == pytest.approx(np.corrcoef([1e6, 1e7, 1e8, 1e9], [0.1, 0.15, 0.2, 0.25])[0, 1], abs=1e-6)


def test_two_encoders_have_no_law_and_a_missing_task_no_part_in_the_mean():
    sizes = pd.DataFrame({"encoder": list("abc"), "parameters": [1, 2, 3], "pretraining_patches": [1, 2, 3]})
    rows = [(task, "strict", "ridge", name, 0.2) for task in ("t", "u") for name in "ab"] + [
        ("t", "strict", "ridge", "c", 9)
    ]
    found = scaling.points(table(rows), SCORES.iloc[:0], sizes)
    assert found["encoder"].tolist() == ["a", "b"]
    assert scaling.laws(found)["r_log"].isna().all()


def test_means_are_over_the_same_tasks():
    """As many tasks are not the same tasks: those that most encoders have stand."""
    sizes = pd.DataFrame({"encoder": list("abcd"), "parameters": [1, 2, 3, 4], "pretraining_patches": [1, 2, 3, 4]})
    rows = [(task, "strict", "ridge", name, 0.2) for name in "abc" for task in "tu"]
    rows += [(task, "strict", "ridge", "d", 0.9) for task in "tv"]
    assert scaling.points(table(rows), SCORES.iloc[:0], sizes)["encoder"].tolist() == ["a", "b", "c"]


def test_an_encoder_that_was_not_scored_or_has_no_known_size_is_left_out():
    ours = table([("t", "strict", "ridge", "uni", 0.3), ("t", "strict", "ridge", "mine", 0.3)])
    ours["rank"] = [np.nan, 1]
    assert scaling.points(ours, SCORES.iloc[:0], SIZES).empty


def test_the_picture_is_the_same_bytes_each_time(published, tmp_path):
    for name in ("a.png", "b.png"):
        scaling.draw(published, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    scaling.draw(published.iloc[:0], tmp_path / "none.png")
