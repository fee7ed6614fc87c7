"""CellViT: published names and counts, attention by its definition, strict checkpoints, the published separation."""

import hashlib
import json

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from cellvit_published import published
from real_data import needs_real, real
from spotweave.nuclei import NucleiSpec, NucleiUnavailable
from spotweave.nuclei.cellvit import checkpoint, maps
from spotweave.nuclei.cellvit.attention import RelativeAttention
from spotweave.nuclei.cellvit.encoders import SAM, ViT, positions
from spotweave.nuclei.cellvit.model import CellViTModel
from spotweave.nuclei.cellvit.network import VARIANTS, CellViT, Variant
from spotweave.nuclei.methods import cellvit

ORACLE = "data/method_oracles/cellvit_postproc_synthetic.npz"
# Parameters, tensors and digest of names and shapes, of the authors' own networks.
PUBLISHED = {
    "256": (46_750_349, 439, "1a98c20d"),
    "SAM-B": (146_094_557, 466, "3a0c2224"),
    "SAM-L": (367_847_645, 634, "6f53f8ae"),
    "SAM-H": (699_741_149, 746, "59012eaa"),
}
TINY = Variant("CellViT256", "ViT256", 32, 2, (1, 2, 3, 4), (), (24, 16, 16))
TINY_SAM = Variant("CellViTSAM", "SAM-B", 32, 4, (1, 2, 3, 4), (1, 3), (24, 16, 16))


def drawn(module, seed=0):
    """The module with weights of a size that every part of it matters, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.dtype.is_floating_point:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2)
                if name.endswith("running_var"):
                    tensor.abs_().add_(0.5)
    return module.eval().requires_grad_(False)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_names_are_the_published_ones(name):
    with torch.device("meta"):
        network = CellViT(VARIANTS[name])
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    digest = hashlib.sha256("\n".join(f"{key} {shape}" for key, shape in sorted(shapes.items())).encode()).hexdigest()
    count = sum(parameter.numel() for parameter in network.parameters())
    assert (count, len(shapes), digest[:8]) == PUBLISHED[name]


@needs_real("facts/cellvit_state_dict_shapes.json")
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_key_has_the_published_shape(name):
    expected = json.loads(real("facts/cellvit_state_dict_shapes.json").read_text())[name]
    with torch.device("meta"):
        network = CellViT(VARIANTS[name])
    assert {key: list(tensor.shape) for key, tensor in network.state_dict().items()} == expected


@pytest.mark.parametrize(("grid", "side"), [(3, 3), (2, 4), (3, 2)])
def test_relative_attention_is_its_definition(grid, side, monkeypatch):
    """Scores added up pair by pair, tables of another side interpolated; whatever is computed at a time."""
    monkeypatch.setattr("spotweave.nuclei.cellvit.attention.MOST_BIAS", 2 * grid**4)
    attention = drawn(RelativeAttention(12, 3, side))
    x = torch.randn(2, grid, grid, 12, generator=torch.Generator().manual_seed(1))
    q, k, v = attention.qkv(x).double().reshape(2, grid, grid, 3, 3, 4).unbind(3)
    tables = []
    for table in (attention.rel_pos_h, attention.rel_pos_w):
        rows = 2 * grid - 1
        at = np.clip((np.arange(rows) + 0.5) * len(table) / rows - 0.5, 0, len(table) - 1)
        tables.append([np.interp(at, np.arange(len(table)), column) for column in table.double().numpy().T])
    down, across = (torch.tensor(np.array(table).T) for table in tables)
    out = torch.zeros(2, grid, grid, 3, 4, dtype=torch.float64)
    for b, h, y, x_ in np.ndindex(2, 3, grid, grid):
        query = q[b, y, x_, h]
        scores = torch.stack(
            [
                query @ k[b, i, j, h] / 2 + query @ down[y - i + grid - 1] + query @ across[x_ - j + grid - 1]
                for i, j in np.ndindex(grid, grid)
            ]
        )
        out[b, y, x_, h] = torch.softmax(scores, 0) @ v[b, :, :, h].reshape(-1, 4)
    expected = attention.proj(out.reshape(2, grid, grid, 12).float())
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)


def layer(x, norm):
    """LayerNorm over the last axis."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + 1e-6) * norm.weight + norm.bias


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / 2**0.5))


