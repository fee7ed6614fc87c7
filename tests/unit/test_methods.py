"""Methods without a probe: the floors against closed forms and scikit-learn, and one contract for every kind."""

import json
from dataclasses import replace

import fit_method
import h5py
import numpy as np
import pytest
from benchmark_cohort import TASK, Cohort
from sklearn.neighbors import KNeighborsRegressor

from project import ROOT
from spotweave import methods, metrics, protocols
from spotweave.benchmark.choosing import choose_genes
from spotweave.benchmark.method_fitting import predict_fold
from spotweave.benchmark.method_inputs import Inputs
from spotweave.benchmark.predictions import read_prediction, write_prediction
from spotweave.benchmark.scoring import Scoring, score_fold
from spotweave.benchmark.targets import Targets
from spotweave.benchmark.tasks import Task
from spotweave.folds import rows_of
from spotweave.methods import METHODS, PATCHES, CannotPredict, Job, Pictures, Sample, Training, TrainingSample
from spotweave.plan.models import method_columns
from spotweave.plan.options import without_remarks
from spotweave.tables.rows import read_table

ROWS = {
    name: without_remarks(row)
    for name, (_, row) in read_table(
        ROOT / "config/methods.csv",
        ROOT / "workflow/schemas/methods.schema.yaml",
        "method",
        method_columns(),
    )[0].items()
}
MEAN, NEIGHBOURS = ROWS["mean_expression"], ROWS["neighbours"]
SCALE = "log_share"
EVERY_GENE = Task("demo", 60, None, 0.1, "simulated")  # nothing to choose: fast


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path)


def known(name, positions_px, expression):
    """A training sample of which only places and expression matter."""
    count = len(positions_px)
    spots = [f"{name}{row}" for row in range(count)]
    sample = Sample(name, name.upper(), spots, np.asarray(positions_px, float))
    blank = np.zeros(count)
    return TrainingSample(
        sample, np.asarray(expression, float), np.asarray(expression, float), blank, blank.astype(int)
    )


def training(*samples):
    genes = [f"G{number}" for number in range(samples[0].expression.shape[1])]
    return Training(samples, genes, SCALE, "sample")


def drawn(seed=0, spots=(40, 25), genes=3):
    """Two samples at places without equal distances."""
    rng = np.random.default_rng(seed)
    return training(
        *(
            known(name, rng.uniform(0, 900, (count, 2)), rng.normal(2, 1, (count, genes)))
            for name, count in zip("ab", spots, strict=True)
        )
    )


def sample_at(positions_px, name="a"):
    return Sample(name, name.upper(), [f"t{row}" for row in range(len(positions_px))], np.asarray(positions_px, float))


def neighbours(data, count):
    return methods.load("neighbours").fit(data, {**NEIGHBOURS, "neighbours": str(count)}, Job(0))


# --- the kinds ------------------------------------------------------------------------------------


def test_the_mean_is_over_spots_and_not_over_samples():
    data = training(known("a", np.zeros((3, 2)), [[1, 0], [2, 0], [3, 0]]), known("b", np.zeros((1, 2)), [[10, 4]]))
    fitted = methods.load("mean_expression").fit(data, MEAN, Job(0))
    assert fitted.predict(sample_at(np.zeros((2, 2)), "c")).tolist() == [[4, 1], [4, 1]]


@pytest.mark.parametrize("count", [1, 6, 40])
def test_neighbours_are_those_of_scikit_learn(count):
    data = drawn()
    positions = np.random.default_rng(5).uniform(-100, 1000, (30, 2))
    one = data.samples[0]
    peer = KNeighborsRegressor(count, algorithm="brute").fit(one.sample.positions_px, one.expression)
    found = neighbours(data, count).predict(sample_at(positions))
    np.testing.assert_allclose(found, peer.predict(positions), atol=1e-12)


def test_more_neighbours_than_there_are_is_their_mean():
    data = drawn()
    found = neighbours(data, 99).predict(sample_at([[3, 4], [800, 1]], "b"))
    np.testing.assert_allclose(found, np.tile(data.samples[1].expression.mean(0), (2, 1)))


