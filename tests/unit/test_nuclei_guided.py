"""Candidates guided by a network: its file, what a tile costs it in accuracy (nothing), and whether it helps."""

import csv
import hashlib
import re

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from project import ROOT
from real_data import real
from spotweave.networks.nuclei_unet import REACH_PX, STRIDE, NucleiUNet
from spotweave.nuclei import NucleiSpec, NucleiUnavailable, training
from spotweave.nuclei.candidates import candidates
from spotweave.nuclei.choosing import FARTHEST_UM
from spotweave.nuclei.methods import classical, guided
from spotweave.nuclei.scoring import score, total
from spotweave.simulate import nuclei_slide

UM = 0.5
WEIGHTS = ROOT / "resources/nuclei_network/weights.safetensors"


def row():
    with open(ROOT / "config/nuclei.csv", newline="") as handle:
        return next(one for one in csv.DictReader(handle) if one["nuclei"] == "guided")


@pytest.fixture(scope="module")
def model():
    return guided.load(NucleiSpec.from_row(row()), folder=ROOT, device="cpu", seed=0)


def found(model, picture):
    """What is found on a picture that is a slide of its own."""
    return guided.segment(model.predict([picture])[0], um_per_px=UM, stain=model.measure([picture]))


def by_classical(picture):
    return classical.segment(picture, um_per_px=UM, stain=classical.measure_stain([picture], UM))


@pytest.fixture(scope="module")
def slide():
    return nuclei_slide.draw_slide(204, nuclei_slide.draw_look(np.random.default_rng(204)), size_um=(300.0, 300.0))


def test_the_file_is_the_one_that_row_and_card_name():
    sha256 = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    card = (WEIGHTS.parent / "card.md").read_text()
    assert row()["sha256"] == sha256
    assert re.search(r"^\| sha256 \| (\w+) \|$", card, re.MULTILINE)[1] == sha256
    parameters = sum(one.numel() for one in NucleiUNet().parameters())
    assert f"{parameters:,} parameters" in card