def test_the_plain_encoder_is_its_definition():
    """Softmax written out, the class token dropped from the maps, maps before the last norm."""
    vit = drawn(ViT(16, 2, (1, 2, 3, 4), 5))
    images = torch.randn(2, 3, 48, 32, generator=torch.Generator().manual_seed(2))
    patches = F.unfold(images, 16, stride=16).transpose(1, 2) @ vit.patch_embed.proj.weight.reshape(16, -1).T
    x = torch.cat([vit.cls_token.expand(2, 1, 16), patches + vit.patch_embed.proj.bias], 1)
    x = x + positions(vit.pos_embed, 3, 2)
    expected = []
    for block in vit.blocks:
        q, k, v = block.attn.qkv(layer(x, block.norm1)).split(16, -1)
        heads = []
        for part in (slice(0, 8), slice(8, 16)):
            weights = torch.softmax(q[..., part] @ k[..., part].transpose(1, 2) / 8**0.5, -1)
            heads.append(weights @ v[..., part])
        x = x + block.attn.proj(torch.cat(heads, -1))
        x = x + block.mlp.fc2(gelu(block.mlp.fc1(layer(x, block.norm2))))
        expected.append(x[:, 1:].transpose(1, 2).reshape(2, 16, 3, 2))
    found, tissue = vit(images)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tissue, vit.head(layer(x, vit.norm)[:, 0]), atol=1e-5, rtol=1e-5)


def test_places_of_tokens_are_scaled_as_in_training():
    table = torch.randn(1, 197, 8, generator=torch.Generator().manual_seed(3))
    grid = table[:, 1:].reshape(1, 14, 14, 8).permute(0, 3, 1, 2)
    found = positions(table, 16, 20)[:, 1:].reshape(1, 16, 20, 8).permute(0, 3, 1, 2)
    factors = (16.1 / 14, 20.1 / 14)
    torch.testing.assert_close(found, F.interpolate(grid, scale_factor=factors, mode="bicubic"), rtol=0, atol=0)
    assert (found - F.interpolate(grid, size=(16, 20), mode="bicubic")).abs().max() > 0.1
    assert positions(table, 14, 14) is table


def test_windows_of_the_other_encoder_are_filled_with_zeros_that_take_part():
    """A grid of 6 in windows of 4: the last windows, taken by hand, with zeros beyond the grid."""
    sam = drawn(SAM(12, 3, (1, 2, 3, 4), (1, 3), window=4, side=8))
    images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(4))
    found, summary = sam(images)
    assert [tuple(one.shape) for one in found] == [(1, 12, 6, 6)] * 4
    assert summary.shape == (1, 256)
    grid = sam.patch_embed(images).permute(0, 2, 3, 1) + sam.pos_embed[:, :6, :6]
    block = sam.blocks[0]
    normed = torch.zeros(1, 8, 8, 12)
    normed[:, :6, :6] = layer(grid, block.norm1)
    mixed = torch.zeros(1, 8, 8, 12)
    for top, left in ((0, 0), (0, 4), (4, 0), (4, 4)):
        mixed[:, top : top + 4, left : left + 4] = block.attn(normed[:, top : top + 4, left : left + 4])
    grid = grid + mixed[:, :6, :6]
    grid = grid + block.mlp.lin2(gelu(block.mlp.lin1(layer(grid, block.norm2))))
    torch.testing.assert_close(found[0], grid.permute(0, 3, 1, 2), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="squares of up to 128 px, not 96 x 112"):
        sam(torch.zeros(1, 3, 96, 112))


@pytest.mark.parametrize("variant", [TINY, TINY_SAM], ids=["plain", "SAM"])
def test_maps_of_a_tile_do_not_depend_on_the_others(variant):
    network = drawn(CellViT(variant))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    both, one = network(images), network(images[1:])
    assert [tuple(said.shape) for said in both] == [(2, 19), (2, 2, 32, 32), (2, 2, 32, 32), (2, 6, 32, 32)]
    for many, single in zip(both, one, strict=True):
        torch.testing.assert_close(many[1:], single, atol=1e-5 * float(single.abs().max()), rtol=0)


