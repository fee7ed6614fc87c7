"""Kinds of recipe: which genes, which pictures, which losses, and what their files embed."""

import csv
from dataclasses import replace

import anndata
import h5py
import numpy as np
import pytest
import scanpy as sc
import torch
from scipy import sparse
from test_finetune import RECIPE, SPLITS, TINY, planted_pairs, write_sample

from spotweave.encoders import check_row, tower_file
from spotweave.errors import Refusal
from spotweave.finetune import Job, fold
from spotweave.finetune.contrast import recall_at_1
from spotweave.finetune.export import export_encoder
from spotweave.finetune.expression_side import describe_as, embed_expression
from spotweave.finetune.kinds.simclr import SimClr
from spotweave.finetune.kinds.stalign import SIZES, StAlignKind
from spotweave.finetune.kinds.stimage import Stimage
from spotweave.finetune.losses.clip import MOST_SCALE
from spotweave.finetune.niches import neighbours_of, niche_rows
from spotweave.finetune.pairs import Pairs, Tables
from spotweave.finetune.ranked_genes import most_variable_by_rank, overlap
from spotweave.finetune.recipe import typed
from spotweave.finetune.towers import principal
from spotweave.networks import tower
from spotweave.networks.spec import EncoderSpec, EncoderUnavailable
from spotweave.networks.stalign_pictures import SmallPicture
from spotweave.recipes import RECIPES

STIMAGE = Stimage("s", 32, 8, 3, "overlap", 2, 8, 5e-3, 0.0, "all")
SIMCLR = SimClr("v", 32, 8, 16, 2, 8, 1e-3, 1.0, 0.5, 0.05, "all", ("flip", "rot90", "crop"), 0.2)
STALIGN = StAlignKind(
    "a", 32, "tiny", 16.0, 8, "test_resnet", 3, 4, "mlp", "attention", 0.3, 0.3, 0.1, 2, 8, 5e-3, 0.04, 0.4, "all"
)


def measured(path):
    """Patches that say what they measure, as ours do."""
    with h5py.File(path, "r+") as file:
        file["img"].attrs.update({"pixel_size_target": 1.0, "patch_size_target": 32})


@pytest.fixture
def samples(tmp_path):
    found = [write_sample(tmp_path, name, seed=seed) for seed, name in enumerate(["A1", "B1", "C1"])]
    for sample in found:
        measured(sample.patches)
    return found


def train(kind, samples, path, *, seed=0, number=0, base=TINY):
    return fold.train_fold(SPLITS, number, samples, kind, base, Job(path, path, seed=seed, device="cpu"))


# What all have in common


@pytest.mark.parametrize("kind", [STIMAGE, replace(STIMAGE, gene_choice="rank"), SIMCLR, STALIGN])
def test_a_fold_of_each_kind_is_repeatable_sees_no_test_sample_and_embeds(kind, samples, tmp_path):
    for name in ("one", "two"):
        history = train(kind, samples, tmp_path / name)
        write_sample(tmp_path, "C1", seed=99)
        measured(samples[2].patches)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert len(history["loss"]) == kind.epochs and history["pairs"] == 12
    train(kind, samples, tmp_path / "other", seed=1)
    assert (tmp_path / "one").read_bytes() != (tmp_path / "other").read_bytes()
    header = tower.read_header(tmp_path / "one")
    assert header["train_samples"] == ["A1", "B1"]
    patches = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    unit = tower.read_tower(tmp_path / "one", "cpu")
    found = unit.encode(patches)
    assert found.shape == (5, header["embedding_dim"])
    np.testing.assert_allclose(np.concatenate([unit.encode(patches[:1]), unit.encode(patches[1:])]), found, atol=1e-5)


@pytest.mark.parametrize("name", RECIPES.names())
def test_a_kinds_columns_are_the_settings_of_what_it_trains(name):
    import importlib
    from dataclasses import MISSING, fields

    module = importlib.import_module(f"spotweave.finetune.kinds.{name}")
    (kind,) = [
        found for found in vars(module).values() if hasattr(found, "optimiser") and found.__module__ == module.__name__
    ]
    settings = {one.name: one for one in fields(kind)}
    recipe = RECIPES.load(name)
    assert set(recipe.COLUMNS) | {"recipe"} == set(settings) - {"spot_share", "gene_width", "gene_found"}
    assert set(recipe.REQUIRED) | {"recipe"} == {key for key, one in settings.items() if one.default is MISSING}


