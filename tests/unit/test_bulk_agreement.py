"""Predictions averaged over patients against bulk: the published code's numbers, closed forms, its ranks."""

import numpy as np
import pandas as pd
import pytest
from method_oracle import Oracle

from spotweave.studies import bulk

THEIRS = {"pearson": "cor_pearson", "mutual_information": "mi", "js_divergence": "js_div", "nrmse_range": "nrmse_range"}


@pytest.fixture(scope="module")
def oracle():
    return Oracle("benchmark_metrics", tensors=False)


def table_of(oracle, name):
    return pd.DataFrame(oracle[f"in/tcga/{name}"], oracle["in/tcga/patients"], oracle["in/tcga/genes"])


@pytest.mark.parametrize("model", ["DeepPT", "EGNv2", "HisToGene", "ST-Net"])
def test_every_patient_is_as_the_benchmarks_code_has_it(oracle, model):
    found = bulk.agreement(table_of(oracle, f"pred/{model}"), table_of(oracle, "bulk"))
    by_patient = found[found["level"] == "patient"].pivot(index="unit", columns="metric", values="value")
    own = oracle["out/tcga_patient/model_id"] == model
    patients = oracle["out/tcga_patient/pat_id"][own]
    assert len(patients) == 40
    for ours, theirs in THEIRS.items():
        wanted = oracle[f"out/tcga_patient/{theirs}"][own]
        np.testing.assert_allclose(by_patient.loc[patients, ours], wanted, atol=1e-12)


def test_means_over_patients_are_what_it_ranks(oracle):
    compared = 0
    for model in oracle["in/tcga/models"].tolist():
        found = bulk.means(bulk.agreement(table_of(oracle, f"pred/{model}"), table_of(oracle, "bulk")))
        found = found[found["level"] == "patient"].set_index("metric")["value"]
        own = oracle["out/ranks_tcga_pat/model_id"] == model
        for ours, theirs in THEIRS.items():
            wanted = np.unique(oracle[f"out/ranks_tcga_pat/{theirs}"][own])
            np.testing.assert_allclose(wanted, found[ours], atol=1e-12)
            compared += len(wanted)
    assert compared == 16


def test_by_gene_it_is_the_same_of_the_other_side():
    """Tables turned round: patients for genes."""
    draw = np.random.default_rng(0)
    truth = pd.DataFrame(draw.uniform(200, 5000, (12, 15)), list("abcdefghijkl"), [f"G{n:02}" for n in range(15)])
    predicted = truth * draw.uniform(0.1, 3, truth.shape) - 100
    found = bulk.agreement(predicted, truth)
    turned = bulk.agreement(predicted.T, truth.T).replace({"level": {"patient": "gene", "gene": "patient"}})
    order = ["level", "unit", "metric"]
    pd.testing.assert_frame_equal(
        found.sort_values(order, ignore_index=True), turned.sort_values(order, ignore_index=True)
    )
    assert found["value"].notna().all()


def test_closed_forms_and_pairs_that_do_not_count():
    genes = [f"G{n:02}" for n in range(12)]
    truth = pd.DataFrame([np.exp(np.linspace(6, 9, 12))] * 2, ["p", "q"], genes)
    predicted = truth - 1  # ln(x - 1 + 1)
    predicted.loc["q", "G00"] = np.nan
    truth.loc["q", "G11"] = np.exp(4.9)
    truth["only here"] = 1.0
    found = bulk.agreement(predicted[genes[::-1]], truth).set_index(["level", "unit", "metric"])["value"]
    assert found["patient", "p", "pearson"] == pytest.approx(1)
    assert found["patient", "p", "nrmse_range"] == pytest.approx(0, abs=1e-12)
    assert found["patient", "p", "js_divergence"] == pytest.approx(0, abs=1e-12)
    assert found["patient", "q", "mutual_information"] == pytest.approx(1)  # ten pairs are left
    predicted.loc["q", "G01"] = np.nan
    fewer = bulk.agreement(predicted, truth).set_index(["level", "unit", "metric"])["value"]
    assert fewer["patient", "q"].isna().all()
    assert fewer["gene", "G05"].isna().all()  # two patients


def test_what_has_nothing_in_common_is_said():
    one, other = pd.DataFrame([[1.0]], ["p"], ["ENSG1"]), pd.DataFrame([[1.0]], ["p"], ["TP53"])
    with pytest.raises(ValueError, match="1 patients and 0 genes in common"):
        bulk.agreement(one, other)