@pytest.mark.parametrize("encoder", [ViT(16, 2, (1, 2), 5), SAM(16, 2, (1, 2), (1,), window=4, side=8)])
def test_half_precision_is_that_of_the_same_network(encoder):
    """As a GPU computes, here emulated: no tensor of another precision is in the way."""
    drawn(encoder)
    images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(7))
    exact, _ = encoder(images)
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = encoder(images)
    for one, other in zip(exact, rough, strict=True):
        assert (one - other.float()).abs().max() < 0.05 * one.abs().max()


@pytest.fixture
def tiny(monkeypatch):
    """A small network in the place of a published one."""
    monkeypatch.setitem(VARIANTS, "256", TINY)
    return drawn(CellViT(TINY))


SPEC = NucleiSpec("cellvit-256-random", "cellvit", 0.25, "256", "file", "random.pth")
CONFIG = {
    "data.num_nuclei_classes": 6,
    "data.num_tissue_classes": 19,
    "model.backbone": "ViT256",
    "dataset_config.nuclei_types.Background": 0,
    **{f"dataset_config.nuclei_types.{name}": number for number, name in enumerate(checkpoint.CLASSES, start=1)},
    "transformations.normalize.mean": [0.7, 0.6, 0.5],
    "transformations.normalize.std": [0.5, 0.25, 0.5],
    "training.mixed_precision": True,
}


def saved(folder, network, **changes):
    """A file as the authors' training writes it."""
    content = {
        "arch": "CellViT256",
        "epoch": 3,
        "best_metric": np.float64(0.5),
        "config": CONFIG,
        "model_state_dict": network.state_dict(),
        **changes,
    }
    torch.save({name: value for name, value in content.items() if value is not None}, folder / "random.pth")
    return cellvit.load(SPEC, folder=folder, device="cpu", seed=0)


def test_a_checkpoint_comes_back(tmp_path, tiny):
    """Pixels are normalised as its configuration says; classes are chosen, offsets halved in size."""
    model = saved(tmp_path, tiny)
    tiles = np.random.default_rng(6).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    normal = (torch.tensor(tiles / 255.0) - torch.tensor([0.7, 0.6, 0.5])) / torch.tensor([0.5, 0.25, 0.5])
    said = tiny(normal.permute(0, 3, 1, 2).float())
    found = model.predict(tiles)
    for number, one in enumerate(found):
        np.testing.assert_allclose(one.offsets, said.hv_map[number].half().numpy(), rtol=2e-3, atol=2e-3)
        assert (one.types == said.nuclei_type_map[number].argmax(0).numpy()).mean() > 0.999
        assert (one.mask == (said.nuclei_binary_map[number].argmax(0) == 1).numpy()).mean() > 0.999
        assert (one.types.dtype, one.offsets.dtype, one.mask.dtype) == (np.uint8, np.float16, bool)
    assert model.provenance["arch"] == "CellViT256"
    assert model.provenance["weights_sha256"] == hashlib.sha256((tmp_path / "random.pth").read_bytes()).hexdigest()
    assert isinstance(model, CellViTModel)
    assert not model.half  # a CPU computes in single precision


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (lambda state: {"arch": "CellViTSAM"}, "random.pth says arch 'CellViTSAM', CellViT-256 has 'CellViT256'"),
        (lambda state: {"arch": None}, "random.pth is no checkpoint of CellViT: it has no arch"),
        (lambda state: {"config": {**CONFIG, "model.backbone": "SAM-H"}}, "says backbone 'SAM-H'"),
        (lambda state: {"config": {**CONFIG, "data.num_nuclei_classes": 7}}, "says num_nuclei_classes 7"),
        (
            lambda state: {"config": {**CONFIG, "dataset_config.nuclei_types.Mitotic": 1}},
            "says nuclei_types ('Mitotic', 'Inflammatory', 'Connective', 'Dead', 'Epithelial'), CellViT-256 has ('Neo",
        ),
        (lambda state: {"model_state_dict": without(state, "encoder.cls_token")}, "it lacks encoder.cls_token."),
        (lambda state: {"model_state_dict": {**state, "one.more": torch.ones(1)}}, "it has beyond it one.more."),
        (
            lambda state: {"model_state_dict": {**state, "encoder.cls_token": torch.ones(1, 1, 8)}},
            "it has encoder.cls_token of shape (1, 1, 8), expected is (1, 1, 32)",
        ),
        (lambda state: {"logdir": object()}, "cannot be opened as tensors and plain values"),
    ],
)
def test_another_checkpoint_is_said_to_be_one(tmp_path, tiny, changes, expected):
    with pytest.raises(NucleiUnavailable) as caught:
        saved(tmp_path, tiny, **changes(tiny.state_dict()))
    assert expected in caught.value.reason
    assert "(1) give a published checkpoint of CellViT-256" in caught.value.reason


