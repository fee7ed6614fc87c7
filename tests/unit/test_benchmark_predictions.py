"""A probe over an encoder on simulated samples: exactness, leakage, joining, and what cannot be predicted or scored."""

import json

import anndata
import fit_probe
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy
import scipy.stats
import score_predictions
from benchmark_cohort import DIMENSIONS, GENES, TASK, Cohort
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from spotweave import protocols
from spotweave.benchmark.embeddings import join, read_embeddings
from spotweave.benchmark.predictions import Prediction, read_prediction, write_prediction
from spotweave.benchmark.scoring import Scoring, score_fold
from spotweave.benchmark.targets import Targets
from spotweave.correlation import pearson_by_group
from spotweave.expression.samples import read_expression
from spotweave.io import REFUSED
from spotweave.metrics import pearson


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path)


def means(outcomes):
    return [outcome["pearson_mean"] for outcome in outcomes]


def hest_benchmark(cohort, train, test, n_genes, seed):
    """HEST-Benchmark in a straight line, dense, with pandas and scikit-learn: gene -> Pearson."""
    tables = {name: anndata.read_h5ad(path).to_df() for name, path in cohort.expression.items()}
    kept = None
    for table in tables.values():
        wide = set(table.columns[(table > 0).sum() >= np.ceil(0.1 * len(table))])
        kept = wide if kept is None else kept & wide
    kept = sorted(gene for gene in kept if "BLANK" not in gene and "Control" not in gene)
    stacked = anndata.AnnData(pd.concat([table[kept] for table in tables.values()]).reset_index(drop=True))
    scanpy.pp.log1p(stacked)
    scanpy.pp.highly_variable_genes(stacked, n_top_genes=n_genes)
    genes = list(stacked.var_names[stacked.var.highly_variable])[:n_genes]

    x_train, x_test = (np.concatenate([cohort.features[name] for name in side]) for side in (train, test))
    y_train, y_test = (
        np.log1p(pd.concat([tables[name][genes] for name in side]).to_numpy(np.float64)) for side in (train, test)
    )
    pipe = make_pipeline(StandardScaler(), PCA(DIMENSIONS, random_state=seed))
    with threadpool_limits(2, user_api="blas"):
        x_train, x_test = pipe.fit_transform(x_train).astype(np.float64), pipe.transform(x_test).astype(np.float64)
    alpha = 100 / (x_train.shape[1] * len(genes))
    ridge = Ridge(alpha=alpha, solver="lsqr", fit_intercept=False, max_iter=1000, random_state=seed)
    prediction = ridge.fit(x_train, y_train).predict(x_test)
    return {
        gene: scipy.stats.pearsonr(y_test[:, column], prediction[:, column]).statistic
        for column, gene in enumerate(genes)
    }


def test_hest_exact_is_a_straight_transcription_of_hest_benchmark(tmp_path):
    cohort = Cohort(tmp_path, level=0.0, signal=2.0)
    cohort.counts["a1"][:, 7] = 0  # in no list: not counted in every sample
    cohort.write_expression("a1")
    for split, outcome in zip(cohort.splits()["folds"], cohort.evaluate("hest_exact"), strict=True):
        expected = hest_benchmark(cohort, split["train"], split["test"], TASK.n_genes, seed=1)
        found = outcome.by_gene()
        assert list(found) == list(expected)
        assert len(found) == TASK.n_genes
        assert found == pytest.approx(expected, abs=1e-6)
        assert outcome["pearson_mean"] == pytest.approx(np.mean(list(expected.values())), abs=1e-6)
        assert outcome.prediction.choices["alpha"] == 100 / (DIMENSIONS * TASK.n_genes)


@pytest.mark.parametrize("protocol", ["strict", "hest_exact"])
def test_a_planted_linear_signal_is_recovered(cohort, protocol):
    outcomes = cohort.evaluate(protocol)
    assert min(means(outcomes)) > 0.9
    assert all(outcome["pearson_mean"] > 3 * outcome["pearson_null95"] for outcome in outcomes)


def test_without_a_signal_the_score_is_within_the_null(tmp_path):
    for outcome in Cohort(tmp_path, signal=0.0).evaluate("strict"):
        assert abs(outcome["pearson_mean"]) < outcome["pearson_null95"] + 0.02


