"""EGN, EGN version 2 and iStar as methods: where exemplars come from, what settings do, what is refused and why."""

import math
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from learned import PITCH_PX, UM_PER_PX, cohort, pictured

from spotweave import methods
from spotweave.io import file_hash
from spotweave.methods import CannotPredict, Job
from spotweave.methods.egnv1 import rate_at
from spotweave.networks.disks import SUPERPIXEL_PX

GUIDED = ("egnv1", "egnv2")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fit(kind, training, seed=0, **cells):
    row = {"method": kind, "kind": kind, "preset": "tiny", "epochs": "2", **cells}
    return methods.load(kind).fit(training, row, Job(seed))


def module(kind):
    return methods.load(kind)


@pytest.mark.parametrize("kind", GUIDED)
def test_exemplars_are_of_other_samples_and_the_nearest(kind, tmp_path):
    data = cohort(tmp_path)
    fitted = fit(kind, data)
    bank = fitted.network
    assert fitted.settings["sections"] == ["a", "b"]
    assert bank.section.tolist() == [0] * 18 + [1] * 14
    distance = {"egnv1": 2, "egnv2": 1}[kind]
    test, _ = pictured(tmp_path, "c", 9, columns=4, seed=7)
    method = module(kind)._method(*([module(kind).PRESETS] if kind == "egnv1" else []))
    for sample, allowed in ((data.samples[0].sample, [1]), (data.samples[1].sample, [0]), (test, [0, 1])):
        seen = method._shown(bank, sample, fitted.settings)
        assert set(bank.section[seen.near].flatten().tolist()) <= set(allowed)
        far = torch.cdist(seen.features.double(), bank.features.double(), p=distance)
        far[:, ~torch.isin(bank.section, torch.tensor(allowed))] = math.inf
        assert torch.equal(far.argsort(dim=1)[:, :3].flip(1), seen.near)


@pytest.mark.parametrize("kind", GUIDED)
def test_spots_that_choose_the_epoch_are_no_exemplars(kind, tmp_path):
    data = cohort(tmp_path)
    blocks = [replace(known, inner_folds=np.arange(len(known.totals)) % 2) for known in data.samples]
    fitted = fit(kind, replace(data, samples=blocks), epochs="3")
    assert fitted.details["chosen_by"] == "16 held-out training spots"
    assert -1 <= fitted.details["held_out_pearson"] <= 1
    learned = [known.expression[known.inner_folds == 1] for known in blocks]
    np.testing.assert_allclose(fitted.network.expression, fitted.scaling.learned(np.concatenate(learned)), atol=1e-6)
    # Held out, one of two samples would leave the other without exemplars: the last epoch is kept instead.
    assert fit(kind, data).details["chosen_by"] == "the last epoch"


@pytest.mark.parametrize("kind", GUIDED)
def test_what_exemplars_express_is_part_of_what_is_said(kind, tmp_path):
    data = cohort(tmp_path)
    test, _ = pictured(tmp_path, "c", 9, columns=4, seed=7)
    fitted = fit(kind, data)
    before = fitted.predict(test)
    fitted.network.expression.copy_(fitted.network.expression.flip(0))
    assert np.abs(fitted.predict(test) - before).max() > 1e-4


@pytest.mark.parametrize("kind", GUIDED)
def test_one_training_sample_has_no_exemplars_and_says_so(kind, tmp_path):
    data = cohort(tmp_path)
    with pytest.raises(CannotPredict, match="no other training sample to take exemplars from"):
        fit(kind, replace(data, samples=data.samples[:1]))


@pytest.mark.parametrize("kind", GUIDED)
def test_published_behaviour_runs_where_the_original_does_and_says_something_else(kind, tmp_path):
    with pytest.raises(CannotPredict, match="the published search wants 18 spots of every sample, and b has 14"):
        fit(kind, cohort(tmp_path / "uneven"), behaviour="published")
    data = cohort(tmp_path, sizes=(16, 16))
    mended, published = fit(kind, data), fit(kind, data, behaviour="published")
    assert (published.details["behaviour"], mended.details["behaviour"]) == ("published", "mended")
    sample = data.samples[0].sample
    assert np.abs(published.predict(sample) - mended.predict(sample)).max() > 1e-3
    assert published.network.spread == 1
    if kind == "egnv1":
        assert (published.settings["size_px"], mended.settings["size_px"]) == (64, 32)  # 8 x 8 tokens, and 4 x 4
        torch.testing.assert_close(published.network.mean.flatten(), torch.tensor([0.5476, 0.5218, 0.6881]))


def test_the_second_version_as_published_cannot_take_more_genes_than_channels(tmp_path):
    data = cohort(tmp_path, sizes=(16, 16), genes=49)
    assert fit("egnv2", data).predict(data.samples[0].sample).shape == (16, 49)
    with pytest.raises(CannotPredict, match="49 genes, but it reads their expression from 48 hidden channels"):
        fit("egnv2", data, behaviour="published")


