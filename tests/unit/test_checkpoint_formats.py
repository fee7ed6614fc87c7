"""Weights as publishers write them: each format filled strictly, and the same numbers as another library gives."""

import re

import huggingface_hub
import numpy as np
import pytest
import safetensors.torch
import torch

from spotweave import encoders
from spotweave.networks.backbone import timm
from spotweave.networks.spec import EncoderSpec, EncoderUnavailable
from spotweave.networks.transformers_vision import FAMILIES, TransformersVision, transformers

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8}
NORMALISATION = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def row(architecture, pool, dim=32, builder="transformers_model", source="w.safetensors", **more):
    arguments = ";".join(f"{name}={value}" for name, value in {**SMALL, **more}.items())
    texts = {"architecture": architecture, "arguments": arguments, "weights": "file", "source": source}
    return EncoderSpec("tiny", builder, dim, 32, pool=pool, **texts, **NORMALISATION)


def network(spec, folder):
    return encoders.ENCODERS.load(spec.builder).build(spec, folder=folder, seed=0, device="cpu").network


def test_the_kinds_that_a_row_may_name_are_those_that_are_built():
    """Rows are checked without torch, so the names stand in two places."""
    assert set(encoders.ENCODERS.load("transformers_model").POOLS) == set(FAMILIES)


def random_state(model, seed=3):
    """Numbers other than any start, for every tensor: a scale or a bias that was not loaded shows."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(tensor.shape, generator=generator) * 0.2 if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }


def timm_names(state, heads_of="encoder.layer"):
    """A ViT of transformers, by its published names, as timm has it: queries, keys and values in one tensor."""
    named = {
        "cls_token": state["embeddings.cls_token"],
        "pos_embed": state["embeddings.position_embeddings"],
        "patch_embed.proj.weight": state["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": state["embeddings.patch_embeddings.projection.bias"],
        "norm.weight": state["layernorm.weight"],
        "norm.bias": state["layernorm.bias"],
    }
    for block in range(SMALL["num_hidden_layers"]):
        here = f"{heads_of}.{block}"
        for kind in ("weight", "bias"):
            parts = [state[f"{here}.attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            named[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat(parts)
            for ours, theirs in (
                ("attn.proj", "attention.output.dense"),
                ("norm1", "layernorm_before"),
                ("norm2", "layernorm_after"),
                ("mlp.fc1", "intermediate.dense"),
                ("mlp.fc2", "output.dense"),
            ):
                named[f"blocks.{block}.{ours}.{kind}"] = state[f"{here}.{theirs}.{kind}"]
    return named


def published_names(state):
    """The names that the hub's files of ViT have had since 2021; the library has others today."""
    older = (
        (r"^layers\.", "encoder.layer."),
        (r"attention\.q_proj", "attention.attention.query"),
        (r"attention\.k_proj", "attention.attention.key"),
        (r"attention\.v_proj", "attention.attention.value"),
        (r"attention\.o_proj", "attention.output.dense"),
        (r"mlp\.fc1", "intermediate.dense"),
        (r"mlp\.fc2", "output.dense"),
    )
    for pattern, name in older:
        state = {re.sub(pattern, name, key): tensor for key, tensor in state.items()}
    return state


@pytest.fixture
def vit(tmp_path):
    """(published tensors, their file's folder) of a small ViT, with a head for another task beside it."""
    config = transformers.ViTConfig(**SMALL, intermediate_size=64, image_size=32)
    state = published_names(random_state(transformers.ViTModel(config, add_pooling_layer=False)))
    safetensors.torch.save_file({**state, "pooler.dense.weight": torch.zeros(32, 32)}, tmp_path / "w.safetensors")
    return state, tmp_path