def test_counts_of_the_test_samples_change_neither_genes_nor_predictions_of_the_strict_protocol(cohort):
    before = cohort.evaluate("strict")[0].prediction
    for name in ("a1", "a2"):
        cohort.counts[name] = np.random.default_rng(8).permutation(cohort.counts[name] * 3 + 1, axis=1)
        cohort.write_expression(name)
    after = cohort.evaluate("strict")[0].prediction
    assert after.genes == before.genes
    assert np.array_equal(after.values, before.values)


def test_counts_of_the_test_samples_do_change_the_genes_of_hest_exact(cohort):
    before = cohort.evaluate("hest_exact")[0].prediction.genes
    loud = next(column for column, gene in enumerate(cohort.genes()) if gene not in before)
    for name in ("a1", "a2"):  # donor A is tested in fold 0
        cohort.counts[name][::2, loud] *= 60
        cohort.write_expression(name)
    after = cohort.evaluate("hest_exact")[0].prediction.genes
    assert cohort.genes()[loud] in after


def test_shuffled_embedding_rows_give_the_same_scores(cohort):
    before = [outcome.scores for outcome in cohort.evaluate()]
    for seed, name in enumerate(cohort.donor_of):
        order = np.random.default_rng(seed).permutation(len(cohort.features[name]))
        cohort.write_embeddings(name, {"embeddings": cohort.features[name]}, order)
    for outcome, scores in zip(cohort.evaluate(), before, strict=True):
        pd.testing.assert_frame_equal(outcome.scores, scores)


def test_only_spots_under_tissue_that_have_an_embedding_are_used_and_the_others_counted(cohort):
    in_tissue = np.ones(50, int)
    in_tissue[:4] = 0
    cohort.write_expression("a1", in_tissue=in_tissue)
    cohort.write_embeddings("a1", {"embeddings": cohort.features["a1"]}, np.arange(2, 45))
    outcome = cohort.evaluate()[0]
    assert outcome.prediction.choices["spots_without_embedding"] == 5
    assert outcome.prediction.choices["embeddings_without_spot"] == 2
    assert outcome.row.n_test_spots == 91
    assert outcome.prediction.spots[:41] == [f"{row}x2" for row in range(4, 45)]
    assert outcome.prediction.samples == ["a1"] * 41 + ["a2"] * 50


def test_embeddings_of_a_fold_are_used_in_that_fold_only(cohort):
    noise = np.random.default_rng(3)
    for name, features in cohort.features.items():
        blind = noise.normal(size=features.shape).astype(np.float32)
        cohort.write_embeddings(name, {"fold0/embeddings": features, "fold1/embeddings": blind})
    first, second = cohort.evaluate()
    assert first["pearson_mean"] > 0.9
    assert abs(second["pearson_mean"]) < 0.2


def test_a_fold_without_embeddings_is_not_scored_and_says_so(cohort):
    for name, features in cohort.features.items():
        cohort.write_embeddings(name, {"fold1/embeddings": features})
    first, second = cohort.evaluate()
    assert first.scores.empty
    assert (first.row.status, first.row.fold) == ("refused", 0)
    assert first.row.reason == "the encoder has no embeddings of b1 for fold 0"
    assert second["pearson_mean"] > 0.9


def test_an_unavailable_encoder_says_so_in_every_fold(cohort):
    for path in cohort.embeddings.values():
        path.write_bytes(REFUSED)
    for outcome in cohort.evaluate(encoder="uni"):
        assert outcome.row.reason == "the encoder is unavailable: no embeddings of any sample"
        assert outcome.prediction.values.shape == (0, 0)


def test_an_encoder_that_lacks_one_sample_is_not_compared_on_the_others(cohort):
    cohort.embeddings["a2"].write_bytes(REFUSED)
    assert {outcome.row.reason for outcome in cohort.evaluate()} == {"the encoder is unavailable: no embeddings of a2"}


def test_refused_samples_outside_the_folds_are_never_read(cohort):
    splits = cohort.splits()
    for paths in (cohort.expression, cohort.embeddings):
        paths["refused"] = cohort.folder / "refused"
        paths["refused"].write_bytes(REFUSED)
    assert min(means(cohort.evaluate(splits=splits))) > 0.9


def test_a_task_of_one_donor_has_absent_folds_with_the_reason(tmp_path):
    (outcome,) = Cohort(tmp_path, donor_of={"a1": "A", "a2": "A"}).evaluate()
    assert outcome.row.status == "absent"
    assert outcome.row.reason.startswith("only donor A has accepted samples")


