"""A study of simulated patients: whoever predicts what makes them die, and what was measured, is found to."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from method_oracle import Oracle

from spotweave.studies import colours, standing, study

ROOT = Path(__file__).resolve().parents[2]
GENES = [f"G{number:02}" for number in range(24)]
PATIENTS = [f"TCGA-{number:02}" for number in range(90)]


def cohort(seed=0):
    """Bulk of log-normal genes, five of which drive the hazard; a method that sees them, one that sees light alone."""
    draw = np.random.default_rng(seed)
    log = 6.5 + 0.5 * draw.normal(size=(90, 24))
    hazard = (log - log.mean(axis=0)) @ np.r_[[3, -3, 3, -3, 3], np.zeros(19)]
    days = draw.exponential(np.exp(-hazard)) * 500 + 1
    lost = draw.uniform(size=90) < 0.3
    bulk = pd.DataFrame(np.exp(log), PATIENTS, GENES)
    sees = pd.DataFrame(np.exp(log + 0.1 * draw.normal(size=log.shape)), PATIENTS, GENES)
    # What this one says is right where the slide is bright, and noise elsewhere.
    light = draw.uniform(size=(90, 1))
    lit = pd.DataFrame(np.exp(6.5 + light * (log - 6.5) + (1 - light) * draw.normal(size=log.shape)), PATIENTS, GENES)
    clinical = pd.DataFrame(
        {
            "patient": PATIENTS,
            "vital_status": np.where(lost, "Alive", "Dead"),
            "days_to_death": np.where(lost, np.nan, days),
            "days_to_last_follow_up": np.where(lost, days * draw.uniform(0.5, 1, 90), np.nan),
        }
    )
    shades = light * draw.uniform(0.5, 1, 9) + 0.1 * draw.normal(size=(90, 9))
    pictures = pd.DataFrame(shades, PATIENTS, list(colours.METRICS))
    return {"sees": sees, "lit": lit}, bulk, clinical, pictures, hazard


def written(folder, name, table):
    table = table if "patient" in table else table.rename_axis("patient").reset_index()
    table.to_csv(folder / f"{name}.csv", index=False)
    return folder / f"{name}.csv"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The script, run twice on the tables in another order."""
    folder = tmp_path_factory.mktemp("study")
    predicted, bulk, clinical, pictures, hazard = cohort()
    outputs = ("summary", "ranks", "agreement", "quality", "risks", "curves")
    found = []
    for run, step in (("one", 1), ("two", -1)):
        (folder / run).mkdir()
        given = {
            "--bulk": bulk.iloc[::step, ::step],
            "--clinical": clinical.iloc[::step],
            "--colours": pictures.iloc[::step],
        }
        names = list(predicted)[::step]
        command = [sys.executable, str(ROOT / "scripts/score_cohort_study.py"), "--seed", "3", "--repeats", "4"]
        command += ["--predictions", *(written(folder, name, predicted[name].iloc[::step, ::step]) for name in names)]
        for option, table in given.items():
            command += [option, str(written(folder, option[2:], table))]
        for output in outputs:
            command += [f"--{output}", str(folder / run / f"{output}.csv")]
        subprocess.run(command, check=True)
        found.append({output: (folder / run / f"{output}.csv").read_bytes() for output in outputs})
    assert found[0] == found[1]
    return {name: pd.read_csv(folder / "one" / f"{name}.csv") for name in outputs}, hazard


def test_who_sees_what_kills_is_told_from_who_does_not(results):
    tables, hazard = results
    summary = tables["summary"].set_index(["method", "category", "metric"])["value"]
    _, _, clinical, _, _ = cohort()
    risk = tables["risks"]
    planted = study.risks.concordance(study.followed(clinical, "c")[1], hazard).index
    for method in ("bulk", "sees"):
        # Sixty patients at a time do not show all five genes.
        assert planted - 0.1 < summary[method, "clinical", "c_index_held_out"] < planted + 0.02
        assert summary[method, "clinical", "log_rank_p_held_out"] < 1e-4
    assert summary["lit", "clinical", "c_index_held_out"] < planted - 0.08
    assert summary["lit", "clinical", "c_index"] > summary["lit", "clinical", "c_index_held_out"]
    own = risk[risk["method"] == "sees"]
    assert own["patient"].tolist() == PATIENTS
    assert np.corrcoef(own["risk_held_out"], hazard)[0, 1] > 0.8
    assert own["high"].sum() == 45
    assert summary["sees", "bulk_patient", "pearson"] > 0.9 > summary["lit", "bulk_patient", "pearson"]
    assert summary["sees", "bulk_gene", "pearson"] > 0.9


def test_who_follows_the_light_is_named(results):
    quality = results[0]["quality"].set_index(["method", "quality"])
    assert quality.loc[("lit", "component_1"), "r"] > 0.6
    assert quality.loc[("lit", "component_1"), "p"] < 1e-6
    assert abs(quality.loc[("sees", "component_1"), "r"]) < 0.3
    assert quality.loc["lit"].index.tolist() == ["component_1", *colours.METRICS]