def test_what_is_no_file_of_torch_is_said_to_be_none(tmp_path):
    (tmp_path / "random.pth").write_bytes(b"<html>log in first</html>")
    with pytest.raises(NucleiUnavailable, match=r"random.pth cannot be opened as tensors and plain values"):
        cellvit.load(SPEC, folder=tmp_path, device="cpu", seed=0)


def test_a_file_that_is_not_here_comes_with_the_way_to_it(tmp_path):
    with pytest.raises(NucleiUnavailable) as caught:
        cellvit.load(SPEC, folder=tmp_path, device="cpu", seed=0)
    assert "zenodo.org/records/15094831/files/CellViT-256-x40-AMP.pth" in caught.value.reason


def test_a_file_of_another_hash_is_not_opened(tmp_path):
    (tmp_path / "random.pth").write_bytes(b"x")
    spec = NucleiSpec("cellvit-256", "cellvit", 0.25, "256", "file", "random.pth", "0" * 64)
    with pytest.raises(NucleiUnavailable, match=r"has the SHA-256 2d711642.* expected is 000"):
        cellvit.load(spec, folder=tmp_path, device="cpu", seed=0)


@needs_real(ORACLE)
def test_separation_gives_the_authors_numbers():
    with np.load(real(ORACLE)) as oracle:
        mask = oracle["in/nuclei_binary_map"].astype(np.float32).argmax(-1) == 1
        types = oracle["in/nuclei_type_map"].astype(np.float32).argmax(-1).astype(np.uint8)
        offsets = oracle["in/hv_map"].transpose(2, 0, 1)
        found = maps.separate(maps.Maps(mask, types, offsets))
        np.testing.assert_array_equal(found.labels, oracle["out/instances"])
        np.testing.assert_array_equal(found.classes, oracle["out/cells_type"])
        np.testing.assert_allclose(found.probabilities, oracle["out/cells_type_prob"], rtol=0, atol=1e-6)
        coarse = maps.instances(mask, offsets, kernel_px=11, least_px=3)
        np.testing.assert_array_equal(coarse, oracle["out/instances_ksize11_size3"])
        np.testing.assert_array_equal(published(mask, offsets), oracle["out/instances"])


def test_the_quick_separation_differs_in_no_pixel():
    """Against the published steps, on tiles of odd shapes with clumps, holes, rings in rings and specks."""
    nuclei = 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        shape = tuple(rng.integers(40, 200, 2))
        field = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(2, 6))
        mask = field > np.quantile(field, rng.uniform(0.2, 0.8))
        offsets = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 3) for _ in range(2)])
        offsets = (offsets / np.abs(offsets).max()).astype(np.float16)
        found = maps.instances(mask, offsets)
        np.testing.assert_array_equal(found, published(mask, offsets))
        nuclei += found.max()
    assert nuclei > 100


def test_the_class_is_the_commonest_and_background_gives_way():
    labels = np.repeat(np.arange(1, 6, dtype=np.int32), 10)[None]
    classes = np.array([2] * 6 + [1] * 4 + [0] * 6 + [3] * 4 + [0] * 10 + [5] * 5 + [4] * 5 + [1] * 10, np.uint8)[None]
    found, shares = maps.types(labels, classes)
    assert found.tolist() == [2, 3, 0, 4, 1]
    np.testing.assert_allclose(shares, [0.6, 0.4, 1, 0.5, 1], atol=1e-6)


def ramps(side):
    x, y = np.meshgrid(*[np.linspace(-1, 1, side, dtype=np.float16)] * 2)
    return np.stack([x, y])


@pytest.mark.parametrize("offsets", [ramps(64), np.zeros((2, 64, 64), np.float16)], ids=["ramps", "zeros"])
@pytest.mark.parametrize("is_nucleus", [False, True])
def test_tiles_of_one_kind_have_no_nuclei(is_nucleus, offsets):
    """As the published table; one that is nucleus everywhere has a label there, which it does not list."""
    mask = np.full((64, 64), is_nucleus)
    found = maps.separate(maps.Maps(mask, mask.astype(np.uint8), offsets))
    assert len(found.classes) == 0
    assert found.labels.max() == 0


