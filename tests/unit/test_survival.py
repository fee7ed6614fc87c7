"""C-index, log-rank test, Cox models and risks against R's `survival`, closed forms and simulated hazards."""

import numpy as np
import pandas as pd
import pytest
from method_oracle import Oracle

from spotweave.studies import cox, patients, risks
from spotweave.studies.outcomes import Outcomes, concordance, high_risk, kaplan_meier, log_rank

COX, EXACT = 1e-7, 1e-12  # R stops a Cox fit at 1e-9


@pytest.fixture(scope="module")
def oracle():
    return Oracle("survival", tensors=False)


def sets(oracle):
    for at, name in enumerate(oracle["in/sets"].tolist()):
        outcomes = Outcomes(oracle[f"in/{name}/time"], oracle[f"in/{name}/event"] == 1)
        yield at, name, outcomes, oracle[f"in/{name}/risk"], oracle[f"in/{name}/covariates"]


def test_concordance_counts_every_pair_as_r_does(oracle):
    for at, _, outcomes, risk, _ in sets(oracle):
        found = concordance(outcomes, risk)
        assert found.index == pytest.approx(oracle["out/cindex"][at], abs=EXACT)
        assert found.error**2 == pytest.approx(oracle["out/cindex_var"][at], abs=EXACT)
        assert 1 - concordance(outcomes, -risk).index == pytest.approx(found.index, abs=EXACT)
        assert concordance(outcomes, -risk).index == pytest.approx(oracle["out/cindex_noreverse"][at], abs=EXACT)
        counts = found.concordant, found.discordant, found.tied_risk, found.tied_days, found.tied_both
        theirs = ("concordant", "discordant", "tied_x", "tied_y", "tied_xy")
        assert counts == tuple(oracle[f"out/{name}"][at] for name in theirs)


def test_log_rank_of_the_median_split(oracle):
    for at, _, outcomes, risk, _ in sets(oracle):
        high = high_risk(risk)
        found = log_rank(outcomes, high)
        assert high.sum() == oracle["out/n_high"][at]
        assert found.observed == oracle["out/obs_high"][at]
        for ours, theirs in {
            found.expected: "exp_high",
            found.variance: "var_high",
            found.chi_square: "logrank_chisq",
            found.p: "logrank_p",
        }.items():
            assert ours == pytest.approx(oracle[f"out/{theirs}"][at], rel=EXACT, abs=EXACT)
        assert found.p == pytest.approx(oracle["out/pvalue_field"][at], abs=EXACT)
        early = log_rank(outcomes, high, early=True)
        assert early.chi_square == pytest.approx(oracle["out/peto_chisq"][at], rel=EXACT)
        other = log_rank(outcomes, ~high)
        assert (other.observed, other.chi_square) == (oracle["out/obs_low"][at], pytest.approx(found.chi_square))
        assert other.expected == pytest.approx(oracle["out/exp_low"][at], rel=EXACT)


def test_cox_models_of_all_covariates_and_of_each(oracle):
    for at, name, outcomes, _, covariates in sets(oracle):
        found = cox.fit(outcomes, covariates)
        np.testing.assert_allclose(found.coefficients, oracle[f"out/{name}/cox_coef"], atol=COX)
        np.testing.assert_allclose(found.errors, oracle[f"out/{name}/cox_se"], atol=COX)
        np.testing.assert_allclose(found.p, oracle[f"out/{name}/cox_p"], atol=COX)
        assert found.likelihood_null == pytest.approx(oracle["out/cox_loglik0"][at], abs=1e-9)
        assert found.likelihood == pytest.approx(oracle["out/cox_loglik"][at], abs=1e-9)
        breslow = cox.fit(outcomes, covariates, cox.BRESLOW)
        np.testing.assert_allclose(breslow.coefficients, oracle[f"out/{name}/cox_coef_breslow"], atol=COX)
        coefficients, p = cox.by_gene(outcomes, covariates)
        np.testing.assert_allclose(coefficients, oracle[f"out/{name}/univariate_coef"], atol=COX)
        np.testing.assert_allclose(p, oracle[f"out/{name}/univariate_p"], atol=COX)
        risk = covariates @ found.coefficients
        # R centres its linear predictor.
        theirs = oracle[f"out/{name}/linear_predictor"]
        np.testing.assert_allclose(risk - risk.mean(), theirs - theirs.mean(), atol=1e-6)
        assert concordance(outcomes, risk).index == pytest.approx(oracle["out/cox_cindex"][at], abs=EXACT)
        split = log_rank(outcomes, high_risk(risk))
        assert split.chi_square == pytest.approx(oracle["out/lp_logrank_chisq"][at], rel=EXACT)
        assert split.p == pytest.approx(oracle["out/lp_logrank_p"][at], abs=EXACT)