# STimage


def test_a_vision_language_tower_is_trained_at_its_own_size():
    base = {"builder": "vision_language", "input_px": "448"}
    check = RECIPES.load("infonce").check
    assert not check({"base_encoder": "conch", "input_px": "448"}, base)
    assert check({"base_encoder": "conch", "input_px": "224"}, base) == [
        ("input_px", "of conch: 224, allowed: 448, which its positions are of")
    ]


def test_genes_by_rank_are_each_samples_own_most_variable_first(tmp_path):
    rng = np.random.default_rng(0)
    counts = rng.poisson(20, (60, 6))
    counts[:30, 4] += 200  # the most variable of this sample
    counts[::2, 1] += 45
    sample = write_sample(tmp_path, "A1", genes="uvwxyz", counts=counts)
    (table,) = Tables([sample])
    found = most_variable_by_rank(2)(table)
    chosen = counts[:, [4, 1]]
    totals = chosen.sum(axis=1)
    np.testing.assert_allclose(found, np.log1p(chosen / totals[:, None] * np.median(totals)), rtol=1e-5)
    with pytest.raises(Refusal, match="A1 has 6 genes, 7 are to be ranked"):
        most_variable_by_rank(7)(table)


def test_overlapping_genes_are_scanpys_on_all_spots_of_the_genes_that_meet(tmp_path):
    rng = np.random.default_rng(1)
    genes = [f"g{number}" for number in range(40)]
    counts = [rng.poisson(rng.gamma(1, 4, 40), (50, 40)) + 0 for _ in range(2)]
    first = write_sample(tmp_path, "A1", genes=genes, counts=counts[0])
    second = write_sample(
        tmp_path, "B1", genes=genes[:30] + [f"other{number}" for number in range(10)], counts=counts[1]
    )
    tables = Tables([first, second])
    found = overlap(tables, 5)
    both = np.concatenate([counts[0][:, :30], counts[1][:, :30]])
    order = np.argsort(genes[:30])
    data = anndata.AnnData(sparse.csr_matrix(both[:, order].astype(np.float32)))
    data.var_names = sorted(genes[:30])
    sc.pp.normalize_total(data)
    sc.pp.log1p(data)
    sc.pp.highly_variable_genes(data, n_top_genes=5)
    assert found.genes == sorted(data.var_names[data.var.highly_variable])
    one = next(iter(tables))
    np.testing.assert_allclose(found.describe(one), data[:50, found.genes].X.toarray(), rtol=1e-5, atol=1e-6)
    with pytest.raises(Refusal, match="no gene is in every sample"):
        overlap(Tables([first, write_sample(tmp_path, "C1", genes=["q"] * 1, counts=[[3]] * 4)]), 5)


def test_the_temperature_is_learned_and_stays_in_its_bounds():
    unit = STIMAGE.objective(planted_pairs(8), TINY, folder=None, seed=0, device=torch.device("cpu"))
    assert unit.scale().item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        unit.scale.log_scale += 9
    unit.settle()
    assert unit.scale().item() == pytest.approx(MOST_SCALE)
    assert [id(parameter) for parameter in unit.of_loss()] == [id(unit.scale.log_scale)]


def test_a_frozen_encoder_stays_and_its_heads_learn():
    kind = replace(STIMAGE, unfrozen="none", epochs=1)
    start = kind.objective(planted_pairs(8), TINY, folder=None, seed=0, device=torch.device("cpu")).state_dict()
    end = fold.fit(kind, planted_pairs(8), TINY, folder=None, seed=0).objective.state_dict()
    moved = {name for name in start if not torch.equal(start[name], end[name])} - {"steps_done"}
    assert moved == {
        *("image_tower.projection.weight", "image_tower.projection.bias"),
        *("expression_tower.weight", "expression_tower.bias", "scale.log_scale"),
    }


