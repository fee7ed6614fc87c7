"""What methods cost and how usable software is: tables against the benchmark's own ranks, totals and categories."""

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from method_oracle import Oracle

from spotweave.benchmark import efficiency, usability
from spotweave.benchmark.predictions import NotPredicted, Prediction, write_prediction
from spotweave.io import read_json, write_json
from spotweave.learning.fitted import Fitted
from spotweave.learning.scaling import Scaling
from spotweave.methods import METHODS

ROOT = Path(__file__).resolve().parents[2]
TSV = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.fixture
def run(tmp_path):
    """Two methods on two folds: one measured, one without timing, one that was not run, one on a GPU."""
    places = []

    def fold(method, number, prediction, timing=None):
        place = tmp_path / "predictions/her2st/strict" / method / f"fold{number}.h5"
        place.parent.mkdir(parents=True, exist_ok=True)
        write_prediction(place, prediction)
        places.append(place)
        (tmp_path / "timings").mkdir(exist_ok=True)
        if timing:
            (tmp_path / f"timings/her2st.strict.{method}.fold{number}.tsv").write_text(TSV + timing)

    values = np.zeros((3, 2), np.float32)
    choices = {"parameters": 1000, "epochs": 7, "n_train_spots": 40}
    done = Prediction(values, ["a", "b", "c"], ["s"] * 3, ["G", "H"], choices=choices)
    fold("egnv2", 0, done, "31.5\t0:00:31\t581.14\t1354\t429\t474\t8\t99\t16\t5.38\n")
    fold("egnv2", 1, done)
    bare = Prediction(values, ["a", "b", "c"], ["s"] * 3, ["G", "H"])
    fold("ridge", 0, bare, "1.5\t0:00:01\t-\t-\t-\t-\t-\t-\t-\tNA\n2.5\t0:00:02\t100\t1\t1\t1\t1\t1\t1\t2\n")
    fold("ridge", 1, Prediction.none(NotPredicted("too few spots"), {}), "0.2\t0:00:00\t50\t1\t1\t1\t1\t1\t1\t0.1\n")
    gpu = tmp_path / "models/her2st/strict/egnv2/fold0/gpu.json"
    gpu.parent.mkdir(parents=True)
    write_json(gpu, {"device": "Some GPU", "peak_bytes": 2500 * 2**20})
    return tmp_path, places


def test_a_row_a_fold_with_what_was_measured_and_stated(run):
    folder, places = run
    command = [sys.executable, str(ROOT / "scripts/tabulate_efficiency.py"), "--predictions", *map(str, places[::-1])]
    command += ["--timings", str(folder / "timings"), "--models", str(folder / "models")]
    command += ["--efficiency", str(folder / "costs.csv"), "--efficiency-ranks", str(folder / "ranks.csv")]
    subprocess.run(command, check=True)
    found = pd.read_csv(folder / "costs.csv", keep_default_na=False)
    assert list(found.columns) == list(efficiency.COLUMNS)
    rows = found.set_index(["method", "fold"])
    first = rows.loc[("egnv2", 0)]
    assert (first["seconds"], first["cpu_seconds"], first["peak_rss_mb"]) == ("31.5", "5.38", "581.14")
    assert (first["gpu"], first["peak_gpu_mb"], first["parameters"], first["epochs"]) == (
        "Some GPU",
        "2500.0",
        "1000.0",
        "7.0",
    )
    assert (first["train_spots"], first["test_spots"], first["note"]) == ("40.0", 3, "")
    assert rows.loc[("egnv2", 1), "seconds"] == "" and "no timing" in rows.loc[("egnv2", 1), "note"]
    # Repeats are averaged; what was not measured is left out of the mean.
    assert tuple(rows.loc[("ridge", 0), ["seconds", "peak_rss_mb", "parameters"]]) == ("2.0", "100.0", "")
    assert rows.loc[("ridge", 1), "status"] == "refused"
    ranks = pd.read_csv(folder / "ranks.csv").set_index("method")
    # Neither the fold that was not run nor the one without timing counts.
    assert ranks["folds"].to_dict() == {"egnv2": 1, "ridge": 1}
    assert ranks.loc["ridge", ["seconds_rank", "peak_rss_rank", "mean_rank"]].tolist() == [1, 1, 1]
    assert ranks.loc["egnv2", ["seconds_rank", "parameters_rank"]].tolist() == [2, 1]
    assert np.isnan(ranks.loc["ridge", "parameters_rank"])


