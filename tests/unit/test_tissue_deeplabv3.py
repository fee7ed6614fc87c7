"""The trained tissue method without its weights: its network against torchvision's, its files, its tiles."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from real_data import SHARED, needs_real
from spotweave import torchvision_shim
from spotweave.errors import Refusal
from spotweave.networks.deeplabv3 import DeepLabV3
from spotweave.networks.spec import ModelUnavailable
from spotweave.tissue import tiled
from spotweave.tissue.methods import NO_WEIGHTS, Slide, deeplabv3, faults
from spotweave.tissue.picture import Picture


def random_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights whose every tensor matters."""
    torch.manual_seed(seed)
    network = DeepLabV3()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.1)
    return network.state_dict()


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return random_state()


@needs_real("facts", "deeplabv3_state_dict_shapes.json")
def test_tensors_are_named_and_shaped_as_published():
    with torch.device("meta"):
        network = DeepLabV3()
    published = json.loads((SHARED / "facts/deeplabv3_state_dict_shapes.json").read_text())
    assert {name: list(tensor.shape) for name, tensor in network.state_dict().items()} == published


def test_there_are_as_many_parameters_as_published():
    with torch.device("meta"):
        network = DeepLabV3()
    assert sum(parameter.numel() for parameter in network.parameters()) == 39_633_986
    assert len(network.state_dict()) == 362


def test_it_computes_what_torchvisions_network_does(state):
    if torchvision_shim.install() == "absent":
        pytest.skip("torchvision is not installed")
    from torchvision.models.segmentation import deeplabv3_resnet50

    theirs = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=2, aux_loss=False).eval()
    theirs.load_state_dict(state, strict=True)
    ours = DeepLabV3().eval()
    ours.load_state_dict(state, strict=True)
    images = torch.randn(1, 3, 72, 104)
    with torch.inference_mode():
        expected, found = theirs(images)["out"], ours(images)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def checkpoint(state: dict[str, torch.Tensor]) -> dict[str, object]:
    """As Lightning writes one, with the auxiliary head that only training needs."""
    named = {f"model.{name}": tensor for name, tensor in state.items()}
    named["model.aux_classifier.0.weight"] = torch.zeros(256, 1024, 3, 3)
    return {"epoch": 3, "pytorch-lightning_version": "2.0", "hyper_parameters": {"lr": 1e-4}, "state_dict": named}


def test_the_published_form_and_plain_ones_load_alike(tmp_path, state):
    torch.save(checkpoint(state), tmp_path / "published.ckpt")
    safetensors.torch.save_file(state, tmp_path / "plain.safetensors")
    for path in (tmp_path / "published.ckpt", tmp_path / "plain.safetensors"):
        loaded = deeplabv3.load(path).state_dict()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


class Runs:
    """A pickle that calls something when it is loaded."""

    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda tensors: tensors.pop("classifier.4.bias"), "classifier.4.bias"),
        (lambda tensors: tensors.update({"extra.weight": torch.zeros(1)}), "extra.weight"),
        (lambda tensors: tensors.update({"classifier.4.weight": torch.zeros(21, 256, 1, 1)}), "21"),
        (lambda tensors: tensors.update({"classifier.4.bias": Runs()}), "Weights only load failed"),
    ],
    ids=["missing", "left over", "of another network", "code"],
)
def test_a_file_with_other_tensors_is_unavailable_and_runs_no_code(tmp_path, state, damage, said, capsys):
    tensors = dict(state)
    damage(tensors)
    torch.save({"state_dict": tensors}, tmp_path / "a.ckpt")
    with pytest.raises(ModelUnavailable, match=r"a\.ckpt does not hold weights") as caught:
        deeplabv3.load(tmp_path / "a.ckpt")
    assert said in caught.value.reason and "ran" not in capsys.readouterr().out


def settings(**given: str) -> dict[str, str]:
    return {"method": "deeplabv3", **NO_WEIGHTS, **given}


def test_what_can_be_known_before_the_run_is_a_fault(tmp_path):
    (tmp_path / "w.ckpt").write_bytes(b"w")
    right = {"weights": "file", "source": str(tmp_path / "w.ckpt"), "sha256": "a" * 64}
    assert faults(settings(**right)) == []
    assert faults(settings(weights="hub", source="MahmoodLab/hest-tissue-seg", revision="main")) == []
    assert [key for key, _ in faults(settings())] == ["weights"]
    assert [key for key, _ in faults(settings(weights="hub", source="somewhere"))] == ["source"]
    assert [key for key, _ in faults(settings(**{**right, "sha256": ""}))] == ["sha256"]
    (fault,) = faults(settings(**{**right, "source": "gone.ckpt"}))
    assert fault[0] == "source" and "no file 'gone.ckpt'" in fault[1]
    assert [key for key, _ in faults({"method": "classical", "weights": "hub", "source": "a/b"})] == [
        "weights",
        "source",
    ]
    assert faults({"method": "classical"}) == []


