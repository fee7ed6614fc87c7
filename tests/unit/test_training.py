"""Training over pairs: steps in parts and in processes, schedules, resuming, what is held on disk."""

import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from spawned import refuse
from test_finetune import RECIPE, SPLITS, TINY, Unit, planted_pairs, write_sample
from torch import nn

from spotweave.errors import Refusal
from spotweave.finetune import Job, batches, fold, processes, steps, towers, training
from spotweave.finetune.augment import LEAST_CROP, Changes
from spotweave.finetune.objective import Objective
from spotweave.finetune.rows import RowsOnDisk
from spotweave.finetune.schedule import Schedule
from spotweave.networks import bases, threads, tower

VIT = replace(
    TINY, architecture="vit_tiny_patch16_224", arguments="img_size=32;depth=2;embed_dim=48", pool="cls", dim=48
)


def gradients_of(unit, numbers, at_once, seed=3):
    unit.objective.zero_grad()
    unit.objective.train()
    torch.manual_seed(seed)
    seen = unit.objective.see(numbers, torch.Generator().manual_seed(seed))
    loss = steps.gradients(unit.objective, seen, len(numbers), at_once=at_once)
    return loss, {
        name: parameter.grad.clone()
        for name, parameter in unit.objective.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.parametrize("loss", ["infonce", "clip", "siglip"])
def test_a_step_in_parts_has_the_gradients_of_the_whole(loss):
    pairs = planted_pairs(20)
    unit = Unit(replace(RECIPE, batch=20, loss=loss), VIT, pairs)
    whole, expected = gradients_of(unit, torch.arange(20), 20)
    parts, found = gradients_of(unit, torch.arange(20), 7)
    assert parts == pytest.approx(whole, abs=1e-6)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


def test_adding_up_smaller_steps_is_another_gradient():
    unit = Unit(replace(RECIPE, batch=20), VIT, planted_pairs(20))
    _, whole = gradients_of(unit, torch.arange(20), 20)
    name = "expression_tower.layers.0.weight"
    halves = [gradients_of(unit, numbers, 10)[1][name] for numbers in (torch.arange(10), torch.arange(10, 20))]
    assert (sum(halves) / 2 - whole[name]).abs().max() > 0.05 * whole[name].abs().max()


class Dropping(Objective):
    """Embeds numbers through dropout; its loss has one slope for all."""

    def __init__(self):
        super().__init__()
        self.layer, self.dropout = nn.Linear(1, 64), nn.Dropout(0.5)
        self.outputs = []

    def see(self, numbers, generator):
        return lambda places: (numbers[places].float()[:, None],)

    def embed(self, *seen):
        found = self.dropout(self.layer(seen[0]))
        self.outputs.append(found.detach())
        return (found,)

    def loss(self, embeddings):
        return embeddings[0].sum()


def test_dropout_leaves_out_the_same_the_second_time():
    unit = Dropping().train()
    torch.manual_seed(0)
    steps.gradients(unit, unit.see(torch.arange(1, 7), None), 6, at_once=3)
    first, second = unit.outputs[:2], unit.outputs[2:]
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
    assert not torch.equal(first[0] == 0, first[1] == 0)


def test_two_processes_train_as_one(tmp_path):
    samples = [write_sample(tmp_path, name, seed=seed, spots=9) for seed, name in enumerate(["A1", "B1", "C1"])]
    recipe = replace(RECIPE, batch=7, epochs=2, loss="clip")
    found = {}
    for count in (1, 2):
        job = Job(tmp_path / f"{count}.safetensors", tmp_path / "h.csv", device="cpu", processes=count)
        history = fold.train_fold(SPLITS, 0, samples, recipe, VIT, job)
        found[count] = history["loss"], embedded(job.weights)
    assert found[2][0] == pytest.approx(found[1][0], abs=1e-5)
    # What they embed, not weights: where a slope is nought, Adam makes a step of its rounding.
    np.testing.assert_allclose(found[2][1], found[1][1], atol=1e-4)


def embedded(path):
    patches = np.random.default_rng(5).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    return tower.read_tower(path, "cpu").encode(patches)


def test_a_refusal_of_one_of_several_processes_is_a_refusal():
    with pytest.raises(Refusal, match=r"rank [01] of 2 on cpu") as caught:
        processes.run(refuse, 2, device="cpu")
    assert (caught.value.measured, caught.value.threshold) == (1, 2)


def test_steps_too_small_for_their_processes_are_refused():
    class Four:
        count = 4

    with pytest.raises(Refusal, match="steps of 6 pairs for 4 processes"):
        training.check_pairs(99, "r", training.Course(1, 6), Four())


class Killed(Exception):
    pass


def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    samples = [write_sample(tmp_path, name, seed=seed) for seed, name in enumerate(["A1", "B1", "C1"])]
    recipe = replace(RECIPE, epochs=4, loss="clip", warmup_epochs=1)

    def train(name, scratch, **changes):
        job = Job(tmp_path / name, tmp_path / "h.csv", device="cpu", scratch=scratch, **changes)
        return fold.train_fold(SPLITS, 0, samples, recipe, TINY, job), (tmp_path / name).read_bytes()

    expected = train("whole", None)
    whole_epoch = training.Steps.epoch
    seen = []

    def epoch(self, generator):
        if len(seen) == 2:
            raise Killed
        seen.append(None)
        return whole_epoch(self, generator)

    monkeypatch.setattr(training.Steps, "epoch", epoch)
    with pytest.raises(Killed):
        train("cut", tmp_path / "scratch")
    ran = []
    monkeypatch.setattr(training.Steps, "epoch", lambda self, g: ran.append(1) or whole_epoch(self, g))
    assert train("cut", tmp_path / "scratch") == expected
    assert len(ran) == 2
    assert not (tmp_path / "scratch").exists()


def test_what_other_code_left_is_not_gone_on_from(tmp_path, monkeypatch):
    samples = [write_sample(tmp_path, name, seed=seed) for seed, name in enumerate(["A1", "B1", "C1"])]
    whole_epoch, ran = training.Steps.epoch, []

    def epoch(self, generator):
        ran.append(1)
        if len(ran) == 2:
            raise Killed
        return whole_epoch(self, generator)

    monkeypatch.setattr(training.Steps, "epoch", epoch)
    job = Job(tmp_path / "w", tmp_path / "h.csv", device="cpu", scratch=tmp_path / "scratch", code="a")
    with pytest.raises(Killed):
        fold.train_fold(SPLITS, 0, samples, RECIPE, TINY, job)
    fold.train_fold(SPLITS, 0, samples, RECIPE, TINY, replace(job, code="b"))
    assert len(ran) == 2 + RECIPE.epochs


# Schedules and groups in closed form


def test_warm_up_is_a_line_and_the_rest_half_a_cosine():
    schedule = Schedule(12, warmup_steps=4, least=0.2, decay_growth=10.0)
    assert [schedule.rate(step) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert [schedule.rate(step) for step in (4, 8, 12)] == pytest.approx([1.0, 0.6, 0.2])
    assert [schedule.decay(step) for step in (0, 6, 12)] == pytest.approx([1.0, 5.5, 10.0])
    assert Schedule(9, constant=True).rate(8) == 1


def test_a_schedule_starts_from_what_the_groups_began_with_every_time():
    one, other = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    optimiser = torch.optim.AdamW([{"params": [one], "lr": 1.0}, {"params": [other], "lr": 0.1}], weight_decay=0.5)
    schedule = Schedule(10, decay_growth=2.0)
    for step in (0, 5, 5):
        schedule.apply(optimiser, step)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.5, 0.05])
    assert [group["weight_decay"] for group in optimiser.param_groups] == pytest.approx([0.75, 0.75])


