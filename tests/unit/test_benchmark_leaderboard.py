"""The leaderboard: averages, ranks, remarks and the picture; and the tasks table against its schema."""

import csv
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import rank_encoders
import yaml

from spotweave.benchmark import evaluate, leaderboard

ROOT = Path(__file__).resolve().parents[2]


def fold(number, mean, zero=None, null=0.02, undefined=0, **other):
    return {
        "fold": number,
        "test_donors": "NA",
        "n_train_spots": 90,
        "n_test_spots": 30 + number,
        "n_test_samples": 1,
        "n_genes": 50 - number,
        "pearson_mean": mean,
        "pearson_mean_zero": mean if zero is None else zero,
        "pearson_undefined": undefined,
        "n_pearson": 50,
        "pearson_null95": null,
        **other,
    }


@pytest.fixture
def write(tmp_path):
    def write_scores(encoder, rows, task="demo", protocol="strict", probe="ridge", task_notes="simulated samples"):
        path = tmp_path / task / protocol / encoder / probe / "scores.csv"
        path.parent.mkdir(parents=True)
        labels = {"task": task, "protocol": protocol, "encoder": encoder, "probe": probe, "task_notes": task_notes}
        with open(path, "w", newline="") as handle:
            writer = csv.DictWriter(handle, evaluate.COLUMNS)
            writer.writeheader()
            writer.writerows({**labels, **row} for row in rows)
        return path

    return write_scores


def ranked(*paths):
    return leaderboard.rank(leaderboard.read_scores(paths)).set_index(["encoder", "probe"])


def test_folds_are_averaged_and_encoders_ranked(write):
    table = ranked(write("resnet", [fold(0, 0.1), fold(1, 0.3, null=0.04)]), write("uni", [fold(0, 0.5), fold(1, 0.3)]))
    resnet = table.loc["resnet", "ridge"]
    assert resnet["pearson_mean"] == pytest.approx(0.2)
    assert resnet["pearson_std"] == pytest.approx(np.std([0.1, 0.3]))
    assert resnet["pearson_null95"] == pytest.approx(0.03)
    assert (resnet["n_folds"], resnet["n_genes"], resnet["n_spots"], resnet["rank"]) == (2, 49, 61, 2)
    assert table.loc["uni", "ridge"]["rank"] == 1
    assert list(table.index) == [("uni", "ridge"), ("resnet", "ridge")]


def test_an_undefined_correlation_is_not_better_than_a_bad_one(write):
    table = ranked(
        write("picky", [fold(0, 0.4, zero=0.1, undefined=37)]),
        write("steady", [fold(0, 0.2)]),
        write("steady", [fold(0, None, zero=0.0, undefined=50, null=None)], probe="mean"),
    )
    assert table["rank"].to_dict() == {("steady", "ridge"): 1, ("picky", "ridge"): 2, ("steady", "mean"): 3}
    assert table.loc["picky", "ridge"]["undefined_share"] == 0.74
    assert np.isnan(table.loc["steady", "mean"]["pearson_mean"])


def test_equal_scores_share_a_rank_and_tasks_and_protocols_are_ranked_apart(write):
    paths = [write(encoder, [fold(0, score)]) for encoder, score in (("a", 0.2), ("b", 0.2), ("c", 0.1))]
    paths.append(write("c", [fold(0, 0.1)], protocol="hest_exact"))
    table = leaderboard.rank(leaderboard.read_scores(paths))
    assert table[["protocol", "encoder", "rank"]].to_numpy().tolist() == [
        ["hest_exact", "c", 1],
        ["strict", "a", 1],
        ["strict", "b", 1],
        ["strict", "c", 3],
    ]


def test_an_unavailable_encoder_is_there_without_rank_and_says_why(write):
    table = ranked(
        write("uni", [{"note": "the encoder is unavailable: no embeddings of any sample"}]),
        write("resnet", [fold(0, 0.1, note=""), {"fold": 1, "note": "9 training spots, at least 10 are needed"}]),
    )
    uni = table.loc["uni", "ridge"]
    assert uni["n_folds"] == 0
    assert pd.isna(uni["rank"])
    assert uni["note"] == "simulated samples; the encoder is unavailable: no embeddings of any sample"
    resnet = table.loc["resnet", "ridge"]
    assert resnet["n_folds"] == 1
    assert resnet["note"] == "simulated samples; fold 1: 9 training spots, at least 10 are needed"


