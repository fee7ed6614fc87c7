"""Averages by path and ranks by category, against the R code of the benchmark of eleven methods and by hand."""

import numpy as np
import pandas as pd
import pytest
from method_oracle import Oracle

from spotweave.benchmark import categories
from spotweave.benchmark.averages import COHORTS, DONORS, GENES, averaged, with_cohorts, with_donors

# Ours -> a column of its tables and the name of its rank.
SIX = {
    "pearson": ("cor_pearson", "cor_pearson_r"),
    "nrmse_range": ("nrmse_range", "nrmse_r"),
    "js_divergence": ("js_div", "js_div_r"),
    "mutual_information": ("mi", "mi_r"),
    "global_ssim": ("ssim", "ssim_r"),
    "auc_0": ("auc_0", "auc_r"),
}


@pytest.fixture(scope="module")
def oracle():
    return Oracle("benchmark_metrics", tensors=False)


def rows_of(oracle, number, cohort):
    """Test rows of one of the two data sets, by image and gene: what the R code measured."""
    models, folds, images = (oracle[f"in{number}/{what}"].tolist() for what in ("models", "folds", "images"))
    kept = oracle[f"in{number}/pred_type"] == "test"
    present = oracle["in2/present"] if number else np.ones((len(models), *kept.shape), bool)
    rows = []
    for metric, (column, _) in SIX.items():
        values = oracle[f"out{number}/{column}"]
        for model, fold, image in np.argwhere(kept & present):
            rows += [
                (models[model], metric, folds[fold], images[image], images[image][0], cohort, gene, value)
                for gene, value in zip(oracle[f"in{number}/genes"].tolist(), values[model, fold, image], strict=True)
            ]
    columns = ["predictor", "metric", "fold", "sample_id", "donor", "cohort", "gene", "value"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="module")
def both(oracle):
    return pd.concat([rows_of(oracle, "", "one"), rows_of(oracle, "2", "other")], ignore_index=True)


def table_of(oracle, name):
    front = f"out/{name}/"
    table = pd.DataFrame({key.removeprefix(front): oracle[key] for key in oracle.arrays if key.startswith(front)})
    return table[table["pred_type"] == "test"]


def test_averages_of_the_ranking_are_those_of_the_benchmarks_code(oracle, both):
    theirs = table_of(oracle, "ranks_st")
    theirs = theirs[theirs["gene_set"] == "all"].drop_duplicates("model_id").set_index("model_id")
    ours = averaged(both.drop(columns="donor"), COHORTS).pivot(index="predictor", columns="metric", values="value")
    for metric, (column, _) in SIX.items():
        np.testing.assert_allclose(ours[metric], theirs[column].reindex(ours.index), atol=1e-12, err_msg=metric)


def test_averages_of_single_genes_are_those_of_the_benchmarks_figures(oracle, both):
    theirs = table_of(oracle, "gene_means").set_index(["model_id", "gene"])
    first = both[both["cohort"] == "one"].drop(columns=["donor", "cohort"])
    ours = averaged(first, GENES).pivot(index=["predictor", "gene"], columns="metric", values="value")
    shared = ours.index.intersection(theirs[theirs["dataset"] == "her2+"].index)
    assert len(shared) > 20
    theirs = theirs[theirs["dataset"] == "her2+"].loc[shared]
    for metric in ("pearson", "mutual_information", "global_ssim", "auc_0"):
        np.testing.assert_allclose(ours.loc[shared, metric], theirs[SIX[metric][0]], atol=1e-12, err_msg=metric)


def test_published_ranks_are_those_of_the_benchmarks_code(oracle, both):
    means = averaged(both.drop(columns="donor"), COHORTS).assign(task="st", protocol="p")
    found = categories.category_ranks(means, {"p": both["predictor"].unique().tolist()}, "published")
    theirs = table_of(oracle, "ranks_st")
    theirs = theirs[theirs["gene_set"] == "all"].pivot(index="model_id", columns="metric_rank", values="rank")
    ours = found[found["category"] == "st"].pivot(index="predictor", columns="metric", values="rank")
    noise = ["ST-Net", "TCGN"]  # equal divergence in theory, which R ranks by 3e-17
    for metric, (_, column) in SIX.items():
        apart = (ours[metric] - theirs[column]).abs()
        assert apart.drop(noise).max() == 0, metric
        assert apart[noise].max() <= (0.5 if metric == "js_divergence" else 0), metric
    mean = found[(found["category"] == "st") & (found["metric"] == "")].set_index("predictor")["value"]
    np.testing.assert_allclose(mean.drop(noise), theirs["mean_rank"].drop(noise)[mean.drop(noise).index], atol=1e-9)
    np.testing.assert_allclose(mean[noise], theirs["mean_rank"][noise], atol=1 / 12 + 1e-9)