def clinical_of(oracle):
    columns = {name: oracle[f"in/pipeline/clinical/{name}"] for name in ("rna_id", *patients.CLINICAL[1:])}
    return pd.DataFrame(columns).rename(columns={"rna_id": "patient"}).replace("nan", np.nan)


@pytest.mark.parametrize("method", ["DeepPT", "EGNv2", "HisToGene", "ST-Net"])
def test_patients_their_days_and_their_values(oracle, method):
    predicted = pd.DataFrame(
        oracle[f"in/pipeline/pred/{method}"], oracle["in/pipeline/rna_id"], oracle["in/pipeline/genes"]
    )
    values = patients.centred(predicted)
    names, outcomes = patients.followed(clinical_of(oracle), "clinical.csv")
    kept = [name for name in names if name in values.index]
    front = f"out/pipeline/input/{method}"
    # Theirs are in the order of their tables.
    order = np.argsort(oracle[f"{front}/rna_id"])
    assert kept == oracle[f"{front}/rna_id"][order].tolist()
    some = np.isin(names, kept)
    assert outcomes.days[some].tolist() == oracle[f"{front}/time"][order].tolist()
    assert outcomes.died[some].tolist() == (oracle[f"{front}/status"][order] == 1).tolist()
    np.testing.assert_allclose(values.loc[kept], oracle[f"{front}/values"][order], atol=EXACT)


@pytest.mark.parametrize("task", range(4))
def test_the_published_path_chooses_fits_and_judges_as_its_code(oracle, task):
    method, subgroup = (oracle[f"out/pipeline/top5_cindex_p/{name}"][task] for name in ("data", "subgroup"))
    front = f"out/pipeline/input/{method}"
    own = oracle["out/pipeline/top5_risk/task"] == f"{method}_{subgroup}"
    everyone = Outcomes(oracle[f"{front}/time"].astype(float), oracle[f"{front}/status"] == 1)
    # It chooses by one table of P, of all patients; the second subgroup is the first without its last patients.
    whom = oracle["out/pipeline/top5_risk/rna_id"][own]
    rows = np.array([oracle[f"{front}/rna_id"].tolist().index(name) for name in whom])
    values = oracle[f"{front}/values"]
    chosen = risks.choose(everyone, values)
    theirs = oracle["out/pipeline/top5_coef/task"] == f"{method}_{subgroup}"
    assert oracle[f"{front}/genes"][chosen].tolist() == oracle["out/pipeline/top5_coef/gene"][theirs].tolist()
    fitted = cox.fit(everyone[rows], values[rows][:, chosen])
    np.testing.assert_allclose(fitted.coefficients, oracle["out/pipeline/top5_coef/coef"][theirs], atol=COX)
    risk = values[rows][:, chosen] @ fitted.coefficients
    np.testing.assert_allclose(risk, oracle["out/pipeline/top5_risk/risk"][own], atol=COX)
    assert high_risk(risk).tolist() == (oracle["out/pipeline/top5_risk/risk_cat"][own] == "high-risk").tolist()
    c_index, p = (oracle[f"out/pipeline/top5_cindex_p/{name}"][task] for name in ("cindex", "logrank_p"))
    assert concordance(everyone[rows], risk).index == pytest.approx(c_index, abs=EXACT)
    assert log_rank(everyone[rows], high_risk(risk)).p == pytest.approx(p, abs=EXACT)
    if len(rows) == len(everyone):
        found = risks.resubstituted(everyone, values)
        np.testing.assert_allclose(found.risk, risk, atol=EXACT)
        assert (found.c_index, found.log_rank_p) == pytest.approx((c_index, p), abs=EXACT)