def test_a_remark_shared_by_all_folds_is_made_once(write):
    notes = [fold(0, 0.1, note="random weights"), fold(1, 0.1, note="random weights")]
    assert ranked(write("vit-random", notes)).iloc[0]["note"] == "simulated samples; random weights"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_script_makes_the_same_bytes_whatever_the_order_of_its_inputs(write, tmp_path, suffix):
    paths = [
        write("vit-random", [fold(0, 0.1, note="random weights"), fold(1, 0.2, note="random weights")]),
        write("uni", [{"note": "unavailable"}]),
        write("resnet", [fold(0, 0.3)], task="her2st", task_notes=""),
    ]
    written = []
    for run, order in enumerate((paths, paths[::-1])):
        table, plot = tmp_path / f"{run}.csv", tmp_path / f"{run}{suffix}"
        argv = ["--scores", *map(str, order), "--leaderboard", str(table), "--plot", str(plot)]
        rank_encoders.stage.run(rank_encoders.work, argv)
        written.append((table.read_bytes(), plot.read_bytes()))
    assert written[0] == written[1]
    assert written[0][0].decode().splitlines()[0] == ",".join(leaderboard.COLUMNS)


def test_the_picture_says_random_simulated_and_unscored(write, tmp_path):
    paths = [write("vit-random", [fold(0, 0.1, note="random weights")]), write("uni", [{"note": "unavailable"}])]
    plot = tmp_path / "plot.svg"
    argv = ["--scores", *map(str, paths), "--leaderboard", str(tmp_path / "l.csv"), "--plot", str(plot)]
    rank_encoders.stage.run(rank_encoders.work, argv)
    drawn = plot.read_text()
    for words in ("vit-random + ridge", "(random weights)", "simulated samples", "not scored", "demo · strict"):
        assert f"<!-- {words}" in drawn or f"<!--{words}" in drawn or words in drawn
    assert "<dc:date>" not in drawn


def test_no_scores_make_an_empty_table_and_a_picture_that_says_so(tmp_path):
    table, plot = tmp_path / "leaderboard.csv", tmp_path / "plot.png"
    rank_encoders.stage.run(rank_encoders.work, ["--leaderboard", str(table), "--plot", str(plot)])
    assert table.read_text() == ",".join(leaderboard.COLUMNS) + "\n"
    assert plot.read_bytes().startswith(b"\x89PNG")


SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/tasks.schema.yaml").read_text())
ROW = {"task": "her2st", "cohorts": "her2st", "n_genes": "50"}


def test_every_row_of_the_tasks_table_keeps_the_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    with open(ROOT / "config/tasks.csv", newline="") as handle:
        for row in csv.DictReader(handle):
            jsonschema.validate({column: cell for column, cell in row.items() if cell}, SCHEMA)
    assert all("description" in column for column in SCHEMA["properties"].values())


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("task", "Her 2"),
        ("task", "../up"),
        ("cohorts", "a,b"),
        ("samples", "B4  C2"),
        ("n_genes", "0"),
        ("n_genes", "5.5"),
        ("n_folds", "1"),
        ("min_spot_share", "10"),
        ("min_spot_share", "1.5"),
        ("folds", "3"),
    ],
)
def test_the_schema_refuses_what_the_library_cannot_read(column, cell):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**ROW, column: cell}, SCHEMA)


@pytest.mark.parametrize(("column", "cell"), [("n_folds", "10"), ("min_spot_share", ".05"), ("samples", "B4 C2")])
def test_the_schema_takes_what_the_library_reads(column, cell):
    jsonschema.validate({**ROW, column: cell}, SCHEMA)


def test_the_share_of_undefined_correlations_is_of_all_of_all_folds(write):
    table = ranked(write("uni", [fold(0, 0.1, undefined=10, n_pearson=50), fold(1, 0.3, undefined=0, n_pearson=450)]))
    assert table.loc["uni", "ridge"]["undefined_share"] == pytest.approx(10 / 500)