def picture_of(rgb: np.ndarray, folder) -> Slide:
    import pyvips

    path = folder / "slide.png"
    pyvips.Image.new_from_array(rgb, interpretation="srgb").write_to_file(str(path))
    return Slide(path, 1.0)


def test_weights_that_cannot_be_had_are_named_with_the_steps(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    slide = picture_of(np.full((64, 64, 3), 240, np.uint8), tmp_path)
    weights = settings(weights="hub", source="MahmoodLab/hest-tissue-seg")
    with pytest.raises(ModelUnavailable, match="tissue method deeplabv3 is unavailable") as caught:
        deeplabv3.segment(
            Picture(np.full((8, 8, 3), 240, np.uint8), 8.0),
            min_hole_um2=1,
            min_piece_um2=1,
            slide=slide,
            weights=weights,
        )
    for needed in ("CC-BY-NC-SA-4.0", "hf download MahmoodLab/hest-tissue-seg", "HF_TOKEN", "segment_tissue"):
        assert needed in caught.value.reason


def test_a_slide_too_coarse_for_the_network_is_refused(tmp_path):
    slide = Slide(tmp_path / "slide.png", 4.4)
    with pytest.raises(Refusal, match=r"4\.4 um a pixel.* at most 2") as refused:
        deeplabv3.segment(
            Picture(np.full((8, 8, 3), 240, np.uint8), 8.8), min_hole_um2=1, min_piece_um2=1, slide=slide, weights={}
        )
    assert refused.value.threshold == 2.0


def strips_of(plane: np.ndarray):
    rgb = np.repeat(plane[..., None], 3, axis=2)
    for top in range(0, len(rgb), tiled.OVERLAP_PX):
        yield top, rgb[top : top + tiled.OVERLAP_PX]


@pytest.mark.parametrize(("height", "width"), [(1096, 904), (200, 136), (512, 1280)])
def test_tiles_that_agree_give_the_means_of_cells_everywhere(height, width):
    """A network that says what a px is: the map is then the mean of each cell, whatever tile it came from."""
    plane = np.random.default_rng(0).integers(0, 256, (height, width)).astype(np.uint8)
    shape = (height // 8, width // 8)
    found = tiled.probability_map(strips_of(plane), shape, lambda tiles: tiles[..., 0] / 255, tiles_at_once=2)
    expected = plane.reshape(shape[0], 8, shape[1], 8).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_tiles_that_disagree_are_blended_without_a_step():
    """Tiles that say 0 and 1 in turn: the largest step from cell to cell is that of the ramp over the overlap."""
    says = iter(range(100))
    found = tiled.probability_map(
        strips_of(np.zeros((512, 2048), np.uint8)),
        (64, 256),
        lambda tiles: np.stack([np.full(tiles.shape[1:3], next(says) % 2, float) for _ in tiles]),
        tiles_at_once=3,
    )
    assert found.min() == 0 and found.max() == 1
    assert np.abs(np.diff(found, axis=1)).max() <= tiled.CELL_PX / tiled.OVERLAP_PX + 1e-6


def test_a_section_is_segmented_with_the_weights_of_a_file(tmp_path, monkeypatch):
    """Weights that make the network look at nothing but its last bias: all tissue, or none."""
    for bias, expected in ((5.0, True), (-5.0, False)):
        state = {name: torch.zeros_like(tensor) for name, tensor in random_state().items()}
        state["classifier.4.bias"] = torch.tensor([0.0, bias])
        path = tmp_path / f"{bias}.safetensors"
        safetensors.torch.save_file(state, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rgb = np.full((160, 96, 3), 200, np.uint8)
        slide = picture_of(rgb, tmp_path)
        weights = settings(weights="file", source=str(path), sha256=digest)
        picture = Picture(rgb[::8, ::8].copy(), 8.0)
        monkeypatch.setattr(tiled, "TILE_PX", 128)
        monkeypatch.setattr(tiled, "OVERLAP_PX", 32)
        monkeypatch.setattr(tiled, "STEP_PX", 96)
        mask = deeplabv3.segment(picture, min_hole_um2=1, min_piece_um2=1, slide=slide, weights=weights)
        assert mask.shape == (20, 12) and mask.dtype == bool and (mask == expected).all()
    with pytest.raises(ModelUnavailable, match="expected is"):
        wrong = {**weights, "sha256": "0" * 64}
        deeplabv3.segment(picture, min_hole_um2=1, min_piece_um2=1, slide=slide, weights=wrong)