def test_univariate_p_of_every_gene(oracle):
    model = oracle["out/pipeline/univariate_p/model_id"]
    for method in np.unique(model):
        front = f"out/pipeline/input/{method}"
        outcomes = Outcomes(oracle[f"{front}/time"].astype(float), oracle[f"{front}/status"] == 1)
        _, p = cox.by_gene(outcomes, oracle[f"{front}/values"])
        found = dict(zip(oracle[f"{front}/genes"].tolist(), p, strict=True))
        theirs = model == method
        names = oracle["out/pipeline/univariate_p/gene"][theirs]
        wanted = oracle["out/pipeline/univariate_p/p_value"][theirs]
        np.testing.assert_allclose([found[name] for name in names], wanted, atol=COX)


def test_held_out_risks_are_averaged_and_judged_as_its_code_does(oracle):
    given = {name: oracle[f"in/cv/{name}"] for name in ("subset_name", "sample", "permutation", "fold", "risk")}
    known = {
        f"{name}_{row}": (outcomes.days[row], outcomes.died[row])
        for _, name, outcomes, _, _ in sets(oracle)
        for row in range(len(outcomes))
    }
    p_of = dict(zip(["her2", "luminal", "tnbc"], ["HER2+", "Luminal", "TNBC"], strict=True))
    compared = 0
    for name in np.unique(given["subset_name"]):
        own = given["subset_name"] == name
        order = np.lexsort((given["sample"][own], given["permutation"][own]))
        risk, fold_of = (given[column][own][order].reshape(4, -1) for column in ("risk", "fold"))
        samples = given["sample"][own][order].reshape(4, -1)[0]
        outcomes = Outcomes(*map(np.array, zip(*(known[sample] for sample in samples), strict=True)))
        found = risks.judged(outcomes, risk, fold_of - 1)
        own = oracle["out/cv_cindex/subset_name"] == name
        by_fold = np.lexsort((oracle["out/cv_cindex/fold"][own], oracle["out/cv_cindex/permutation"][own]))
        theirs = oracle["out/cv_cindex/cindex"][own][by_fold].reshape(4, 3)
        np.testing.assert_allclose(found.folds, theirs, atol=EXACT)
        np.testing.assert_allclose(oracle["out/cv_cindex/cindex_avg"][own], found.c_index, atol=EXACT)
        own = oracle["out/cv_avg_risk/subset_name"] == name
        np.testing.assert_allclose(found.risk, oracle["out/cv_avg_risk/avg_risk"][own], atol=EXACT)
        assert oracle["out/cv_avg_risk/sample"][own].tolist() == samples.tolist()
        high = oracle["out/cv_avg_risk/risk_cat"][own] == "high-risk"
        assert high_risk(found.risk).tolist() == high.tolist()
        method, subgroup = name.rsplit("_", 1)
        own = (oracle["out/cv_logrank/data"] == method) & (oracle["out/cv_logrank/subgroup"] == p_of[subgroup])
        assert found.log_rank_p == pytest.approx(oracle["out/cv_logrank/pval"][own][0], abs=EXACT)
        compared += 1
    assert compared == 12


def test_kaplan_and_meiers_curves(oracle):
    for _, name, outcomes, risk, _ in sets(oracle):
        high = high_risk(risk)
        for group, who in (("high", high), ("low", ~high)):
            found = kaplan_meier(outcomes[who])
            front = f"out/{name}/km_{group}"
            assert found.at_risk.tolist() == oracle[f"{front}/n_risk"].tolist()
            assert found.deaths.tolist() == oracle[f"{front}/n_event"].tolist()
            np.testing.assert_allclose(found.days, oracle[f"{front}/time"], atol=EXACT)
            np.testing.assert_allclose(found.share, oracle[f"{front}/surv"], atol=EXACT)


# Closed forms


