"""HEST-Benchmark's released folder as a source of tasks: what is found before the run, taken, split and compared."""

import csv
import json
import shutil

import h5py
import pandas as pd
import pytest
from released_folder import SIDE, gather, take, write_root

from spotweave.benchmark import folds_table, long_table
from spotweave.benchmark.fitting import Cell, predict_fold
from spotweave.benchmark.targets import Targets
from spotweave.io import is_refused, read_json
from spotweave.plan import released
from spotweave.released.comparing import Run, compare_run
from spotweave.released.folder import donors_of, read_task

ROWS = {
    "released-t": {"cohorts": "hest_bench", "released": "T", "genes": "variable", "split": "donor"},
    "own": {"cohorts": "one", "genes": "variable", "split": "donor"},
}
AT = {("tasks", name): f"tasks.csv:{number}" for number, name in enumerate(ROWS, start=2)}


@pytest.fixture
def root(tmp_path):
    write_root(tmp_path / "root")
    return tmp_path / "root"


def planned(root, *, rows=ROWS, known=(), **changed):
    config = {
        "tasks": list(rows),
        "cohorts": ["one.csv"],
        "protocols": ["strict"],
        "recipes": [],
        "released_dir": str(root),
    }
    return released.read({**config, **changed}, "c.yaml", rows, dict(known), AT)


def test_a_task_of_the_folder_is_known_before_the_run_and_our_own_are_left_alone(root):
    read, left_out, faults = planned(root)
    assert list(read) == ["released-t"]
    assert (sorted(read["released-t"].samples), len(read["released-t"].folds)) == (["A2", "M3", "Z1"], 2)
    assert (left_out, faults) == ({}, [])


def test_what_is_missing_stops_everything_and_what_cannot_be_believed_one_task(root):
    shutil.copytree(root / "T", root / "U")
    rows = {**ROWS, "released-t": {**ROWS["released-t"]}, "own": {**ROWS["own"], "released": "U"}}
    (root / "T/patches/M3.h5").unlink()
    (root / "U/var_50genes.json").write_text("[]")
    read, left_out, faults = planned(root, rows=rows)
    assert read == {}
    missing = "T/splits/test_0.csv, row 2: there is no file 'patches/M3.h5'; download the task again"
    assert faults == [f"tasks.csv:2:released: {missing}"]
    wrong = 'U/var_50genes.json: it should hold {"genes": [names]}; download the task again'
    assert left_out == {"own": f"the released task is left out: {wrong}"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"released_dir": ""}, "c.yaml:released_dir: blank"),
        ({"cohorts": []}, "c.yaml:cohorts: none, allowed: the cohort tables of task own"),
        ({"cohorts": [], "tasks": []}, "c.yaml:cohorts: none, allowed: the cohort tables;"),
        ({"protocols": ["strict+genes=train_hvg"]}, "'strict+genes=train_hvg' chooses genes"),
        ({"recipes": ["r"], "known": {"r": {"task": "released-t"}}}, "'r' is trained on task released-t"),
        (
            {"rows": {**ROWS, "released-t": {**ROWS["released-t"], "genes": "moran"}}},
            "tasks.csv:2:genes: 'moran' means",
        ),
        ({"rows": {**ROWS, "released-t": {**ROWS["released-t"], "released": "X"}}}, "no folder 'X' in it"),
    ],
)
def test_a_configuration_that_does_not_fit_is_a_line_before_the_run(root, changed, said):
    faults = planned(root, **changed)[2]
    assert len(faults) == 1
    assert said in faults[0]


def test_samples_that_are_tested_together_count_as_one_donor():
    folds = [{"fold": 0, "test": ["A", "B"]}, {"fold": 1, "test": ["C", "B"]}]
    assert donors_of(folds, ["D", "C", "B", "A"]) == {"A": "fold0", "B": "fold0", "C": "fold1", "D": "D"}


def test_one_broken_sample_refuses_its_task_and_every_fold_says_why(root, tmp_path):
    with h5py.File(root / "T/patches/A2.h5", "a") as file:
        names = file["barcode"][...]
        names[0] = names[1]
        file["barcode"][...] = names
    taken = {name: take(root, "T", name, tmp_path / "store" / name) for name in ("A2", "M3", "Z1")}
    assert [is_refused(taken[name] / "patches.h5") for name in taken] == [True, False, False]
    splits, targets = gather(root, "T", taken)
    assert splits["folds"] == []
    with Targets(targets) as opened:
        prediction = predict_fold(Cell("strict", "e", "ridge", 1), 0, splits, opened, {})
    assert "T/patches/A2.h5: a barcode is there twice" in prediction.reason
    assert "T/patches/A2.h5" in splits["reason"]


def test_patches_of_another_side_or_scale_than_encoders_were_asked_about_are_refused(root, tmp_path):
    record = read_json(take(root, "T", "Z1", tmp_path, SIDE * 2) / "record.json")
    assert record["reason"] == f"T/patches/Z1.h5: patches of {SIDE} px; say patch: size_px: {SIDE} in the configuration"
    assert (record["measured"], record["threshold"]) == (SIDE, SIDE * 2)
    said_by(root, pixel_size=0.2738, patch_size_src=58)  # 32 px at .5 um are 58.4 of these
    assert read_json(take(root, "T", "Z1", tmp_path) / "record.json")["status"] == "accepted"
    record = read_json(take(root, "T", "Z1", tmp_path, SIDE, 1.0) / "record.json")
    assert "patches of 0.496 um/px; say patch: pixel_size_um: 0.496" in record["reason"]


