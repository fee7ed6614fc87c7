"""The leaderboard: averages, ranks, remarks and the picture, from the long table; and the tasks table's schema."""

import csv
import itertools
import json
from pathlib import Path

import evaluate_recipe
import jsonschema
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import rank_predictors
import yaml

from spotweave.benchmark import folds_table, leaderboard, long_table, spread
from spotweave.benchmark.folds_table import FoldRow
from spotweave.benchmark.spread import SpreadRow
from spotweave.io import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
TAKEN = ["pearson", "pearson_null95", "undefined_share"]
NOTES = {"demo": "simulated samples"}


def scored(values, null=0.02, note=None, spots=30):
    """A scored fold: its values by gene, of one sample; None is undefined."""
    return {"values": np.array([values], dtype=float), "null": null, "note": note, "spots": spots}


def missing(reason, status="refused", note=None):
    return {"status": status, "reason": reason, "note": note}


@pytest.fixture
def write(tmp_path):
    """Write the part of one predictor: its scores and its folds."""
    number = itertools.count()

    def write_parts(encoder, folds, task="demo", protocol="strict", probe="ridge"):
        folder = tmp_path / f"part{next(number)}"
        folder.mkdir()
        predictor = f"{encoder}+{probe}" if probe else encoder
        rows = []
        with long_table.Writer(folder / "scores.parquet") as table:
            for fold, given in enumerate(folds):
                labels = {"task": task, "protocol": protocol, "predictor": predictor, "fold": fold}
                made = {"encoder": encoder if probe else None, "probe": probe, "test_donors": f"D{fold}"}
                if "values" not in given:
                    rows.append(FoldRow(**labels, **made, **given))
                    continue
                values = given["values"]
                count = values.shape[1]
                genes = [f"g{number:03d}" for number in range(count)]
                undefined = np.isnan(values[0]).astype(float)
                null = np.array([given["null"]], dtype=float)
                parts = [
                    long_table.rows(labels, "pearson", [f"s{fold}"] * count, genes, values[0]),
                    long_table.rows(labels, "undefined_share", [f"s{fold}"] * count, genes, undefined),
                    long_table.rows(labels, "pearson_null95", [""], [""], null),
                ]
                for part in parts:
                    table.write(part)
                sizes = {
                    "n_train_spots": 90,
                    "n_test_spots": given["spots"] + fold,
                    "n_test_samples": 1,
                    "n_genes": count,
                }
                rows.append(FoldRow(**labels, **made, **sizes, status="scored", note=given["note"]))
        folds_table.write(folder / "folds.csv", rows)
        return folder

    return write_parts


def ranked(*parts):
    scores = long_table.read(part / "scores.parquet" for part in parts)
    folds = folds_table.read(part / "folds.csv" for part in parts)
    return leaderboard.rank(scores, folds, TAKEN, NOTES).set_index("predictor")


def beside(parts, tmp_path):
    """Splits of one donor a fold, and errors of .01 of every score and difference, for all parts; as arguments."""
    folds = folds_table.read(part / "folds.csv" for part in parts)
    spread.write(tmp_path / "spread.csv", errors(folds))
    paths = [tmp_path / f"{task}.splits.json" for task in sorted(set(folds["task"]))]
    for path in paths:
        task = path.name.removesuffix(".splits.json")
        write_json(path, splits(task, folds["fold"].max() + 1))
    return ["--spread-parts", tmp_path / "spread.csv", "--splits", *paths]


def splits(task, n_folds):
    numbers = range(n_folds)
    return {
        "task": task,
        "folds": [
            {
                "fold": fold,
                "test_donors": [f"D{fold}"],
                "train": [f"s{other}" for other in numbers if other != fold],
                "test": [f"s{fold}"],
            }
            for fold in numbers
        ],
        "donors": {f"s{fold}": f"D{fold}" for fold in numbers},
    }


def errors(folds, error=0.01, freedom=20.0, reason=""):
    rows = []
    for (task, protocol), own in folds.groupby(["task", "protocol"]):
        names = sorted(set(own["predictor"]))
        pairs = [(name, other) for number, name in enumerate(names) for other in ("", *names[number + 1 :])]
        rows += [SpreadRow(task, protocol, name, other, error, freedom, reason) for name, other in pairs]
    return rows


