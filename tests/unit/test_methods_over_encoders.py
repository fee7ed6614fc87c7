"""Learned methods over a frozen encoder: the contract in their smallest size, and what each keeps of itself."""

import json
import shutil
from dataclasses import replace

import fit_method
import h5py
import numpy as np
import pytest
import torch
from benchmark_cohort import Cohort
from learned import embedded, embedded_cohort
from test_learned_methods import KINDS, TINY, Killed, scores

from spotweave import methods, protocols
from spotweave.benchmark.choosing import choose_genes
from spotweave.benchmark.method_fitting import predict_fold
from spotweave.benchmark.method_inputs import Inputs
from spotweave.benchmark.predictions import read_prediction, write_prediction
from spotweave.benchmark.targets import Targets
from spotweave.benchmark.tasks import Task
from spotweave.io import read_json, write_json, write_refused
from spotweave.learning import vectors
from spotweave.learning.epochs import Epochs
from spotweave.methods import METHODS, PATCHES, CannotPredict, Job, Sample, Vectors

OVER = [kind for kind in KINDS if METHODS.constant(kind, "ENCODER", False) is True]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def over(kind, **changes):
    return {**TINY[kind], "encoder": "some-encoder", **changes}


def fit(kind, training, seed=0, scratch=None, **changes):
    return methods.load(kind).fit(training, over(kind, **changes), Job(seed, scratch=scratch))


def test_which_kinds_can_and_why_the_others_cannot():
    assert OVER == ["deep_pt", "egnv1", "egnv2", "hist2st", "histogene", "st_net", "thitogene"]
    for kind in set(KINDS) - set(OVER):
        assert len(METHODS.constant(kind, "ENCODER", "")) > 20
    assert methods.needs(TINY["st_net"], PATCHES) and not methods.needs(over("st_net"), PATCHES)


@pytest.mark.parametrize("kind", OVER)
def test_thirty_two_spots_are_learned_from_vectors_alone(kind):
    data = embedded_cohort(inner=False)
    fitted = fit(kind, data)
    found = np.concatenate([fitted.predict(known.sample) for known in data.samples])
    assert scores(np.concatenate([known.expression for known in data.samples]), found) > 0.9
    assert fitted.details["weights"] == "random, over frozen vectors of some-encoder"
    assert not any("trunk." in name for name in fitted.network.state_dict())


@pytest.mark.parametrize("kind", OVER)
def test_a_seed_repeats_disk_changes_nothing_and_few_spots_do(kind, tmp_path):
    data = embedded_cohort()
    test, _ = embedded("c", 9, columns=4, seed=7)
    fitted = fit(kind, data, epochs="2")
    found = fitted.predict(test)
    assert found.shape == (9, 8) and np.isfinite(found).all()
    assert np.array_equal(fit(kind, data, epochs="2").predict(test), found)
    assert not np.array_equal(fit(kind, data, seed=1, epochs="2").predict(test), found)
    fitted.save(tmp_path / "model")
    assert np.array_equal(methods.load(kind).load(tmp_path / "model").predict(test), found)
    for few in (1, 2):
        part = replace(test, spots=test.spots[:few], positions_px=test.positions_px[:few])
        assert np.isfinite(fitted.predict(part)).all()
    lacking = replace(test, spots=[*test.spots[:8], "nobody"])
    with pytest.raises(CannotPredict, match="some-encoder has no embedding of 1 of 9 spots of c"):
        fitted.predict(lacking)


@pytest.mark.parametrize("kind", OVER)
def test_the_order_of_vectors_in_their_file_is_of_no_matter(kind):
    data = embedded_cohort()
    test, _ = embedded("c", 9, columns=4, seed=7)
    own = test.vectors
    turned = replace(
        own,
        rows={name: len(own.features) - 1 - row for name, row in own.rows.items()},
        features=own.features[::-1].copy(),
    )
    fitted = fit(kind, data, epochs="1")
    assert np.array_equal(fitted.predict(replace(test, vectors=turned)), fitted.predict(test))
    other = replace(
        own, features=own.features + np.random.default_rng(0).normal(0, 0.02, own.features.shape).astype("f4")
    )
    assert not np.allclose(fitted.predict(replace(test, vectors=other)), fitted.predict(test), atol=1e-6)