def test_layer_groups_are_those_of_timm():
    from timm.optim import param_groups_layer_decay  # torchvision is importable by now

    model = bases.unfilled(replace(TINY, architecture="vit_tiny_patch16_224", arguments="img_size=32")).model
    expected = {
        id(parameter): (0.01 * group["lr_scale"], group["weight_decay"])
        for group in param_groups_layer_decay(
            model, weight_decay=0.05, layer_decay=0.7, no_weight_decay_list=model.no_weight_decay()
        )
        for parameter in group["params"]
    }
    found = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in towers.layered(model, 0.01, 0.7, 0.05)
        for parameter in group["params"]
    }
    assert found.keys() == expected.keys()
    for key, (rate, decay) in expected.items():
        assert found[key] == pytest.approx((rate, decay))


def test_the_last_blocks_of_a_transformers_model_learn_with_its_final_norm():
    spec = replace(
        TINY,
        builder="transformers_model",
        architecture="clip_vision",
        arguments="patch_size=16;hidden_size=16;intermediate_size=32;num_hidden_layers=3;num_attention_heads=2;"
        "image_size=32;projection_dim=8",
        pool="head",
        dim=8,
    )
    network = bases.base_network(spec, folder=None, seed=0)
    learning = towers.freeze(network.model, "last 2")
    assert {name.split("layers.")[1][0] for name in learning if "layers." in name} == {"1", "2"}
    assert {name for name in learning if "layers." not in name} == {
        "vision_model.post_layernorm.weight",
        "vision_model.post_layernorm.bias",
        "visual_projection.weight",
    }
    assert not towers.freeze(network.model, "none")
    assert len(towers.freeze(network.model, "all")) == len(list(network.model.parameters()))