@pytest.mark.parametrize(("said", "size_um"), [(0.2738, 0.2738), (None, 0.0), (float("nan"), 0.0), ("wide", 0.0)])
def test_the_pixel_size_is_what_the_pictures_say_or_unknown(root, tmp_path, said, size_um):
    if said is not None:
        said_by(root, pixel_size=said)
    folder = take(root, "T", "Z1", tmp_path)
    assert read_json(folder / "alignment.json") == {"pixel_size_um": size_um}
    with h5py.File(folder / "patches.h5") as file:
        own = dict(file["coords"].attrs)
    assert own == {"patch_size_target": SIDE, "pixel_size_target": 0.5} | ({"pixel_size": size_um} if size_um else {})
    record = read_json(take(root, "T", "Z1", tmp_path, SIDE, 0.5, "--needs-um") / "record.json")
    assert record["status"] == ("accepted" if size_um else "refused")


def said_by(root, **attributes):
    with h5py.File(root / "T/patches/Z1.h5", "a") as file:
        file["img"].attrs.update(attributes)


def tables(folder, scored):
    """`scores.parquet` and `folds.csv` of one task: two genes, two folds; encoder -> (values by fold, reason)."""
    rows = []
    with long_table.Writer(folder / "scores.parquet") as writer:
        for encoder, (by_fold, why) in scored.items():
            for fold, values in enumerate(by_fold):
                labels = {
                    "task": "released-idc",
                    "protocol": "hest_exact",
                    "predictor": f"{encoder}+ridge",
                    "fold": fold,
                }
                status = {"status": "scored", "components": 256} if not why else {"status": "refused", "reason": why}
                rows.append(
                    folds_table.FoldRow(**labels, encoder=encoder, probe="ridge", test_donors=f"fold{fold}", **status)
                )
                if not why:
                    writer.write(
                        long_table.rows(labels, "pearson", ["", ""], ["G1", "G2"], pd.Series(values).to_numpy())
                    )
    folds_table.write(folder / "folds.csv", rows)


def test_scores_of_a_run_stand_beside_published_ones_and_each_is_listed_once(tmp_path):
    tables(
        tmp_path,
        {"gigapath": ([(0.5, 0.7), (0.5, 0.5)], ""), "uni": ([(0, 0), (0, 0)], "encoder uni is unavailable: gated")},
    )
    splits = {"donors": {"A": "fold0", "B": "fold1"}, "folds": [{}, {}], "reason": None, "data_sha256": "d"}
    (tmp_path / "splits.json").write_text(json.dumps(splits))
    code = {name: {"code": name, "weights": {"weights": "hub"}} for name in ("gigapath", "uni")}
    run = Run(
        {"released-idc": "IDC", "released-read": "READ"}, {"released-read": "torn"}, code, {"ridge hest_exact": "f"}, 1
    )
    files = (tmp_path / "scores.parquet", tmp_path / "folds.csv", {"released-idc": tmp_path / "splits.json"})
    made = (tmp_path / "published.csv", tmp_path / "released.csv", tmp_path / "measured.jsonl")
    for _ in range(2):
        compare_run(*files, run, *made)
    (line,) = map(json.loads, made[2].read_text().splitlines())
    assert (line["pearson_mean"], line["folds"], line["pearson_std"]) == (
        pytest.approx(0.55),
        [pytest.approx(0.6), 0.5],
        pytest.approx(0.05),
    )
    assert line["code"] == {"embed_patches": "gigapath", "fit_probe": "f"}
    compare_run(*files, Run(run.names, run.left_out, code, {"ridge hest_exact": "other"}, 1), *made)
    assert len(made[2].read_text().splitlines()) == 2, "other code is another line"
    with open(made[0], newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["probe"] == "pca256+ridge"]
    told = {(row["encoder"], row["task"]): row for row in rows if row["encoder"] in code}
    assert told["gigapath", "IDC"]["measured"] == "0.5500"
    assert told["gigapath", "IDC"]["within"] == (
        "yes" if abs(0.55 - float(told["gigapath", "IDC"]["published"])) <= 0.003 else "no"
    )
    assert told["uni", "IDC"]["reason"] == "encoder uni is unavailable: gated"
    assert told["uni", "READ"]["reason"] == "torn"
    with open(made[1], newline="") as handle:
        assert [(row["task"], row["samples"], row["status"], row["reason"]) for row in csv.DictReader(handle)] == [
            ("released-idc", "2", "accepted", ""),
            ("released-read", "0", "refused", "torn"),
        ]


def test_the_hash_of_the_data_is_that_of_the_command(root, tmp_path):
    taken = {name: take(root, "T", name, tmp_path / "store" / name) for name in ("A2", "M3", "Z1")}
    assert gather(root, "T", taken)[0]["data_sha256"] == read_task(root, "T").data_hash()