def test_spots_as_near_as_the_last_neighbour_are_averaged_with_it_whatever_their_order():
    """On a grid of 0.1, whose distances are equal but for rounding: 4 spots at one step, 4 at the diagonal."""
    steps = np.array([(x, y) for x in range(-2, 3) for y in range(-2, 3) if (x, y) != (0, 0)])
    level = np.abs(steps).sum(axis=1) + 10 * (np.abs(steps).max(axis=1) > 1)
    values = np.random.default_rng(1).normal(size=(len(steps), 2))
    for order in (np.arange(24), np.random.default_rng(2).permutation(24)):
        data = training(known("a", 0.1 * (steps + 7)[order], values[order]))
        for count, reached in ((1, level <= 1), (4, level <= 1), (5, level <= 2), (8, level <= 2)):
            found = neighbours(data, count).predict(sample_at([[0.7, 0.7]]))
            np.testing.assert_allclose(found[0], values[reached].mean(axis=0))


def test_a_sample_without_training_spots_has_no_neighbours():
    with pytest.raises(CannotPredict, match="no training spot lies in a test sample"):
        neighbours(drawn(), 6).predict(sample_at([[1, 1]], "c"))


# Learned ones keep a contract of their own (test_learned_methods.py).
@pytest.mark.parametrize("method", [name for name, row in ROWS.items() if "preset" not in row])
def test_every_floor_of_the_table_keeps_the_contract(method, tmp_path):
    row = ROWS[method]
    needs = methods.needs(row, PATCHES)

    def pictured(sample):
        """With patches that tell where a spot lies, if the kind asks for any."""
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        shades = (sample.positions_px % 251).astype(np.uint8)
        images = np.repeat(shades[:, :1], 3, axis=1)[:, None, None, :] * np.ones((1, 8, 8, 1), np.uint8)
        return replace(sample, pictures=Pictures(patch_file(folder, sample.spots, images))) if needs else sample

    plain = drawn(genes=4)
    data = replace(plain, samples=[replace(known, sample=pictured(known.sample)) for known in plain.samples])
    data.samples[0].expression[:, 1] = data.samples[1].expression[:, 1] = 3.25  # a constant gene
    data.samples[0].expression[:, 2] = data.samples[1].expression[:, 2] = 0  # and one that is never counted
    positions = np.random.default_rng(8).uniform(0, 900, (9, 2))
    fitted = methods.load(row["kind"]).fit(data, row, Job(3))
    found = fitted.predict(pictured(sample_at(positions)))
    assert found.shape == (9, 4) and np.isfinite(found).all()
    np.testing.assert_allclose(found[:, 1:3], [[3.25, 0]] * 9, atol=1e-6)
    np.testing.assert_allclose(fitted.predict(pictured(sample_at(positions[::-1])))[::-1], found, atol=1e-6)
    for few in (1, 2):
        np.testing.assert_allclose(fitted.predict(pictured(sample_at(positions[:few]))), found[:few], atol=1e-6)
    again = methods.load(row["kind"]).fit(data, row, Job(3))
    assert np.array_equal(again.predict(pictured(sample_at(positions))), found)
    json.dumps(dict(fitted.details), allow_nan=False)


def test_every_kind_has_a_row():
    assert {row["kind"] for row in ROWS.values()} == set(METHODS.names())


# --- a fold ---------------------------------------------------------------------------------------