def test_a_vit_of_the_hub_gives_what_timm_gives_with_its_weights(vit):
    state, folder = vit
    reference = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=32,
        patch_size=8,
        embed_dim=32,
        depth=2,
        num_heads=2,
        mlp_ratio=2,
        num_classes=0,
    ).eval()
    reference.load_state_dict(timm_names(state), strict=True)
    with torch.inference_mode():
        expected = reference.forward_features(IMAGES)
        found = network(row("vit", "cls+mean", 64, intermediate_size=64), folder)(IMAGES)
    torch.testing.assert_close(found[:, :32], expected[:, 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[:, 32:], expected[:, 1:].mean(1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("harm", ["gone", "more", "shape"])
def test_tensors_that_do_not_fill_the_model_are_refused_by_name(harm, vit):
    state, folder = vit
    name = "encoder.layer.1.intermediate.dense.bias"
    if harm == "gone":
        state.pop(name)
    elif harm == "more":
        state["encoder.layer.2.intermediate.dense.bias"] = torch.zeros(64)
    else:
        state[name] = torch.zeros(63)
    safetensors.torch.save_file(state, folder / "w.safetensors")
    with pytest.raises(EncoderUnavailable, match=r"layers?\.[12]\.(mlp\.fc1|intermediate\.dense)\.bias"):
        network(row("vit", "cls", intermediate_size=64), folder)


@pytest.mark.parametrize("kind", ["cut safetensors", "cut pickle", "a page of HTML"])
@pytest.mark.parametrize("builder", ["timm_model", "transformers_model"])
def test_a_damaged_file_makes_the_encoder_unavailable_and_not_the_job_fail(builder, kind, vit):
    _, folder = vit
    if kind == "cut safetensors":
        source, content = "bad.safetensors", (folder / "w.safetensors").read_bytes()[:500]
    elif kind == "cut pickle":
        torch.save({"a": torch.zeros(300)}, folder / "whole.pth")
        source, content = "bad.pth", (folder / "whole.pth").read_bytes()[:700]
    else:
        source, content = "bad.bin", b"<!doctype html><title>Sign in</title>"
    (folder / source).write_bytes(content)
    spec = row("vit", "cls", intermediate_size=64, source=source)
    if builder == "timm_model":
        spec = EncoderSpec("tiny", builder, 96, 32, "test_resnet", "", "file", source, pool="avg", **NORMALISATION)
    with pytest.raises(EncoderUnavailable, match="does not hold weights"):
        network(spec, folder)


def test_a_file_trained_on_smaller_images_serves_larger_ones(vit):
    _, folder = vit
    spec = row("vit", "cls", intermediate_size=64, image_size=999)
    larger = network(spec, folder)(torch.randn(1, 3, 64, 64))
    assert larger.shape == (1, 32)
    assert torch.isfinite(larger).all()


def test_a_clip_gives_what_its_library_and_its_first_publisher_give(tmp_path):
    """The whole model as transformers files it, and its picture's half as open_clip files it, through timm."""
    vision = {**SMALL, "intermediate_size": 64, "image_size": 32}
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "vocab_size": 9,
    }
    whole = transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    ).eval()
    state = random_state(whole)
    whole.load_state_dict(state)
    torch.save(state, tmp_path / "pytorch_model.bin")
    torch.save(
        {f"visual.{name}": tensor for name, tensor in open_clip_names(state).items()}, tmp_path / "open_clip.bin"
    )
    small = "img_size=32;patch_size=8;embed_dim=32;depth=2;num_heads=2;mlp_ratio=2;num_classes=12"
    through_timm = EncoderSpec(
        "q", "timm_model", 12, 32, "vit_base_patch32_clip_quickgelu_224", small, "file", "open_clip.bin", pool="head"
    )
    own = row("clip_vision", "head", 12, source="pytorch_model.bin", intermediate_size=64, projection_dim=12)
    with torch.inference_mode():
        expected = whole.visual_projection(whole.vision_model(pixel_values=IMAGES).pooler_output)
        torch.testing.assert_close(network(own, tmp_path)(IMAGES), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(network(through_timm, tmp_path)(IMAGES), expected, atol=1e-4, rtol=1e-4)


def open_clip_names(state):
    """The picture's half of a CLIP of transformers by the names of its first publication."""
    v = "vision_model."
    named = {
        "class_embedding": state[f"{v}embeddings.class_embedding"],
        "positional_embedding": state[f"{v}embeddings.position_embedding.weight"],
        "conv1.weight": state[f"{v}embeddings.patch_embedding.weight"],
        "proj": state["visual_projection.weight"].T.contiguous(),
    }
    for kind in ("weight", "bias"):
        named[f"ln_pre.{kind}"] = state[f"{v}pre_layrnorm.{kind}"]
        named[f"ln_post.{kind}"] = state[f"{v}post_layernorm.{kind}"]
        for block in range(SMALL["num_hidden_layers"]):
            theirs, ours = f"{v}encoder.layers.{block}", f"transformer.resblocks.{block}"
            parts = [state[f"{theirs}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            named[f"{ours}.attn.in_proj_{kind}"] = torch.cat(parts)
            for new, old in (
                ("attn.out_proj", "self_attn.out_proj"),
                ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"),
                ("mlp.c_fc", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2"),
            ):
                named[f"{ours}.{new}.{kind}"] = state[f"{theirs}.{old}.{kind}"]
    return named


def test_registers_are_in_no_mean():
    spec = row("dinov2_with_registers", "avg", num_register_tokens=3, image_size=32)
    with torch.inference_mode():
        unit = TransformersVision(spec).eval()
        tokens = unit.model(pixel_values=IMAGES).last_hidden_state
        found = unit(IMAGES)
    assert tokens.shape[1] == 1 + 3 + 16
    torch.testing.assert_close(found, tokens[:, 4:].mean(1))


def test_the_stem_of_ctranspath_has_the_published_tensors_and_swin_behind_it(tmp_path):
    spec = EncoderSpec(
        "c-random", "timm_model", 768, 224, "swin_tiny_patch4_window7_224", "embed_layer=ConvStem", "random", pool="avg"
    )
    unit = encoders.ENCODERS.load("timm_model").build(spec, folder=None, seed=0, device="cpu")
    stem = {name: tuple(tensor.shape) for name, tensor in unit.network.model.patch_embed.state_dict().items()}
    wanted = {"proj.0.weight": (12, 3, 3, 3), "proj.1.running_var": (12,), "proj.3.weight": (24, 12, 3, 3)}
    wanted |= {"proj.4.bias": (24,), "proj.6.weight": (96, 24, 1, 1), "proj.6.bias": (96,), "norm.weight": (96,)}
    assert {name: stem.get(name) for name in wanted} == wanted
    assert sum(not name.endswith("num_batches_tracked") for name in stem) == 14
    assert unit.encode(np.zeros((1, 224, 224, 3), np.uint8)).shape == (1, 768)


def test_a_row_may_name_the_file_of_a_repository(monkeypatch, tmp_path):
    """Repositories hold several: the one that the hash is of is the one that is opened, and the one to fetch."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    spec = EncoderSpec(
        "tiny", "timm_model", 96, 32, "test_resnet", "", "hub", "someone/tiny/sub/TINY.pth", "abc", pool="avg"
    )
    build = encoders.ENCODERS.load("timm_model").build
    with pytest.raises(EncoderUnavailable, match=r"hf download someone/tiny sub/TINY\.pth --revision abc "):
        build(spec, folder=None, seed=0)
    snapshot = tmp_path / "hub/models--someone--tiny/snapshots/abc"
    (snapshot / "sub").mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"of another model")
    torch.save(timm.create_model("test_resnet", num_classes=0).state_dict(), snapshot / "sub/TINY.pth")
    assert build(spec, folder=None, seed=0, device="cpu").encode(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 96)