def test_one_training_sample_is_cross_validated_over_its_blocks(tmp_path):
    outcomes = Cohort(tmp_path, donor_of={"a": "A", "b": "B"}).evaluate()
    assert [outcome.prediction.choices["inner_folds_of"] for outcome in outcomes] == ["block", "block"]
    assert min(means(outcomes)) > 0.85


def test_a_sample_of_one_spot_is_trained_on_but_not_scored(tmp_path):
    cohort = Cohort(tmp_path)
    cohort.cut("a2", 1)
    tested, trained = cohort.evaluate("strict")
    assert tested.prediction.samples.count("a2") == 1, "it is predicted, and left out when it is scored"
    assert tested.row.samples_too_small == "a2 (1)"
    assert (tested.row.n_test_samples, tested.row.n_test_spots) == (1, 50)
    assert set(tested.scores["sample_id"]) == {"", "a1"}
    assert trained.row.n_train_spots == 51
    assert means(cohort.evaluate("hest_exact"))[0] > 0.9


def test_ten_spots_are_enough_to_score_and_to_train_and_nine_are_not(tmp_path):
    for spots, scored in ((10, 2), (9, 1)):
        folder = tmp_path / f"tested{spots}"
        folder.mkdir()
        cohort = Cohort(folder)
        cohort.cut("a2", spots)
        assert cohort.evaluate("strict")[0].row.n_test_samples == scored
    for spots, reason in ((10, None), (9, "9 training spots, at least 10 are needed")):
        folder = tmp_path / f"trained{spots}"
        folder.mkdir()
        cohort = Cohort(folder, donor_of={"a": "A", "b": "B"})
        cohort.cut("b", spots)
        assert cohort.evaluate("hest_exact")[0].row.reason == reason


def test_a_fold_without_a_test_sample_large_enough_is_predicted_and_not_scored(tmp_path):
    cohort = Cohort(tmp_path, donor_of={"a": "A", "b": "B"})
    cohort.cut("a", 9)
    outcome = cohort.evaluate("strict")[0]
    assert outcome.prediction.values.shape == (9, 20)
    assert (outcome.row.status, outcome.row.reason) == ("refused", "no test sample has 10 spots")
    assert outcome.scores.empty


def test_a_pool_of_a_single_spot_is_predicted_and_not_scored(tmp_path):
    cohort = Cohort(tmp_path, donor_of={"a": "A", "b": "B"})
    cohort.cut("a", 1)
    outcome = cohort.evaluate("hest_exact")[0]
    assert len(outcome.prediction.values) == 1
    assert (outcome.row.status, outcome.row.reason) == ("refused", "no test sample has 2 spots")
    assert outcome.scores.empty


def test_a_gene_never_counted_in_the_test_sample_is_undefined_whether_or_not_the_table_lists_it(cohort):
    silent = cohort.genes().index(cohort.evaluate()[0].prediction.genes[3])
    for name in ("a1", "a2"):
        cohort.counts[name][:, silent] = 0
        cohort.write_expression(name)
    listed = cohort.evaluate()[0]
    for name in ("a1", "a2"):
        genes = [gene for column, gene in enumerate(cohort.genes()) if column != silent]
        cohort.counts[name] = np.delete(cohort.counts[name], silent, axis=1)
        cohort.write_expression(name, genes=genes)
    unlisted = cohort.evaluate()[0]
    pd.testing.assert_frame_equal(listed.scores, unlisted.scores)
    assert listed["undefined_share"] == 2 / 40
    assert listed["pearson_mean"] > 0.9
    assert listed["pearson_mean_zero"] == pytest.approx(listed["pearson_mean"] * 19 / 20, abs=1e-6)


def test_no_widely_expressed_gene_is_a_reason_and_not_a_crash(cohort):
    cohort.counts["b1"][:] = 0
    cohort.write_expression("b1")
    outcomes = cohort.evaluate("hest_exact")
    assert [outcome.row.reason for outcome in outcomes] == [
        "no gene is counted in 10% of the spots of every sample it is chosen on"
    ] * 2


def test_per_sample_scores_are_averaged_over_samples_then_genes(cohort):
    outcome = cohort.evaluate("strict", taken=["pearson"])[0]
    assert set(outcome.scores["sample_id"]) == {"a1", "a2"}
    by_gene = outcome.scores.groupby("gene")["value"].mean()
    assert len(by_gene) == 20
    assert outcome["pearson_mean"] == pytest.approx(by_gene.mean(), abs=2e-6)