def test_weights_of_another_network_are_refused_in_one_line(tmp_path):
    others = {f"module.{name}": tensor for name, tensor in load_file(WEIGHTS).items()}
    save_file(others, tmp_path / "w.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("w", "text"):
        spec = NucleiSpec("guided", "guided", UM, weights="file", source=f"{name}.safetensors")
        with pytest.raises(NucleiUnavailable, match=rf"^[^\n]*{name}.safetensors does not hold weights[^\n]*$"):
            guided.load(spec, folder=tmp_path, device="cpu", seed=0)


def test_a_pixel_sees_no_further_than_is_said():
    network, side, at = NucleiUNet().eval(), 2 * STRIDE * (REACH_PX // STRIDE + 2), STRIDE * (REACH_PX // STRIDE + 2)
    picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    furthest = 0
    with torch.inference_mode():
        before = network(picture)
        for place in range(at, at + STRIDE):
            changed = picture.clone()
            changed[:, :, place, place] = 100
            differs = (network(changed) != before).any(dim=1)[0].nonzero() - place
            furthest = max(furthest, int(differs.abs().max()))
    assert 0.8 * REACH_PX <= furthest <= REACH_PX
    # What a nucleus in the core depends on lies within the tile, and what a strip's rows depend on within the strip.
    assert guided.STRIP_MARGIN_PX >= REACH_PX
    assert guided.STRIP_PX % STRIDE == guided.STRIP_MARGIN_PX % STRIDE == 0
    assert guided.Guided.margin_px >= FARTHEST_UM / UM / 2 + REACH_PX


def test_a_tall_tile_goes_through_in_strips_that_do_not_show(model, slide):
    """1,203 rows are three strips, and neither side is a multiple of the network's stride."""
    tall = np.ascontiguousarray(np.vstack([slide.rgb, slide.rgb[::-1], slide.rgb])[:1203, :301])
    padded = np.pad(tall, ((0, 5), (0, 3), (0, 0)), mode="reflect")
    with torch.inference_mode():
        picture = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 127.5 - 1
        whole = torch.sigmoid(model.network(picture))[0].permute(1, 2, 0).numpy()[:1203, :301]
    said = model.predict([tall])[0]
    assert (said[..., :3] == tall).all()
    assert np.abs(said[..., 3:] / 255 - whole).max() <= 0.5 / 255 + 1e-5


def test_what_is_found_does_not_depend_on_where_the_slide_is_cut(model, slide):
    stain = model.measure([slide.rgb])
    whole = guided.segment(model.predict([slide.rgb])[0], um_per_px=UM, stain=stain)
    top, left, margin = 5 * STRIDE, 7 * STRIDE, guided.Guided.margin_px
    part = guided.segment(model.predict([slide.rgb[top:, left:]])[0], um_per_px=UM, stain=stain)
    agree = score(whole[top + margin :, left + margin :], part[margin:, margin:])
    assert agree.matched > 40
    assert (agree.f1, agree.sq) == (1.0, pytest.approx(1.0, abs=1e-12))


def test_simulated_nuclei_are_found_better_than_without_the_network(model):
    """Slides of another program than the one the network learned from, of looks and sizes drawn at random."""
    with_it, without = [], []
    for seed in (1, 4, 10):
        look = nuclei_slide.draw_look(np.random.default_rng(seed))
        drawn = nuclei_slide.draw_slide(seed, look, size_um=(250.0, 250.0))
        with_it.append(score(drawn.labels, found(model, drawn.rgb)))
        without.append(score(drawn.labels, by_classical(drawn.rgb)))
    assert total(with_it).f1 >= 0.88
    assert total(with_it).f1 >= total(without).f1 + 0.03


@pytest.mark.parametrize(("patches", "least"), [(("gbm02", "gbm07"), 0.87), (("lgg05", "lgg07"), 0.80)])
def test_real_nuclei_are_found(model, patches, least):
    scores = []
    for name in patches:
        picture = cv2.imread(str(real("data", "nuclei_glioma", f"{name}.jpg")))[:, :, ::-1]
        labels = cv2.imread(str(real("data", "nuclei_glioma", f"{name}_labels.png")), cv2.IMREAD_UNCHANGED)
        small = cv2.resize(np.ascontiguousarray(picture), (256, 256), interpolation=cv2.INTER_AREA)
        truth = cv2.resize(labels, (256, 256), interpolation=cv2.INTER_NEAREST).astype(np.int32)
        scores.append(score(truth, found(model, small)))
    assert total(scores).f1 >= least


def test_pale_tumour_nuclei_are_found_that_red_alone_misses(model):
    """A quarter of a tile of serous carcinoma; its um/px, .45, is a guess."""
    picture = cv2.imread(str(real("data", "nuclei_hgsc", "nest.jpg")))[:750, :750, ::-1]
    labels = cv2.imread(str(real("data", "nuclei_hgsc", "nest_labels.png")), cv2.IMREAD_UNCHANGED)[:750, :750]
    small = cv2.resize(np.ascontiguousarray(picture), (675, 675), interpolation=cv2.INTER_AREA)
    truth = cv2.resize(labels.astype(np.uint16), (675, 675), interpolation=cv2.INTER_NEAREST).astype(np.int32)
    assert score(truth, found(model, small)).f1 >= score(truth, by_classical(small)).f1 + 0.05


def test_nothing_is_found_where_nothing_is_stained(model):
    blank = np.full((200, 210, 3), 240, np.uint8)
    assert model.measure([]) is None and model.measure([blank]) is None
    nothing = guided.instances(model.predict([blank])[0], um_per_px=UM, stain=None)
    assert nothing.labels.shape == (200, 210)
    assert nothing.labels.max() == len(nothing.classes) == len(nothing.probabilities) == 0


def test_the_probability_of_a_nucleus_is_the_networks_mean_over_it():
    said = np.full((80, 80, 5), 230, np.uint8)
    said[..., 3:] = 0
    for left, sure in ((10, 200), (50, 250)):
        rows, columns = np.ogrid[:80, :80]
        disc = (rows - 40) ** 2 + (columns - left - 10) ** 2 <= 64
        said[disc] = (90, 60, 140, sure, 200)
    stain = classical.measure_stain([said[..., :3]], UM)
    got = guided.instances(said, um_per_px=UM, stain=stain)
    assert got.labels.max() == 2
    order = [got.labels[40, 20] - 1, got.labels[40, 60] - 1]
    np.testing.assert_allclose(got.probabilities[order], [200 / 255, 250 / 255], atol=0.06)


def test_summits_are_moved_by_one_who_sees_two_nuclei_in_a_dark_zone():
    rows, columns = np.ogrid[:60, :100]
    bar = ((rows - 30) / 9) ** 2 + ((columns - 50) / 30) ** 2 <= 1
    red = np.where(bar, 0.0, 1.0).astype(np.float32)
    alone = candidates(red, UM, 0.0, 1.0)
    depth = sum(np.exp(-((rows - 30) ** 2 + (columns - x) ** 2) / 60.0) for x in (35, 65)).astype(np.float32) * 2.5
    told = candidates(red, UM, 0.0, 1.0, depth)
    assert alone.zone[30, 35] == alone.zone[30, 65]
    assert told.zone[30, 35] != told.zone[30, 65]


def test_the_loss_is_that_of_its_formula_and_asks_nothing_where_the_weight_is_0():
    rng = np.random.default_rng(3)
    logits = torch.from_numpy(rng.normal(size=(2, 2, 6, 7)).astype(np.float32))
    foreground, distance = (torch.from_numpy(rng.random((2, 6, 7)).astype(np.float32)) for _ in range(2))
    weight = torch.from_numpy(rng.choice([0.0, 1.0, 4.0], (2, 6, 7)).astype(np.float32))
    said = 1 / (1 + np.exp(-logits.numpy().astype(np.float64)))
    f, d, w = (one.numpy().astype(np.float64) for one in (foreground, distance, weight))
    entropy = -(f * np.log(said[:, 0]) + (1 - f) * np.log(1 - said[:, 0]))
    asked = w > 0
    dice = (2 * (said[:, 0] * f)[asked].sum() + 1) / (said[:, 0][asked].sum() + f[asked].sum() + 1)
    expected = (entropy * w).sum() / w.sum() + 0.5 * (1 - dice) + 2 * (np.abs(said[:, 1] - d) * w).sum() / w.sum()
    got = training.loss_of(logits, foreground, distance, weight)
    assert got.item() == pytest.approx(expected, rel=1e-5)
    elsewhere = torch.where(weight == 0, 1 - foreground, foreground)
    assert training.loss_of(logits, elsewhere, distance, weight).item() == got.item()


def test_training_gives_the_same_weights_again_and_they_load(tmp_path, monkeypatch):
    plan = training.Plan(scenes=2, steps=2, seed=1)
    for name in ("one", "again"):
        training.train(tmp_path / f"{name}.safetensors", plan)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    spec = NucleiSpec("guided", "guided", UM, weights="file", source="one.safetensors")
    monkeypatch.setattr(training, "MEASURED_LOOKS", 1)
    monkeypatch.setattr(training, "MEASURED_SIDE_UM", 60.0)
    training.write_card(tmp_path / "one.safetensors", plan, minutes=3.4)
    card = (tmp_path / "card.md").read_text()
    assert "--scenes 2 --steps 2 --seed 1`, 3 minutes" in card
    assert hashlib.sha256((tmp_path / "one.safetensors").read_bytes()).hexdigest() in card
    trained = guided.load(spec, folder=tmp_path, device="cpu", seed=0)
    before = NucleiUNet().state_dict()
    moved = [name for name, tensor in trained.network.state_dict().items() if not torch.equal(tensor, before[name])]
    assert "down.0.0.weight" in moved and "head.weight" in moved
