"""Switches of a protocol: each changes what it says and nothing else; a wrong one is a line before the first job."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from benchmark_cohort import TASK, Cohort
from scipy.linalg import solve

from spotweave import probes, protocols
from spotweave.benchmark.choosing import choose_genes
from spotweave.benchmark.leaks import Sight, of_predictor
from spotweave.benchmark.targets import Spots, Targets
from spotweave.expression.target_scales import TARGET_SCALES
from spotweave.plan.benchmark import entry_faults
from spotweave.probes import Training
from spotweave.protocols import PROTOCOLS
from spotweave.tables.switches import SWITCHES, base_of, switches_of

FIT = {"alpha_rule", "alpha_grid"}


def changed(before, after):
    """The choices in which two protocols differ, those of the fit by themselves."""
    first, second = protocols.load(before).as_record(), protocols.load(after).as_record()
    fits = first.pop("fit"), second.pop("fit")
    return {name: second[name] for name in first if first[name] != second[name]} | {
        name: fits[1][name] for name in fits[0] if fits[0][name] != fits[1][name]
    }


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        ("strict", "strict+scale=log1p", {"target": "log1p"}),
        ("strict", "strict+scale=counts", {"target": "counts"}),
        ("hest_exact", "hest_exact+scale=log_share", {"target": "log_share"}),
        ("strict", "strict+genes=all", {"genes_from": "all"}),
        ("hest_exact", "hest_exact+genes=train", {"genes_from": "train"}),
        ("strict", "strict+genes=train_hvg", {"genes_from": "train_hvg"}),
        ("strict", "strict+penalty=published", {"alpha_rule": "100/(components*genes)", "alpha_grid": []}),
        ("strict", "strict+penalty=0.5", {"alpha_rule": "given", "alpha_grid": [0.5]}),
        ("hest_exact", "hest_exact+penalty=1e3", {"alpha_rule": "given", "alpha_grid": [1000.0]}),
        ("strict", "strict+over=pooled", {"score_over": "pooled"}),
        ("hest_exact", "hest_exact+over=sample", {"score_over": "sample"}),
        ("strict_pca50", "strict_pca50+genes=all+over=pooled", {"genes_from": "all", "score_over": "pooled"}),
        # What the base says already changes nothing.
        ("strict", "strict+scale=log_share+genes=train+penalty=nested+over=sample", {}),
        ("hest_exact", "hest_exact+scale=log1p+genes=all+penalty=published+over=pooled", {}),
    ],
)
def test_a_switch_changes_what_it_says_and_nothing_else(before, after, difference):
    assert changed(before, after) == difference


def test_a_nested_penalty_is_that_of_strict_and_brings_double_precision():
    grid = [10.0**half for half in np.arange(-2, 7.5, 0.5)]
    difference = changed("hest_exact", "hest_exact+penalty=nested")
    np.testing.assert_allclose(difference.pop("alpha_grid"), grid)
    assert difference == {"alpha_rule": "cross-validated", "features_dtype": "float64"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("strict+gene=all", "'strict+gene=all': 'gene' is no switch of a protocol, did you mean 'genes'?"),
        ("strict+genes", "'strict+genes': genes is '', allowed: all, train, train_hvg"),
        ("strict+scale=log", "'strict+scale=log': scale is 'log', allowed: log1p, log_share, counts"),
        ("strict+over=1", "'strict+over=1': over is '1', allowed: pooled, sample"),
        *(
            (f"strict+penalty={value}", f"'strict+penalty={value}': penalty is '{value}', allowed: published, nested")
            for value in ("0", "-1", "nan", "inf", "1e999", "fixed", "1_0")
        ),
        ("strict+over=pooled+genes=all", "'strict+over=pooled+genes=all': write each switch once, in the order scale,"),
        ("strict+genes=all+genes=all", "'strict+genes=all+genes=all': write each switch once"),
        ("strit+genes=all", "'strit' is no protocol, did you mean 'strict"),
        ("strict+", "'strict+': '' is no switch of a protocol, allowed: "),
    ],
)
def test_a_wrong_switch_is_one_line_before_the_first_job_and_an_error_in_it(name, said):
    (found,) = entry_faults("her2st.yaml:protocols", PROTOCOLS, name)
    assert found.startswith(f"her2st.yaml:protocols: {said}")
    assert "\n" not in found
    with pytest.raises(ValueError, match=r"is no|allowed|order"):
        protocols.load(name)


def test_names_without_faults_have_none():
    for name in (*PROTOCOLS.names(), "strict+genes=train_hvg+penalty=12.5+over=pooled", "strict+penalty=1e-3"):
        assert entry_faults("c", PROTOCOLS, name) == []
        assert protocols.load(name)
    assert base_of("strict+genes=all") == base_of("strict") == "strict"
    assert switches_of("strict") == {}
    assert set(SWITCHES["scale"]) == set(TARGET_SCALES)


def test_scales_are_their_formulas():
    spots = Spots(
        ["a", "b"], np.zeros((2, 2)), np.array([8.0, 0.0]), np.array([[1, 3], [0, 0]], np.float32), ["G", "H"]
    )
    expected = {
        "log1p": [[np.log(2), np.log(4)], [0, 0]],
        "log_share": [[np.log(1 + 1250), np.log(1 + 3750)], [0, 0]],
        "counts": [[1, 3], [0, 0]],
    }
    for scale, values in expected.items():
        np.testing.assert_allclose(spots.on_scale(protocols.load(f"strict+scale={scale}").target, ["G", "H"]), values)


def genes_of(cohort, protocol, genes="variable", listed=()):
    path, splits = cohort.folder / "chosen.h5", cohort.splits()
    choose_genes(replace(TASK, genes=genes), protocols.load(protocol), splits, cohort.expression, path, listed)
    with Targets(path) as targets:
        return [targets.fold(split["fold"]).genes for split in splits["folds"]]


def test_genes_are_those_of_the_protocol_or_of_the_task_that_chooses_so(tmp_path):
    cohort = Cohort(tmp_path)
    all_of_them, of_training = genes_of(cohort, "hest_exact"), genes_of(cohort, "strict")
    dispersed = genes_of(cohort, "strict", "train_hvg")
    assert len({str(genes) for genes in (all_of_them, of_training, dispersed)}) == 3
    assert genes_of(cohort, "strict+genes=all") == all_of_them
    assert genes_of(cohort, "hest_exact+genes=train") == of_training
    for asked, listed in (("variable", ()), ("moran", ()), ("panel.txt", ("G01", "G02"))):
        assert genes_of(cohort, "hest_exact+genes=train_hvg", asked, listed) == dispersed
    assert genes_of(cohort, "strict+genes=all", "panel.txt", ("G01", "G02")) == [["G01", "G02"]] * 2


def test_leaks_are_those_of_the_genes_that_were_taken():
    splits = {"task": "t", "donors": {"a": "A", "b": "B"}, "folds": [{"train": ["a"], "test": ["b"]}]}
    own, of_list = (Sight({"b": "c"}, {}, 100.0, genes) for genes in ({}, {"t": "her2st_785"}))
    assert of_predictor(splits, "strict+genes=all", "", own) == "genes chosen with test spots in sight"
    assert of_predictor(splits, "hest_exact+genes=train", "", own) == "none found"
    assert of_predictor(splits, "hest_exact", "", of_list).startswith("genes of the list")
    assert of_predictor(splits, "hest_exact+genes=train_hvg", "", of_list) == "none found"


def training(spots=60, dimensions=6, genes=3):
    rng = np.random.default_rng(2)
    features = rng.normal(size=(spots, dimensions)) * np.arange(1, dimensions + 1) + 5
    target = features @ rng.normal(size=(dimensions, genes)) + rng.normal(size=(spots, genes)) + 3
    return Training(features, target, np.arange(spots) % 4, np.arange(spots) % 2)


@pytest.mark.parametrize(
    ("protocol", "alpha", "within"),
    [
        ("strict+penalty=7.5", 7.5, 1e-9),
        ("strict_pca50+penalty=1e4", 1e4, 1e-9),
        ("strict+penalty=published", 100 / (6 * 3), 1e-9),
        ("hest_exact+penalty=7.5", 7.5, 2e-3),  # of `lsqr`, which stops at 1e-4
    ],
)
@pytest.mark.parametrize("probe", ["ridge", "ridge_all"])
def test_a_penalty_is_that_of_the_normal_equations(protocol, alpha, within, probe):
    data, fit = training(), protocols.load(protocol).fit
    scaled = (data.features - data.features.mean(axis=0)) / data.features.std(axis=0)
    middle = data.target.mean(axis=0) if fit.fit_intercept else 0.0
    weights = solve(scaled.T @ scaled + alpha * np.eye(6), scaled.T @ (data.target - middle))
    fitted = probes.load(probe).fit(data, fit, seed=0)
    assert fitted.details["alpha"] == alpha
    assert np.abs(fitted.predict(data.features) - (scaled @ weights + middle)).max() < within * data.target.std()


def test_all_dimensions_are_penalised_by_their_own_number_where_spots_are_fewer():
    data, choices = training(spots=20, dimensions=30), protocols.load("strict+penalty=published").fit
    assert probes.load("ridge_all").fit(data, choices, seed=0).details["alpha"] == 100 / (30 * 3)
    assert probes.load("ridge").fit(data, choices, seed=0).details["alpha"] == 100 / (19 * 3)


def test_pooled_and_by_sample_are_two_correlations_of_one_prediction(tmp_path):
    cohort = Cohort(tmp_path, signal=0.6)
    # One sample of the two of a donor is sequenced more deeply: pooled, the step between them counts.
    cohort.counts["a2"] *= np.random.default_rng(0).uniform(2, 4, size=60).astype(int)
    cohort.write_expression("a2")
    outcomes = {name: cohort.evaluate(name)[0] for name in ("hest_exact", "hest_exact+over=sample")}
    by_hand = {}
    with Targets(cohort.choose("hest_exact")) as targets:
        genes, prediction = targets.fold(0).genes, outcomes["hest_exact"].prediction
        samples = np.array(prediction.samples)
        tested = sorted(set(samples.tolist()))
        truth = np.concatenate([targets.spots(name).on_scale("log1p", genes) for name in tested])
    assert prediction.values.tobytes() == outcomes["hest_exact+over=sample"].prediction.values.tobytes()
    for name, groups in (("hest_exact", [samples != ""]), ("hest_exact+over=sample", [samples == s for s in tested])):
        by_hand[name] = np.mean(
            [
                np.corrcoef(truth[rows, gene], prediction.values[rows, gene])[0, 1]
                for rows in groups
                for gene in range(len(genes))
            ]
        )
        assert outcomes[name]["pearson_mean"] == pytest.approx(by_hand[name], abs=1e-6)
    assert abs(by_hand["hest_exact"] - by_hand["hest_exact+over=sample"]) > 0.01


def test_every_row_says_its_switches(tmp_path):
    name = "strict+scale=counts+genes=train_hvg+penalty=3+over=pooled"
    cohort = Cohort(tmp_path)
    for outcome in cohort.evaluate(name):
        assert outcome.row.protocol == name
        assert set(outcome.scores["protocol"]) == {name}
        assert outcome.prediction.choices["protocol_choices"]["fit"]["alpha_grid"] == [3.0]
    with h5py.File(tmp_path / "fold0.prediction.h5") as file:
        assert file.attrs["protocol"] == name