TOWERS = {
    "conch": ("embed_dim=24;depth=3;num_heads=2;pooled_dim=16", "head", 16),
    "conch_v1_5": ("embed_dim=24;depth=3;num_heads=2;pooled_dim=16", "head", 16),
    "musk": ("dim=16;layers=3;heads=2", "cls", 16),
}


@pytest.mark.parametrize("architecture", TOWERS)
def test_the_last_blocks_of_a_vision_language_tower_learn_at_rates_that_fall_by_the_layer(architecture, tmp_path):
    arguments, pool, dim = TOWERS[architecture]
    spec = replace(TINY, builder="vision_language", architecture=architecture, arguments=arguments, pool=pool, dim=dim)
    recipe = replace(RECIPE, unfrozen="last 2", layer_decay=0.7, lr_image=0.01, weight_decay=0.05)
    unit = Unit(recipe, spec, planted_pairs(16))
    model = unit.image_tower.backbone.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rate_of = {
        id(parameter): (group["lr"], group["weight_decay"] > 0)
        for group in unit.optimizer.param_groups
        for parameter in group["params"]
    }
    unit.epoch()
    for name, parameter in model.named_parameters():
        block = next((int(part) for part in name.split(".") if part.isdigit()), None)
        stem = any(words in name for words in ("patch_embed", "pos_embed", "cls_token", "vision_embed", "positions"))
        learns = not stem and block not in (0,)
        # A key's bias moves all scores of a query alike: it has no gradient to speak of, but for the decay of none.
        if not name.endswith("k_proj.bias"):
            assert torch.equal(parameter, before[name]) != learns, name
        assert (id(parameter) in rate_of) == learns, name
        if learns:
            wanted = 0.01 * 0.7 ** (2 - block if block is not None else 0)
            assert rate_of[id(parameter)][0] == pytest.approx(wanted), name
            assert rate_of[id(parameter)][1] == (parameter.ndim > 1 and not name.endswith("query")), name
    header = {"fold": 0, "recipe": "r", "base": spec.as_dict(), "input_px": 32, "embedding_dim": 16}
    tower.save(tmp_path / "w", unit.image_tower, header)
    patches = planted_pairs(5).images
    found = tower.read_tower(tmp_path / "w", "cpu").encode(patches)
    unit.objective.eval()
    with torch.no_grad():
        own = unit.image_tower(unit.objective.pictures.transform(torch.from_numpy(patches)))
    np.testing.assert_allclose(found, own.numpy(), atol=1e-6)


# Which pairs meet


@pytest.mark.parametrize("negatives", ["any", "sample"])
def test_every_pair_is_in_one_step_of_an_epoch(negatives):
    groups = np.repeat([0, 1, 2], [10, 7, 1])
    found = batches.batches_of(groups, 4, negatives, torch.Generator().manual_seed(0))
    assert len(found) == batches.steps_in_an_epoch(groups, 4, negatives)
    seen = sorted(torch.cat(found).tolist())
    if negatives == "any":
        assert seen == list(range(18))
        assert {len(step) for step in found} == {3, 4}
    else:  # the lone pair of the third sample has nothing to be told from
        assert seen == list(range(17))
        assert all(len(np.unique(groups[step])) == 1 and len(step) > 1 for step in found)
    again = batches.batches_of(groups, 4, negatives, torch.Generator().manual_seed(1))
    assert [step.tolist() for step in again] != [step.tolist() for step in found]


# Changes of patches