def test_what_the_second_version_says_of_a_spot_goes_with_its_neighbours_and_the_firsts_does_not(tmp_path):
    data = cohort(tmp_path)
    test, _ = pictured(tmp_path, "c", 9, columns=4, seed=7)
    few = replace(test, spots=test.spots[:2], positions_px=test.positions_px[:2])
    apart = {}
    for kind in (*GUIDED, "istar"):
        fitted = fit(kind, data)
        apart[kind] = np.abs(fitted.predict(few) - fitted.predict(test)[:2]).max()
    assert apart["egnv2"] > 1e-3
    assert apart["egnv1"] < 1e-5 and apart["istar"] < 1e-5


@pytest.mark.parametrize("kind", GUIDED)
def test_a_trunk_of_given_weights_finds_its_own_exemplars_and_is_named(kind, tmp_path):
    data = cohort(tmp_path)
    first = fit(kind, data)
    assert first.details["weights"] == "random; trunk test_resnet random"
    path = tmp_path / "trunk.safetensors"
    state = fit(kind, data, seed=5).network.trunk.model.state_dict()
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    given = fit(kind, data, trunk_weights=str(path))
    assert given.details["weights"] == f"random; trunk test_resnet of SHA-256 {file_hash(path)}"
    assert torch.equal(given.network.trunk.model.conv1[0].weight, state["conv1.0.weight"])
    with pytest.raises(CannotPredict, match=r"no/such\.safetensors"):
        fit(kind, data, trunk_weights="no/such.safetensors")
    path.write_bytes(b"damaged")
    with pytest.raises(CannotPredict, match=r"trunk\.safetensors does not hold weights of test_resnet"):
        fit(kind, data, trunk_weights=str(path))


def test_the_rate_warms_up_and_falls_to_a_fifth_twice_an_epoch():
    settings = {"rate": 5.0, "warm_up": 4}
    rates = [rate_at(settings, done, 20) for done in range(24)]
    assert rates[:4] == pytest.approx([1.25, 2.5, 3.75, 5.0])
    assert rates[4] == rates[14] == pytest.approx(5.0)  # a new cosine every 10 of 20 steps
    assert rates[9] == pytest.approx(3.0)
    assert np.all(np.diff(rates[4:14]) < 0) and rates[13] > 1.0
    assert rate_at(settings, 100, 1) == pytest.approx(5.0)


@pytest.mark.parametrize(("kind", "expected"), [("egnv1", 135_041_329), ("egnv2", 12_099_346)])
def test_the_published_preset_is_of_the_published_size(kind, expected):
    method = module(kind)._method(*([module(kind).PRESETS] if kind == "egnv1" else []))
    with torch.device("meta"):
        network = method.build({**method.presets["published"], "behaviour": "mended"}, 785)
    assert sum(one.numel() for one in network.parameters()) == expected


# --- iStar ----------------------------------------------------------------------------------------


def test_the_disk_is_half_a_pitch_wide_unless_a_row_says_otherwise(tmp_path):
    data = cohort(tmp_path)
    fitted = fit("istar", data)
    assert fitted.details["spot_um"] == pytest.approx(PITCH_PX * UM_PER_PX / 2)
    sample = data.samples[0].sample
    whole = fitted.network
    covered = {um: whole.disks(sample, {**fitted.settings, "spot_um": um, "size_px": 96}).shape[1] for um in (2, 8, 99)}
    # 16 um are shown in 6 x 6 superpixels: the innermost 4, those within 1.5 of the centre, and all.
    within = sum((x + 0.5) ** 2 + (y + 0.5) ** 2 <= 1.5**2 for x in range(-3, 3) for y in range(-3, 3))
    assert covered == {2: 4, 8: within, 99: 36}
    assert SUPERPIXEL_PX * 6 == 96
    assert fit("istar", data, spot_um="7.5").details["spot_um"] == 7.5


def test_samples_of_other_pixel_sizes_are_learned_together(tmp_path):
    data = cohort(tmp_path)
    coarse, _ = pictured(tmp_path, "c", 8, seed=3, size=64)
    known = replace(data.samples[0], sample=coarse, expression=data.samples[0].expression[:8])
    known = replace(known, counts=known.counts[:8], totals=known.totals[:8], inner_folds=known.inner_folds[:8])
    mixed = replace(data, samples=[*data.samples, known])
    fitted = fit("istar", mixed, spot_um="30")
    assert np.isfinite(fitted.predict(coarse)).all()
    assert fitted.details["features"] == "colour statistics"


def test_fewer_than_sixteen_spots_run_only_where_mended(tmp_path):
    data = cohort(tmp_path, sizes=(8, 7), inner=False)
    assert fit("istar", data).predict(data.samples[1].sample).shape == (7, 8)
    with pytest.raises(CannotPredict, match="at least 16 are needed"):
        fit("istar", data, behaviour="published")


def test_nothing_is_said_below_the_least_of_training(tmp_path):
    data = cohort(tmp_path)
    test, _ = pictured(tmp_path, "c", 9, columns=4, seed=7)
    low = np.concatenate([known.expression for known in data.samples]).min(axis=0)
    assert (fit("istar", data).predict(test) >= low - 1e-9).all()