def run(parts, tmp_path, name="all", suffix=".png", notes='{"demo": "simulated samples"}'):
    tables = ("scores", "folds", "comparisons", "ranks", "categories", "leaderboard", "page")
    paths = {what: tmp_path / f"{name}.{what}" for what in tables}
    paths["plot"] = tmp_path / f"{name}{suffix}"
    argv = ["--parts", *(part / "scores.parquet" for part in parts)] if parts else []
    argv += ["--fold-parts", *(part / "folds.csv" for part in parts)] if parts else []
    argv += beside(parts, tmp_path) if parts else []
    argv += ["--metrics", *TAKEN, "--notes", notes, "--seen", "{}", "--patch-um", "112", "--genes", "{}"]
    argv += ["--ranking", "donors"]
    argv += ["--cohorts", json.dumps({f"s{fold}": "one" for fold in range(9)})]
    argv += [word for what, path in paths.items() for word in (f"--{what}", path)]
    rank_predictors.stage.run(rank_predictors.work, [str(word) for word in argv])
    return paths


def test_folds_are_averaged_and_predictors_ranked(write):
    resnet = write("resnet", [scored([0.1] * 50), scored([0.3] * 49, null=0.04)])
    table = ranked(resnet, write("uni", [scored([0.5]), scored([0.3])]))
    row = table.loc["resnet+ridge"]
    assert row["pearson_mean"] == pytest.approx(0.2)
    assert row["pearson_std"] == pytest.approx(np.std([0.1, 0.3]))
    assert row["pearson_null95"] == pytest.approx(0.03)
    assert (row["n_folds"], row["n_genes"], row["n_spots"], row["rank"]) == (2, 49, 61, 2)
    assert (row["encoder"], row["probe"]) == ("resnet", "ridge")
    assert list(table.index) == ["uni+ridge", "resnet+ridge"]


def test_an_undefined_correlation_is_not_better_than_a_bad_one(write):
    table = ranked(
        write("picky", [scored([0.4] * 13 + [None] * 37)]),
        write("steady", [scored([0.2])]),
        write("steady", [scored([None] * 50)], probe="mean"),
    )
    assert table["rank"].to_dict() == {"steady+ridge": 1, "picky+ridge": 2, "steady+mean": 3}
    assert table.loc["picky+ridge", "undefined_share"] == 0.74
    assert table.loc["picky+ridge", "pearson_mean"] == 0.4
    assert np.isnan(table.loc["steady+mean", "pearson_mean"])
    assert table.loc["steady+mean", "n_folds"] == 1


def test_equal_scores_share_a_rank_and_tasks_and_protocols_are_ranked_apart(write):
    parts = [write(encoder, [scored([score])]) for encoder, score in (("a", 0.2), ("b", 0.2), ("c", 0.1))]
    parts.append(write("c", [scored([0.1])], protocol="hest_exact"))
    assert ranked(*parts).reset_index()[["protocol", "encoder", "rank"]].to_numpy().tolist() == [
        ["hest_exact", "c", 1],
        ["strict", "a", 1],
        ["strict", "b", 1],
        ["strict", "c", 3],
    ]


def test_ranks_by_category_have_who_failed_last(write, tmp_path):
    parts = [write("a", [scored([0.2])]), write("b", [scored([0.3])]), write("c", [missing("no patches")])]
    table = pd.read_csv(run(parts, tmp_path)["categories"], keep_default_na=False)
    whole = table[(table["category"] == "") & (table["metric"] == "")]
    # Neither has undefined values: by their share they tie, and Pearson's tells them apart.
    assert whole["predictor"].tolist() == ["b+ridge", "a+ridge", "c+ridge"]
    assert whole["value"].astype(float).tolist() == [1.25, 1.75, 3]
    assert whole["rank"].tolist() == [1, 2, 3]
    assert set(table["metric"]) == {"", "pearson", "undefined_share"}


