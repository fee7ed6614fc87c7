"""CONCH, CONCH v1.5 and MUSK: tensors as their files have them, and what the networks compute, written out."""

import math
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional

from spotweave.encoders import vision_language as builder
from spotweave.networks import vision_language
from spotweave.networks.musk import Musk
from spotweave.networks.pooled_tower import PackedPooler, SplitPooler
from spotweave.networks.spec import EncoderSpec, EncoderUnavailable

TINY = {
    "conch": "embed_dim=48;depth=2;num_heads=2;pooled_dim=16",
    "conch_v1_5": "embed_dim=48;depth=2;num_heads=2;pooled_dim=16",
    "musk": "dim=48;layers=2;heads=2",
}


def spec_of(architecture, source="w.pth", **changes):
    made = EncoderSpec(
        architecture, "vision_language", 48 if architecture == "musk" else 16, 64, architecture=architecture,
        arguments=TINY[architecture], weights="file", source=source, pool=builder.POOLS[architecture],
    )  # fmt: skip
    return replace(made, **changes)


def vit(prefix, dim, depth, tokens, scaled):
    """Names and shapes of a timm vision transformer of 16 px, as publishers print them."""
    found = {
        "cls_token": (1, 1, dim), "pos_embed": (1, tokens, dim),
        "patch_embed.proj.weight": (dim, 3, 16, 16), "patch_embed.proj.bias": (dim,),
        "norm.weight": (dim,), "norm.bias": (dim,),
    }  # fmt: skip
    for block in range(depth):
        parts = {
            "attn.qkv": (3 * dim, dim),
            "attn.proj": (dim, dim),
            "mlp.fc1": (4 * dim, dim),
            "mlp.fc2": (dim, 4 * dim),
        }
        for name, shape in parts.items():
            found |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
        for name in ("norm1", "norm2"):
            found |= {f"blocks.{block}.{name}.weight": (dim,), f"blocks.{block}.{name}.bias": (dim,)}
        if scaled:
            found |= {f"blocks.{block}.ls{number}.gamma": (dim,) for number in (1, 2)}
    return {prefix + name: shape for name, shape in found.items()}


def conch(dim=48, depth=2, pooled=16, side=4):
    pooler = {
        "query": (1, pooled), "attn.q_proj_weight": (pooled, pooled), "attn.k_proj_weight": (pooled, dim),
        "attn.v_proj_weight": (pooled, dim), "attn.in_proj_bias": (3 * pooled,),
        "attn.out_proj.weight": (pooled, pooled), "attn.out_proj.bias": (pooled,), "ln_q.weight": (pooled,),
        "ln_q.bias": (pooled,), "ln_k.weight": (dim,), "ln_k.bias": (dim,),
    }  # fmt: skip
    return {
        **vit("visual.trunk.", dim, depth, side**2 + 1, scaled=False),
        **{f"visual.attn_pool_contrast.{name}": shape for name, shape in pooler.items()},
        "visual.ln_contrast.weight": (pooled,),
        "visual.ln_contrast.bias": (pooled,),
    }


CONCH_OTHERS = {
    "visual.proj_contrast": (16, 16), "visual.attn_pool_caption.query": (256, 48), "visual.ln_caption.weight": (48,),
    "text.token_embedding.weight": (9, 8), "text_decoder.ln_final.bias": (8,), "logit_scale": (),
}  # fmt: skip


def conch_v1_5(dim=48, depth=2, pooled=16, side=14):
    pooler = {
        "query": (1, pooled), "ln_k.weight": (dim,), "ln_k.bias": (dim,), "ln_q.weight": (pooled,),
        "ln_q.bias": (pooled,), "to_q.weight": (pooled, pooled), "to_kv.weight": (2 * pooled, dim),
        "to_out.weight": (pooled, pooled),
    }  # fmt: skip
    return {
        **vit("trunk.", dim, depth, side**2 + 1, scaled=True),
        **{f"attn_pool_contrast.{name}": shape for name, shape in pooler.items()},
        "ln_contrast.weight": (pooled,),
        "ln_contrast.bias": (pooled,),
    }