@pytest.mark.parametrize("kind", OVER)
def test_a_training_that_is_killed_goes_on_to_the_same_predictions(kind, tmp_path, monkeypatch):
    data = embedded_cohort()
    whole = fit(kind, data, epochs="3")
    keep, done = Epochs._keep, []

    def dies(self, *args):
        keep(self, *args)
        done.append(1)
        if len(done) == 2:
            raise Killed

    monkeypatch.setattr(Epochs, "_keep", dies)
    with pytest.raises(Killed):
        fit(kind, data, epochs="3", scratch=tmp_path)
    again = fit(kind, data, epochs="3", scratch=tmp_path)
    assert len(done) == 3
    for known in data.samples:
        assert np.array_equal(again.predict(known.sample), whole.predict(known.sample))
    # Vectors that changed are another training.
    first = data.samples[0]
    moved = replace(first.sample.vectors, features=first.sample.vectors.features * 2)
    samples = [replace(first, sample=replace(first.sample, vectors=moved)), *data.samples[1:]]
    fit(kind, replace(data, samples=samples), epochs="3", scratch=tmp_path)
    assert len(done) == 6


def test_st_net_over_an_encoder_begins_at_the_mean_and_descends_to_least_squares():
    """Linear in the vectors, with squared error: what it ends at is known in closed form."""
    data = embedded_cohort(inner=False)
    shown = np.concatenate([known.sample.embedded() for known in data.samples]).astype(float)
    shift, spread = vectors.measured(torch.from_numpy(shown))
    np.testing.assert_allclose(shift, shown.mean(axis=0), rtol=1e-6)
    assert float(spread) == pytest.approx(np.sqrt(np.square(shown - shown.mean(axis=0)).mean()), rel=1e-5)
    fitted = fit("st_net", data, epochs="400")
    truth = np.concatenate([known.expression for known in data.samples])
    design = np.column_stack([(shown - shown.mean(axis=0)) / float(spread), np.ones(len(shown))])
    least = design @ np.linalg.lstsq(design, truth, rcond=0.05)[0]  # without the directions that are noise
    found = np.concatenate([fitted.predict(known.sample) for known in data.samples])
    assert np.abs(found - least).max() < 0.05 * truth.std()
    assert fitted.details["parameters"] == 24 * 8 + 8


def test_sizes_over_an_encoder_of_1024_numbers():
    """Parameters of the published sizes at 785 genes: their own, less the trunk, with a map of the vector."""

    def count(kind, **said):
        module = methods.load(kind)
        method = module._method(module.PRESETS) if kind == "egnv1" else module._method()
        settings = {**module.PRESETS["published"], "behaviour": "mended", "vector_dim": 1024, **said}
        with torch.device("meta"):
            return sum(one.numel() for one in method.build(settings, 785).parameters())

    dim, genes = 1024, 785
    assert count("st_net") == dim * genes + genes
    # Published: 26,273,105, of which 23,508,032 are the trunk; the autoencoder's 2 * 2048 * 512 + 2560 become these.
    assert count("deep_pt") == 26_273_105 - 23_508_032 - (2 * 2048 * 512 + 2560) + (2 * dim * 512 + 512 + dim)
    assert count("histogene") == 222_253_841 - 3 * 224 * 224 * 1024 + dim * 1024
    # Convolution of 7 px to 16 channels, two mixers of it, and the narrowing one.
    mixer = 2 * (25 * 16 + 16 + 32) + 16 * 16 + 16 + 32
    assert count("hist2st") == 229_154_567 - (3 * 49 * 16 + 16 + 2 * mixer + 16 * 2 + 2) + dim * 2048 + 2048
    assert count("egnv2", feature_dim=dim) == 12_099_346 + 2 * (dim - 512) * 512
    # Tokens of 32 px, 49 of them: less pixels, less places, less places in four spatial gates; longer features none.
    less = (3 * 32 * 32 - dim) * 1024 + 48 * 1024 + 4 * 48 * 8 * 1025
    assert count("egnv1", feature_dim=dim) == 135_041_329 - less - 2 * (2048 - dim) * 1024


# --- a fold ---------------------------------------------------------------------------------------

ROW = {**over("st_net", epochs="2"), "method": "st_net-over", "kind": "st_net"}


def fold(cohort, row=ROW, number=0, given=None):
    path = cohort.folder / "targets.h5"
    choose_genes(
        Task("demo", 60, None, 0.1, "simulated"), protocols.load("strict"), cohort.splits(), cohort.expression, path
    )
    given = given or Inputs(embeddings=cohort.embeddings)
    with Targets(path) as targets:
        return predict_fold(row, "strict", number, cohort.splits(), targets, given, Job(1))