def test_a_method_stands_beside_the_probes_with_encoder_and_probe_empty(write, tmp_path):
    paths = run([write("egn", [scored([0.4])], probe=None), write("uni", [scored([0.3])])], tmp_path)
    first, second = csv.DictReader(paths["leaderboard"].open())
    assert (first["predictor"], first["encoder"], first["probe"], first["rank"]) == ("egn", "", "", "1")
    assert (second["predictor"], second["encoder"], second["probe"]) == ("uni+ridge", "uni", "ridge")


def test_what_was_not_scored_says_why_once_or_fold_by_fold(write):
    gone = "the encoder is unavailable: no embeddings of any sample"
    table = ranked(
        write("uni", [missing(gone), missing(gone), missing("fold 2 does not exist", "absent")]),
        write("resnet", [scored([0.1]), missing("9 training spots, at least 10 are needed")]),
        write("vit", [missing("one"), missing("another")]),
        write("one", [missing("only donor A", "absent"), missing("only donor A", "absent")]),
        write("gone", [scored([0.1]), missing("fold 1 does not exist", "absent")]),
    )
    assert table.loc["uni+ridge", "n_folds"] == 0
    assert pd.isna(table.loc["uni+ridge", "rank"])
    notes = {name.partition("+")[0]: note.removeprefix("simulated samples") for name, note in table["note"].items()}
    assert notes == {
        "uni": f"; {gone}",
        "resnet": "; fold 1: 9 training spots, at least 10 are needed",
        "vit": "; fold 0: one; fold 1: another",
        "one": "; only donor A",
        "gone": "",
    }
    assert table.loc["resnet+ridge", "n_folds"] == 1


def test_who_lacks_a_fold_or_spots_that_others_have_is_not_ranked_and_the_note_says_so(write):
    table = ranked(
        write("all", [scored([0.3]), scored([0.1])]),
        write("low", [scored([0.2]), scored([0.1])]),
        write("easy", [scored([0.9]), missing("no weights")]),
        write("some", [scored([0.9]), scored([0.9], spots=25)]),
        write("easy", [scored([0.9])], protocol="hest_exact"),
    )
    ranks = {key: None if pd.isna(rank) else rank for key, rank in zip(table.index, table["rank"], strict=True)}
    assert list(ranks.items()) == [
        ("easy+ridge", None),
        ("all+ridge", 1),
        ("low+ridge", 2),
        ("some+ridge", None),
    ]
    assert table["rank"].tolist()[:3] == [1, 1, 2]
    strict = table[table["protocol"] == "strict"]
    assert strict.loc["easy+ridge", "note"] == "simulated samples; fold 1: no weights"
    assert strict.loc["some+ridge", "note"] == "simulated samples; fold 1: without 5 test spots that others predict"
    assert strict.loc["easy+ridge", "pearson_mean"] == 0.9


def test_zero_has_one_sign_whatever_the_last_bits(write):
    below, above = ([scored([sign * 1e-12])] for sign in (-1, 1))
    one, other = write("e", below), write("e", above)
    assert (one / "scores.parquet").read_bytes() == (other / "scores.parquet").read_bytes()
    assert not np.signbit(ranked(one)["pearson_mean"]).any()


def test_a_remark_shared_by_all_folds_is_made_once(write):
    folds = [scored([0.1], note="random weights"), scored([0.1], note="random weights")]
    assert ranked(write("vit-random", folds)).iloc[0]["note"] == "simulated samples; random weights"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_script_makes_the_same_bytes_whatever_the_order_of_its_inputs(write, tmp_path, suffix):
    parts = [
        write("vit-random", [scored([0.1], note="random weights"), scored([0.2], note="random weights")]),
        write("uni", [missing("unavailable")], task="gated"),
        write("resnet", [scored([0.3])], task="her2st"),
    ]
    written = []
    for number, order in enumerate((parts, parts[::-1])):
        paths = run(order, tmp_path, name=str(number), suffix=suffix)
        written.append([path.read_bytes() for path in paths.values()])
    assert written[0] == written[1]
    table = pq.read_table(paths["scores"])
    assert tuple(table.column_names) == long_table.COLUMNS
    order = [tuple(row.values())[:-1] for row in table.to_pylist()]
    assert len(order) == 9
    assert [row[:4] for row in order] == sorted(row[:4] for row in order)


