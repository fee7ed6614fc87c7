"""One cell of the leaderboard on simulated samples: exactness, leakage, joining, and what cannot be scored."""

import csv
import json

import anndata
import fit_probe
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy
import scipy.sparse
import scipy.stats
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from spotweave import protocols
from spotweave.benchmark.evaluate import COLUMNS, Cell, assemble, evaluate, predict, write_outcomes
from spotweave.benchmark.scores import pearson_by_unit
from spotweave.benchmark.splits import Member, make_splits
from spotweave.benchmark.tasks import Task
from spotweave.expression.gene_names import meeting_names
from spotweave.expression.genes import candidates, most_variable_genes
from spotweave.expression.samples import join, read_embeddings, read_expression
from spotweave.expression.targets import target_of
from spotweave.io import REFUSED

DIMENSIONS, GENES = 16, 60
TASK = Task("demo", 20, None, 0.1, "simulated")
DONOR_OF = {"a1": "A", "a2": "A", "b1": "B", "b2": "B"}


class Cohort:
    """Samples on disk whose log expression is linear in the embedding (`signal` 1) or free of it (0)."""

    def __init__(self, folder, seed=0, donor_of=DONOR_OF, signal=1.0, spots=50, level=4.0):
        self.folder = folder
        self.donor_of = dict(donor_of)
        rng = np.random.default_rng(seed)
        self.weights = rng.normal(size=(DIMENSIONS, GENES)) / np.sqrt(DIMENSIONS)
        level = level + rng.normal(size=GENES) / 2
        self.features, self.counts = {}, {}
        for name in donor_of:
            self.features[name] = rng.normal(size=(spots, DIMENSIONS)).astype(np.float32)
            log_mean = level + signal * 0.5 * self.features[name] @ self.weights
            self.counts[name] = rng.poisson(np.exp(log_mean)).astype(np.float32)
            self.write_expression(name)
            self.write_embeddings(name, {"embeddings": self.features[name]})

    def barcodes(self, name):
        return [f"{row}x{len(name)}" for row in range(len(self.counts[name]))]

    def genes(self):
        return [f"G{number:02d}" for number in range(GENES)]

    def write_expression(self, name, in_tissue=None, genes=None, gene_ids=None):
        counts = self.counts[name]
        rows = np.arange(len(counts))
        data = anndata.AnnData(
            scipy.sparse.csr_matrix(counts),
            obs=pd.DataFrame(
                {"in_tissue": np.ones(len(counts), int) if in_tissue is None else in_tissue},
                index=self.barcodes(name),
            ),
            var=pd.DataFrame(index=genes or self.genes()[: counts.shape[1]]),
        )
        if gene_ids is not None:
            data.var["gene_id"] = gene_ids
        data.obsm["spatial"] = np.stack([rows % 10, rows // 10], 1) * 100.0
        self.expression[name] = self.folder / f"{name}.h5ad"
        data.write_h5ad(self.expression[name])

    def write_embeddings(self, name, datasets, order=None):
        barcodes = np.array(self.barcodes(name), dtype=object)
        order = np.arange(len(barcodes)) if order is None else order
        self.embeddings[name] = self.folder / f"{name}.h5"
        with h5py.File(self.embeddings[name], "w") as file:
            file.create_dataset("barcode", data=barcodes[order][:, None], dtype=h5py.string_dtype())
            for dataset, features in datasets.items():
                file[dataset] = features[order]

    @property
    def expression(self):
        return self.__dict__.setdefault("_expression", {})

    @property
    def embeddings(self):
        return self.__dict__.setdefault("_embeddings", {})

    def splits(self, n_folds=None):
        members = [Member(name, donor, 1) for name, donor in self.donor_of.items()]
        return make_splits("demo", n_folds, members)

    def evaluate(self, protocol="strict", probe="ridge", encoder="colour", task=TASK):
        cell = Cell(task, protocol, encoder, probe, seed=1)
        return evaluate(cell, self.splits(), self.expression, self.embeddings)

    def fold(self, protocol, number=0):
        """Gene list and predictions of one fold."""
        cell, splits = Cell(TASK, protocol, "colour", "ridge", seed=1), self.splits()
        counts = {name: read_expression(path, name) for name, path in self.expression.items()}
        fold = assemble(cell, protocols.load(protocol), splits["folds"][number], counts, self.embeddings)
        return fold.genes, predict(cell, protocols.load(protocol), fold, splits["donors"])[0]


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path)


def means(outcomes):
    return [outcome.row["pearson_mean"] for outcome in outcomes]


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
    for outcome in cohort.evaluate("hest_exact"):
        record = outcome.record
        expected = hest_benchmark(cohort, record["train"], record["test"], TASK.n_genes, seed=1)
        found = {gene["gene"]: gene["pearson"] for gene in record["genes"]}
        assert list(found) == list(expected)
        assert len(found) == TASK.n_genes
        assert found == pytest.approx(expected, abs=1e-6)
        assert record["pearson_mean"] == pytest.approx(np.mean(list(expected.values())), abs=1e-6)
        assert record["alpha"] == 100 / (DIMENSIONS * TASK.n_genes)


@pytest.mark.parametrize("protocol", ["strict", "hest_exact"])
def test_a_planted_linear_signal_is_recovered(cohort, protocol):
    outcomes = cohort.evaluate(protocol)
    assert min(means(outcomes)) > 0.9
    assert all(outcome.row["pearson_mean"] > 3 * outcome.row["pearson_null95"] for outcome in outcomes)


def test_without_a_signal_the_score_is_within_the_null(tmp_path):
    for outcome in Cohort(tmp_path, signal=0.0).evaluate("strict"):
        assert abs(outcome.row["pearson_mean"]) < outcome.row["pearson_null95"] + 0.02


def test_counts_of_the_test_samples_change_neither_genes_nor_predictions_of_the_strict_protocol(cohort):
    train_on_b = cohort.fold("strict", number=0)
    for name in ("a1", "a2"):
        cohort.counts[name] = np.random.default_rng(8).permutation(cohort.counts[name] * 3 + 1, axis=1)
        cohort.write_expression(name)
    genes, prediction = cohort.fold("strict", number=0)
    assert genes == train_on_b[0]
    assert np.array_equal(prediction, train_on_b[1])


def test_counts_of_the_test_samples_do_change_the_genes_of_hest_exact(cohort):
    before, _ = cohort.fold("hest_exact", number=0)
    loud = next(column for column, gene in enumerate(cohort.genes()) if gene not in before)
    for name in ("a1", "a2"):  # donor A is tested in fold 0
        cohort.counts[name][::2, loud] *= 60
        cohort.write_expression(name)
    after, _ = cohort.fold("hest_exact", number=0)
    assert cohort.genes()[loud] in after


def test_shuffled_embedding_rows_give_the_same_scores(cohort):
    before = [outcome.record for outcome in cohort.evaluate()]
    for seed, name in enumerate(cohort.donor_of):
        order = np.random.default_rng(seed).permutation(len(cohort.features[name]))
        cohort.write_embeddings(name, {"embeddings": cohort.features[name]}, order)
    assert [outcome.record for outcome in cohort.evaluate()] == before


def test_only_spots_under_tissue_that_have_an_embedding_are_used_and_the_others_counted(cohort):
    in_tissue = np.ones(50, int)
    in_tissue[:4] = 0
    cohort.write_expression("a1", in_tissue=in_tissue)
    cohort.write_embeddings("a1", {"embeddings": cohort.features["a1"]}, np.arange(2, 45))
    record = cohort.evaluate()[0].record
    assert record["samples"]["a1"] == {
        "spots": 41,
        "spots_without_embedding": 5,
        "embeddings_without_spot": 2,
        "embeddings": "embeddings",
    }
    assert record["n_test_spots"] == 91


def test_embeddings_of_a_fold_are_used_in_that_fold_only(cohort):
    noise = np.random.default_rng(3)
    for name, features in cohort.features.items():
        blind = noise.normal(size=features.shape).astype(np.float32)
        cohort.write_embeddings(name, {"fold0/embeddings": features, "fold1/embeddings": blind})
    first, second = cohort.evaluate()
    assert first.row["pearson_mean"] > 0.9
    assert abs(second.row["pearson_mean"]) < 0.2
    assert {sample["embeddings"] for sample in first.record["samples"].values()} == {"fold0/embeddings"}
    assert {sample["embeddings"] for sample in second.record["samples"].values()} == {"fold1/embeddings"}


def test_a_fold_without_embeddings_is_not_scored_and_says_so(cohort):
    for name, features in cohort.features.items():
        cohort.write_embeddings(name, {"fold1/embeddings": features})
    first, second = cohort.evaluate()
    assert first.record is None
    assert first.row["note"] == "the encoder has no embeddings of b1 for fold 0"
    assert first.row["fold"] == 0
    assert second.row["pearson_mean"] > 0.9


def test_an_unavailable_encoder_has_one_row_without_a_fold(cohort):
    for path in cohort.embeddings.values():
        path.write_bytes(REFUSED)
    (outcome,) = cohort.evaluate(encoder="uni")
    assert outcome.row["fold"] is None
    assert outcome.row["note"] == "the encoder is unavailable: no embeddings of any sample"


def test_an_encoder_that_lacks_one_sample_is_not_compared_on_the_others(cohort):
    cohort.embeddings["a2"].write_bytes(REFUSED)
    (outcome,) = cohort.evaluate()
    assert outcome.row["note"] == "the encoder is unavailable: no embeddings of a2"


def test_refused_samples_outside_the_folds_are_never_read(cohort):
    splits = cohort.splits()
    for paths in (cohort.expression, cohort.embeddings):
        paths["refused"] = cohort.folder / "refused"
        paths["refused"].write_bytes(REFUSED)
    cell = Cell(TASK, "strict", "colour", "ridge", seed=1)
    assert means(evaluate(cell, splits, cohort.expression, cohort.embeddings)) == means(cohort.evaluate())


def test_a_task_of_one_donor_is_one_row_with_the_reason(tmp_path):
    (outcome,) = Cohort(tmp_path, donor_of={"a1": "A", "a2": "A"}).evaluate()
    assert outcome.row["note"].startswith("only donor A has accepted samples")


def test_one_training_sample_is_cross_validated_over_its_blocks(tmp_path):
    outcomes = Cohort(tmp_path, donor_of={"a": "A", "b": "B"}).evaluate()
    assert [outcome.row["inner_folds_of"] for outcome in outcomes] == ["block", "block"]
    assert min(means(outcomes)) > 0.85


def test_a_sample_of_one_spot_is_trained_on_but_not_scored(tmp_path):
    cohort = Cohort(tmp_path)
    cohort.counts["a2"], cohort.features["a2"] = cohort.counts["a2"][:1], cohort.features["a2"][:1]
    cohort.write_expression("a2")
    cohort.write_embeddings("a2", {"embeddings": cohort.features["a2"]})
    tested, trained = cohort.evaluate("strict")
    assert tested.record["samples_too_small_to_score"] == {"a2": 1}
    assert tested.row["n_test_samples"] == 1
    assert trained.row["n_train_spots"] == 51
    assert means(cohort.evaluate("hest_exact"))[0] > 0.9


def cut(cohort, name, spots):
    cohort.counts[name], cohort.features[name] = cohort.counts[name][:spots], cohort.features[name][:spots]
    cohort.write_expression(name)
    cohort.write_embeddings(name, {"embeddings": cohort.features[name]})


def test_ten_spots_are_enough_to_score_and_to_train_and_nine_are_not(tmp_path):
    for spots, scored in ((10, 2), (9, 1)):
        folder = tmp_path / f"tested{spots}"
        folder.mkdir()
        cohort = Cohort(folder)
        cut(cohort, "a2", spots)
        assert cohort.evaluate("strict")[0].row["n_test_samples"] == scored
    for spots, note in ((10, ""), (9, "9 training spots, at least 10 are needed")):
        folder = tmp_path / f"trained{spots}"
        folder.mkdir()
        cohort = Cohort(folder, donor_of={"a": "A", "b": "B"})
        cut(cohort, "b", spots)
        assert cohort.evaluate("hest_exact")[0].row["note"] == note


def test_a_gene_never_counted_in_the_test_sample_is_undefined_whether_or_not_the_table_lists_it(cohort):
    silent = cohort.genes().index(cohort.fold("strict", number=0)[0][3])
    for name in ("a1", "a2"):
        cohort.counts[name][:, silent] = 0
        cohort.write_expression(name)
    listed = cohort.evaluate()[0]
    for name in ("a1", "a2"):
        genes = [gene for column, gene in enumerate(cohort.genes()) if column != silent]
        cohort.counts[name] = np.delete(cohort.counts[name], silent, axis=1)
        cohort.write_expression(name, genes=genes)
    unlisted = cohort.evaluate()[0]
    assert listed.record == unlisted.record
    assert listed.row["pearson_undefined"] == 2
    assert listed.row["pearson_mean"] > 0.9
    assert listed.row["pearson_mean_zero"] == pytest.approx(listed.row["pearson_mean"] * 19 / 20, abs=1e-6)


def test_no_widely_expressed_gene_is_a_reason_and_not_a_crash(cohort):
    cohort.counts["b1"][:] = 0
    cohort.write_expression("b1")
    outcomes = cohort.evaluate("hest_exact")
    assert [outcome.row["note"] for outcome in outcomes] == [
        "no gene is counted in 10% of the spots of every sample it is chosen on"
    ] * 2


def test_the_mean_baseline_is_undefined_everywhere_and_scores_zero(cohort):
    for outcome in cohort.evaluate(probe="mean"):
        assert outcome.row["pearson_mean"] is None
        assert outcome.row["pearson_mean_zero"] == 0
        assert outcome.row["pearson_undefined"] == outcome.row["n_pearson"] == 40
        json.dumps(outcome.record, allow_nan=False)


def test_per_sample_scores_are_averaged_over_samples_then_genes(cohort):
    record = cohort.evaluate("strict")[0].record
    by_gene = [np.mean(list(gene["pearson_by_sample"].values())) for gene in record["genes"]]
    assert [gene["pearson"] for gene in record["genes"]] == pytest.approx(by_gene, abs=2e-6)
    assert record["pearson_mean"] == pytest.approx(np.mean(by_gene), abs=2e-6)
    assert set(record["genes"][0]["pearson_by_sample"]) == {"a1", "a2"}


@pytest.mark.parametrize("protocol", ["strict", "hest_exact"])
def test_the_null_is_of_the_test_spots_shuffled_within_samples_with_the_seed_of_the_cell(tmp_path, protocol):
    # Samples of unequal depth: where spots are pooled, what is kept between samples makes the null.
    cohort = Cohort(tmp_path)
    cohort.counts["a2"] *= 5
    cohort.write_expression("a2")
    chosen, (genes, prediction) = protocols.load(protocol), cohort.fold(protocol)
    test = [read_expression(cohort.expression[name], name) for name in ("a1", "a2")]
    target = np.concatenate([target_of(chosen.target, one, genes) for one in test])
    samples = np.repeat([0, 1], 50)
    units = samples if protocol == "strict" else np.zeros(100, int)
    rng, plain = np.random.default_rng(12), []
    for _ in range(400):
        shuffled = np.concatenate([prediction[rng.permutation(np.flatnonzero(samples == one))] for one in (0, 1)])
        plain.append(np.mean(pearson_by_unit(target, shuffled, units)))
    nulls = {}
    for seed in (1, 2):
        cell = Cell(TASK, protocol, "colour", "ridge", seed)
        record = evaluate(cell, cohort.splits(), cohort.expression, cohort.embeddings)[0].record
        nulls[seed] = record["null_means"]
        assert len(nulls[seed]) == chosen.permutations
        assert record["pearson_null95"] == pytest.approx(np.percentile(nulls[seed], 95), abs=2e-6)
        assert scipy.stats.ks_2samp(nulls[seed], plain).pvalue > 0.001
    assert nulls[1] != nulls[2]
    assert len(set(nulls[1])) == chosen.permutations, "every permutation is another"


@pytest.mark.parametrize("protocol", ["strict", "hest_exact"])
def test_genes_and_training_samples_are_in_alphabetical_order(tmp_path, protocol):
    cohort = Cohort(tmp_path, donor_of={"b2": "B", "c1": "C", "a9": "A", "b1": "B"})
    names = cohort.genes()[::-1]
    for name in cohort.donor_of:
        cohort.write_expression(name, genes=names)
    for outcome in cohort.evaluate(protocol):
        genes = [gene["gene"] for gene in outcome.record["genes"]]
        assert genes == sorted(genes)
        assert outcome.record["train"] == sorted(outcome.record["train"])
    counts = {name: read_expression(path, name) for name, path in cohort.expression.items()}
    cell, split = Cell(TASK, protocol, "colour", "ridge", seed=1), cohort.splits()["folds"][0]
    fold = assemble(cell, protocols.load(protocol), split, counts, cohort.embeddings)
    assert [sample.expression.sample_id for sample in fold.train] == ["b1", "b2", "c1"]


def test_the_strict_target_is_a_share_of_all_genes_and_an_empty_spot_is_zero(cohort):
    cohort.counts["a1"][3] = 0
    cohort.write_expression("a1")
    expression = read_expression(cohort.expression["a1"], "a1")
    target = target_of("log_share", expression, ["G05", "none", "G01"])
    counts = cohort.counts["a1"].astype(float)
    totals = counts.sum(1)
    totals[3] = 1
    np.testing.assert_allclose(target[:, 0], np.log1p(1e4 * counts[:, 5] / totals))
    np.testing.assert_allclose(target[:, 2], np.log1p(1e4 * counts[:, 1] / totals))
    assert np.isnan(target[:, 1]).all()
    assert target[3, 0] == 0
    np.testing.assert_allclose(target_of("log1p", expression, ["G01"])[:, 0], np.log1p(counts[:, 1]))


def test_candidates_are_counted_in_a_tenth_of_the_spots_of_every_sample(cohort):
    cohort.counts["a1"][:, 0] = 0
    cohort.counts["a1"][:5, 0] = 1  # 10 % of 50: enough
    cohort.counts["a2"][:, 1] = 0
    cohort.counts["a2"][:4, 1] = 9
    names = cohort.genes()
    names[2], names[3] = "BLANK_1", "NegControlProbe_2"
    samples = []
    for name in ("a1", "a2"):
        cohort.write_expression(name, genes=names)
        samples.append(read_expression(cohort.expression[name], name))
    found = candidates(samples, 0.1)
    assert "G00" in found
    assert set(names) - set(found) == {"G01", "BLANK_1", "NegControlProbe_2"}
    assert most_variable_genes(samples, 100, 0.1) == found


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
    joined = join(read_expression(cohort.expression["a1"], "a1"), read_embeddings(cohort.embeddings["a1"], 0))
    assert joined.expression.barcodes.tolist() == ["2x2", "11x2", "30x2"]
    np.testing.assert_array_equal(joined.features, cohort.features["a1"][[2, 11, 30]])
    np.testing.assert_array_equal(joined.expression.counts.toarray(), cohort.counts["a1"][[2, 11, 30]])


def test_scores_depend_on_the_join_so_a_wrong_one_would_show(cohort):
    samples = [
        join(read_expression(cohort.expression[n], n), read_embeddings(cohort.embeddings[n], 0)) for n in ("a1",)
    ]
    target = target_of("log_share", samples[0].expression, ["G01"])
    signal = (samples[0].features @ cohort.weights)[:, [1]]
    aligned = pearson_by_unit(target, signal, np.zeros(50, int))[0, 0]
    shifted = pearson_by_unit(np.roll(target, 1, axis=0), signal, np.zeros(50, int))[0, 0]
    assert aligned > 0.8
    assert abs(shifted) < 0.5


def test_stale_fold_files_go_and_others_stay(cohort, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("fold7.json", "folds.json"):
        (folder / name).write_text("{}")
    write_outcomes(cohort.evaluate(), folder / "scores.csv", folder)
    assert sorted(path.name for path in folder.iterdir()) == ["fold0.json", "fold1.json", "folds.json", "scores.csv"]


def write_record(folder, name, content):
    path = folder / f"{name}.record.json"
    path.write_text(json.dumps(content))
    return path


def test_the_reason_of_an_unavailable_encoder_reaches_the_table(cohort):
    cohort.embeddings["a1"].write_bytes(REFUSED)
    cell = Cell(TASK, "strict", "ridge", "conch", seed=1)
    (outcome,) = evaluate(
        cell, cohort.splits(), cohort.expression, cohort.embeddings, {"a1": "its weights are gated: ask at the hub"}
    )
    assert outcome.row["note"].endswith("no embeddings of a1; its weights are gated: ask at the hub")


def test_the_script_writes_the_table_and_the_folds_and_the_same_bytes_again(cohort, tmp_path):
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps(cohort.splits()))
    row = {"task": "demo", "cohorts": "demo", "n_genes": "20", "notes": "simulated"}
    written = []
    for run in ("one", "two"):
        folder = tmp_path / run
        argv = ["--splits", splits, "--expression", *cohort.expression.values(), "--samples", *cohort.expression]
        argv += ["--embeddings", *cohort.embeddings.values(), "--task", json.dumps(row), "--protocol", "strict"]
        argv += ["--probe", "ridge", "--encoder", "vit-random", "--seed", "1", "--scores", folder / "scores.csv"]
        argv += ["--records", *[write_record(tmp_path, name, {"status": "accepted"}) for name in cohort.expression]]
        fit_probe.stage.run(fit_probe.work, [str(word) for word in argv])
        written.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert written[0] == written[1]
    assert list(written[0]) == ["fold0.json", "fold1.json", "scores.csv"]
    rows = list(csv.DictReader(written[0]["scores.csv"].decode().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [row["test_donors"] for row in rows] == ["A", "B"]
    assert {(row["note"], row["task_notes"]) for row in rows} == {("random weights", "simulated")}
    fold = json.loads(written[0]["fold0.json"])
    assert {"genes", "alpha", "alpha_curve", "choices", "components", "samples", "seed", "train", "test"} <= set(fold)
    assert fold["choices"]["fit"]["alpha_grid"][0] == 0.01


# --- names of genes -------------------------------------------------------------------------------

IDS = [f"ENSG{number:011d}" for number in range(GENES)]


def test_a_sample_that_names_its_genes_by_id_meets_the_others_by_id(tmp_path):
    cohort = Cohort(tmp_path)
    expected = cohort.evaluate()
    order = np.random.default_rng(3).permutation(GENES)
    for name in DONOR_OF:
        cohort.write_expression(name, gene_ids=IDS)
    cohort.counts["b1"] = cohort.counts["b1"][:, order]
    ids = [IDS[gene] for gene in order]
    cohort.write_expression("b1", genes=ids, gene_ids=ids)
    outcomes = cohort.evaluate()
    assert [outcome.row for outcome in outcomes] == [outcome.row for outcome in expected]
    for outcome, by_name in zip(outcomes, expected, strict=True):
        assert outcome.record["genes"] == by_name.record["genes"]  # under the names that the others display


def test_where_names_cannot_meet_the_note_says_so(tmp_path):
    cohort = Cohort(tmp_path)
    cohort.write_expression("b1", genes=IDS, gene_ids=IDS)
    notes = {outcome.row["note"] for outcome in cohort.evaluate(protocol="hest_exact")}
    assert len(notes) == 1
    note = notes.pop()
    assert "a1 calls its genes G00, G01 and b1 ENSG00000000000, ENSG00000000001" in note
    assert "gene_id" in note
    by_fold = {outcome.row["test_donors"]: outcome.row["note"] for outcome in cohort.evaluate()}
    assert by_fold["B"] == "none of the genes is in b1, by name or by gene_id"


def test_names_of_most_samples_are_shown_and_stay_unique():
    names = [["A", "B", "C"], ["A", "B", "C"], ["ENSG00000000001", "B-1", "A"]]
    ids = [["ENSG00000000001", "ENSG00000000002", ""]] * 2 + [["ENSG00000000001", "ENSG00000000002", ""]]
    met = meeting_names(names, ids)
    assert met[:2] == names[:2]
    assert met[2] == ["ENSG00000000001", "B", "A"]  # another gene, without an id, is called A there already
    met = meeting_names([["T", "T-1", "T-2"], ["V", "U"]], [["E1", "E1", "E1"], ["E1", "E2"]])
    assert [len(set(of_sample)) for of_sample in met] == [3, 2]
    assert met[1] == ["T", "U"]


def test_gene_lists_of_one_sample_are_sorted_like_those_of_several(tmp_path):
    cohort = Cohort(tmp_path)
    turned = cohort.genes()[::-1]
    cohort.write_expression("a1", genes=turned)
    sample = read_expression(cohort.expression["a1"], "a1")
    assert candidates([sample], 0.1) == sorted(candidates([sample], 0.1))
    assert most_variable_genes([sample], 20, 0.1) == sorted(most_variable_genes([sample], 20, 0.1))
    assert len(most_variable_genes([sample], 20, 0.1)) == 20


def test_embeddings_of_the_fold_go_before_those_for_all_folds(cohort):
    """A file may hold both: what was trained for the fold is what the encoder is."""
    noise = np.random.default_rng(3)
    for name, features in cohort.features.items():
        blind = noise.normal(size=features.shape).astype(np.float32)
        cohort.write_embeddings(name, {"fold0/embeddings": features, "embeddings": blind})
    first, second = cohort.evaluate()
    assert first.row["pearson_mean"] > 0.9
    assert abs(second.row["pearson_mean"]) < 0.2