def test_ranks_of_time_and_memory_are_those_of_the_benchmarks_code():
    oracle = Oracle("benchmark_metrics", tensors=False)
    given = pd.DataFrame(
        {name: oracle[f"in/performance/{name}"] for name in ("method", "device", "epoch", "time", "peak_memory")}
    )
    given = given[given["epoch"] > 1].reset_index(drop=True)  # as it does
    costs = pd.DataFrame(
        {
            "task": "her2st",
            "protocol": "strict",
            "method": given["method"],
            "status": "predicted",
            "seconds": given["time"],
            "peak_rss_mb": given["peak_memory"] / 1e6,
            "parameters": np.nan,
        }
    )
    found = efficiency.ranks(costs).set_index("method")
    methods = oracle["out/ranks_efficiency/method"]
    assert len(methods) == 10
    assert found.loc[methods, "seconds_rank"].tolist() == oracle["out/ranks_efficiency/overall_time_r"].tolist()
    assert found.loc[methods, "peak_rss_rank"].tolist() == oracle["out/ranks_efficiency/peak_memory_r"].tolist()


def test_a_network_on_a_gpu_says_what_it_took_and_another_nothing(tmp_path, monkeypatch):
    network = torch.nn.Linear(2, 1)
    fitted = Fitted("any", network, Scaling(np.zeros(1), np.ones(1)), {}, ["G"], {}, lambda *_: None)
    fitted.save(tmp_path / "cpu")
    assert sorted(path.name for path in (tmp_path / "cpu").iterdir()) == ["model.json", "network.safetensors"]

    class OnGpu(torch.nn.Linear):
        def parameters(self, recurse=True):
            return iter([type("Parameter", (), {"device": torch.device("cuda", 0)})])

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 123 * 2**20 if device.index == 0 else 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    on_gpu = Fitted("any", OnGpu(2, 1), Scaling(np.zeros(1), np.ones(1)), {}, ["G"], {}, lambda *_: None)
    on_gpu.save(tmp_path / "gpu")
    assert read_json(tmp_path / "gpu/gpu.json") == {"device": "Some GPU", "peak_bytes": 123 * 2**20}
    assert efficiency._gpu(tmp_path / "gpu/gpu.json") == {"gpu": "Some GPU", "peak_gpu_mb": 123.0}


# Usability


def test_totals_and_categories_are_those_of_the_benchmarks_code():
    oracle = Oracle("benchmark_metrics", tensors=False)
    methods = oracle["out/usability_total/method"].tolist()
    columns = ["item", "category", "item_weight", *methods]
    table = pd.DataFrame({name: oracle[f"out/usability_clean/{name}"] for name in columns}).set_index("item")
    rubric = table[["category", "item_weight"]].rename(columns={"item_weight": "weight"})
    # Its names have blanks and capitals before they are cleaned.
    rubric["category"] = rubric["category"].str.strip().str.lower().str.replace(" ", "_")
    found = usability.scored(table[methods], rubric).set_index("software")
    np.testing.assert_allclose(found.loc[methods, "total"], oracle["out/usability_total/overall_score"], atol=1e-12)
    assert found["share"].max() <= 1
    names = oracle["out/usability_category/model_id"]
    for category in usability.CATEGORIES:
        np.testing.assert_allclose(found.loc[names, category], oracle[f"out/usability_category/{category}"], atol=1e-12)