def test_two_patients_a_risk_and_its_limits():
    both = Outcomes(np.array([1.0, 2.0]), np.array([True, True]))
    assert concordance(both, np.array([3.0, 1.0])).index == 1
    assert concordance(both, np.array([1.0, 1.0])).index == 0.5
    nobody = Outcomes(np.array([1.0, 2.0]), np.array([False, False]))
    assert np.isnan(concordance(nobody, np.array([3.0, 1.0])).index)
    assert np.isnan(log_rank(nobody, np.array([True, False])).p)
    assert np.isnan(cox.fit(nobody, np.array([[3.0], [1.0]])).coefficients).all()
    # Of three, one with the covariate dies in the middle: exp(b) = sqrt(2) by hand, from 1 / (2 + x) and x / (1 + x).
    three = Outcomes(np.array([1.0, 2.0, 3.0]), np.array([True, True, False]))
    assert cox.fit(three, np.array([[0.0], [1.0], [0.0]])).coefficients[0] == pytest.approx(np.log(2) / 2)


def test_a_fold_without_a_pair_is_skipped():
    outcomes = Outcomes(np.array([1.0, 2, 3, 4]), np.array([True, False, False, False]))
    folds = np.array([[0, 0, 1, 1], [0, 1, 0, 1]])
    found = risks.judged(outcomes, np.array([[2.0, 1, 0, 0], [1, 0, 1, 0]]), folds)
    np.testing.assert_array_equal(found.folds, [[1, np.nan], [0.5, np.nan]])
    assert found.c_index == 0.75


def test_units_of_a_gene_and_genes_that_say_nothing():
    draw = np.random.default_rng(3)
    values = draw.normal(size=(50, 4))
    outcomes = simulated(draw, values @ [1, 0, 0, 0.5])
    values[:, 2] = 7
    coefficients, p = cox.by_gene(outcomes, values)
    assert np.isnan(p).tolist() == [False, False, True, False]
    larger, same = cox.by_gene(outcomes, values * 1e6 + 1e3)
    np.testing.assert_allclose(larger[[0, 1, 3]] * 1e6, coefficients[[0, 1, 3]], rtol=1e-8)
    np.testing.assert_allclose(same[[0, 1, 3]], p[[0, 1, 3]], atol=1e-8)
    doubled = np.column_stack([values[:, 0], 2 * values[:, 0]])
    assert np.isnan(cox.fit(outcomes, doubled).coefficients).all()
    assert sorted(risks.choose(outcomes, values)) == [0, 1, 3]
    assert risks.resubstituted(outcomes, values).c_index > 0.7
    assert risks.cross_validated(outcomes, values[:, 2:3], 0, repeats=1).c_index == 0.5


# Simulated hazards


def simulated(draw, log_hazard, censored=0.3):
    """Patients with exponential times of that hazard, some of whom are lost from sight at any time before."""
    days = draw.exponential(1 / np.exp(log_hazard)) * 1000 + 1
    lost = draw.uniform(size=len(days)) < censored
    return Outcomes(np.where(lost, days * draw.uniform(0.1, 1, len(days)), days), ~lost)


def test_planted_coefficients_and_the_c_index_that_they_make_are_recovered():
    draw = np.random.default_rng(1)
    values = draw.normal(size=(1200, 2))
    outcomes = simulated(draw, values @ [0.9, -0.5])
    found = cox.fit(outcomes, values)
    assert (np.abs(found.coefficients - [0.9, -0.5]) < 4 * found.errors).all()
    assert (found.errors < 0.06).all()
    # Of two patients the first to die is the one of higher hazard with probability h / (h + k): exactly, by pairs.
    hazard = np.exp(values @ [0.9, -0.5])
    first, second = np.triu_indices(len(hazard), 1)
    planted = np.maximum(hazard[first], hazard[second]) / (hazard[first] + hazard[second])
    uncensored = simulated(draw, values @ [0.9, -0.5], censored=0)
    assert concordance(uncensored, values @ [0.9, -0.5]).index == pytest.approx(planted.mean(), abs=0.02)
    assert concordance(outcomes, values @ found.coefficients).index == pytest.approx(planted.mean(), abs=0.03)


