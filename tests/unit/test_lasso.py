"""The LASSO for survival: against Breslow's likelihood written out, the benchmark's code (`glmnet`), planted genes."""

import numpy as np
import pytest
from method_oracle import Oracle

from spotweave.studies import cox, lasso, risks
from spotweave.studies.outcomes import Outcomes, high_risk


def simulated(draw, values, effects, ties=20):
    """Patients whose days lie on a coarse grid, a fifth of whom are lost from sight."""
    days = np.ceil(draw.exponential(np.exp(-values @ effects)) * ties)
    return Outcomes(days, draw.uniform(size=len(days)) > 0.2)


def breslow_slope(outcomes, values, coefficients):
    """Of every death, what is left of its values when the mean over all at risk, by hazard, is taken off; summed."""
    hazard, slope = np.exp(values @ coefficients), np.zeros(values.shape[1])
    for day, own in zip(outcomes.days[outcomes.died], values[outcomes.died], strict=True):
        at_risk = outcomes.days >= day
        slope += own - hazard[at_risk] @ values[at_risk] / hazard[at_risk].sum()
    return slope


def test_at_every_penalty_no_coefficient_can_be_moved_for_the_better(monkeypatch):
    draw = np.random.default_rng(0)
    values = draw.normal(size=(60, 5)) * [1, 2, 0.5, 1, 1]
    outcomes = simulated(draw, values, [0.8, -0.2, 0, 0, 0])
    assert len(np.unique(outcomes.days)) < 45
    monkeypatch.setattr(lasso, "PENALTIES", 8)
    penalties, found = lasso.path(outcomes, values)
    assert not found[0].any()  # the first gene is about to enter
    spread = values.std(axis=0)
    for row in range(8):
        slope = breslow_slope(outcomes, values / spread, found[row] * spread) / len(outcomes)
        kept = found[row] != 0
        np.testing.assert_allclose(slope[kept], penalties[row] * np.sign(found[row][kept]), atol=1e-7)
        assert (np.abs(slope[~kept]) <= penalties[row] + 1e-7).all()
    # Without a penalty it is Cox's model; a constant has none.
    _, none = lasso.path(outcomes, np.column_stack([values, np.ones(60)]), np.zeros(1))
    np.testing.assert_allclose(none[0], [*cox.fit(outcomes, values, cox.BRESLOW).coefficients, 0], atol=1e-7)


@pytest.mark.parametrize("method", ["DeepPT", "EGNv2"])
def test_genes_and_risks_are_those_of_the_benchmarks_code(method, monkeypatch):
    oracle = Oracle("survival", tensors=False)
    front, kept = f"out/pipeline/input/{method}", oracle["out/pipeline/old_path_lasso/model_id"] == method
    outcomes = Outcomes(oracle[f"{front}/time"].astype(float), oracle[f"{front}/status"] == 1)
    values, genes = oracle[f"{front}/values"], oracle[f"{front}/genes"]
    asked = lasso.candidates(outcomes, values)
    assert genes[asked].tolist() == oracle["out/pipeline/old_path_lasso/gene"][kept].tolist()
    # At which penalty it stopped is not described: some penalty has exactly its genes.
    theirs = oracle["out/pipeline/old_path_lasso/lasso_nonzero"][kept] == 1
    known = lasso.path(outcomes, values[:, asked])
    found = known[1]
    there = ((found != 0) == theirs).all(axis=1)
    assert 2 <= there.sum() <= 6
    monkeypatch.setattr(lasso, "path", lambda *_: known)
    monkeypatch.setattr(lasso, "_left_out", lambda *_: there.astype(float))
    assert lasso.choose(outcomes, values, 0).tolist() == asked[theirs].tolist()
    entered = oracle["out/pipeline/old_path_lasso/entered_cox"][kept] == 1
    assert sorted(lasso.choose(outcomes, values, 0, as_published=True)) == sorted(asked[entered])
    judged = risks.resubstituted(outcomes, values, way="lasso_published")
    own = oracle["out/pipeline/old_path_risk/model_id"] == method
    # R centres its risks.
    risk = np.log(oracle["out/pipeline/old_path_risk/risk"][own])
    np.testing.assert_allclose(judged.risk - judged.risk.mean(), risk - risk.mean(), atol=1e-7)
    halves = oracle["out/pipeline/old_path_risk/risk_cat"][own] == "high-risk"
    assert high_risk(judged.risk).tolist() == halves.tolist()


def test_planted_genes_are_kept_and_noise_is_not(monkeypatch):
    monkeypatch.setattr(lasso, "PENALTIES", 12)
    monkeypatch.setattr(lasso, "PARTS", 3)
    draw = np.random.default_rng(3)
    values, effects = draw.normal(size=(150, 20)), np.zeros(20)
    effects[[2, 7, 11]] = [1, -1, 0.8]
    outcomes = simulated(draw, values, effects)
    few = lasso.choose(outcomes, values, 0)
    assert {2, 7, 11} <= set(few.tolist())
    assert np.array_equal(few, lasso.choose(outcomes, values, 0))
    assert not len(lasso.choose(Outcomes(outcomes.days, outcomes.died & False), values, 0))
    # Of many below .005 all are asked, else ten.
    assert len(lasso.candidates(outcomes, values)) == 10
    many = values @ draw.normal(size=(20, 8)) * 0.1 + values[:, [2]]
    assert len(lasso.candidates(outcomes, np.column_stack([many, values]))) >= 8
