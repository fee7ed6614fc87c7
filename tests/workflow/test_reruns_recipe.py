"""Training is dear: what makes a recipe train again, and what must not."""

import contextlib
import json

import pytest

from project import SMALL

WITH_RECIPE = {**SMALL, "recipes": ["infonce-demo"]}
AFTER_TRAINING = {
    "list_embeddings": 1,
    "fit_probe": 3,
    "score_predictions": 1,
    "rank_predictors": 1,
    "evaluate_recipe": 1,
    "all": 1,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, finished):
    """A finished build to which a recipe was added."""
    project = finished.copy(tmp_path_factory.mktemp("trained"))
    project.configure(WITH_RECIPE)
    # One epoch is enough to be scored, and a sixth of the time.
    recipes = project.folder / "config/recipes.csv"
    lines = [line.split(",") for line in recipes.read_text().splitlines()]
    epochs = lines[0].index("epochs")
    lines[1][epochs] = "1"
    recipes.write_text("\n".join(map(",".join, lines)) + "\n")
    project.snakemake()
    return project


@contextlib.contextmanager
def replaced(path, old, new):
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    try:
        yield
    finally:
        path.write_text(before)


def test_the_recipes_encoder_is_scored_beside_the_others_and_compared_with_its_base(trained):
    rows = {row["encoder"]: row["n_folds"] for row in trained.rows("benchmark/leaderboard.csv")}
    assert rows == {"": "3", "handcrafted": "3", "infonce-demo": "3", "resnet-tiny-random": "3"}
    metrics = json.loads((trained.results / "finetune/infonce-demo/metrics.json").read_text())
    assert metrics["base_encoder"] == "resnet-tiny-random"
    assert metrics["results"][0]["folds"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("config/tasks.csv", "simulated samples: no biological result", "simulated"),
        ("config/encoders.csv", "0.4 million parameters, the start of recipes", "the start of recipes"),
        ("config/cohorts/demo.csv", "Simulated sections (not real tissue)", "Simulated sections"),
    ],
)
def test_reworded_remarks_train_nothing(trained, table, old, new):
    with replaced(trained.folder / table, old, new):
        assert not {"finetune_encoder", "embed_patches", "make_splits"} & set(trained.planned())


def test_a_changed_recipe_trains_embeds_and_scores_again_and_touches_nothing_else(trained):
    with replaced(trained.folder / "config/recipes.csv", "0.07", "0.1"):
        assert trained.planned() == {"finetune_encoder": 3, "embed_patches": 3, **AFTER_TRAINING}


def test_a_changed_base_encoder_is_a_changed_recipe(trained):
    path = trained.folder / "workflow/spotweave/encoders/timm_model.py"
    with replaced(path, "from __future__ import annotations\n", "from __future__ import annotations\n# changed\n"):
        planned = trained.planned()
    assert (planned["finetune_encoder"], planned["embed_patches"], planned["fit_probe"]) == (3, 6, 6)
