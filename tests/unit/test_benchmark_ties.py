"""Which predictors are told apart: blocks of tissue, donors, Holm, possible ranks; held against simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import drawn_fields
from spotweave.benchmark import blocks, long_table, pairs, ranks, ties, verdicts
from spotweave.benchmark import spread as spread_table
from spotweave.benchmark.blocks import DRAWS, GRIDS, Blocks, redraw, whole_and_half
from spotweave.benchmark.folds_table import FoldRow, frame
from spotweave.benchmark.leaderboard import TIES, rank
from spotweave.benchmark.spread import Spread
from spotweave.correlation import pearson_by_group
from spotweave.metrics import Scored, pearson
from spotweave.report.leaderboard import leaderboard_page

PITCH_UM, WIDE, GENES = 250.0, 24, 6
POSITIONS = drawn_fields.grid(WIDE, WIDE, PITCH_UM)
SIDE_UM = 1500.0
NOBODY = np.zeros(len(POSITIONS), dtype=np.int64)


def fields(rng, count, width_um):
    return drawn_fields.fields(rng, count, width_um, WIDE, WIDE, PITCH_UM)


def scored(truth, prediction, samples=NOBODY, pooled=False, positions=POSITIONS):
    groups = np.zeros_like(samples) if pooled else samples
    return Scored(truth, truth, prediction, positions, samples, groups, [f"g{n}" for n in range(truth.shape[1])], 0, 1)


def score_of(truth, prediction, samples=NOBODY):
    return np.nan_to_num(pearson_by_group(truth, prediction, samples)).mean()


def errors_of(predictions, truth, seed, compared=None, positions=POSITIONS, side_um=SIDE_UM):
    """(Predictor, other) -> row of the table of spread, of one fold of one sample."""
    spread = Spread(lambda sample: whole_and_half(sample, positions, 1.0, side_um, seed))
    for name, prediction in predictions.items():
        samples = np.zeros(len(positions), dtype=np.int64)
        spread.add(name, 0, scored(truth, prediction, samples, positions=positions), ["s"], ["s"])
    rows = spread.rows({"task": "t", "protocol": "strict"}, predictions if compared is None else compared)
    return {(row.predictor, row.other): row for row in rows}


# --- blocks of tissue -----------------------------------------------------------------------------


@pytest.mark.parametrize("pooled", [False, True])
def test_sums_of_blocks_give_what_the_drawn_spots_themselves_give(pooled):
    rng = np.random.default_rng(1)
    truth, noise = rng.normal(5, 1, (60, 4)), rng.normal(size=(60, 4))
    prediction = truth + noise
    truth[:30, 2] = np.nan  # the first sample's table lacks it
    prediction[:, 3] = 7.5
    samples = np.repeat([0, 1], 30)
    positions = rng.uniform(0, 4000, (60, 2))
    cut_of = {name: whole_and_half(name, positions[samples == code], 0.5, 800, 3) for code, name in enumerate("ab")}
    found = redraw(scored(truth, prediction, samples, pooled, positions), ["a", "b"], cut_of)
    assert len(found) == (1 if pooled else 2)
    for number, one in enumerate(found):
        for side, grid in ((0, 0), (1, GRIDS - 1)):
            drawn = []
            for code, name in enumerate("ab"):
                if pooled or code == number:
                    cut = cut_of[name][side]
                    at = np.floor((positions * 0.5 + cut.offsets_um[grid]) / cut.side_um).astype(int)
                    cell = at[:, 0] * 2**31 + at[:, 1]
                    for block, times in zip(cut.cells[grid], cut.times[grid][5], strict=True):
                        drawn += [*np.flatnonzero((samples == code) & (cell == block))] * int(times)
            with np.errstate(invalid="ignore"):
                values = pearson_by_group(truth[drawn], prediction[drawn], np.zeros(len(drawn), int))
            expected = np.nan_to_num(values).mean()
            assert one.scores[side][grid * DRAWS // GRIDS + 5] == pytest.approx(expected, abs=1e-12)


def test_every_predictor_meets_the_same_blocks_and_the_seed_and_the_sample_decide_them():
    one, again, other, third = (
        Blocks.of(name, POSITIONS, 1.0, SIDE_UM, seed) for name, seed in (("a", 1), ("a", 1), ("b", 1), ("a", 2))
    )
    np.testing.assert_array_equal(one.times[0], again.times[0])
    assert one.offsets_um.tolist() == again.offsets_um.tolist() != other.offsets_um.tolist()
    assert one.offsets_um.tolist() != third.offsets_um.tolist()
    assert (one.times[0].sum(axis=1) == len(one.cells[0])).all()
    assert np.ptp(POSITIONS[one.sums(0, POSITIONS, np.eye(len(POSITIONS)))[0] > 0], axis=0).max() < SIDE_UM


@pytest.fixture(scope="module")
def simulated():
    """Scores and rows of spread of 100 sections, with a predictor, its equal and one that sees less."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "DRAWS", 400)  # errors of the errors: .035 of them
        return [section(seed) for seed in range(100)]