def test_five_planted_genes_are_found_by_patients_held_out():
    draw = np.random.default_rng(2)
    values = draw.normal(size=(240, 40))
    effects = np.zeros(40)
    effects[[3, 9, 17, 25, 31]] = [0.8, -0.8, 0.8, -0.8, 0.8]
    outcomes = simulated(draw, values @ effects)
    planted = concordance(outcomes, values @ effects).index
    assert set(risks.choose(outcomes, values)) == {3, 9, 17, 25, 31}
    found = risks.cross_validated(outcomes, values, 0, repeats=5)
    assert found.c_index == pytest.approx(planted, abs=0.03)
    assert found.log_rank_p < 1e-6
    assert found.folds.shape == (5, 3)
    assert concordance(outcomes, found.risk).index == pytest.approx(planted, abs=0.03)


def test_genes_chosen_with_those_held_out_in_sight_would_promise_what_is_not_there(monkeypatch):
    """Nothing to be found in 300 genes of 90 patients: .5 within the fold, clearly more if genes are chosen outside."""
    inside, outside, resubstituted = [], [], []
    for seed in range(4):
        draw = np.random.default_rng(seed)
        values = draw.normal(size=(90, 300))
        outcomes = simulated(draw, np.zeros(90))
        inside.append(risks.cross_validated(outcomes, values, 0, repeats=3).c_index)
        resubstituted.append(risks.resubstituted(outcomes, values).c_index)
        everywhere = risks.choose(outcomes, values)
        with monkeypatch.context() as leaking:
            leaking.setattr(risks, "choose", lambda *_, kept=everywhere: kept)
            outside.append(risks.cross_validated(outcomes, values, 0, repeats=3).c_index)
    assert np.mean(inside) == pytest.approx(0.5, abs=0.05)
    assert min(outside) > 0.58
    assert min(resubstituted) > 0.65


def test_folds_share_the_deaths_and_repeat_with_their_seed():
    draw = np.random.default_rng(5)
    values = draw.normal(size=(60, 12))
    outcomes = simulated(draw, values[:, 0], censored=0.8)
    found = [risks.cross_validated(outcomes, values, seed, repeats=2) for seed in (0, 0, 1)]
    assert np.array_equal(found[0].risk, found[1].risk)
    assert not np.array_equal(found[0].risk, found[2].risk)
    dealt = risks._dealt(outcomes, np.random.default_rng(0), 3)
    assert np.ptp(np.bincount(dealt[outcomes.died])) <= 1
    few = Outcomes(outcomes.days, np.arange(60) < 2)
    with pytest.raises(ValueError, match="2 deaths are too few for 3 folds"):
        risks.cross_validated(few, values, 0)


def test_log_rank_keeps_its_level():
    rejected = 0
    for seed in range(300):
        draw = np.random.default_rng(seed)
        outcomes = simulated(draw, np.zeros(60))
        rejected += log_rank(outcomes, draw.uniform(size=60) < 0.5).p < 0.05
    assert 4 <= rejected <= 30, "15 are expected; beyond these the probability is below .001"


def test_messages_of_tables():
    table = pd.DataFrame(
        {
            "patient": ["b", "a"],
            "vital_status": ["Dead", "Alive"],
            "days_to_death": ["9", ""],
            "days_to_last_follow_up": ["", "4"],
        }
    ).replace("", np.nan)
    names, outcomes = patients.followed(table, "c.csv")
    assert (names, outcomes.days.tolist(), outcomes.died.tolist()) == (["a", "b"], [4, 9], [False, True])
    for change, message in [
        ({"vital_status": ["dead", "Alive"]}, "c.csv: vital_status of 'b' is 'dead'; write Alive, Dead, or nothing"),
        ({"patient": ["a", "a"]}, "c.csv: patient 'a' has two rows"),
        ({"days_to_death": ["soon", ""]}, "c.csv: days_to_death of patient 'b' is 'soon'; write a number"),
    ]:
        with pytest.raises(ValueError, match=message):
            patients.followed(table.assign(**change), "c.csv")
    with pytest.raises(ValueError, match="no column 'days_to_death'"):
        patients.followed(table.drop(columns="days_to_death"), "c.csv")