def musk(dim=48, layers=2, side=4, branches="A"):
    both = {}
    for branch in branches:
        for layer in range(layers):
            at = f"beit3.encoder.layers.{layer}."
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                both |= {
                    f"{at}self_attn.{name}.{branch}.weight": (dim, dim),
                    f"{at}self_attn.{name}.{branch}.bias": (dim,),
                }
            both |= {f"{at}ffn.{branch}.fc1.weight": (4 * dim, dim), f"{at}ffn.{branch}.fc1.bias": (4 * dim,)}
            both |= {f"{at}ffn.{branch}.fc2.weight": (dim, 4 * dim), f"{at}ffn.{branch}.fc2.bias": (dim,)}
            norms = {"self_attn.inner_attn_ln": dim, "self_attn_layer_norm": dim, "final_layer_norm": dim}
            for end in ("weight", "bias"):
                both |= {f"{at}{name}.{branch}.{end}": (width,) for name, width in norms.items()}
                both |= {f"{at}ffn.{branch}.ffn_layernorm.{end}": (4 * dim,)}
                both |= {f"beit3.encoder.layer_norm.{branch}.{end}": (dim,)}
    return both | {
        "beit3.vision_embed.cls_token": (1, 1, dim), "beit3.vision_embed.proj.weight": (dim, 3, 16, 16),
        "beit3.vision_embed.proj.bias": (dim,), "beit3.encoder.embed_positions.A.weight": (side**2 + 3, dim),
    }  # fmt: skip


MUSK_OTHERS = {
    "beit3.vision_embed.mask_token": (1, 1, 48), "beit3.text_embed.weight": (9, 48), "logit_scale": (),
    "beit3.encoder.embed_positions.B.weight": (1024, 48), "vision_head.weight": (48, 48),
    "language_head.weight": (48, 48),
}  # fmt: skip
FILES = {
    "conch": (conch(), CONCH_OTHERS),
    "conch_v1_5": (conch_v1_5(), {}),
    "musk": (musk(branches="AB"), MUSK_OTHERS),
}


def drawn(shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}


def patches(count=3, px=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, px, px, 3), dtype=np.uint8)


def built(architecture, folder, state, name="w.pth", seed=0):
    save = safetensors.torch.save_file if name.endswith("safetensors") else torch.save
    save(state, folder / name)
    return builder.build(spec_of(architecture, source=name), folder=folder, seed=seed, device="cpu")


@pytest.mark.parametrize("architecture", FILES)
def test_a_published_file_fills_the_pictures_half_exactly(architecture, tmp_path):
    own, others = FILES[architecture]
    state = drawn({**own, **others})
    first, second = (built(architecture, tmp_path, state, seed=seed).encode(patches()) for seed in (0, 1))
    assert first.shape == (3, 48 if architecture == "musk" else 16) and np.isfinite(first).all()
    assert np.array_equal(first, second)  # nothing of it is random
    assert np.array_equal(built(architecture, tmp_path, state, "w.safetensors").encode(patches()), first)
    torch.save({"state_dict": state}, tmp_path / "wrapped.pth")
    wrapped = builder.build(spec_of(architecture, "wrapped.pth"), folder=tmp_path, seed=0, device="cpu")
    assert np.array_equal(wrapped.encode(patches()), first)
    # What is not the picture's half changes nothing; all that is does.
    changed = {name: tensor + (name in others or ".B." in name) for name, tensor in state.items()}
    assert np.array_equal(built(architecture, tmp_path, changed).encode(patches()), first)
    for name in own:
        unread = ".B." in name or (name.endswith("k_proj.A.bias"))  # adds the same to all scores of a query
        if not unread:
            noise = torch.randn(state[name].shape, generator=torch.Generator().manual_seed(3))
            other = built(architecture, tmp_path, {**state, name: state[name] + noise}).encode(patches())
            assert not np.allclose(other, first, atol=1e-6), name