def section(seed):
    rng = np.random.default_rng([seed, 1])
    mix = np.random.default_rng(7).normal(size=(2, GENES))
    what, *unseen = np.split(fields(rng, 8, 300.0), 4, axis=1)
    truth = what @ mix + rng.normal(size=(len(what), GENES))
    noise = {"a": 1.0, "b": 1.0, "c": 2.5}
    made = {name: (what + n * one) @ mix for (name, n), one in zip(noise.items(), unseen, strict=True)}
    return {name: score_of(truth, one) for name, one in made.items()}, errors_of(made, truth, seed)


def p_of(scores, rows, first, second):
    row = rows[first, second]
    return verdicts.student(scores[first] - scores[second], row.error, row.freedom)


def test_the_interval_holds_the_score_as_often_as_it_says_where_neighbours_are_alike(simulated):
    for name in "ac":
        values = np.array([scores[name] for scores, _ in simulated])
        reach = np.array([verdicts.reach(rows[name, ""].error, rows[name, ""].freedom) for _, rows in simulated])
        held = (np.abs(values - values.mean()) <= reach).mean()
        assert 0.95 - 3 * np.sqrt(0.05 * 0.95 / len(values)) <= held


def test_equally_good_predictors_are_told_apart_no_more_often_than_nominal(simulated):
    wrongly = np.mean([p_of(scores, rows, "a", "b") <= 0.05 for scores, rows in simulated])
    assert wrongly <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(simulated))
    rightly = np.mean([p_of(scores, rows, "a", "c") <= 0.05 for scores, rows in simulated])
    assert rightly > 0.8


def test_single_spots_would_tell_equals_apart_and_blocks_do_not(monkeypatch):
    """What blocks are for: sections cut so small that each block is a spot."""
    monkeypatch.setattr(blocks, "DRAWS", 400)
    wrongly = []
    for seed in range(8):
        rng = np.random.default_rng([seed, 2])
        mix = rng.normal(size=(2, GENES))
        what, *unseen = np.split(fields(rng, 6, 500.0), 3, axis=1)
        made = {name: (what + one) @ mix for name, one in zip("ab", unseen, strict=True)}
        rows = errors_of(made, what @ mix, seed, side_um=PITCH_UM)
        scores = {name: score_of(what @ mix, one) for name, one in made.items()}
        wrongly.append(p_of(scores, rows, "a", "b") <= 0.05)
    assert np.mean(wrongly) >= 0.5


def test_the_same_under_two_names_differs_by_nothing():
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(len(POSITIONS), GENES))
    prediction = truth + rng.normal(size=truth.shape)
    rows = errors_of({"a": prediction, "twin": prediction, "scaled": 3 * prediction + 1}, truth, 1)
    for other in ("twin", "scaled"):
        row = rows[tuple(sorted(("a", other)))]
        assert row.error == pytest.approx(0, abs=1e-7)
        assert verdicts.student(np.array(0.0), row.error, row.freedom) == 1
    assert rows["a", ""].error > 0.005


def test_the_error_of_independent_spots_is_that_of_the_closed_form():
    """Of one gene without neighbours alike: (1 - r^2) / sqrt(n), Student's."""
    rng = np.random.default_rng(5)
    truth = rng.normal(size=(len(POSITIONS), 40))
    prediction = 0.5 * truth + np.sqrt(0.75) * rng.normal(size=truth.shape)
    found = [errors_of({"a": prediction[:, [g]]}, truth[:, [g]], g)["a", ""].error for g in range(12)]
    assert np.mean(found) == pytest.approx((1 - 0.25) / np.sqrt(len(POSITIONS)), rel=0.25)


def test_a_section_of_too_few_blocks_has_no_interval_and_the_row_says_so():
    rng = np.random.default_rng(6)
    positions = POSITIONS[(POSITIONS < 1000).all(axis=1)]
    truth = rng.normal(size=(len(positions), GENES))
    rows = errors_of({"a": truth, "b": truth + 1}, truth, 1, positions=positions)
    assert len(rows) == 3
    for row in rows.values():
        assert row.error is None
        assert "s is " in row.reason
        assert "blocks of 1.5 mm, at least 4 are needed" in row.reason


