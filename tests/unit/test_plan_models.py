"""Encoders, recipes and tissue methods are checked before the first job, each by what its own entry asks for."""

import csv

import pytest
import yaml

from project import ROOT
from spotweave.errors import TableFaults
from spotweave.plan import tables
from spotweave.plan.models import kind_faults, recipe_columns
from spotweave.recipes import RECIPES
from spotweave.tables.config import overlaid

PATCH = yaml.safe_load((ROOT / "config/config.yaml").read_text())["patch"]
DEMO = {"cohorts": ["config/cohorts/demo.csv"], "tasks": ["demo"]}


@pytest.fixture
def faults(tmp_path, monkeypatch):
    """Faults of a configuration and of tables in which cells of single rows were changed."""
    monkeypatch.chdir(ROOT)

    def found(changes=(), **config):
        merged = {**overlaid(yaml.safe_load((ROOT / "config/config.yaml").read_text()), DEMO), **config}
        for table, name, cells in changes:
            path = tmp_path / f"{table}.csv"
            with open(ROOT / f"config/{table}.csv", newline="") as handle:
                rows = list(csv.DictReader(handle))
            columns = list(dict.fromkeys([*rows[0], *cells]))
            with open(path, "w", newline="") as handle:
                writer = csv.DictWriter(handle, columns)
                writer.writeheader()
                writer.writerows({**row, **(cells if name == row[columns[0]] else {})} for row in rows)
            merged[f"{table}_table"] = str(path)
        try:
            tables.load(merged, ROOT, "config.yaml")
        except TableFaults as caught:
            return [fault.replace(f"{tmp_path}/", "") for fault in caught.faults]
        return []

    return found


def test_the_committed_tables_are_sound(faults):
    assert faults(recipes=["infonce-demo"], encoders=["handcrafted", "resnet50-random"]) == []


@pytest.mark.parametrize(
    ("table", "name", "cells", "expected"),
    [
        (
            "encoders",
            "resnet50",
            {"builder": "tim_model"},
            "encoders.csv:3:builder: 'tim_model' is no encoder builder, di",
        ),
        ("encoders", "resnet50", {"sha256": "AB"}, "encoders.csv:3:sha256: 'AB', allowed: 64 hexadecimal digits"),
        (
            "encoders",
            "resnet50",
            {"env": "tonch"},
            "encoders.csv:3:env: 'tonch' has no file envs/tonch.yaml, did you mean",
        ),
        ("encoders", "resnet50", {"pool": ""}, "encoders.csv:3:pool: empty, a timm model needs it"),
        ("encoders", "resnet50", {"dim": "many", "pool": ""}, "encoders.csv:3:dim: 'many', allowed: a whole number"),
        (
            "recipes",
            "infonce-demo",
            {"kind": "infonze"},
            "recipes.csv:2:kind: 'infonze' is no recipe kind, did you mean",
        ),
        ("recipes", "infonce-demo", {"genes": ""}, "recipes.csv:2:genes: empty, allowed: a whole number above 0"),
        ("recipes", "infonce-demo", {"genes": "-1"}, "recipes.csv:2:genes: '-1', allowed: a whole number above 0"),
        ("recipes", "infonce-demo", {"gens": "1"}, "recipes.csv:1:gens: unknown column, did you mean 'genes'?"),
        ("recipes", "infonce-demo", {"env": "none"}, "recipes.csv:2:env: 'none' has no file envs/none.yaml, "),
        ("nuclei", "classical", {"method": "clasical"}, "nuclei.csv:2:method: 'clasical' is no nuclei method, did you"),
        ("nuclei", "cellvit-256", {"um_per_px": "0.5"}, "nuclei.csv:3:um_per_px: 0.5, allowed: 0.25; the checkpoints"),
        ("nuclei", "cellvit-256", {"um_per_px": "5"}, "nuclei.csv:3:um_per_px: '5', allowed: a number from 0.1 to 2"),
        ("nuclei", "cellvit-256", {"env": "tonch"}, "nuclei.csv:3:env: 'tonch' has no file envs/tonch.yaml, did you"),
        ("methods", "mean_expression", {"kind": "means"}, "methods.csv:2:kind: 'means' is no method kind, allowed: "),
        ("methods", "mean_expression", {"kind": ""}, "methods.csv:2:kind: empty, allowed: the name of a module of "),
        ("methods", "mean_expression", {"gpu": "2"}, "methods.csv:2:gpu: '2', allowed: 0, 1"),
        ("methods", "mean_expression", {"env": "tonch"}, "methods.csv:2:env: 'tonch' has no file envs/tonch.yaml, did"),
        ("methods", "neighbours", {"method": "my own"}, "methods.csv:3:method: 'my own', allowed: lower-case letters"),
        ("methods", "neighbours", {"method": "a+b"}, "methods.csv:3:method: 'a+b', allowed: lower-case letters"),
        (
            "methods",
            "neighbours",
            {"neighbours": ""},
            "methods.csv:3:neighbours: empty, allowed: a whole number from 1",
        ),
        ("methods", "neighbours", {"neighbours": "0"}, "methods.csv:3:neighbours: '0', allowed: a whole number from 1"),
        ("methods", "neighbours", {"nearest": "6"}, "methods.csv:1:nearest: unknown column, did you mean 'preset'?"),
        ("methods", "st_net", {"encoder": "uny"}, "methods.csv:5:encoder: 'uny' is in no table, did you mean 'uni'?"),
        ("methods", "st_net", {"encoder": "u n"}, "methods.csv:5:encoder: 'u n', allowed: a name of the table of enc"),
        (
            "methods",
            "istar",
            {"encoder": "uni"},
            "methods.csv:14:encoder: is not for methods of the kind istar: it says of every square of a patch what it",
        ),
        (
            "methods",
            "mean_expression",
            {"encoder": "uni"},
            "methods.csv:2:encoder: is not for methods of the kind mean_expression; allowed: empty",
        ),
        (
            "methods",
            "egnv2",
            {"encoder": "uni", "behaviour": "published"},
            "methods.csv:11:behaviour: published, with a trunk of its own and not uni, allowed: mended, or empty",
        ),
        (
            "methods",
            "egnv1",
            {"encoder": "uni", "trunk_weights": "a.pth"},
            "methods.csv:8:trunk_weights: is of a trunk of its own, and uni takes its place, allowed: empty",
        ),
        (
            "methods",
            "mean_expression",
            {"neighbours": "6"},
            "methods.csv:2:neighbours: is not for methods of the kind mean_expression, allowed: empty",
        ),
        (
            "recipes",
            "infonce-demo",
            {"base_encoder": "handcrafted"},
            "recipes.csv:2:base_encoder: 'handcrafted' cannot be trained, allowed: a timm_model, transformers_model or vision_language encoder",  # noqa: E501
        ),
        (
            "recipes",
            "infonce-demo",
            {"base_encoder": "vit-small-random"},
            "recipes.csv:2:input_px: of vit-small-random: 96, vit_small_patch16_224 allows: 224, or another",
        ),
    ],
)
def test_a_wrong_row_is_one_line(faults, table, name, cells, expected):
    (fault,) = faults([(table, name, cells)], recipes=["infonce-demo"])
    assert fault.startswith(expected)