@pytest.mark.parametrize("protocol", ["strict", "hest_exact"])
def test_the_null_is_of_the_test_spots_shuffled_within_samples_with_the_seed_of_the_run(tmp_path, protocol):
    # Samples of unequal depth: where spots are pooled, what is kept between samples makes the null.
    cohort = Cohort(tmp_path)
    cohort.counts["a2"] *= 5
    cohort.write_expression("a2")
    outcome = cohort.evaluate(protocol)[0]
    with Targets(cohort.choose(protocol)) as targets:
        target = np.concatenate(
            [
                targets.spots(name).on_scale(protocols.load(protocol).target, outcome.prediction.genes)
                for name in ("a1", "a2")
            ]
        )
    samples = np.repeat([0, 1], 50)
    groups = samples if protocol == "strict" else np.zeros(100, int)
    rng, plain = np.random.default_rng(12), []
    for _ in range(400):
        order = np.concatenate([rng.permutation(np.flatnonzero(samples == one)) for one in (0, 1)])
        plain.append(np.mean(pearson_by_group(target, outcome.prediction.values[order], groups)))
    assert np.percentile(plain, 85) < outcome["pearson_null95"] < max(plain)
    assert outcome["pearson_null95"] == cohort.evaluate(protocol)[0]["pearson_null95"]
    assert outcome["pearson_null95"] != cohort.evaluate(protocol, seed=2)[0]["pearson_null95"]


@pytest.mark.parametrize("protocol", ["strict", "hest_exact"])
def test_genes_and_samples_are_in_alphabetical_order(tmp_path, protocol):
    cohort = Cohort(tmp_path, donor_of={"b2": "B", "c1": "C", "a9": "A", "b1": "B"})
    names = cohort.genes()[::-1]
    for name in cohort.donor_of:
        cohort.write_expression(name, genes=names)
    for outcome in cohort.evaluate(protocol):
        assert outcome.prediction.genes == sorted(outcome.prediction.genes)
        assert outcome.prediction.samples == sorted(outcome.prediction.samples)
        train = outcome.prediction.choices["train_samples"].split()
        assert train == sorted(train)
    assert cohort.evaluate(protocol)[0].prediction.choices["train_samples"] == "b1 b2 c1"


def test_a_repeated_barcode_or_an_infinite_embedding_is_an_error(cohort):
    features = cohort.features["a1"]
    cohort.write_embeddings("a1", {"embeddings": features}, np.r_[np.arange(50), 7])
    with pytest.raises(ValueError, match="twice"):
        read_embeddings(cohort.embeddings["a1"], 0)
    features[4, 4] = np.inf
    cohort.write_embeddings("a1", {"embeddings": features})
    with pytest.raises(ValueError, match="not finite"):
        read_embeddings(cohort.embeddings["a1"], 0)


def test_joining_keeps_the_order_of_the_expression(cohort):
    cohort.write_embeddings("a1", {"embeddings": cohort.features["a1"]}, np.array([30, 2, 11]))
    joined = join(read_expression(cohort.expression["a1"], "a1").barcodes, read_embeddings(cohort.embeddings["a1"], 0))
    assert joined.rows.tolist() == [2, 11, 30]
    np.testing.assert_array_equal(joined.features, cohort.features["a1"][[2, 11, 30]])
    assert (joined.without_features, joined.without_expression) == (47, 0)


def test_scores_depend_on_the_join_so_a_wrong_one_would_show(cohort):
    with Targets(cohort.choose()) as targets:
        target = targets.spots("a1").on_scale("log_share", ["G01"])
    signal = (cohort.features["a1"] @ cohort.weights)[:, [1]]
    aligned = pearson_by_group(target, signal, np.zeros(50, int))[0, 0]
    shifted = pearson_by_group(np.roll(target, 1, axis=0), signal, np.zeros(50, int))[0, 0]
    assert aligned > 0.8
    assert abs(shifted) < 0.5


def test_the_reason_of_an_unavailable_encoder_reaches_the_table(cohort):
    cohort.embeddings["a1"].write_bytes(REFUSED)
    outcome = cohort.evaluate(encoder="conch", refusals={"a1": "its weights are gated: ask at the hub"})[0]
    assert outcome.row.reason.endswith("no embeddings of a1; its weights are gated: ask at the hub")