# SimCLR


def test_views_need_no_expression(samples, tmp_path):
    train(SIMCLR, samples, tmp_path / "with")
    for sample in samples:
        write_sample(
            tmp_path,
            sample.sample,
            seed={"A1": 0, "B1": 1, "C1": 2}[sample.sample],
            counts=np.ones((6, 2)),
            genes="pq",
            images=pictures(sample),
        )
    train(SIMCLR, samples, tmp_path / "without")
    with_, without = (tower.read_tower(tmp_path / name, "cpu") for name in ("with", "without"))
    patches = pictures(samples[2])
    np.testing.assert_array_equal(with_.encode(patches), without.encode(patches))


def pictures(sample):
    with h5py.File(sample.patches) as file:
        return file["img"][:]


def test_views_of_a_patch_come_closer_than_those_of_others():
    kind = replace(SIMCLR, epochs=40, batch=16, lr_image=1e-2, temperature=0.2, augment=("flip", "rot90"), jitter=0.0)
    trained = fold.fit(kind, planted_pairs(16), TINY, folder=None, seed=0)
    assert trained.history["loss"][-1] < 0.5 * trained.history["loss"][0]
    assert "recall_at_1" not in trained.history


# ST-Align


def test_the_niche_of_a_spot_is_itself_and_its_nearest_in_its_sample():
    grid = np.array([[x, y] for y in range(3) for x in range(3)], float)
    places = np.concatenate([grid * 10, grid * 10])  # a second sample at the same places
    groups = np.repeat([0, 1], 9)
    found = neighbours_of(places, groups, 3)
    assert (found[:, 0] == np.arange(18)).all()
    # The corner's: right, below, and of all others the diagonal; the middle's: of four as near the first three.
    assert found[0].tolist() == [0, 1, 3, 4]
    assert found[4].tolist() == [4, 1, 3, 5]
    assert (found[9:] - 9 == found[:9]).all()
    values = np.arange(18, dtype=np.float32)[:, None] ** 2
    np.testing.assert_allclose(niche_rows(values, found[[0, 4]]), [[(0 + 1 + 9 + 16) / 4], [(16 + 1 + 9 + 25) / 4]])
    assert neighbours_of(grid[:2], np.zeros(2, int), 3).tolist() == [[0, 1, 0, 1], [1, 0, 1, 0]]


def test_the_picture_of_a_spot_is_the_middle_of_its_patch():
    unit = SmallPicture("test_resnet", 4, 0.5, 16).eval()
    images = torch.rand(2, 3, 32, 32)
    other = images.clone()
    other[:, :, :8], other[..., 24:] = 0, 0
    torch.testing.assert_close(unit(images), unit(other))
    other[:, :, 8] = 0
    assert not torch.allclose(unit(images), unit(other))
    # Its stem has no stride, be it one convolution or several: only the three later stages halve it.
    for name in ("test_resnet", "resnet18"):
        assert SmallPicture(name, 4, 0.5, 16).network.forward_features(torch.rand(1, 3, 16, 16)).shape[2:] == (2, 2)


def test_pictures_of_a_spot_and_of_its_niche_are_changed_apart():
    kind = kind_with_share(augment=("flip",), jitter=0.3)
    unit = kind.objective(niche_pairs(), TINY, folder=None, seed=0, device=torch.device("cpu"))
    spot, _, niche, _ = unit.see(torch.arange(32), torch.Generator().manual_seed(0))(slice(3, 20))
    assert spot.shape == niche.shape == (17, 3, 32, 32)
    assert ((spot - niche).abs().amax(dim=(1, 2, 3)) > 0.02).all()
    same, _, too, _ = unit.as_they_are(torch.arange(32))
    assert torch.equal(same, too)


def test_patches_smaller_than_the_spot_or_of_unknown_size_are_refused(samples, tmp_path):
    with pytest.raises(Refusal, match="spot_um 33 is wider than the patches"):
        train(replace(STALIGN, spot_um=33.0), samples, tmp_path / "w")
    write_sample(tmp_path, "B1")
    with pytest.raises(Refusal, match=r"B1.h5 does not say what its patches measure"):
        train(STALIGN, samples, tmp_path / "w")