@pytest.mark.parametrize("architecture", FILES)
@pytest.mark.parametrize("damage", ["missing", "shape", "more"])
def test_a_file_that_does_not_fit_is_unavailable_with_the_tensor(architecture, damage, tmp_path):
    state = drawn(FILES[architecture][0])
    name = next(name for name in state if "norm" in name or "ln_" in name)
    if damage == "missing":
        del state[name]
    else:
        more = name.replace("weight", "weight2") if damage == "more" else name
        state[more] = torch.zeros(5)
    with pytest.raises(EncoderUnavailable, match="does not hold weights of"):
        built(architecture, tmp_path, state)


def test_the_published_sizes_have_the_published_shapes():
    """Names and shapes of the whole networks, against what publishers print of them."""
    published = {
        "conch": {name.removeprefix("visual."): s for name, s in conch(768, 12, 512, 28).items()},
        "conch_v1_5": conch_v1_5(1024, 24, 768, 28),
        "musk": {n.removeprefix("beit3.").replace(".A.", "."): s for n, s in musk(1024, 24, 24).items()},
    }
    for architecture, expected in published.items():
        size = 384 if architecture == "musk" else 448
        with torch.device("meta"):
            network = vision_language.empty(spec_of(architecture, arguments="", input_px=size))
            found = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
            dim = network(torch.empty(1, 3, size, size)).shape
        assert found == expected
        assert dim == (1, {"conch": 512, "conch_v1_5": 768, "musk": 1024}[architecture])


def test_conch_is_a_timm_transformer_and_attention_written_out(tmp_path):
    state = drawn(conch(), seed=4)
    encoder = built("conch", tmp_path, state)
    trunk = vision_language.timm.create_model(
        "vit_base_patch16_224", img_size=64, num_classes=0, embed_dim=48, depth=2, num_heads=2, global_pool=""
    ).eval()
    start = "visual.trunk."
    trunk.load_state_dict({n.removeprefix(start): t for n, t in state.items() if n.startswith(start)}, strict=True)
    pooler = {n.removeprefix("visual.attn_pool_contrast."): t for n, t in state.items()}
    with torch.inference_mode():
        tokens = trunk(torch.from_numpy(patches()).permute(0, 3, 1, 2).float() / 255)
        known = functional.layer_norm(tokens, (48,), pooler["ln_k.weight"], pooler["ln_k.bias"])
        query = functional.layer_norm(pooler["query"], (16,), pooler["ln_q.weight"], pooler["ln_q.bias"])
        bias = pooler["attn.in_proj_bias"].split(16)
        q, k, v = (
            of @ pooler[f"attn.{name}_proj_weight"].T + own
            for name, of, own in zip("qkv", (query, known, known), bias, strict=True)
        )
        gathered = []
        for head in range(8):
            part = slice(2 * head, 2 * head + 2)
            weights = (q[:, part] @ k[..., part].transpose(1, 2) / math.sqrt(2)).softmax(dim=-1)
            gathered.append(weights @ v[..., part])
        out = torch.cat(gathered, dim=-1)[:, 0] @ pooler["attn.out_proj.weight"].T + pooler["attn.out_proj.bias"]
        wanted = functional.layer_norm(out, (16,), state["visual.ln_contrast.weight"], state["visual.ln_contrast.bias"])
    np.testing.assert_allclose(encoder.encode(patches()), wanted, atol=2e-5)


def test_both_poolers_are_the_same_attention():
    """CONCH v1.5's without biases, against torch's with its own set to zero."""
    packed, split = PackedPooler(16, 48), SplitPooler(16, 48)
    with torch.no_grad():
        for one in (packed.ln_q, packed.ln_k):
            one.weight.normal_(), one.bias.normal_()
        packed.attn.in_proj_bias.zero_(), packed.attn.out_proj.bias.zero_()
        split.query.copy_(packed.query)
        split.ln_q.load_state_dict(packed.ln_q.state_dict())
        split.ln_k.load_state_dict(packed.ln_k.state_dict())
        split.to_q.weight.copy_(packed.attn.q_proj_weight)
        split.to_kv.weight.copy_(torch.cat([packed.attn.k_proj_weight, packed.attn.v_proj_weight]))
        split.to_out.weight.copy_(packed.attn.out_proj.weight)
    tokens = torch.randn(3, 7, 48)
    torch.testing.assert_close(split(tokens), packed(tokens), atol=1e-5, rtol=1e-5)