def test_a_fold_whose_donor_fell_away_is_absent_and_says_who(cohort, tmp_path):
    splits = cohort.splits()
    splits["left_out"] = [{"donor": "C", "reason": "all its samples were refused: c1"}]
    path = run_script(cohort, splits, tmp_path / "fold2.h5", fold=2)
    found = read_prediction(path)
    assert found.status == "absent"
    assert found.values.shape == (0, 0)
    assert found.reason == (
        "fold 2 does not exist: task demo has folds 0, 1; left out: C (all its samples were refused: c1)"
    )


# --- the file -------------------------------------------------------------------------------------


def run_script(cohort, splits, path, fold=0, seed=1, protocol="strict"):
    splits_file = cohort.folder / "splits.json"
    splits_file.write_text(json.dumps(splits))
    record = cohort.folder / "record.json"
    record.write_text(json.dumps({"status": "accepted"}))
    argv = ["--splits", splits_file, "--targets", cohort.choose(protocol, splits), "--samples", *cohort.embeddings]
    argv += ["--embeddings", *cohort.embeddings.values(), "--records", *[record] * len(cohort.embeddings)]
    argv += ["--fold", fold, "--protocol", protocol, "--probe", "ridge", "--encoder", "vit-random", "--seed", seed]
    fit_probe.stage.run(fit_probe.work, [*map(str, argv), "--prediction", str(path)])
    return path


def test_the_script_writes_the_same_bytes_again_and_other_bytes_for_another_fold(cohort, tmp_path):
    written = [
        run_script(cohort, cohort.splits(), tmp_path / f"{run}.h5", fold).read_bytes()
        for run, fold in (("one", 0), ("two", 0), ("other", 1))
    ]
    assert written[0] == written[1] != written[2]


def test_the_file_holds_the_test_spots_in_order_and_every_choice(cohort, tmp_path):
    with h5py.File(run_script(cohort, cohort.splits(), tmp_path / "fold0.h5")) as file:
        assert file["prediction"].dtype == np.float32
        assert file["prediction"].shape == (100, 20)
        assert file["sample"].asstr()[[0, 49, 50, 99]].tolist() == ["a1", "a1", "a2", "a2"]
        assert file["spot"].asstr()[:].tolist() == cohort.barcodes("a1") + cohort.barcodes("a2")
        assert file["genes"].asstr()[:].tolist() == sorted(file["genes"].asstr()[:])
        said = dict(file.attrs)
    assert json.loads(said.pop("protocol_choices"))["fit"]["alpha_grid"][0] == 0.01
    grid = protocols.load("strict").fit.alpha_grid
    assert said.pop("alpha") == grid[said.pop("alpha_curve").argmax()]
    assert said.pop("alpha_at_edge") in (True, False)
    assert said == {
        "task": "demo",
        "protocol": "strict",
        "predictor": "vit-random+ridge",
        "encoder": "vit-random",
        "probe": "ridge",
        "fold": 0,
        "seed": 1,
        "note": "random weights",
        "status": "predicted",
        "reason": "",
        "test_donors": "A",
        "train_samples": "b1 b2",
        "n_train_spots": 100,
        "spots_without_embedding": 0,
        "embeddings_without_spot": 0,
        "components": 16,
        "inner_folds_of": "sample",
    }


