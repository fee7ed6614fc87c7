"""Fine-tuning: the loss in closed form, what learns and what does not, folds, leakage, determinism."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch import nn

from spotweave import finetune
from spotweave.encoders import finetuned
from spotweave.errors import Refusal
from spotweave.expression.scales import log_share
from spotweave.finetune import Job, Sample, contrast, fold, towers, training
from spotweave.finetune.augment import Changes
from spotweave.finetune.kinds.infonce import InfoNce
from spotweave.finetune.losses.info_nce import info_nce
from spotweave.finetune.pairs import Pairs, read_pairs
from spotweave.finetune.recipe import typed
from spotweave.io import is_refused, write_refused
from spotweave.networks import backbone, threads, tower
from spotweave.networks.spec import EncoderSpec

ROOT = Path(__file__).resolve().parents[2]
TINY = EncoderSpec(
    "tiny-random",
    "timm_model",
    96,
    32,
    architecture="test_resnet",
    weights="random",
    pool="avg",
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)
ROW = {
    "recipe": "r",
    "kind": "infonce",
    "task": "toy",
    "base_encoder": "tiny-random",
    "input_px": "32",
    "embedding_dim": "16",
    "genes": "12",
    "hidden": "32",
    "epochs": "2",
    "batch": "8",
    "lr_image": "1e-3",
    "lr_expression": "1e-3",
    "layer_decay": "1",
    "temperature": "0.07",
    "weight_decay": "0.05",
    "augment": "flip rot90",
    "jitter": "0.1",
    "unfrozen": "all",
}
RECIPE = typed(InfoNce, ROW)


def planted_pairs(count, px=32, genes=12, seed=0):
    """Every patch in a colour and a pattern of its own, every spot with a profile of its own."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    images = coarse.repeat(px // 4, axis=1).repeat(px // 4, axis=2)
    expression = rng.gamma(2, 1, (count, genes)).astype(np.float32)
    return Pairs(images, expression, tuple(f"g{i}" for i in range(genes)), ("S1",), 0)


class Unit:
    """A training as it goes: an epoch at a time."""

    def __init__(self, recipe=RECIPE, base=TINY, pairs=None, seed=0):
        pairs = pairs or planted_pairs(8)
        self.objective = recipe.objective(pairs, base, folder=None, seed=seed, device=torch.device("cpu"))
        self.image_tower = self.objective.image_tower
        self.optimizer = recipe.optimiser(self.objective)
        self.numbers = training.all_pairs(len(pairs.images))
        groups = pairs.groups()
        self.steps_per_epoch = recipe.course.steps(groups) // recipe.epochs
        schedule = recipe.schedule(recipe.course.steps(groups), groups)
        self.steps = training.Steps(self.objective, self.optimizer, schedule, recipe.course, groups)
        self.generator = torch.Generator().manual_seed(seed)

    def epoch(self):
        self.objective.train()
        return self.steps.epoch(self.generator)

    def measure_batch_statistics(self):
        training.measure_batch_statistics(self.objective, self.numbers)

    def embed(self):
        self.objective.eval()
        return training.embed_all(self.objective, self.numbers)


def trainer(recipe=RECIPE, base=TINY, pairs=None, seed=0):
    return Unit(recipe, base, pairs, seed)


def augment(images, recipe, generator):
    return Changes.draw(len(images), recipe.augment, recipe.jitter, generator)(images)


# The loss and the measures


def test_the_loss_is_the_mean_of_both_cross_entropies():
    image = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    expression = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    half = np.sqrt(0.5)
    similar = np.array([[1, half], [0, half]]) / 0.5
    by_row = -np.log(np.exp(np.diag(similar)) / np.exp(similar).sum(1)).mean()
    by_column = -np.log(np.exp(np.diag(similar)) / np.exp(similar).sum(0)).mean()
    assert info_nce(image, expression, 0.5).item() == pytest.approx((by_row + by_column) / 2, abs=1e-6)


def test_aligned_embeddings_have_no_loss_and_blind_ones_have_the_logarithm_of_the_batch():
    assert info_nce(torch.eye(6), torch.eye(6), 0.01).item() == pytest.approx(0, abs=1e-6)
    assert info_nce(torch.ones(6, 3), torch.randn(6, 3), 0.07).item() >= np.log(6) - 1e-5
    assert info_nce(torch.ones(6, 3), torch.ones(6, 3), 0.07).item() == pytest.approx(np.log(6), abs=1e-5)


def test_a_single_pair_has_no_loss():
    assert info_nce(torch.randn(1, 4), torch.randn(1, 4), 0.07).item() == 0