def niche_pairs(count=32):
    pairs = planted_pairs(count)
    places = np.array([[number % 8, number // 8] for number in range(count)], float) * 100
    return Pairs(pairs.images, pairs.expression, pairs.genes, pairs.samples, 0, positions_px=places)


def kind_with_share(**changes):
    kind = replace(STALIGN, **changes)
    object.__setattr__(kind, "spot_share", 0.5)
    return kind


@pytest.mark.parametrize("fusion", ["attention", "concatenation"])
def test_spots_and_niches_are_learned_by_heart(fusion):
    kind = kind_with_share(epochs=80, batch=32, lr_image=3e-2, fusion=fusion, end_weight_decay=0.04)
    trained = fold.fit(kind, niche_pairs(), TINY, folder=None, seed=0)
    assert trained.history["recall_at_1"]["after"] == 1
    assert trained.history["loss"][-1] < 0.3 * trained.history["loss"][0]


def test_without_its_share_nothing_of_the_niche_alone_is_learned():
    kind = kind_with_share(share_niche=0.0, share_spot=1.0, epochs=1, weight_decay=0.0, end_weight_decay=0.0)
    start = kind.objective(niche_pairs(), TINY, folder=None, seed=0, device=torch.device("cpu")).state_dict()
    end = fold.fit(kind, niche_pairs(), TINY, folder=None, seed=0).objective.state_dict()
    moved = {name for name in start if not torch.equal(start[name].float(), end[name].float())}
    learned = {name for name in moved if not any(word in name for word in ("running", "num_batches", "steps_done"))}
    assert learned
    assert not [name for name in learned if "niche" in name or "fuse" in name]


def test_principal_components_are_those_of_standardised_genes():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(200, 3)) @ rng.normal(size=(3, 6))).astype(np.float32) * np.arange(1, 7)
    components = principal(values, 2).numpy().astype(float)
    z = (values - values.mean(0)) / values.std(0)
    _, _, expected = np.linalg.svd(z, full_matrices=False)
    for one, other in zip(components, expected[:2], strict=True):
        np.testing.assert_allclose(one, other * np.sign(other.sum()), atol=1e-4)
    kind = kind_with_share(gene_encoder="pca")
    unit = kind.objective(niche_pairs(), TINY, folder=None, seed=0, device=torch.device("cpu"))
    assert not unit.network.spot_genes.layers.weight.requires_grad
    found = unit.network.spot_genes(torch.from_numpy(niche_pairs().expression))
    assert found.shape == (32, SIZES["tiny"].spot_gene)
    assert found[:, 12:].abs().max() == 0  # twelve genes have no more components


def test_the_row_of_each_kind_is_typed():
    row = {
        "recipe": "x",
        "input_px": "32",
        "embedding_dim": "4",
        "hidden": "8",
        "epochs": "1",
        "batch": "2",
        "lr_image": "1e-3",
        "layer_decay": "1",
        "temperature": "0.5",
        "weight_decay": "0",
        "unfrozen": "all",
        "augment": "flip crop",
        "kind": "simclr",
        "notes": "n",
    }
    found = typed(SimClr, row)
    assert (found.augment, found.jitter, found.batch) == (("flip", "crop"), 0.0, 2)


# The other half


@pytest.mark.parametrize(
    "kind",
    [
        STIMAGE,
        replace(STIMAGE, gene_choice="rank"),
        replace(STALIGN, lr_image=5e-2, end_weight_decay=0.04),
        replace(RECIPE, lr_image=3e-3, lr_expression=3e-3, augment=(), jitter=0.0),
    ],
)
def test_expression_is_embedded_as_in_training(kind, samples, tmp_path):
    """Spots and pictures of the file find each other as often as its training said they do."""
    kind = replace(kind, epochs=30, batch=12)
    history = train(kind, samples, tmp_path / "w")
    unit = tower.read_tower(tmp_path / "w", "cpu")
    tables = list(Tables(samples[:2]))
    image = np.concatenate([unit.encode(pictures(sample)) for sample in samples[:2]])
    spots = np.concatenate([embed_expression(tmp_path / "w", table) for table in tables])
    found = recall_at_1(torch.from_numpy(image), torch.from_numpy(spots))
    if not isinstance(kind, StAlignKind):  # its recall is of spots alone
        assert found == pytest.approx(history["recall_at_1"]["after"], abs=1e-6)
    assert found > 0.5
    shuffled = recall_at_1(torch.from_numpy(image), torch.from_numpy(spots[::-1].copy()))
    assert shuffled < 0.5


def test_genes_that_a_sample_lacks_are_nought_and_one_without_any_is_refused(samples, tmp_path):
    train(RECIPE, samples, tmp_path / "w")
    header = tower.read_header(tmp_path / "w")
    assert header["genes"] == ["a", "b", "c", "d"]
    (table,) = Tables([write_sample(tmp_path, "D1", genes=("c", "z"), counts=[[1, 3], [0, 2]])])
    np.testing.assert_allclose(describe_as(header, table), [[0, 0, np.log(2501), 0], [0, 0, 0, 0]], rtol=1e-6)
    (other,) = Tables([write_sample(tmp_path, "D2", genes=("y", "z"), counts=[[1, 3]])])
    with pytest.raises(Refusal, match="D2 has none of the 4 genes of r"):
        embed_expression(tmp_path / "w", other)
    train(SIMCLR, samples, tmp_path / "v")
    with pytest.raises(Refusal, match="v learned from pictures only"):
        embed_expression(tmp_path / "v", table)


# For others


@pytest.fixture
def trained(samples, tmp_path):
    results = tmp_path / "results/toy"
    (results / "finetune/v").mkdir(parents=True)
    train(replace(SIMCLR, recipe="v"), samples, results / "finetune/v/fold0.safetensors")
    lines = ["id,organ,st_technology,licence_spdx,cohort"]
    lines += [f"{name},Breast,Visium,CC-BY-4.0,ours" for name in ("A1", "B1", "C1")]
    (results / "toy.csv").write_text("\n".join(lines) + "\n")
    return results


def test_an_encoder_for_others_embeds_by_its_row(trained, tmp_path, samples):
    weights, card, table = export_encoder(trained, "v", 0, tmp_path / "out")
    with open(table, newline="") as handle:
        (row,) = csv.DictReader(handle)
    assert not check_row({key: cell for key, cell in row.items() if cell})
    assert row["seen"] == "ours"
    spec = EncoderSpec.from_row(row)
    found = tower_file.build(spec, folder=None, seed=5, device="cpu").encode(pictures(samples[2]))
    own = tower.read_tower(trained / "finetune/v/fold0.safetensors", "cpu").encode(pictures(samples[2]))
    np.testing.assert_array_equal(found, own)
    said = card.read_text()
    for words in ("recipe `r` of task", "donors C", "A1, B1 (Breast; Visium)", "CC-BY-4.0", "pictures alone"):
        assert words.replace("`r`", "`v`") in said
    with pytest.raises(EncoderUnavailable, match="the row says 7 and 32"):
        tower_file.build(replace(spec, dim=7), folder=None, seed=0, device="cpu")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(EncoderUnavailable, match=r"sha256|SHA-256"):
        tower_file.build(spec, folder=None, seed=0, device="cpu")


def test_what_may_not_be_passed_on_is_not_exported(trained, tmp_path):
    path = trained / "finetune/v/fold0.safetensors"
    header = {**tower.read_header(path), "licence": "CC-BY-NC-ND-4.0"}
    network = tower.unfilled_tower(header)
    tower.save(path, network, header)
    with pytest.raises(Refusal, match=r"\(CC-BY-NC-ND-4.0\), which may not be passed on changed"):
        export_encoder(trained, "v", 0, tmp_path / "out")
    with pytest.raises(Refusal, match=r"fold1\.safetensors is not there"):
        export_encoder(trained, "v", 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()
