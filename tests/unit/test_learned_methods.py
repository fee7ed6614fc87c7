"""What every learned method keeps, in its smallest size: it learns, repeats, resumes, and is the same from disk."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from learned import cohort, pictured
from scipy.stats import pearsonr

from project import ROOT
from spotweave import methods
from spotweave.learning import held_out, settings, symmetries
from spotweave.learning.epochs import Epochs
from spotweave.learning.scaling import Scaling
from spotweave.methods import METHODS, CannotPredict, Job
from spotweave.plan.models import method_columns
from spotweave.plan.options import without_remarks
from spotweave.tables.rows import read_table

TABLE = read_table(
    ROOT / "config/methods.csv", ROOT / "workflow/schemas/methods.schema.yaml", "method", method_columns()
)[0]
KINDS = [kind for kind in METHODS.names() if METHODS.constant(kind, "LEARNED", False)]
TINY = {row["kind"]: without_remarks(row) for _, row in TABLE.values() if row.get("preset") == "tiny"}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fit(kind, training, seed=0, scratch=None, **changes):
    return methods.load(kind).fit(training, {**TINY[kind], **changes}, Job(seed, scratch=scratch))


def scores(truth, found):
    return np.mean([pearsonr(*pair)[0] for pair in zip(truth.T, found.T, strict=True)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_a_row_of_its_smallest_size_and_all_presets(kind):
    assert kind in TINY
    presets = METHODS.constant(kind, "PRESETS")
    assert {*presets} == {"published", "reduced", "tiny"}
    assert presets["tiny"].keys() >= presets["published"].keys() - {"patience"}


@pytest.mark.parametrize("kind", KINDS)
def test_thirty_two_spots_are_learned(kind, tmp_path):
    data = cohort(tmp_path, inner=False)
    fitted = fit(kind, data)
    found = np.concatenate([fitted.predict(known.sample) for known in data.samples])
    assert scores(np.concatenate([known.expression for known in data.samples]), found) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_repeats_and_another_differs_and_disk_changes_nothing(kind, tmp_path):
    data = cohort(tmp_path)
    test, _ = pictured(tmp_path, "c", 9, columns=4, seed=7)
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


class Killed(Exception):
    pass


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_is_killed_goes_on_to_the_same_predictions(kind, tmp_path, monkeypatch):
    data = cohort(tmp_path)
    whole = fit(kind, data, epochs="4")
    keep, done = Epochs._keep, []

    def dies(self, *args):
        keep(self, *args)
        done.append(1)
        if len(done) == 2:
            raise Killed

    monkeypatch.setattr(Epochs, "_keep", dies)
    with pytest.raises(Killed):
        fit(kind, data, epochs="4", scratch=tmp_path / "scratch")
    again = fit(kind, data, epochs="4", scratch=tmp_path / "scratch")
    assert len(done) == 4  # two epochs were not trained again
    for known in data.samples:
        assert np.array_equal(again.predict(known.sample), whole.predict(known.sample))
    # A checkpoint of another seed is not gone on from.
    fit(kind, data, seed=5, epochs="4", scratch=tmp_path / "scratch")
    assert len(done) == 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_gene_and_one_never_counted_are_known_and_harm_nothing(kind, tmp_path):
    data = cohort(tmp_path)
    for known in data.samples:
        known.expression[:, 2], known.expression[:, 5] = 3.25, 0
        known.counts[:, 5] = 0
    found = fit(kind, data, epochs="2").predict(data.samples[0].sample)
    assert np.isfinite(found).all()
    assert (found[:, 2] == 3.25).all() and (found[:, 5] == 0).all()
    assert np.ptp(found[:, 0]) > 0


# --- what they share ------------------------------------------------------------------------------


def test_settings_are_the_presets_but_for_what_a_row_says():
    presets = {"tiny": {"epochs": 3, "rate": 0.1}}
    assert settings.settings_of({"preset": "tiny"}, presets) == {
        "epochs": 3, "rate": 0.1, "patch_um": None, "behaviour": "mended",
    }  # fmt: skip
    said = settings.settings_of({"preset": "tiny", "epochs": "7", "patch_um": "55", "behaviour": "published"}, presets)
    assert (said["epochs"], said["patch_um"], said["behaviour"]) == (7, 55.0, "published")


def test_scaling_goes_there_and_back_and_constant_genes_have_no_scale(tmp_path):
    data = cohort(tmp_path)
    data.samples[0].expression[:, 1] = data.samples[1].expression[:, 1] = 0.1 + 0.2
    both = np.concatenate([known.expression for known in data.samples])
    for standardise in (True, False):
        scaling = Scaling.of(data.samples, standardise=standardise)
        learned = scaling.learned(both)
        np.testing.assert_allclose(scaling.predicted(learned), both, atol=1e-6)
        assert (scaling.predicted(learned)[:, 1] == 0.1 + 0.2).all()
        assert scaling.varies.tolist() == [gene != 1 for gene in range(8)]
        if standardise:
            np.testing.assert_allclose(np.delete(learned, 1, axis=1).std(axis=0), 1, atol=1e-5)


def test_the_epoch_is_chosen_by_the_smallest_fair_share_of_whole_groups(tmp_path):
    data = cohort(tmp_path, sizes=(18, 14))
    learn, hold = held_out.split(data)
    assert ([one.sample.name for one in learn], [one.sample.name for one in hold]) == (["a"], ["b"])
    # Blocks within samples, one of them too small to choose by.
    folds = [np.array([0] * 9 + [1] * 7 + [2] * 2), np.array([0] * 9 + [1] * 5)]
    data = replace(data, samples=[replace(one, inner_folds=own) for one, own in zip(data.samples, folds, strict=True)])
    learn, hold = held_out.split(data)
    assert sum(len(one.totals) for one in hold) == 12
    assert {spot for one in learn for spot in one.sample.spots}.isdisjoint(
        spot for one in hold for spot in one.sample.spots
    )
    for one in (*learn, *hold):
        assert len(one.sample.positions_px) == len(one.expression) == len(one.sample.spots)
    assert held_out.split(cohort(tmp_path / "one", inner=False))[1] == []


def test_mean_pearson_is_scipys_and_constants_count_as_zero():
    draw = np.random.default_rng(0)
    truth, found = draw.normal(size=(30, 4)), draw.normal(size=(30, 4))
    expected = np.mean([pearsonr(truth[:, gene], found[:, gene])[0] for gene in range(4)])
    assert held_out.mean_pearson(truth, found) == pytest.approx(expected, abs=1e-12)
    found[:, 0], truth[:, 1] = 2.0, 1 / 3
    expected = np.mean([0, 0, *(pearsonr(truth[:, gene], found[:, gene])[0] for gene in (2, 3))])
    assert held_out.mean_pearson(truth, found) == pytest.approx(expected, abs=1e-12)


def test_the_eight_ways_to_lay_a_square_are_all_different_and_closed():
    image = torch.arange(2 * 9).reshape(1, 2, 3, 3).float()
    ways = {tuple(symmetries.laid(image, *way).flatten().tolist()) for way in symmetries.EIGHT}
    assert len(ways) == 8
    for way in symmetries.EIGHT:
        turned = symmetries.laid(image, *way)
        assert {tuple(symmetries.laid(turned, *other).flatten().tolist()) for other in symmetries.EIGHT} == ways
    drawn = symmetries.laid_at_random(image.repeat(4000, 1, 1, 1), torch.Generator().manual_seed(0))
    counts = np.unique(drawn.flatten(1).numpy(), axis=0, return_counts=True)[1]
    assert len(counts) == 8 and counts.min() > 430


def test_a_smaller_square_of_tissue_is_cut_out_of_the_middle_and_a_larger_one_refused(tmp_path):
    from spotweave.learning.images import read_images

    sample, _ = pictured(tmp_path, "a", 5, size=32)
    whole = read_images(sample, 32)
    assert np.array_equal(read_images(sample, 16, patch_um=8.0), whole[:, 8:24, 8:24])
    assert read_images(sample, 48, patch_um=16.0).shape == (5, 48, 48, 3)
    with pytest.raises(CannotPredict, match="it looks at 17 um, and patches are 16 um wide"):
        read_images(sample, 32, patch_um=17.0)