def test_folds_and_groups_weigh_as_they_do_in_the_score():
    """Two folds, one of two samples: variances add with the squares of 1/2, 1/4 and 1/4."""
    rng = np.random.default_rng(8)
    spread = Spread(lambda sample: whole_and_half(sample, POSITIONS, 1.0, SIDE_UM, 1))
    alone = {}
    for fold, names in ((0, ["a"]), (1, ["b", "c"])):
        samples = np.repeat(np.arange(len(names)), len(POSITIONS))
        truth = rng.normal(size=(len(samples), 3))
        prediction = truth + rng.normal(size=truth.shape)
        spread.add(
            "e", fold, scored(truth, prediction, samples, positions=np.tile(POSITIONS, (len(names), 1))), names, names
        )
        for code, name in enumerate(names):
            own = samples == code
            single = Spread(lambda sample: whole_and_half(sample, POSITIONS, 1.0, SIDE_UM, 1))
            single.add("e", 0, scored(truth[own], prediction[own]), [name], [name])
            (alone[name],) = single.rows({"task": "t", "protocol": "p"}, ["e"])
    (row,) = spread.rows({"task": "t", "protocol": "p"}, ["e"])
    whole = np.sqrt(sum((share * alone[name].error) ** 2 for name, share in (("a", 0.5), ("b", 0.25), ("c", 0.25))))
    assert row.error == pytest.approx(whole, rel=0.15)  # what is gained from half to whole is taken of the sum
    assert row.freedom > alone["a"].freedom


# --- donors ---------------------------------------------------------------------------------------


def test_p_values_are_those_of_a_public_library():
    rng = np.random.default_rng(9)
    values = rng.normal(size=(4, 7))
    values[3, :2] = np.nan
    p, donors, difference = verdicts.over_donors(values)
    for first, second in ((0, 1), (1, 2), (0, 3)):
        both = np.isfinite(values[first] + values[second])
        expected = stats.ttest_rel(values[first][both], values[second][both]).pvalue
        assert p[first, second] == pytest.approx(expected) == p[second, first]
        assert donors[first, second] == both.sum()
        mean = (values[first] - values[second])[both].mean()
        assert difference[first, second] == pytest.approx(mean) == -difference[second, first]
    assert (np.diag(p) == 1).all()


def test_holm_is_that_of_the_textbook_and_leaves_out_what_was_not_tested():
    adjusted = verdicts.holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, np.nan, 0.06, 0.02])


def test_below_five_donors_nothing_is_told_apart_whatever_the_difference():
    values = np.array([[0.9] * 4, [0.1] * 4]) + np.random.default_rng(1).normal(0, 1e-3, (2, 4))
    assert np.isnan(verdicts.over_donors(values)[0]).all()
    more = np.hstack([values, [[0.9], [0.1]]])
    assert verdicts.over_donors(more)[0][0, 1] < 1e-4


def test_donors_of_unlike_noise_tell_equals_apart_no_more_often_than_nominal_and_find_what_differs():
    """The chance of one false verdict or more among all pairs, and of the true one."""
    rng = np.random.default_rng(10)
    false = true = 0
    first, second = np.triu_indices(4, 1)
    for _ in range(400):
        noise = rng.normal(size=(4, 6)) * rng.uniform(0.01, 0.1, 6)  # every donor has a variance of its own
        values = rng.normal(0.3, 0.1, 6) + noise
        false += (verdicts.holm(verdicts.over_donors(values)[0][first, second]) <= 0.05).any()
        planted = values + np.array([[0.3], [0], [0], [0]])
        true += verdicts.holm(verdicts.over_donors(planted)[0][first, second])[0] <= 0.05
    assert false / 400 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert true / 400 > 0.6


def test_possible_ranks_count_those_told_apart():
    scores = np.array([0.5, 0.4, 0.39, 0.1])
    difference = scores[:, None] - scores
    apart = np.zeros((4, 4), dtype=bool)
    assert [list(ends) for ends in verdicts.possible_ranks(difference, apart, 4)] == [[1] * 4, [4] * 4]
    for first, second in ((0, 3), (1, 3), (0, 2)):
        apart[first, second] = apart[second, first] = True
    assert [list(ends) for ends in verdicts.possible_ranks(difference, apart, 4)] == [[1, 1, 2, 3], [2, 3, 4, 4]]


# --- tables ---------------------------------------------------------------------------------------