def within(cohort, blocks=2):
    """Splits within each sample: bands of its ten columns, each tested once, the other bands trained on."""
    names = sorted(cohort.donor_of)
    folds = []
    for number in range(blocks):
        tested = {
            name: [spot for row, spot in enumerate(cohort.barcodes(name)) if row % 10 * blocks // 10 == number]
            for name in names
        }
        donors = sorted(set(cohort.donor_of.values()))
        folds.append({"fold": number, "test_donors": donors, "train": names, "test": names, "test_spots": tested})
    return {**cohort.splits(), "folds": folds}


def choose(cohort, protocol="strict", splits=None, task=EVERY_GENE):
    path = cohort.folder / f"targets.{protocol}.h5"
    choose_genes(task, protocols.load(protocol), splits or cohort.splits(), cohort.expression, path)
    return path


def predict(cohort, row, fold=0, protocol="strict", splits=None, pictures=None, task=EVERY_GENE):
    splits = splits or cohort.splits()
    with Targets(choose(cohort, protocol, splits, task)) as targets:
        return predict_fold(row, protocol, fold, splits, targets, Inputs(pictures or {}), Job(1))


def score(cohort, prediction, fold, splits, protocol="strict"):
    """The row and the scores of a prediction, on the targets it was made from."""
    path = cohort.folder / "scored.h5"
    write_prediction(path, prediction)
    scoring = Scoring(splits, protocol, ["pearson"], 1, 1000.0)
    with Targets(cohort.folder / f"targets.{protocol}.h5") as targets:
        labels = {**scoring.labels(), "predictor": prediction.choices["predictor"], "fold": fold}
        row, table = score_fold(scoring, targets, labels, path)
    return row, table.to_pandas()


@pytest.mark.parametrize("protocol", ["strict", "hest_exact"])
def test_the_mean_of_a_fold_is_that_of_its_training_donors_on_the_protocols_scale(cohort, protocol):
    found = predict(cohort, MEAN, protocol=protocol)
    counts = np.concatenate([cohort.counts[name] for name in ("b1", "b2")])
    totals = counts.sum(axis=1, keepdims=True)
    scaled = np.log1p(counts if protocol == "hest_exact" else 1e4 * counts / totals).mean(axis=0)
    expected = [scaled[cohort.genes().index(gene)] for gene in found.genes]
    np.testing.assert_allclose(found.values, np.tile(expected, (100, 1)), rtol=1e-6)
    assert found.spots == cohort.barcodes("a1") + cohort.barcodes("a2")
    assert found.samples == ["a1"] * 50 + ["a2"] * 50
    row, scores = score(cohort, found, 0, cohort.splits(), protocol)
    assert (row.status, row.encoder, row.probe, row.n_train_spots) == ("scored", None, None, 100)
    assert len(scores) == 60 * (2 if protocol == "strict" else 1)
    summary = metrics.load("pearson").summarise([scores["value"].to_numpy().reshape(-1, 60)])
    assert (np.isnan(summary["pearson_mean"]), summary["pearson_mean_zero"]) == (True, 0)


def test_a_gene_that_a_test_sample_lacks_is_predicted_all_the_same(cohort):
    lacking = cohort.genes().index(predict(cohort, MEAN).genes[4])
    cohort.counts["a1"] = np.delete(cohort.counts["a1"], lacking, axis=1)
    cohort.write_expression("a1", genes=[gene for row, gene in enumerate(cohort.genes()) if row != lacking])
    found = predict(cohort, MEAN)
    assert cohort.genes()[lacking] in found.genes and np.isfinite(found.values).all()


def test_neighbours_cannot_be_run_on_folds_by_donor_and_say_why(cohort):
    found = predict(cohort, NEIGHBOURS)
    assert (found.status, found.values.shape) == ("refused", (0, 0))
    assert found.reason == (
        "no training spot lies in a test sample: a fold that holds out whole samples leaves no neighbours"
    )
    row, scores = score(cohort, found, 0, cohort.splits())
    assert (row.status, row.reason) == ("refused", found.reason) and scores.empty


def test_a_task_of_one_donor_has_absent_folds_with_the_reason(tmp_path):
    found = predict(Cohort(tmp_path, donor_of={"a1": "A", "a2": "A"}), MEAN)
    assert (found.status, found.reason[:39]) == ("absent", "only donor A has accepted samples; a fo")


def test_nine_training_spots_are_too_few(tmp_path):
    cohort = Cohort(tmp_path, donor_of={"a": "A", "b": "B"})
    cohort.cut("b", 10)
    assert predict(cohort, MEAN).status == "predicted"
    cohort.cut("b", 9)
    assert predict(cohort, MEAN).reason == "9 training spots, at least 10 are needed"


# --- splits within a sample -----------------------------------------------------------------------


def smooth(cohort, seed=3):
    """Expression that goes with the place in the section: each gene a wave of its own."""
    rng = np.random.default_rng(seed)
    for name in cohort.donor_of:
        rows = np.arange(len(cohort.counts[name]))
        places = np.stack([rows % 10, rows // 10], 1)
        waves = np.cos(places @ rng.normal(0, 0.4, (2, 60)) + rng.uniform(0, 6, 60))
        cohort.counts[name] = rng.poisson(np.exp(4 + 0.6 * waves)).astype(np.float32)
        cohort.write_expression(name)


def test_within_a_sample_neighbours_run_and_find_what_is_smooth(cohort):
    smooth(cohort)
    splits = within(cohort, blocks=5)
    for fold in (0, 3):
        found = predict(cohort, NEIGHBOURS, fold, splits=splits)
        assert found.status == "predicted"
        tested = splits["folds"][fold]["test_spots"]
        assert found.spots == [spot for name in sorted(tested) for spot in tested[name]]
        assert found.choices["n_train_spots"] == 160
        row, scores = score(cohort, found, fold, splits)
        assert (row.status, row.n_test_spots) == ("scored", 40)
        assert scores["value"].mean() > 0.3


@pytest.mark.parametrize(("row", "task"), [(MEAN, EVERY_GENE), (NEIGHBOURS, TASK)], ids=["mean", "neighbours"])
def test_test_counts_change_neither_genes_nor_a_byte_of_a_prediction_within_a_sample(cohort, tmp_path, row, task):
    splits = within(cohort)
    written = []
    for factor in (0, 1):
        for name in cohort.donor_of:
            tested = rows_of(splits["folds"][1], "test", name, cohort.barcodes(name))
            mixed = np.random.default_rng(8).permutation(cohort.counts[name][tested] * 3 + 1, axis=1)
            cohort.counts[name][tested] = mixed if factor else cohort.counts[name][tested]
            cohort.write_expression(name)
        path = tmp_path / f"{factor}.h5"
        write_prediction(path, predict(cohort, row, 1, splits=splits, task=task))
        written.append(path.read_bytes())
    assert written[0] == written[1]
    # Its training counts do change it.
    cohort.counts["a1"][0] = cohort.counts["a1"][0] * 5 + np.arange(60)
    cohort.write_expression("a1")
    write_prediction(tmp_path / "other.h5", predict(cohort, row, 1, splits=splits, task=task))
    assert (tmp_path / "other.h5").read_bytes() != written[0]


def test_a_probe_too_is_trained_and_tested_on_its_own_side_of_a_sample(cohort):
    splits = within(cohort)
    outcome = cohort.evaluate(splits=splits)[1]
    assert (outcome.row.n_train_spots, outcome.row.n_test_spots) == (100, 100)
    assert outcome["pearson_mean"] > 0.9
    tested = rows_of(splits["folds"][1], "test", "a1", cohort.barcodes("a1"))
    cohort.counts["a1"][tested] = cohort.counts["a1"][tested][:, ::-1]
    cohort.write_expression("a1")
    again = cohort.evaluate(splits=splits)[1]
    assert np.array_equal(again.prediction.values, outcome.prediction.values)


def test_a_sample_on_both_sides_says_which_of_its_spots_are_tested(cohort):
    splits = within(cohort)
    del splits["folds"][0]["test_spots"]["b1"]
    with pytest.raises(ValueError, match="fold 0: b1 is on both sides, and test_spots does not say which"):
        predict(cohort, MEAN, splits=splits)
    splits["folds"][0]["test_spots"]["b1"] = ["77x77"]
    with pytest.raises(ValueError, match="fold 0: b1 has no spot '77x77', which test_spots lists"):
        predict(cohort, MEAN, splits=splits)


def test_a_prediction_of_a_spot_that_its_fold_trains_on_is_not_scored(cohort):
    splits = within(cohort)
    found = predict(cohort, MEAN, 0, splits=splits)
    with pytest.raises(ValueError, match="a1 0x2 is no test spot of fold 1"):
        score(cohort, found, 1, splits)


# --- the file -------------------------------------------------------------------------------------


def run_script(cohort, path, row=MEAN, fold=0):
    splits = cohort.write_splits()
    argv = ["--splits", splits, "--targets", choose(cohort), "--samples", *cohort.donor_of, "--fold", fold]
    argv += ["--protocol", "strict", "--predictor", json.dumps(row), "--seed", 7, "--prediction", path]
    fit_method.stage.run(fit_method.work, [*map(str, argv), "--patches", f"{cohort.folder}/none/{{sample}}.h5"])
    return path


def test_the_script_writes_the_same_bytes_and_every_choice(cohort, tmp_path):
    first, second = (run_script(cohort, tmp_path / name).read_bytes() for name in ("one.h5", "two.h5"))
    assert first == second
    said = dict(read_prediction(tmp_path / "one.h5").choices)
    assert json.loads(said.pop("protocol_choices")) == protocols.load("strict").as_record()
    assert said == {
        "task": "demo",
        "protocol": "strict",
        "predictor": "mean_expression",
        "method": "mean_expression",
        "kind": "mean_expression",
        "settings": "{}",
        "fold": 0,
        "seed": 7,
        "test_donors": "A",
        "train_samples": "b1 b2",
        "n_train_spots": 100,
    }
    refused = read_prediction(run_script(cohort, tmp_path / "none.h5", NEIGHBOURS))
    assert json.loads(refused.choices["settings"]) == {"neighbours": "6"}


# --- patches --------------------------------------------------------------------------------------


def with_patches(folder, names):
    return patch_file(
        folder, names, np.arange(len(names), dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    )


def patch_file(folder, names, images):
    path = folder / "patches.h5"
    with h5py.File(path, "w") as file:
        file["img"] = images
        file["coords"] = np.zeros((len(names), 2), np.int64)
        file["coords"].attrs["pixel_size"] = 0.25
        file.create_dataset("barcode", data=np.array(names, dtype=object)[:, None], dtype=h5py.string_dtype())
    return path


def test_a_sample_hands_out_the_patches_of_its_own_spots_in_their_order(tmp_path):
    path = with_patches(tmp_path, [f"s{row}" for row in range(7)])
    sample = Sample("a", "A", ["s1", "s2", "s6"], np.array([[4.0, 8], [0, 0], [2, 2]]), Pictures(path))
    batches = list(sample.images(batch=3))
    assert [len(batch) for batch in batches] == [2, 1]
    assert np.concatenate(batches)[:, 1, 1, 2].tolist() == [1, 2, 6]
    assert sample.positions_um[0].tolist() == [1, 2]
    for wrong in (["s1", "s9"], ["s2", "s1"]):
        with pytest.raises(ValueError, match="a: its patches are not those of its spots"):
            list(Sample("a", "A", wrong, np.zeros((2, 2)), Pictures(path)).images())


def test_a_kind_that_names_no_patches_gets_none(cohort, monkeypatch):
    seen = []

    class Module:
        def fit(self, training, row, job):
            seen.extend(one.sample.pictures for one in training.samples)
            return methods.load("mean_expression").fit(training, row, job)

    mean = methods.load("mean_expression")
    monkeypatch.setattr(methods, "load", lambda kind: Module() if kind == "mean_expression" and not seen else mean)
    predict(cohort, MEAN, pictures={name: Pictures(cohort.folder / name) for name in cohort.donor_of})
    assert seen == [None, None]
    with pytest.raises(ValueError, match="a: no patches, as the method does not name them in its NEEDS"):
        next(sample_at([[0, 0]]).images())