def test_ranks_and_curves(results):
    tables, _ = results
    ranks = tables["ranks"].fillna({"metric": ""}).set_index(["category", "metric", "method"])["rank"]
    assert ranks["clinical", "", "sees"] == 1
    assert ranks["bulk_patient", "pearson", "lit"] == 2
    assert set(tables["ranks"]["method"]) == {"sees", "lit"}
    curve = tables["curves"]
    own = curve[(curve["method"] == "sees") & (curve["way"] == "held_out")]
    middle = own[own["day"] < 500].groupby("group")["share_alive"].last()
    assert middle["high"] < middle["low"] - 0.3
    assert own.groupby("group")["at_risk"].first().sum() == 90


def test_ranks_are_those_of_the_benchmarks_code():
    oracle = Oracle("benchmark_metrics", tensors=False)
    theirs = {"pearson": "cor_pearson", "nrmse_range": "nrmse", "js_divergence": "js_div", "mutual_information": "mi"}
    compared = 0
    for level, table in (("patient", "pat"), ("gene", "gene")):
        front = f"out/ranks_tcga_{table}"
        names = oracle[f"{front}/model_id"]
        rows = []
        for ours, name in theirs.items():
            values = oracle[f"{front}/{'nrmse_range' if name == 'nrmse' else name}"]
            rows += [(model, f"bulk_{level}", ours, values[names == model][0]) for model in np.unique(names)]
        found = standing.ranks(pd.DataFrame(rows, columns=list(study.SUMMARY)), "published")
        found = found.set_index(["metric", "method"])["rank"]
        for model, metric, rank in zip(names, oracle[f"{front}/metric_rank"], oracle[f"{front}/rank"], strict=True):
            ours = {f"{name}_{table}_r": ours for ours, name in theirs.items()}.get(metric)
            if ours:
                assert found[ours, model] == rank, (level, model, metric)
                compared += 1
    assert compared == 32


def test_clinical_ranks_of_means_over_subgroups_are_those_of_the_benchmarks_code():
    oracle = Oracle("benchmark_metrics", tensors=False)
    given = pd.DataFrame({name: oracle[f"in/clinical/{name}"] for name in ("data", "subgroup", "cindex", "logrank_p")})
    means = given[given["data"] != "RNA-Seq"].groupby("data")[["cindex", "logrank_p"]].mean()
    held_out = pd.DataFrame(
        {"c": oracle["in/clinical_cv_ranks/cindex_cv_r"], "p": oracle["in/clinical_cv_ranks/surv_diff_cv_r"]}
    )
    held_out.index = oracle["in/clinical_cv_ranks/data"]
    rows = []
    for method, (c_index, p) in means.iterrows():
        # Ranks of what was held out are given as ranks: 1 is best.
        own = (c_index, p, -held_out.loc[method, "c"], held_out.loc[method, "p"])
        rows += [(method, "clinical", *pair) for pair in zip(study.BEST["clinical"], own, strict=True)]
    found = standing.ranks(pd.DataFrame(rows, columns=list(study.SUMMARY)), "published")
    found = found.set_index(["metric", "method"])
    names = {
        "c_index": "cindex_r",
        "log_rank_p": "surv_diff_r",
        "c_index_held_out": "cindex_cv_r",
        "log_rank_p_held_out": "surv_diff_cv_r",
    }
    wanted = {
        (data, metric): rank
        for data, metric, rank in zip(
            *(oracle[f"out/ranks_clinical/{name}"] for name in ("data", "metric_rank", "rank")), strict=True
        )
    }
    for ours, theirs in names.items():
        for method in means.index:
            assert found.loc[(ours, method), "rank"] == wanted[method, theirs]


def test_ranks_of_held_out_risks_are_those_of_the_benchmarks_code():
    oracle = Oracle("survival", tensors=False)
    values = {
        "c_index_held_out": pd.Series(oracle["out/cv_cindex/cindex_avg"], oracle["out/cv_cindex/subset_name"]),
        "log_rank_p_held_out": pd.Series(oracle["out/cv_logrank/pval"], oracle["out/cv_logrank/data"]),
    }
    rows = []
    for metric, own in values.items():
        means = own.groupby(own.index.str.partition("_").get_level_values(0)).mean().drop("RNA-Seq")
        rows += [(method, "clinical", metric, value) for method, value in means.items()]
        rows += [(method, "clinical", metric.removesuffix("_held_out"), 0.5) for method in means.index]
    found = standing.ranks(pd.DataFrame(rows, columns=list(study.SUMMARY)), "published").set_index(["metric", "method"])
    methods = oracle["out/cv_ranks/data"]
    assert len(methods) == 3
    for metric, theirs in (("c_index_held_out", "cindex_cv_r"), ("log_rank_p_held_out", "surv_diff_cv_r")):
        assert [found.loc[(metric, name), "rank"] for name in methods] == oracle[f"out/cv_ranks/{theirs}"].tolist()


def test_what_is_not_given_is_not_scored():
    predicted, bulk, clinical, _, _ = cohort()
    only = study.assess(predicted, study.Truth(bulk=bulk), 0)
    assert set(only.of("summary")["category"]) == {"bulk_patient", "bulk_gene"}
    assert only.of("risks").empty
    assert list(only.of("curves").columns) == list(study.CURVES)
    other = predicted["sees"].rename(index=lambda name: f"{name}-01")
    with pytest.raises(ValueError, match="sees: none of its patients is followed"):
        study.assess({"sees": other}, study.Truth(clinical=study.followed(clinical, "c")), 0)