def test_the_rubric_has_what_the_benchmark_says_and_a_sheet_is_scored(tmp_path):
    rubric = usability.read_rubric(ROOT / "resources/usability.csv")
    assert set(rubric["category"]) == set(usability.CATEGORIES)
    heavier = rubric["category"].isin(["reproducibility", "generalisability"])
    assert rubric.loc[heavier, "weight"].min() > rubric.loc[~heavier, "weight"].max()
    assert {"unit_tests", "continuous_integration", "support", "development_model"} == set(
        rubric.index[rubric["category"] == "code_assurance"]
    )
    sheet = pd.DataFrame({"item": rubric.index[::-1], "Full@1.0": "1", "None@abc": "0", "Half@2": "0.5"})
    sheet.to_csv(tmp_path / "sheet.csv", index=False)
    command = [
        sys.executable,
        str(ROOT / "scripts/score_usability.py"),
        "--rubric",
        str(ROOT / "resources/usability.csv"),
    ]
    subprocess.run([*command, "--sheet", str(tmp_path / "sheet.csv"), "--scores", str(tmp_path / "s.csv")], check=True)
    found = pd.read_csv(tmp_path / "s.csv").set_index("software")
    assert found.index.tolist() == ["Full@1.0", "Half@2", "None@abc"]
    assert found["share"].tolist() == [1, 0.5, 0]
    assert found.loc["Full@1.0", "total"] == rubric["weight"].sum()
    for change, message in [
        ({"Full@1.0": "0.3"}, "Full@1.0 has '0.3' for "),
        ({"item": [*rubric.index[:-1], "other"]}, "no row for the item 'data_public'|no item 'other'"),
        ({"item": [rubric.index[0]] * len(rubric)}, "has two rows"),
    ]:
        sheet.assign(**change).to_csv(tmp_path / "sheet.csv", index=False)
        with pytest.raises(ValueError, match=message):
            usability.read_sheet(tmp_path / "sheet.csv", rubric)
    # A method of ours is no release of its authors.
    sheet.rename(columns={"Half@2": "hist2st"}).to_csv(tmp_path / "sheet.csv", index=False)
    with pytest.raises(ValueError, match=r"'hist2st' names no version; .* re-implemented here is not theirs"):
        usability.read_sheet(tmp_path / "sheet.csv", rubric)
    (tmp_path / "r.csv").write_text("item,category,weight\na,paper,0\n")
    with pytest.raises(ValueError, match="weight of row 2"):
        usability.read_rubric(tmp_path / "r.csv")


def test_the_sheet_of_the_methods_re_implemented_here_says_why_and_shows_where(tmp_path):
    """The arithmetic by hand for one of them; every file that it points to is there, and its columns name us."""
    rubric = usability.read_rubric(ROOT / "resources/usability.csv")
    path = ROOT / "resources/usability_reimplementations.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    learned = [kind for kind in METHODS.names() if METHODS.constant(kind, "LEARNED", False)]
    assert sorted(table.columns) == sorted(
        ["item", "evidence", "reason", *(f"{kind}@spotweave-{version}" for kind in learned)]
    )
    for places in table["evidence"]:
        assert places and all((ROOT / place).exists() for place in places.split())
    found = usability.scored(usability.read_sheet(path, rubric), rubric).set_index("software")
    own = table.set_index("item")[f"egnv2@spotweave-{version}"]
    asked = [item for item in own.index if own[item]]
    total = sum(float(own[item]) * rubric.loc[item, "weight"] for item in asked)
    assert found.loc[f"egnv2@spotweave-{version}", "total"] == pytest.approx(total)
    assert found.loc[f"egnv2@spotweave-{version}", "share"] == pytest.approx(
        total / sum(rubric.loc[item, "weight"] for item in asked)
    )
    assert found["paper"].isna().all()
    table.assign(reason="").to_csv(tmp_path / "sheet.csv", index=False)
    with pytest.raises(ValueError, match="no reason for 'open_source'; say why it is so"):
        usability.read_sheet(tmp_path / "sheet.csv", rubric)
    # Without reasons nothing may be left out.
    table.drop(columns="reason").to_csv(tmp_path / "sheet.csv", index=False)
    with pytest.raises(ValueError, match="has '' for peer_reviewed"):
        usability.read_sheet(tmp_path / "sheet.csv", rubric)