def test_a_prediction_reads_as_it_was_written_whatever_its_names(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    choices = {"lr": 1e-4, "epochs": 3, "layers": [1, 2], "augment": {"flip": True}, "empty": None, "names": []}
    choices |= {"kind": np.str_("small"), "seeds": np.arange(3), "exemplars": np.array(["s1", "s2"]), "tuned": np.True_}
    given = Prediction(values, ["1x1", "é-2", "1x1"], ["s1", "s1", "s2"], ["A", "IFN-ß"], choices=choices)
    write_prediction(tmp_path / "fold0.h5", given)
    found = read_prediction(tmp_path / "fold0.h5")
    np.testing.assert_array_equal(found.values, values)
    assert (found.spots, found.samples, found.genes) == (given.spots, given.samples, given.genes)
    assert (found.status, found.reason) == ("predicted", "")
    assert (found.choices["lr"], found.choices["epochs"], found.choices["layers"].tolist()) == (1e-4, 3, [1, 2])
    assert json.loads(found.choices["augment"]) == {"flip": True}
    assert (found.choices["kind"], found.choices["seeds"].tolist(), found.choices["tuned"]) == (
        "small",
        [0, 1, 2],
        True,
    )
    assert json.loads(found.choices["exemplars"]) == ["s1", "s2"]
    assert "empty" not in found.choices


@pytest.mark.parametrize(
    ("values", "spots", "message"),
    [
        (np.ones((3, 2)), ["x", "y"], r"\(3, 2\) values for 2 spots"),
        (np.full((2, 2), np.nan), ["x", "y"], "not finite"),
    ],
)
def test_a_prediction_of_another_shape_or_without_numbers_is_not_written(tmp_path, values, spots, message):
    with pytest.raises(ValueError, match=message):
        write_prediction(tmp_path / "fold0.h5", Prediction(values, spots, ["s"] * len(spots), ["A", "B"]))
    assert not (tmp_path / "fold0.h5").exists()


def spoiled(prediction, **other):
    fields = {"values": prediction.values, "spots": prediction.spots, "samples": prediction.samples}
    return Prediction(**{**fields, "genes": prediction.genes, **other})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda one: spoiled(one, genes=one.genes[::-1]), "its genes are not those of fold 0"),
        (lambda one: spoiled(one, samples=["b1"] * 100), "b1 is no test sample"),
        (lambda one: spoiled(one, spots=["1x2", "0x2", *one.spots[2:]]), "its spots are not those of st.h5ad"),
        (lambda one: spoiled(one, spots=["0x2", "0x2", *one.spots[2:]]), "its spots are not those of st.h5ad"),
        (lambda one: spoiled(one, spots=["0x2", "none", *one.spots[2:]]), "its spots are not those of st.h5ad"),
    ],
)
def test_a_prediction_of_other_genes_or_spots_is_an_error_and_not_a_score(cohort, spoil, message):
    """Whoever wrote it: a method trained end to end writes the same file."""
    path = cohort.folder / "fold0.h5"
    write_prediction(path, spoil(cohort.evaluate()[0].prediction))
    scoring = Scoring(cohort.splits(), "strict", ["pearson"], 1, 1000.0)
    with Targets(cohort.choose()) as targets, pytest.raises(ValueError, match=message):
        score_fold(scoring, targets, {**scoring.labels(), "predictor": "egn", "fold": 0}, path)


def test_a_method_without_encoder_and_probe_is_scored_like_any_other(cohort):
    made = cohort.evaluate()[0]
    path = cohort.folder / "fold0.h5"
    write_prediction(path, spoiled(made.prediction, choices={"epochs": 5, "seed": 3}))
    scoring = Scoring(cohort.splits(), "strict", ["pearson"], 1, 1000.0)
    with Targets(cohort.choose()) as targets:
        row, table = score_fold(scoring, targets, {**scoring.labels(), "predictor": "egn", "fold": 0}, path)
    assert (row.predictor, row.encoder, row.probe, row.status) == ("egn", None, None, "scored")
    expected = made.scores[made.scores["metric"] == "pearson"]["value"]
    np.testing.assert_array_equal(table["value"].to_numpy(), expected)


def test_a_metric_that_scores_in_another_shape_is_named_with_what_it_may_give(cohort, monkeypatch):
    path = cohort.folder / "fold0.h5"
    write_prediction(path, cohort.evaluate()[0].prediction)
    scoring = Scoring(cohort.splits(), "strict", ["pearson"], 1, 1000.0)
    monkeypatch.setattr(pearson, "score", lambda scored: np.zeros(len(scored.genes)))
    with Targets(cohort.choose()) as targets:
        genes = len(targets.fold(0).genes)
        with pytest.raises(ValueError, match=rf"metric pearson: .* shape \({genes},\), .* 2 groups x {genes} genes"):
            score_fold(scoring, targets, {**scoring.labels(), "predictor": "egn", "fold": 0}, path)