def test_the_picture_says_random_simulated_and_unscored(write, tmp_path):
    parts = [write("vit-random", [scored([0.1], note="random weights")]), write("uni", [missing("unavailable")])]
    drawn = run(parts, tmp_path, suffix=".svg")["plot"].read_text()
    for words in ("vit-random + ridge", "(random weights)", "simulated samples", "not scored", "demo · strict"):
        assert f"<!-- {words}" in drawn or f"<!--{words}" in drawn or words in drawn
    assert "<dc:date>" not in drawn


def test_no_scores_make_empty_tables_and_a_picture_that_says_so(tmp_path):
    paths = run([], tmp_path)
    header = ",".join(leaderboard.columns(TAKEN))
    assert header == (
        "task,protocol,predictor,encoder,probe,n_folds,pearson_mean,pearson_std,pearson_mean_zero,pearson_null95,"
        "undefined_share,n_genes,n_spots,components,rank,score_low,score_high,rank_best,rank_worst,donors,verdict,"
        "not_told_apart_from,not_told_apart_on_sections,leaks,training,note"
    )
    assert paths["leaderboard"].read_text() == header + "\n"
    assert pq.read_table(paths["scores"]).num_rows == 0
    assert paths["plot"].read_bytes().startswith(b"\x89PNG")


def test_columns_of_pearson_come_first_whatever_the_order_of_the_metrics():
    assert " ".join(leaderboard.columns(["mse", "pearson"])[5:]) == (
        "n_folds pearson_mean pearson_std pearson_mean_zero mse_mean n_genes n_spots components rank "
        "score_low score_high rank_best rank_worst donors verdict not_told_apart_from not_told_apart_on_sections "
        "leaks training note"
    )


def test_values_come_back_from_the_long_table_as_they_went_in():
    labels = {"task": "t", "protocol": "p", "predictor": "e", "fold": 3}
    values = np.array([[0.25, np.nan, 1e6], [-0.5, 0.125, 0]])
    samples, genes = [name for name in ("s1", "s2") for _ in range(3)], ["A", "B", "a"] * 2
    table = long_table.sorted_table(long_table.rows(labels, "m", samples, genes, values.ravel()))
    assert table["value"].null_count == 1
    np.testing.assert_array_equal(long_table.folds_of(table.to_pandas(), "m")[3], values)
    pooled = long_table.rows(labels, "m", [""] * 3, ["A", "B", "C"], values[0])
    np.testing.assert_array_equal(long_table.folds_of(pooled.to_pandas(), "m")[3], values[:1])


def test_what_fine_tuning_changed_is_paired_by_fold(write, tmp_path):
    parts = [
        write("base", [scored([0.1]), scored([0.2]), missing("gone")]),
        write("tuned", [scored([0.4]), missing("no weights"), scored([0.6])]),
        write("base", [scored([0.3, None])], protocol="hest_exact"),
        write("other", [scored([0.9])], protocol="hest_exact"),
    ]
    path = tmp_path / "metrics.json"
    argv = ["--scores", *(part / "scores.parquet" for part in parts), "--metrics", path]
    argv += ["--folds", *(part / "folds.csv" for part in parts), "--recipe", "tuned", "--base", "base"]
    evaluate_recipe.stage.run(evaluate_recipe.work, [str(word) for word in argv])
    found = read_json(path)
    assert (found["recipe"], found["base_encoder"], found["score"]) == ("tuned", "base", "pearson_mean_zero")
    none, paired = found["results"]
    assert (none["protocol"], none["folds"], none["before_mean"], none["after_mean"]) == ("hest_exact", [], None, None)
    assert paired == {
        "task": "demo",
        "protocol": "strict",
        "probe": "ridge",
        "folds": [0],
        "before": [0.1],
        "after": [0.4],
        "difference": [0.3],
        "before_mean": 0.1,
        "after_mean": 0.4,
    }


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