def test_a_row_says_which_network_it_is():
    row = {"variant": "SAM-G", "weights": "none", "um_per_px": "0.5"}
    assert [column for column, _ in cellvit.check(row)] == ["variant", "weights", "um_per_px"]
    assert cellvit.check({"variant": "SAM-H", "weights": "file", "um_per_px": "0.25"}) == []
    assert set(cellvit.ALLOWED) == set(VARIANTS)
    assert len(checkpoint.CLASSES) == 5


def seeing(network):
    """Weights by hand, with which a network finds dark nuclei: red ones Neoplastic, blue ones Inflammatory.

    The stem of the picture carries darkness and redness; a nucleus is what is dark, and its offsets are the slopes of
    darkness, turned round: left of its centre negative.
    """
    weights = network.state_dict()
    for name, tensor in weights.items():
        if tensor.dtype.is_floating_point:
            is_norm = ".block." in name and name.endswith("weight") and tensor.ndim == 1
            tensor.fill_(float(is_norm or name.endswith("running_var")))
    weights["decoder0.0.block.0.weight"][0, :, 1, 1] = -1 / 3
    weights["decoder0.0.block.0.weight"][1, :, 1, 1] = torch.tensor([0.5, 0, -0.5])
    weights["decoder0.0.block.0.bias"][:2] = 1
    weights["decoder0.1.block.0.weight"][[0, 1], [0, 1], 1, 1] = 1
    for name in ("nuclei_binary_map", "hv_map", "nuclei_type_maps"):
        first, second, last, bias = (
            weights[f"{name}_decoder.decoder0_header.{part}"]
            for part in ("0.block.0.weight", "1.block.0.weight", "2.weight", "2.bias")
        )
        second[range(4), range(4), 1, 1] = 1
        first[[0, 1], [0, 1], 1, 1] = 1
        bias[0] = 1
        last[1:, 0] = 1
        if name == "nuclei_type_maps":
            last[1:3, 1] = torch.tensor([1.0, -1]).view(2, 1, 1)
            bias[1:] = torch.tensor([-1.0, 1, -9, -9, -9])
        if name == "hv_map":
            slope = torch.tensor([[0.0, 0, 0], [1, 0, -1], [0, 0, 0]])
            first[:4, 0] = torch.stack([slope, -slope, slope.T, -slope.T])
            first[1, 1] = 0
            last[:2, :4] = torch.tensor([[0.5, -0.5, 0, 0], [0, 0, 0.5, -0.5]]).view(2, 4, 1, 1)
            bias[0] = 0
    return network


def test_nuclei_are_found_from_a_file_and_pixels(tmp_path, tiny):
    """Two that touch side by side and two one above the other, by weights in the published layout."""
    config = {**CONFIG, **{f"transformations.normalize.{name}": [0.5] * 3 for name in ("mean", "std")}}
    model = saved(tmp_path, seeing(tiny), config=config)
    y, x = np.mgrid[:96, :96] + 0.5
    tile = np.full((96, 96, 3), 230, np.uint8)
    discs = [(20, 20, 1), (34, 20, 1), (60, 20, 2), (60, 34, 2), (20, 70, 2), (70, 75, 1)]
    for across, down, kind in discs:
        inside = (x - across) ** 2 + (y - down) ** 2 <= 64
        tile[inside] = (120, 40, 40) if kind == 1 else (40, 40, 120)
    (maps_of_tile,) = model.predict(tile[None])
    found = model.separator()(maps_of_tile)
    centres = np.array(ndimage.center_of_mass(found.labels > 0, found.labels, range(1, 7)))[:, ::-1] + 0.5
    nearest = np.linalg.norm(centres[:, None] - np.array(discs)[None, :, :2], axis=2)
    assert nearest.min(axis=1).max() < 0.5
    assert [discs[place][2] for place in nearest.argmin(axis=1)] == found.classes.tolist()
    assert (found.probabilities == 1).all()
    assert sorted(nearest.argmin(axis=1)) == list(range(6))