def test_a_crop_is_a_part_of_the_picture_enlarged():
    ramp = torch.arange(32.0).add(0.5).div(32).expand(1, 3, 32, 32)
    changes = Changes.draw(50, ("crop",), 0.0, torch.Generator().manual_seed(0))
    found = changes(ramp.expand(50, -1, -1, -1))
    # Across the ramp a crop of share s from left l is l (1 - s) + s x, for pixels' middles x.
    share, _, left = (one[:, None] for one in changes.cropped)
    middles = (torch.arange(32.0) + 0.5)[None] / 32
    wanted = left * (1 - share) + share * middles
    inside = (wanted > 0.5 / 32) & (wanted < 31.5 / 32)
    torch.testing.assert_close(found[:, 0, 5][inside], wanted[inside], atol=1e-5, rtol=0)
    assert share.min() ** 2 >= LEAST_CROP - 1e-6
    assert share.min() < 0.75 and share.max() > 0.95


def test_changes_of_a_part_are_those_of_the_whole():
    images = torch.rand(9, 3, 8, 8)
    changes = Changes.draw(9, ("flip", "rot90", "crop"), 0.2, torch.Generator().manual_seed(0))
    whole = changes(images)
    for part in (slice(0, 4), slice(4, 9)):
        torch.testing.assert_close(changes[part](images[part]), whole[part], atol=1e-6, rtol=0)


# Rows on disk


def test_rows_come_back_in_any_order_and_from_another_process(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (11, 3, 2), dtype=np.uint8)
    rows = RowsOnDisk((3, 2), np.uint8, tmp_path)
    rows.append(values[:4])
    rows.append(values[4:])
    wanted = [10, 0, 3, 3]
    np.testing.assert_array_equal(rows[wanted], values[wanted])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(rows))[wanted], values[wanted])
    np.testing.assert_array_equal(np.concatenate(list(rows.chunks(3))), values)
    assert rows.shape == values.shape
    assert rows[[]].shape == (0, 3, 2)
    with pytest.raises(IndexError):
        rows[[11]]
    with pytest.raises(ValueError, match="expected"):
        rows.append(values.astype(np.float32))
    del rows
    assert not list(tmp_path.iterdir())


def test_moments_of_a_disk_are_those_of_an_array(tmp_path):
    values = np.random.default_rng(0).normal(3, 2, (9001, 3)).astype(np.float32)
    rows = RowsOnDisk((3,), np.float32, tmp_path)
    rows.append(values)
    mean, std = towers.moments(rows)
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, values.std(axis=0), rtol=1e-5)


def test_images_are_not_held_in_memory(tmp_path):
    sample = write_sample(tmp_path, "A1", spots=5)
    from spotweave.finetune.pairs import read_pairs

    pairs = read_pairs([sample], 3, lambda patches: patches, tmp_path)
    assert isinstance(pairs.images, RowsOnDisk) and isinstance(pairs.expression, RowsOnDisk)
    with h5py.File(sample.patches) as opened:
        np.testing.assert_array_equal(pairs.images[[4, 1]], opened["img"][[1, 4]][::-1])


class Half:
    """One of two processes that have embedded `whole` together."""

    count = 2

    def __init__(self, rank, whole):
        self.rank, self.whole, self.added = rank, list(whole), None

    def share(self, count):
        return (slice(0, count // 2), slice(count // 2, count))[self.rank]

    def gather(self, own, count):
        whole = self.whole.pop(0).clone()
        torch.testing.assert_close(whole[self.share(count)], own)
        return whole

    def add_up(self, parameters):
        self.added = {id(parameter) for parameter in parameters}


def test_slopes_of_embeddings_add_up_over_processes_and_those_of_the_loss_do_not():
    unit = Unit(replace(RECIPE, batch=11, loss="clip"), VIT, planted_pairs(11)).objective.train()
    seen = unit.see(torch.arange(11), torch.Generator().manual_seed(3))
    steps.gradients(unit, seen, 11, at_once=11)
    expected = {name: parameter.grad.clone() for name, parameter in unit.named_parameters()}
    with torch.no_grad():
        whole = unit.embed(*seen(slice(0, 11)))
    parts = []
    for rank in (0, 1):
        unit.zero_grad()
        process = Half(rank, whole)
        steps.gradients(unit, seen, 11, at_once=3, processes=process)
        parts.append({name: parameter.grad.clone() for name, parameter in unit.named_parameters()})
    for name, parameter in unit.named_parameters():
        added = id(parameter) in process.added
        assert added == (name != "scale.log_scale")
        found = parts[0][name] + parts[1][name] if added else parts[1][name]
        torch.testing.assert_close(found, expected[name], atol=1e-5, rtol=1e-4, msg=name)


def test_a_library_that_sets_threads_leaves_torch_its_own():
    before = torch.get_num_threads()
    with threads.kept():
        torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before