def cell(by_predictor, error=0.01, pooled=False, donors_of_fold=1):
    """Tables of one task and protocol: predictor -> its score on each donor."""
    parts, rows, splits = [], [], {"task": "t", "folds": [], "donors": {}}
    number = len(next(iter(by_predictor.values())))
    for fold in range(number // donors_of_fold):
        own = range(fold * donors_of_fold, (fold + 1) * donors_of_fold)
        splits["folds"].append({"fold": fold, "test_donors": [f"D{donor}" for donor in own]})
        splits["donors"] |= {f"s{donor}": f"D{donor}" for donor in own}
        for name, values in by_predictor.items():
            labels = {"task": "t", "protocol": "strict", "predictor": name, "fold": fold}
            for donor in own:
                sample = "" if pooled else f"s{donor}"
                if donor == own[0] or not pooled:
                    value = np.array([values[donor]] * 2)
                    parts.append(long_table.rows(labels, "pearson", [sample] * 2, ["g0", "g1"], value))
            rows.append(FoldRow(**labels, encoder=name, probe="ridge", test_donors="", status="scored", n_genes=2))
            rows[-1] = FoldRow(**{**vars(rows[-1]), "n_test_spots": 10, "components": 50 + fold})
    names = sorted(by_predictor)
    errors = pd.DataFrame(
        [
            ("t", "strict", name, other, error, 20.0, "")
            for place, name in enumerate(names)
            for other in ("", *names[place + 1 :])
        ],
        columns=list(spread_table.COLUMNS),
    )
    scores = pd.concat([part.to_pandas() for part in parts], ignore_index=True)
    return scores.sort_values(["predictor", "fold", "sample_id"]), frame(rows), {"t": splits}, errors


def board(scores, folds, splits, errors):
    comparisons = pairs.compare(scores, folds, splits, errors)
    table = ties.with_ties(rank(scores, folds, ["pearson"], {}), comparisons, errors)
    return table.set_index("predictor"), comparisons


def test_two_donors_rank_nothing_and_say_what_the_sections_show():
    table, comparisons = board(*cell({"good": [0.5, 0.4], "twin": [0.5, 0.4], "bad": [0.1, 0.2]}))
    assert set(comparisons["verdict"]) == {"too few donors"}
    assert comparisons["p_over_donors"].isna().all()
    assert dict(zip(comparisons["other"], comparisons["on_sections"], strict=True)) == {
        "twin": "not told apart",
        "bad": "told apart",
    }
    assert table["verdict"].tolist() == ["too few donors"] * 3
    assert table[["rank_best", "rank_worst"]].to_numpy().tolist() == [[1, 3]] * 3
    assert table.loc["good", "not_told_apart_from"] == "bad twin"
    assert table["not_told_apart_on_sections"].to_dict() == {"good": "twin", "twin": "good", "bad": "none"}
    assert table["rank"].to_dict() == {"good": 1, "twin": 1, "bad": 3}
    reach = stats.t.ppf(0.975, 20) * 0.01
    assert table.loc["good", ["score_low", "score_high"]].tolist() == pytest.approx(
        [0.45 - reach, 0.45 + reach], abs=1e-6
    )
    assert table["components"].tolist() == [50] * 3


def test_enough_donors_tell_apart_what_differs_on_all_of_them():
    rng = np.random.default_rng(3)
    base = rng.normal(0.3, 0.1, 8)
    of = {"best": base + 0.2, "near": base + 0.19 + rng.normal(0, 0.03, 8), "worst": base + rng.normal(0, 0.01, 8)}
    tables = cell(of)
    table, comparisons = board(*tables)
    assert table["verdict"].to_dict() == {
        "best": "told apart from 1 of 2",
        "near": "told apart from 1 of 2",
        "worst": "told apart from 2 of 2",
    }
    assert table[["rank_best", "rank_worst"]].to_numpy().tolist() == [[1, 2], [1, 2], [3, 3]]
    assert table["not_told_apart_from"].to_dict() == {"best": "near", "near": "best", "worst": "none"}
    assert (comparisons["donors"] == 8).all()
    assert comparisons["difference_over_donors"].to_numpy() == pytest.approx(comparisons["difference"], abs=2e-6)
    ranked = ranks.rank_all(table.reset_index(), *tables[:3], ["pearson"])
    assert sorted(set(ranked["score"])) == ["pearson_mean", "pearson_mean_zero"]
    own = ranked[ranked["score"] == "pearson_mean_zero"]
    assert own[["rank_best", "rank_worst"]].to_numpy().tolist() == [[1, 2], [1, 2], [3, 3]]


def test_who_is_better_is_asked_of_donors_as_the_verdict_is_and_not_of_folds():
    """A fold of one donor on which one is far better, and a fold of forty on which it is worse each time."""
    each = np.arange(40) * 0.001
    by_folds = {"by folds": [0.8, *(0.2 + each)], "by donors": [0.5, *(0.3 + 2 * each)]}
    scores, folds, splits, errors = cell(by_folds)
    scores.loc[scores["fold"] > 0, "fold"] = 1
    many = [f"D{donor}" for donor in range(1, 41)]
    splits["t"]["folds"] = [{"fold": 0, "test_donors": ["D0"]}, {"fold": 1, "test_donors": many}]
    table, comparisons = board(scores, folds[folds["fold"] <= 1], splits, errors)
    assert table["rank"].to_dict() == {"by folds": 1, "by donors": 2}
    assert comparisons["difference"][0] > 0 > comparisons["difference_over_donors"][0]
    assert comparisons["verdict"][0] == "told apart"
    assert table.loc["by donors", ["rank_best", "rank_worst"]].tolist() == [1, 1]


def test_donors_pooled_in_a_fold_are_one_unit_and_donors_of_samples_their_own():
    of = {"a": [0.5] * 8, "b": np.linspace(0.1, 0.3, 8)}
    apart, pooled = (cell(of, pooled=pooled, donors_of_fold=2) for pooled in (False, True))
    assert board(*apart)[1]["donors"].tolist() == [8]
    comparisons = board(*pooled)[1]
    assert (comparisons["donors"].tolist(), comparisons["verdict"].tolist()) == ([4], ["too few donors"])


def test_many_names_are_counted_and_one_predictor_has_nothing_to_compare_with():
    table, _ = board(*cell({name: [0.3, 0.3] for name in "abcdef"}))
    assert table.loc["a", "not_told_apart_from"] == "5 of 5 others"
    alone, comparisons = board(*cell({"a": [0.3, 0.3]}))
    assert comparisons.empty
    assert alone.loc["a", list(TIES)[2:6]].tolist()[:2] == [1, 1]
    assert alone.loc["a", "verdict"] == "nothing to compare with"


def test_a_section_too_small_leaves_intervals_empty_and_says_so():
    table, comparisons = board(*cell({"a": [0.5, 0.4], "b": [0.1, 0.2]}, error=np.nan))
    assert comparisons["on_sections"].tolist() == ["sections too small"]
    assert comparisons[["low", "high", "p_on_sections"]].isna().all(axis=None)
    assert table[["score_low", "score_high"]].isna().all(axis=None)
    assert table["not_told_apart_on_sections"].tolist() == ["sections too small"] * 2


def test_the_lowest_error_ranks_first():
    of = {"a": [0.5, 0.4], "b": [0.1, 0.2]}
    scores, folds, splits, _ = cell(of)
    squared = scores.assign(metric="mse")
    table = pd.DataFrame({"task": "t", "protocol": "strict", "predictor": ["a", "b"], "mse_mean": [0.45, 0.15]})
    ranked = ranks.rank_all(table, squared, folds, splits, ["mse"])
    assert ranked[["predictor", "rank"]].to_numpy().tolist() == [["b", 1], ["a", 2]]
    assert pearson.BEST["pearson_mean_zero"] == "high"


def test_samples_of_one_donor_count_once():
    scores, folds, splits, errors = cell({"a": [0.5] * 6, "b": [0.1, 0.2, 0.1, 0.2, 0.1, 0.3]})
    splits["t"]["donors"] |= {"s1": "D0", "s2": "D0"}
    comparisons = board(scores, folds, splits, errors)[1]
    assert (comparisons["donors"].tolist(), comparisons["verdict"].tolist()) == ([4], ["too few donors"])
    assert comparisons["difference_over_donors"][0] == pytest.approx(np.mean([0.5 - 0.4 / 3, 0.3, 0.4, 0.2]), abs=1e-6)


def test_the_page_of_the_report_says_what_is_not_told_apart_and_on_how_many_donors():
    few = board(*cell({"good": [0.5, 0.4], "twin": [0.5, 0.4], "bad": [0.1, 0.2]}))[0].reset_index()
    few.loc[2, "note"] = "<b>"
    page = leaderboard_page(few, "pearson_mean_zero")
    assert "2 donors: too few to tell any predictor from another" in page
    assert "<td>1 to 3</td><td>good</td><td>0.450 (0.429 to 0.471)</td>" in page
    assert "&lt;b&gt;" in page
    of = {"best": np.linspace(0.5, 0.6, 6), "worst": np.linspace(0.1, 0.15, 6)}
    enough = leaderboard_page(board(*cell(of))[0].reset_index(), "pearson_mean_zero")
    assert "6 donors: ranks are those" in enough
    assert "<td>2</td><td>worst</td>" in enough