def test_the_script_scores_all_predictions_into_one_table_whatever_their_order(cohort, tmp_path):
    outcomes = cohort.evaluate()
    paths = [tmp_path / "predictions" / name / f"fold{fold}.h5" for name in ("vit+ridge", "egn") for fold in (0, 1)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_prediction(path, outcomes[int(path.stem[-1])].prediction)
    alignment = cohort.folder / "alignment.json"
    alignment.write_text('{"pixel_size_um": 0.5}')
    common = ["--splits", cohort.write_splits(), "--targets", cohort.choose(), "--protocol", "strict", "--seed", 1]
    common += ["--block-um", 100, "--samples", *cohort.donor_of, "--alignments", *[alignment] * len(cohort.donor_of)]
    written = []
    for run, order in (("one", paths), ("two", paths[::-1])):
        argv = [*common, "--scores", tmp_path / f"{run}.parquet", "--folds", tmp_path / f"{run}.csv"]
        argv += ["--spread", tmp_path / f"{run}.spread.csv"]
        argv += ["--metrics", "mse", "--metrics=pearson", "--predictions", *order]
        score_predictions.stage.run(score_predictions.work, [str(word) for word in argv])
        written.append([(tmp_path / f"{run}.{suffix}").read_bytes() for suffix in ("parquet", "csv", "spread.csv")])
    assert written[0] == written[1]
    table = pd.read_parquet(tmp_path / "one.parquet")
    keys = list(table.columns[:-1])
    assert keys == ["task", "protocol", "predictor", "fold", "sample_id", "gene", "metric"]
    assert len(table) == 2 * 2 * 2 * 20 * 2  # predictors, folds, samples, genes, metrics
    pd.testing.assert_frame_equal(table, table.sort_values(keys, ignore_index=True))
    folds = pd.read_csv(tmp_path / "one.csv")
    assert folds["predictor"].tolist() == ["egn", "egn", "vit+ridge", "vit+ridge"]
    assert folds["n_test_spots"].tolist() == [100] * 4


def test_genes_are_chosen_once_and_kept_with_the_counts_of_every_sample(cohort):
    first, again = cohort.choose().read_bytes(), cohort.choose().read_bytes()
    assert first == again
    with Targets(cohort.choose()) as targets:
        genes = [targets.fold(number).genes for number in (0, 1)]
        union = sorted({*genes[0], *genes[1]})
        assert len(genes[0]) == len(genes[1]) == TASK.n_genes < len(union)
        for name in cohort.donor_of:
            spots = targets.spots(name)
            columns = [cohort.genes().index(gene) for gene in union]
            assert spots.genes == union
            np.testing.assert_array_equal(spots.counts, cohort.counts[name][:, columns])
            np.testing.assert_array_equal(spots.totals, cohort.counts[name].sum(1))
            assert spots.positions_px[13].tolist() == [300.0, 100.0]


# --- names of genes -------------------------------------------------------------------------------

IDS = [f"ENSG{number:011d}" for number in range(GENES)]


def test_a_sample_that_names_its_genes_by_id_meets_the_others_by_id(tmp_path):
    cohort = Cohort(tmp_path)
    expected = cohort.evaluate()
    order = np.random.default_rng(3).permutation(GENES)
    for name in cohort.donor_of:
        cohort.write_expression(name, gene_ids=IDS)
    cohort.counts["b1"] = cohort.counts["b1"][:, order]
    ids = [IDS[gene] for gene in order]
    cohort.write_expression("b1", genes=ids, gene_ids=ids)
    for outcome, by_name in zip(cohort.evaluate(), expected, strict=True):
        assert outcome.row == by_name.row
        pd.testing.assert_frame_equal(outcome.scores, by_name.scores)  # under the names that the others display


def test_where_names_cannot_meet_the_reason_says_so(tmp_path):
    cohort = Cohort(tmp_path)
    cohort.write_expression("b1", genes=IDS, gene_ids=IDS)
    (reason,) = {outcome.row.reason for outcome in cohort.evaluate(protocol="hest_exact")}
    assert "a1 calls its genes G00, G01 and b1 ENSG00000000000, ENSG00000000001" in reason
    assert "gene_id" in reason
    by_fold = {outcome.row.test_donors: outcome.row.note for outcome in cohort.evaluate()}
    assert by_fold["B"] == "none of the genes is in b1, by name or by gene_id"


def test_embeddings_of_the_fold_go_before_those_for_all_folds(cohort):
    """A file may hold both: what was trained for the fold is what the encoder is."""
    noise = np.random.default_rng(3)
    for name, features in cohort.features.items():
        blind = noise.normal(size=features.shape).astype(np.float32)
        cohort.write_embeddings(name, {"fold0/embeddings": features, "embeddings": blind})
    first, second = cohort.evaluate()
    assert first["pearson_mean"] > 0.9
    assert abs(second["pearson_mean"]) < 0.2