def test_a_fold_names_the_encoder_and_looks_at_no_test_vector(tmp_path):
    cohort = Cohort(tmp_path)
    found = fold(cohort)
    assert (found.status, found.choices["encoder"], found.choices["predictor"]) == (
        "predicted", "some-encoder", "st_net-over",
    )  # fmt: skip
    assert "probe" not in found.choices and found.choices.get("note") is None
    assert json.loads(found.choices["settings"])["encoder"] == "some-encoder"
    write_prediction(tmp_path / "p.h5", found)
    assert read_prediction(tmp_path / "p.h5").choices["encoder"] == "some-encoder"
    assert fold(cohort, {**ROW, "encoder": "x-random"}).choices["note"] == "random weights"
    # Test vectors and test counts of one sample change what is said of it and nothing else.
    with h5py.File(cohort.embeddings["a1"], "r+") as file:
        file["embeddings"][...] = file["embeddings"][...][::-1] * 3
    cohort.counts["a1"] = cohort.counts["a1"][:, ::-1] * 2
    cohort.write_expression("a1")
    again = fold(cohort)
    own = np.array(found.samples) == "a1"
    assert np.array_equal(again.values[~own], found.values[~own])
    assert not np.allclose(again.values[own], found.values[own])


def test_the_script_reads_embeddings_and_records_of_each_sample(tmp_path):
    cohort = Cohort(tmp_path)
    fold(cohort)
    for name, path in cohort.embeddings.items():
        (tmp_path / name).mkdir()
        shutil.copy(path, tmp_path / name / "e.h5")
        write_json(tmp_path / name / "e.json", {"status": "written"})
    argv = ["--splits", cohort.write_splits(), "--targets", cohort.folder / "targets.h5", "--samples", *cohort.donor_of]
    argv += ["--fold", 0, "--protocol", "strict", "--predictor", json.dumps(ROW), "--seed", 1]
    argv += ["--embeddings", f"{tmp_path}/{{sample}}/e.h5", "--records", f"{tmp_path}/{{sample}}/e.json"]
    argv += ["--model", tmp_path / "model", "--prediction", tmp_path / "p.h5"]
    fit_method.stage.run(fit_method.work, list(map(str, argv)))
    assert np.array_equal(read_prediction(tmp_path / "p.h5").values, fold(cohort).values)
    assert read_json(tmp_path / "model/model.json")["settings"]["encoder"] == "some-encoder"
    write_refused(tmp_path / "b2/e.h5")
    write_json(tmp_path / "b2/e.json", {"status": "refused", "reason": "ask at the hub"})
    fit_method.stage.run(fit_method.work, list(map(str, argv)))
    assert read_prediction(tmp_path / "p.h5").reason.endswith("no embeddings of b2; ask at the hub")


def test_an_encoder_that_cannot_be_had_is_a_fold_that_is_not_run(tmp_path):
    cohort = Cohort(tmp_path)
    for path in cohort.embeddings.values():
        write_refused(path)
    given = Inputs(embeddings=cohort.embeddings, refusals={"a1": "ask for access"})
    found = fold(cohort, given=given)
    assert (found.status, found.reason) == (
        "refused", "the encoder is unavailable: no embeddings of any sample; ask for access",
    )  # fmt: skip
    assert found.choices["encoder"] == "some-encoder"


def test_embeddings_made_within_folds_are_those_of_the_fold(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("barcode", data=np.array([["s1"], ["s0"]], dtype=object), dtype=h5py.string_dtype())
        for number in (0, 1):
            file[f"fold{number}/embeddings"] = np.full((2, 3), number, np.float32) + np.arange(2)[:, None]
    given = Inputs(embeddings={"a": path})
    sample = Sample("a", "A", ["s0", "s1"], np.zeros((2, 2)), vectors=given.vectors("e", "a", 1))
    assert sample.embedded().tolist() == [[2, 2, 2], [1, 1, 1]]
    with pytest.raises(Exception, match="no embeddings of a for fold 2"):
        given.vectors("e", "a", 2)


def test_vectors_of_two_lengths_are_an_error():
    data = embedded_cohort()
    one = data.samples[1]
    short = Vectors("e", one.sample.vectors.rows, one.sample.vectors.features[:, :5])
    samples = [data.samples[0], replace(one, sample=replace(one.sample, vectors=short))]
    with pytest.raises(ValueError, match=r"are of 2 lengths: \[5, 24\]"):
        fit("st_net", replace(data, samples=samples))
    with pytest.raises(ValueError, match="a: no vectors, as the method's row names no encoder"):
        replace(data.samples[0].sample, vectors=None).embedded()


def test_hist2st_over_an_encoder_looks_once(monkeypatch):
    """A vector cannot be turned: nothing is laid in other ways."""
    from spotweave.learning import symmetries

    monkeypatch.setattr(symmetries, "laid", None)
    found = fit("hist2st", embedded_cohort(), epochs="1").settings
    assert (found["looks"], found["vector_dim"]) == (0, 24)