def test_positions_of_conch_v1_5_are_enlarged_a_little_beyond_twice():
    """28.1 / 14, not 2; Keys' kernel of -.75 written out along one axis, edges repeated."""
    values = np.random.default_rng(0).normal(size=14)
    rows = torch.from_numpy(values).float().repeat(14, 1)
    positions = torch.cat([torch.full((1, 1, 1), 99.0), rows.reshape(1, 196, 1)], dim=1)
    found = vision_language.enlarged(positions, 28)
    assert found.shape == (1, 785, 1) and found[0, 0, 0] == 99

    def kernel(x):
        x, a = abs(x), -0.75
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    wanted = []
    for place in (np.arange(28) + 0.5) / (28.1 / 14) - 0.5:
        near = math.floor(place) + np.arange(-1, 3)
        wanted.append(sum(kernel(place - one) * values[np.clip(one, 0, 13)] for one in near))
    np.testing.assert_allclose(found[0, 1:, 0].reshape(28, 28), np.tile(wanted, (28, 1)), atol=1e-5)
    assert vision_language.enlarged(positions, 14) is positions


def test_musk_is_its_description_written_out():
    state = {name: tensor.double().numpy() for name, tensor in drawn(musk(dim=16, layers=2), seed=6).items()}
    network = Musk(64, dim=16, layers=2, heads=2)
    own = vision_language.FAMILIES["musk"].own({n: torch.from_numpy(a).float() for n, a in state.items()}, network)
    network.load_state_dict(own, strict=True)
    images = np.random.default_rng(1).normal(size=(2, 3, 64, 64))

    def normal(values, name):
        mean, variance = values.mean(axis=-1, keepdims=True), values.var(axis=-1, keepdims=True)
        return (values - mean) / np.sqrt(variance + 1e-5) * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(values, name):
        return values @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def gelu(values):
        return values * 0.5 * (1 + np.vectorize(math.erf)(values / math.sqrt(2)))

    for image, found in zip(images, network(torch.from_numpy(images).float()), strict=True):
        squares = [image[:, y : y + 16, x : x + 16] for y in range(0, 64, 16) for x in range(0, 64, 16)]
        kernel = state["beit3.vision_embed.proj.weight"]
        tokens = (
            np.stack([(kernel * one).sum(axis=(1, 2, 3)) for one in squares]) + state["beit3.vision_embed.proj.bias"]
        )
        tokens = np.concatenate([state["beit3.vision_embed.cls_token"][0], tokens])
        tokens = tokens + state["beit3.encoder.embed_positions.A.weight"][2:]
        for number in range(2):
            at = f"beit3.encoder.layers.{number}."
            seen = normal(tokens, f"{at}self_attn_layer_norm.A")
            q, k, v = (linear(seen, f"{at}self_attn.{name}_proj.A") for name in "qkv")
            heads = []
            for part in (slice(0, 8), slice(8, 16)):
                scores = q[:, part] @ k[:, part].T / math.sqrt(8)
                scores = np.exp(scores - scores.max(axis=1, keepdims=True))
                heads.append(scores / scores.sum(axis=1, keepdims=True) @ v[:, part])
            gathered = normal(np.concatenate(heads, axis=1), f"{at}self_attn.inner_attn_ln.A")
            tokens = tokens + linear(gathered, f"{at}self_attn.out_proj.A")
            wide = gelu(linear(normal(tokens, f"{at}final_layer_norm.A"), f"{at}ffn.A.fc1"))
            tokens = tokens + linear(normal(wide, f"{at}ffn.A.ffn_layernorm"), f"{at}ffn.A.fc2")
        wanted = normal(tokens, "beit3.encoder.layer_norm.A")[0]
        np.testing.assert_allclose(found.detach(), wanted, atol=2e-5)