def test_the_effective_rank_is_one_for_one_direction_and_full_for_an_orthogonal_matrix():
    assert contrast.rankme(torch.outer(torch.arange(1.0, 9), torch.randn(5))) == pytest.approx(1, abs=1e-6)
    assert contrast.rankme(torch.linalg.qr(torch.randn(9, 5)).Q) == pytest.approx(5, abs=1e-5)
    assert contrast.rankme(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(
        np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    )


def test_recall_counts_the_pairs_that_find_each_other():
    eye = torch.eye(4)
    assert contrast.recall_at_1(eye, eye) == 1
    assert contrast.recall_at_1(eye, eye[[1, 0, 2, 3]]) == 0.5


# What learns


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def snapshot(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_only_the_unfrozen_layers_change_batch_statistics_included():
    unit = trainer(replace(RECIPE, unfrozen="last 1"))
    before = snapshot(unit.image_tower.backbone.model)
    unit.epoch()
    unit.measure_batch_statistics()
    moved = changed(before, unit.image_tower.backbone.model.state_dict())
    assert moved
    assert all(name.startswith("layer4.") for name in moved)


def test_all_layers_change_when_all_are_unfrozen():
    unit = trainer()
    before = dict(unit.image_tower.backbone.model.named_parameters())
    before = {name: parameter.detach().clone() for name, parameter in before.items()}
    for _ in range(2):  # timm starts residual branches at zero: what is inside them moves one step later
        unit.epoch()
    after = dict(unit.image_tower.backbone.model.named_parameters())
    assert changed(before, after) == set(before)


def test_the_last_blocks_of_a_transformer_learn_with_its_final_norm():
    model = backbone.Backbone(replace(TINY, architecture="vit_tiny_patch16_224", arguments="img_size=32")).model
    trained = towers.freeze(model, "last 3")
    assert {name.split(".")[1] for name in trained if name.startswith("blocks.")} == {"9", "10", "11"}
    assert {name.split(".")[0] for name in trained} == {"blocks", "norm"}
    with pytest.raises(ValueError, match="13 layer groups"):
        towers.freeze(model, "last 14")


def test_learning_rates_fall_by_the_layer():
    base = replace(TINY, architecture="vit_tiny_patch16_224", arguments="img_size=32", pool="cls", dim=192)
    unit = trainer(replace(RECIPE, layer_decay=0.7, unfrozen="last 3", lr_image=1e-4, lr_expression=1e-3), base)
    rates = sorted({group["lr"] for group in unit.optimizer.param_groups}, reverse=True)
    assert rates == pytest.approx([1e-3, 1e-4, 0.7e-4, 0.49e-4])


def test_planted_pairs_are_learned_by_heart():
    recipe = replace(RECIPE, epochs=25, batch=32, augment=(), jitter=0.0, lr_image=3e-3, lr_expression=3e-3)
    history = fold.fit(recipe, planted_pairs(32), TINY, folder=None, seed=0).history
    assert history["recall_at_1"]["before"] < 0.3
    assert history["recall_at_1"]["after"] == 1
    assert history["loss"][-1] < 0.1 * history["loss"][0]


def test_batch_statistics_are_those_of_the_training_patches():
    pairs = planted_pairs(6)
    unit = trainer(pairs=pairs)
    unit.measure_batch_statistics()
    norm = next(module for module in unit.image_tower.modules() if isinstance(module, nn.BatchNorm2d))
    seen = []
    handle = norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    unit.embed()
    handle.remove()
    torch.testing.assert_close(norm.running_mean, seen[0].mean((0, 2, 3)), atol=1e-5, rtol=1e-4)


def test_two_pairs_are_needed():
    with pytest.raises(Refusal, match="two pairs"):
        fold.fit(RECIPE, planted_pairs(1), TINY, folder=None, seed=0)


def test_augmentation_moves_pixels_but_invents_none():
    images = torch.rand(40, 3, 8, 8)
    generator = torch.Generator().manual_seed(0)
    turned = augment(images, replace(RECIPE, jitter=0.0), generator)
    torch.testing.assert_close(turned.flatten(2).sort().values, images.flatten(2).sort().values)
    eight = [
        image for turn in range(4) for image in (images[0].rot90(turn, (1, 2)), images[0].rot90(turn, (1, 2)).flip(2))
    ]
    many = augment(images[:1].expand(200, -1, -1, -1), replace(RECIPE, jitter=0.0), generator)
    found = {next(i for i, image in enumerate(eight) if torch.equal(image, one)) for one in many}
    assert found == set(range(8))
    recoloured = augment(images, replace(RECIPE, augment=(), jitter=0.1), generator)
    assert 0 < (recoloured - images).abs().max() <= 0.1 + 1e-6
    assert torch.equal(augment(images, replace(RECIPE, augment=(), jitter=0.0), generator), images)


# Pairs and folds


def write_sample(folder, name, *, spots=6, genes=("a", "b", "c", "d"), ids=None, counts=None, seed=0, images=None):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(3, (spots, len(genes))) if counts is None else np.asarray(counts)
    spot_ids = [f"{i}x{i}" for i in range(len(counts))]
    var = pd.DataFrame({} if ids is None else {"gene_id": list(ids)}, index=list(genes))
    table = anndata.AnnData(
        sparse.csr_matrix(counts.astype(np.float32)), obs=pd.DataFrame({"in_tissue": 1}, index=spot_ids), var=var
    )
    table.obsm["spatial"] = np.zeros((len(spot_ids), 2))
    table.write_h5ad(folder / f"{name}.h5ad")
    with h5py.File(folder / f"{name}.h5", "w") as opened:
        opened["img"] = rng.integers(0, 256, (len(spot_ids), 32, 32, 3), dtype=np.uint8) if images is None else images
        opened.create_dataset("barcode", data=np.array(spot_ids, dtype=object)[:, None], dtype=h5py.string_dtype())
    return Sample(name, folder / f"{name}.h5", folder / f"{name}.h5ad")


SPLITS = {
    "task": "toy",
    "folds": [
        {"fold": 0, "test_donors": ["C"], "train": ["A1", "B1"], "test": ["C1"]},
        {"fold": 1, "test_donors": ["A"], "train": ["B1", "C1"], "test": ["A1"]},
    ],
    "left_out": [{"donor": "D", "reason": "refused in read_expression"}],
}


@pytest.fixture
def samples(tmp_path):
    return [write_sample(tmp_path, name, seed=seed) for seed, name in enumerate(["A1", "B1", "C1"])]


def identity(patches):
    return patches


def all_rows(rows):
    return rows[np.arange(len(rows))]


def test_expression_is_the_logarithm_of_counts_per_ten_thousand():
    counts = np.array([[1.0, 3.0], [0.0, 0.0]])
    for found in (log_share(sparse.csr_matrix(counts), counts.sum(1)).toarray(), log_share(counts, counts.sum(1))):
        np.testing.assert_allclose(found, [[np.log(2501), np.log(7501)], [0, 0]], rtol=1e-6)


def test_a_gene_that_only_tells_samples_apart_is_not_variable(tmp_path):
    low = write_sample(tmp_path, "A1", genes=("batch", "x", "y"), counts=[[1, 50, 49], [1, 10, 89], [1, 90, 9]])
    high = write_sample(tmp_path, "B1", genes=("y", "x", "batch"), counts=[[9, 10, 81], [10, 9, 81], [12, 7, 81]])
    pairs = read_pairs([low, high], 2, identity)
    assert pairs.genes == ("x", "y")
    np.testing.assert_allclose(pairs.expression[[3]][0], np.log1p([1000, 900]), rtol=1e-5)


def test_only_genes_of_all_training_samples_are_used(tmp_path):
    first = write_sample(tmp_path, "A1", genes=("a", "b", "c"))
    second = write_sample(tmp_path, "B1", genes=("b", "c", "d"))
    assert read_pairs([first, second], 9, identity).genes == ("b", "c")


def test_genes_of_samples_that_name_them_by_id_meet_by_id(tmp_path):
    ids = [f"ENSG0000000000{number}" for number in range(4)]
    by_name = [write_sample(tmp_path, name, seed=seed) for seed, name in enumerate(["A1", "B1"])]
    expected = read_pairs(by_name, 3, identity)
    first = write_sample(tmp_path, "A1", ids=ids, seed=0)
    second = write_sample(tmp_path, "B1", genes=ids, ids=ids, seed=1)
    pairs = read_pairs([first, second], 3, identity)
    assert pairs.genes == expected.genes
    np.testing.assert_array_equal(all_rows(pairs.expression), all_rows(expected.expression))
    unnamed = write_sample(tmp_path, "B1", genes=ids, seed=1)
    with pytest.raises(Refusal, match="A1 calls its genes a, b and B1 ENSG00000000000"):
        read_pairs([write_sample(tmp_path, "A1"), unnamed], 3, identity)


def test_patches_and_spots_stay_together_and_empty_spots_are_left_out(tmp_path):
    counts = np.diag([5, 0, 7]) + np.array([[1, 1, 1], [0, 0, 0], [1, 1, 1]])
    images = np.full((3, 32, 32, 3), np.array([10, 20, 30], np.uint8).reshape(3, 1, 1, 1))
    sample = write_sample(tmp_path, "A1", genes=("a", "b", "c"), counts=counts, images=images)
    with h5py.File(sample.patches, "r+") as opened:  # one row fewer than the table, in its order
        barcodes, img = opened["barcode"][1:], opened["img"][1:]
        del opened["barcode"], opened["img"]
        opened["barcode"], opened["img"] = barcodes, img
    pairs = read_pairs([sample], 3, identity)
    assert pairs.empty_spots == 1
    assert pairs.images[[0]][:, 0, 0, 0].tolist() == [30]
    np.testing.assert_allclose(all_rows(pairs.expression), np.log1p([[1000, 1000, 8000]]), rtol=1e-5)


def test_a_patch_without_expression_is_an_error(tmp_path):
    sample = write_sample(tmp_path, "A1")
    other = write_sample(tmp_path, "B1", spots=3)
    with pytest.raises(ValueError, match="3x3"):
        read_pairs([Sample("A1", sample.patches, other.expression)], 2, identity)


def test_a_fold_that_does_not_exist_is_refused_with_the_donors_left_out():
    with pytest.raises(Refusal, match=r"fold 2 does not exist: task toy has folds 0, 1; left out: D"):
        finetune.pick_fold(SPLITS, 2)


def test_a_fold_that_splits_a_sample_is_refused():
    split = {"fold": 0, "train": ["A1", "B1"], "test": ["B1"], "test_spots": {"B1": ["1x1"]}}
    with pytest.raises(Refusal, match="fold 0 splits samples, and fine-tuning holds out whole ones"):
        finetune.pick_fold({**SPLITS, "folds": [split]}, 0)


def test_a_training_sample_that_is_not_given_is_an_error(samples):
    with pytest.raises(ValueError, match="B1"):
        finetune.training_samples(SPLITS["folds"][0], [samples[0], samples[2]])


def test_training_samples_come_in_the_order_of_the_splits_without_refused_ones(samples, tmp_path):
    write_refused(tmp_path / "D1.h5")
    refused = Sample("D1", tmp_path / "D1.h5", tmp_path / "D1.h5")
    chosen = finetune.training_samples(SPLITS["folds"][0], [refused, *reversed(samples)])
    assert [sample.sample for sample in chosen] == ["A1", "B1"]


def train(samples, path, *, number=0, seed=0, recipe=RECIPE):
    return fold.train_fold(
        SPLITS, number, samples, recipe, TINY, Job(path, path.with_suffix(".csv"), seed=seed, device="cpu")
    )


def test_test_donors_have_no_influence_on_the_weights(samples, tmp_path):
    train(samples, tmp_path / "before.safetensors")
    write_sample(tmp_path, "C1", seed=99, genes=("other", "genes"))
    train(samples, tmp_path / "after.safetensors")
    assert (tmp_path / "before.safetensors").read_bytes() == (tmp_path / "after.safetensors").read_bytes()


def test_training_samples_do_have_an_influence(samples, tmp_path):
    train(samples, tmp_path / "before.safetensors")
    write_sample(tmp_path, "B1", seed=99)
    train(samples, tmp_path / "after.safetensors")
    before, after = (tower.safetensors.torch.load_file(tmp_path / f"{x}.safetensors") for x in ("before", "after"))
    assert changed(before, after)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(samples, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(samples, tmp_path / f"{name}.safetensors", seed=seed)
        torch.rand(3)
    read = {name: (tmp_path / f"{name}.safetensors").read_bytes() for name in "abc"}
    assert read["a"] == read["b"] != read["c"]


def test_the_file_of_a_fold_embeds_as_the_tower_that_was_trained(samples, tmp_path):
    path = tmp_path / "fold1.safetensors"
    recipe = replace(RECIPE, input_px=16)
    history = train(samples, path, number=1, recipe=recipe)
    header = tower.read_header(path)
    assert header["fold"] == 1
    assert header["train_samples"] == ["B1", "C1"]
    assert header["genes"] == ["a", "b", "c", "d"]
    unit = finetuned.build(EncoderSpec("r", "finetuned", 96, 32, source=str(path)), folder=None, seed=8, device="cpu")
    with h5py.File(samples[1].patches) as b, h5py.File(samples[2].patches) as c:
        found = unit.encode(np.concatenate([b["img"][:], c["img"][:]]))
    assert found.shape == (12, 16)
    assert contrast.rankme(torch.from_numpy(found)) == pytest.approx(history["rankme"]["after"], rel=0.02)


@pytest.fixture
def run_script(tmp_path, monkeypatch):
    """The script in this process: torch takes seconds to import."""
    import finetune_encoder

    monkeypatch.setattr(threads, "limit_threads", lambda threads: None)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

    def run(samples, fold):
        paths = {name: tmp_path / name for name in ("w.safetensors", "h.csv", "record.json", "splits.json")}
        paths["splits.json"].write_text(json.dumps(SPLITS))
        options = {
            "--splits": [paths["splits.json"]],
            "--fold": [fold],
            "--samples": [sample.sample for sample in samples],
            "--patches": [sample.patches for sample in samples],
            "--expression": [sample.expression for sample in samples],
            "--recipe": [json.dumps(ROW)],
            "--base": [json.dumps(BASE_ROW)],
            "--weights": [paths["w.safetensors"]],
            "--history": [paths["h.csv"]],
            "--record": [paths["record.json"]],
            "--device": ["cpu"],
        }
        argv = [str(part) for option, values in options.items() for part in (option, *values)]
        finetune_encoder.stage.run(finetune_encoder.work, argv)
        return paths, json.loads(paths["record.json"].read_text())

    return run


BASE_ROW = {
    "encoder": "tiny-random",
    "builder": "timm_model",
    "architecture": "test_resnet",
    "weights": "random",
    "dim": "96",
    "input_px": "32",
    "resize": "none",
    "mean": "0.5 0.5 0.5",
    "std": "0.25 0.25 0.25",
    "pool": "avg",
}


def test_the_script_trains_a_fold_beside_a_refused_sample(samples, tmp_path, run_script):
    write_refused(tmp_path / "D1.h5")
    refused = Sample("D1", tmp_path / "D1.h5", tmp_path / "D1.h5")
    paths, record = run_script([refused, *samples], 0)
    assert record["status"] == "accepted"
    assert record["measures"]["pairs"] == 12
    with open(paths["h.csv"], newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["loss"] == ""
    assert float(rows[2]["loss"]) == record["measures"]["loss"]
    assert float(rows[2]["rankme"]) > 1
    train(samples, tmp_path / "here.safetensors")
    assert tower.read_header(paths["w.safetensors"]) == tower.read_header(tmp_path / "here.safetensors")


def test_the_script_leaves_refused_files_for_a_fold_that_does_not_exist(samples, run_script):
    paths, record = run_script(samples, 2)
    assert record["status"] == "refused"
    assert record["reason"].startswith("fold 2 does not exist")
    assert is_refused(paths["w.safetensors"]) and is_refused(paths["h.csv"])


# The course of a training, in closed form


def test_the_learning_rate_is_half_a_cosine_over_all_steps():
    recipe = replace(RECIPE, epochs=3, batch=2)
    unit = trainer(recipe)
    rates = []
    for _ in range(recipe.epochs):
        unit.epoch()
        rates.append(unit.optimizer.param_groups[-1]["lr"])  # of the last of its four steps
    expected = recipe.lr_expression * (1 + np.cos(np.pi * np.array([3, 7, 11]) / 12)) / 2
    assert unit.steps_per_epoch == 4
    assert rates == pytest.approx(expected, abs=1e-12)


def test_weights_decay_and_biases_and_norms_do_not():
    unit = trainer()
    for group in unit.optimizer.param_groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (RECIPE.weight_decay if parameter.ndim > 1 else 0)


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_a_gene_that_is_there_twice_is_an_error_that_names_it(tmp_path):
    sample = write_sample(tmp_path, "B1", genes=("b", "a", "c", "b"), seed=1)
    with pytest.raises(ValueError, match="the gene 'b' is there twice"):
        read_pairs([sample], 9, identity)


def test_the_most_variable_genes_are_not_the_most_counted(tmp_path):
    counts = np.column_stack([np.full(8, 900), [1, 90] * 4, [5, 6] * 4, np.full(8, 400)])
    sample = write_sample(tmp_path, "A1", genes=("constant", "varies", "little", "also"), counts=counts)
    assert read_pairs([sample], 1, identity).genes == ("varies",)


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_images_are_mirrored_along_both_axes_without_turns(axis):
    image = torch.arange(16.0).reshape(1, 1, 4, 4).expand(1, 3, 4, 4) / 16
    many = augment(
        image.expand(64, -1, -1, -1), replace(RECIPE, augment=("flip",), jitter=0.0), torch.Generator().manual_seed(0)
    )
    wanted = image[0].flip(1 if axis == "rows" else 2)
    assert any(torch.equal(one, wanted) for one in many)