def test_a_method_that_no_table_has_and_a_probe_that_is_no_more_are_named(faults):
    assert faults(methods=["mean_expression", "neighbours"], probes=["ridge", "depth"]) == []
    assert faults(methods=["mean_expresion"], probes=["ridge", "mean"]) == [
        "config.yaml:methods: 'mean_expresion' is in no table, did you mean 'mean_expression'?",
        "config.yaml:probes: 'mean' is no probe any more: it said the same over every encoder; methods:"
        " [mean_expression] says it once",
    ]


def test_patches_that_a_chosen_encoder_cannot_take_are_a_fault_before_the_first_job(faults):
    patch = {**PATCH, "size_px": 256}
    (fault,) = faults(encoders=["handcrafted", "resnet50-random"], patch=patch)
    assert fault == (
        "config.yaml:patch.size_px: 256, which encoder resnet50-random (config/encoders.csv:4) cannot take: its"
        " input_px is 224 and its resize none: set patch.size_px to 224, or resize to bilinear or bicubic in its row"
    )
    resized = [("encoders", "resnet50-random", {"resize": "bicubic"})]
    assert faults(resized, encoders=["handcrafted", "resnet50-random"], patch=patch) == []


@pytest.mark.parametrize("size", ["512um", "512um_256", "9um_64px", "512um_2048px", "512x256", "4001um_64px"])
def test_a_patch_size_that_cannot_be_is_a_fault_that_says_what_can(faults, size):
    (fault,) = faults(patch={**PATCH, "also": [size]})
    assert "patch.also" in fault and "512um_256px" in fault


def test_patch_sizes_that_can_be(faults):
    assert faults(patch={**PATCH, "also": ["10um_16px", "512um_256px", "4000um_1024px"], "pictures": False}) == []


def test_the_encoder_under_a_method_is_embedded_too(faults):
    patch = {**PATCH, "size_px": 256}
    over = [("methods", "st_net-handcrafted", {"encoder": "resnet50-random"})]
    (fault,) = faults(over, encoders=["handcrafted"], methods=["st_net-handcrafted"], patch=patch)
    assert "which encoder resnet50-random" in fault
    assert faults(over, encoders=["handcrafted"], methods=["st_net"], patch=patch) == []


def test_the_base_of_a_recipe_is_embedded_too(faults):
    (fault,) = faults(encoders=["handcrafted"], recipes=["infonce-demo"], patch={**PATCH, "size_px": 256})
    assert "which encoder resnet-tiny-random" in fault


def test_an_unknown_tissue_method_or_environment_is_named(faults):
    assert faults(tissue={"method": "classic", "env": "cor"}) == [
        "config.yaml:tissue.method: 'classic' is no tissue method, did you mean 'classical'?",
        "config.yaml:tissue.env: 'cor' has no file envs/cor.yaml, did you mean 'core'?",
    ]


def test_a_column_of_another_kind_is_a_fault(monkeypatch, tmp_path):
    """Where two kinds have a column of one name, each holds its own rule against it."""
    rows = {"type": "string", "pattern": "^[0-9]$", "description": "a digit"}
    words = {"type": "string", "pattern": "^[a-z]$", "description": "a letter"}
    kinds = {
        "one": type("one", (), {"COLUMNS": {"same": rows, "own": rows}, "REQUIRED": ("same",)}),
        "two": type("two", (), {"COLUMNS": {"same": words}, "REQUIRED": ()}),
    }
    monkeypatch.setattr(type(RECIPES), "names", lambda self: tuple(kinds))
    monkeypatch.setattr(type(RECIPES), "load", lambda self, name: kinds[name])
    columns = recipe_columns()
    assert columns["own"] == rows and columns["same"]["anyOf"] == [rows, words]
    assert kind_faults("r.csv:2", {"kind": "one", "same": "1", "own": "2"}, columns) == []
    assert kind_faults("r.csv:2", {"kind": "one", "own": "2"}, columns) == ["r.csv:2:same: empty, allowed: a digit"]
    assert kind_faults("r.csv:2", {"kind": "two", "same": "1", "own": "2"}, columns) == [
        "r.csv:2:same: '1', allowed: a letter",
        "r.csv:2:own: is not for recipes of the kind two, allowed: empty",
    ]