def test_the_absent_get_what_the_benchmarks_overall_table_gives_them(oracle):
    names = oracle["out/overall/id"].tolist()
    ours = ["pearson", "nrmse_range", "js_divergence", "mutual_information", "global_ssim", "auc_0"]
    kidney = {metric: -oracle[f"out/overall/{SIX[metric][1]}_kidney"] for metric in ours}
    present = [name in {"DeepPT", "EGNv2", "HisToGene", "ST-Net", "TCGN"} for name in names]
    sign = {metric: 1.0 if metric in {"nrmse_range", "js_divergence"} else -1.0 for metric in ours}
    rows = [
        ("k", "p", name, metric, sign[metric] * rank)
        for metric in ours
        for name, rank, there in zip(names, kidney[metric], present, strict=True)
        if there
    ]
    means = pd.DataFrame(rows, columns=["task", "protocol", "predictor", "metric", "value"])
    found = categories.category_ranks(means, {"p": names}, "published")
    by_metric = found[found["category"] == "k"].pivot(index="predictor", columns="metric", values="rank")
    for metric in ours:
        assert by_metric.loc[names, metric].tolist() == kidney[metric].tolist(), metric
    mean = found[(found["category"] == "k") & (found["metric"] == "")].set_index("predictor")["value"]
    np.testing.assert_allclose(mean[names], -oracle["out/overall/mean_rank_kidney"], atol=1e-9)


def test_paths_differ_where_donors_have_unlike_numbers_of_images():
    values = pd.DataFrame(
        {
            "gene": ["g"] * 4,
            "fold": [0] * 4,
            "sample_id": ["a1", "a2", "a3", "b1"],
            "donor": ["a", "a", "a", "b"],
            "cohort": ["c"] * 4,
            "value": [0.1, 0.2, np.nan, 0.9],
        }
    )
    (by_donor,) = averaged(values.drop(columns="cohort").assign(k=0), DONORS)["value"]
    (by_image,) = averaged(values.drop(columns="donor").assign(k=0), COHORTS)["value"]
    assert by_donor == pytest.approx((0.15 + 0.9) / 2)
    assert by_image == pytest.approx((0.1 + 0.2 + 0.9) / 3)


def test_what_is_scored_together_has_its_donors_and_cohorts_as_one():
    splits = {
        "folds": [{"fold": 0, "test_donors": ["A", "B"], "test": ["s2", "s1"]}],
        "donors": {"s1": "B", "s2": "A"},
    }
    scores = pd.DataFrame({"sample_id": ["", "s1"], "fold": [0, 0]})
    assert with_donors(scores, splits)["donor"].tolist() == ["A B", "B"]
    assert with_cohorts(scores, splits, {"s1": "y", "s2": "x"})["cohort"].tolist() == ["x y", "y"]


@pytest.mark.parametrize(
    ("way", "wanted"),
    [("donors", [1.5, 5, 3, 1.5, 5]), ("published", [1.5, 4, 3, 1.5, 5])],
)
def test_failed_ones_are_last_together_or_in_the_order_of_the_table(way, wanted):
    values = np.array([0.3 + 1e-16, np.nan, 0.1, 0.1 + 0.2, np.nan])
    assert categories.ranked(values, "high", way).tolist() == wanted


def test_ranks_are_averaged_in_categories_and_then_over_them():
    rows = [
        ("many", "strict", "a", "pearson", 0.5),
        ("many", "strict", "b", "pearson", 0.4),
        ("many", "strict", "a", "mse", 0.9),
        ("many", "strict", "b", "mse", 0.2),
        ("many", "strict", "a", "spearman", 0.5),
        ("many", "strict", "b", "spearman", 0.4),
        ("few", "strict", "b", "pearson", 0.1),
    ]
    means = pd.DataFrame(rows, columns=["task", "protocol", "predictor", "metric", "value"])
    found = categories.category_ranks(means, {"strict": ["c", "b", "a"]}, "donors")
    summary = found[found["metric"] == ""].set_index(["category", "predictor"])
    assert summary.loc["many", "value"].to_dict() == pytest.approx({"a": 4 / 3, "b": 5 / 3, "c": 3})
    assert summary.loc["few", "value"].to_dict() == {"b": 1, "a": 3, "c": 3}
    assert summary.loc["", "value"].to_dict() == pytest.approx({"b": 4 / 3, "a": 13 / 6, "c": 3})
    assert summary.loc["", "rank"].to_dict() == {"b": 1, "a": 2, "c": 3}
    last = found[(found["category"] == "few") & (found["metric"] == "pearson")].set_index("predictor")
    assert last["rank"].to_dict() == {"b": 1, "a": 3, "c": 3}
    assert last["value"].isna().to_dict() == {"b": False, "a": True, "c": True}
