"""Losses of pairs against numbers of the published libraries and closed forms."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from real_data import real
from spotweave.finetune.losses.clip import Scale, clip_loss
from spotweave.finetune.losses.info_nce import info_nce, info_nce_one_way
from spotweave.finetune.losses.nt_xent import nt_xent
from spotweave.finetune.losses.siglip import siglip_loss

TOLERANCE = 1e-6


def oracle(name):
    with np.load(real("data/method_oracles", f"{name}.npz")) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)


def differentiable(*tensors):
    return [tensor.clone().requires_grad_() for tensor in tensors]


# As the libraries have them


@pytest.mark.parametrize(
    ("key", "scale", "bias", "inputs"),
    [
        ("s10", 10.0, 0.0, ("image", "text")),
        ("s14.2857", 1 / 0.07, 0.0, ("image", "text")),
        ("s14.2857_bias-10", 1 / 0.07, -10.0, ("image", "text")),
        ("s14.2857_unnormalised", 1 / 0.07, 0.0, ("image_raw", "text_raw")),
    ],
)
def test_clip_with_gradients_is_that_of_open_clip(key, scale, bias, inputs):
    known = oracle("clip_losses")
    image, text, scale = differentiable(*(known[f"in/{name}"] for name in inputs), torch.tensor(scale))
    loss = clip_loss(image, text, scale, bias)
    close(loss, known[f"out/clip_{key}"])
    loss.backward()
    for name, tensor in (("image", image), ("text", text), ("scale", scale)):
        close(tensor.grad, known[f"out/clip_{key}_grad_{name}"])


def test_clip_of_other_batches_is_that_of_open_clip():
    known = oracle("clip_losses")
    image, text = known["in/image"], known["in/text"]
    close(clip_loss(image, text, 1.0), known["out/clip_s1"])
    close(clip_loss(image, text, 100.0), known["out/clip_s100"])
    close(clip_loss(image, image, 100.0), known["out/clip_s100_aligned"])
    close(clip_loss(image, known["in/text_shuffled"], 1 / 0.07), known["out/clip_s14.2857_shuffled"])
    for count in (1, 4):
        close(clip_loss(image[:count], text[:count], 1 / 0.07), known[f"out/clip_s14.2857_first{count}"])


def test_siglip_with_gradients_is_that_of_open_clip():
    known = oracle("clip_losses")
    image, text, scale = differentiable(known["in/image"], known["in/text"], torch.tensor(10.0))
    loss = siglip_loss(image, text, scale, -10.0)
    close(loss, known["out/siglip_s10_bias-10"])
    loss.backward()
    for name, tensor in (("image", image), ("text", text), ("scale", scale)):
        close(tensor.grad, known[f"out/siglip_s10_bias-10_grad_{name}"])


def test_nt_xent_with_gradients_is_that_of_lightly():
    known = oracle("clip_losses")
    image, text = differentiable(known["in/image_raw"], known["in/text_raw"])
    for temperature in (0.5, 0.07):
        close(nt_xent(image, text, temperature).detach(), known[f"out/ntxent_t{temperature}"])
    loss = nt_xent(image, text, 0.1)
    loss.backward()
    close(loss.detach(), known["out/ntxent_t0.1"])
    close(image.grad, known["out/ntxent_t0.1_grad_image"])
    close(text.grad, known["out/ntxent_t0.1_grad_text"])


@pytest.mark.parametrize("kind", ["paired", "unpaired", "inbatch"])
def test_info_nce_with_gradients_is_that_of_st_align(kind):
    known = oracle("stalign_infonce")
    names = ["query", "positive", *([] if kind == "inbatch" else [f"negatives_{kind}"])]
    inputs = differentiable(*(known[f"in/{name}"] for name in names))
    for reduction in ("sum", "none"):
        close(info_nce_one_way(*inputs, reduction=reduction).detach(), known[f"out/{kind}_t0.1_{reduction}"])
    for temperature in (0.07, 0.5):
        close(info_nce_one_way(*inputs, temperature=temperature).detach(), known[f"out/{kind}_t{temperature}_mean"])
    loss = info_nce_one_way(*inputs)
    close(loss.detach(), known[f"out/{kind}_t0.1_mean"])
    loss.backward()
    for name, tensor in zip(names, inputs, strict=True):
        close(tensor.grad, known[f"out/{kind}_grad_{name}"])


# Closed forms


def pairs(count=6, dim=9, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=draw), torch.randn(count, dim, generator=draw)


def test_aligned_pairs_have_no_loss_and_blind_ones_the_logarithm_of_their_candidates():
    eye, blind = torch.eye(6), torch.ones(6, 4)
    for loss in (info_nce, lambda a, b, t: info_nce_one_way(a, b, temperature=t), nt_xent):
        assert float(loss(eye, eye, 0.01)) == pytest.approx(0, abs=1e-6)
    assert float(clip_loss(eye, eye, 100.0)) == pytest.approx(0, abs=1e-6)
    assert float(siglip_loss(eye, eye, 100.0, -50.0)) == pytest.approx(0, abs=1e-6)
    assert float(info_nce(blind, blind, 0.1)) == pytest.approx(math.log(6), abs=1e-5)
    assert float(info_nce_one_way(blind, blind)) == pytest.approx(math.log(6), abs=1e-5)
    assert float(info_nce_one_way(blind, blind, torch.ones(6, 3, 4))) == pytest.approx(math.log(4), abs=1e-5)
    assert float(clip_loss(blind, blind, 5.0)) == pytest.approx(math.log(6), abs=1e-5)
    assert float(nt_xent(blind, blind)) == pytest.approx(math.log(11), abs=1e-5)  # 12 views, not the view itself
    assert float(siglip_loss(0 * blind, blind, 10.0, 0.0)) == pytest.approx(6 * math.log(2), abs=1e-5)


def test_shuffled_pairs_of_large_spaces_have_about_the_logarithm_of_the_batch():
    image, other = pairs(count=64, dim=4096)
    for loss in (info_nce(image, other, 1.0), info_nce_one_way(image, other, temperature=1.0)):
        assert float(loss) == pytest.approx(math.log(64), abs=0.01)


def test_a_single_pair_has_no_loss_where_others_are_the_negatives():
    image, other = pairs(count=1)
    found = [info_nce(image, other, 0.1), info_nce_one_way(image, other), clip_loss(image, other, 9.0)]
    assert [float(loss) for loss in [*found, nt_xent(image, other)]] == [0, 0, 0, 0]


def test_both_directions_are_the_mean_of_each():
    image, other = pairs()
    one, two = info_nce_one_way(image, other), info_nce_one_way(other, image)
    assert abs(float(one - two)) > 1e-3
    close(info_nce(image, other, 0.1), (one + two) / 2)
    close(clip_loss(functional.normalize(image), functional.normalize(other), 10.0), info_nce(image, other, 0.1))


def test_paired_negatives_that_are_the_rest_of_the_batch_are_the_batch():
    image, other = pairs(count=5)
    rest = torch.stack([other[[j for j in range(5) if j != i]] for i in range(5)])
    close(info_nce_one_way(image, other, rest, reduction="none"), info_nce_one_way(image, other, reduction="none"))


def test_shapes_that_do_not_fit_are_named():
    image, other = pairs()
    for arguments, said in (
        ((image.view(2, 3, 9), other.view(2, 3, 9)), r"query \(2, 3, 9\) .* expected is \(B, D\)"),
        ((image, other[:5]), r"positive \(5, 9\)"),
        ((image, other, torch.ones(4, 2, 9)), r"negatives \(4, 2, 9\) .* expected is \(6, K, 9\) or \(K, 9\)"),
        ((image, other, torch.ones(4, 8)), r"negatives \(4, 8\)"),
    ):
        with pytest.raises(ValueError, match=said):
            info_nce_one_way(*arguments)
    with pytest.raises(ValueError, match="'max', allowed: mean, sum, none"):
        info_nce_one_way(image, other, reduction="max")


def test_the_learned_scale_starts_at_its_temperature_and_is_clamped_outside_the_loss():
    scale = Scale()
    assert scale().item() == pytest.approx(1 / 0.07, rel=1e-6)
    for logarithm, multiplier in ((9.0, 100.0), (-3.0, 1.0), (2.0, math.e**2)):
        with torch.no_grad():
            scale.log_scale.fill_(logarithm)
        scale.clamp()
        assert scale().item() == pytest.approx(multiplier, rel=1e-6)
    image, other = pairs()
    clip_loss(image, other, scale()).backward()
    assert float(scale.log_scale.grad) != 0
