"""Encoders that share one reading of a sample's patches: the same files, and none made again for a new one."""

import json

import pytest

from project import SMALL
from spotweave.io import is_refused

SAMPLE = "demo-a1"
NETWORKS = ["resnet-tiny-random", "dinov2-tiny-random"]
CHOSEN = ["handcrafted", *NETWORKS, "gated"]
# Its weights are nowhere.
GATED = {"encoder": "gated", "weights": "file", "source": "nowhere.safetensors"}


def configure(project, encoders=(), together=4):
    project.configure({**SMALL, "encoders": [*CHOSEN, *encoders], "embed": {"together": together}})


def files_of(what, encoders=CHOSEN):
    return [f"results/demo/samples/{SAMPLE}/{what.format(encoder)}" for encoder in encoders]


def bytes_of(project, encoders):
    """Of each encoder's file and record."""
    files = files_of("embeddings/{}.h5", encoders) + files_of("records/embed_patches.{}.json", encoders)
    return {name: (project.folder / name).read_bytes() for name in files}


def planned(project, *options, more=()):
    """What a plan of the sample's embeddings runs."""
    return project.planned("--nolock", *options, *files_of("embeddings/{}.h5", [*CHOSEN, *more]))


@pytest.fixture(scope="module")
def build(tmp_path_factory, finished):
    """A build finished with one encoder alone, to which three were added: one of them cannot be had."""
    project = finished.copy(tmp_path_factory.mktemp("together"))
    table = project.folder / "config/encoders.csv"
    header, *rows = table.read_text().splitlines()
    (row,) = (row.split(",") for row in rows if row.startswith("resnet18-random,"))
    named = {**dict(zip(header.split(","), row, strict=False)), **GATED}
    table.write_text("\n".join([header, *rows, ",".join(named.values())]) + "\n")
    configure(project)
    return project


@pytest.fixture(scope="module")
def together(build):
    """The same after its run; `first` is what its plan was, `before` what was there."""
    build.first, build.before = build.planned(), bytes_of(build, ["handcrafted"])
    build.snakemake(*files_of("embeddings/{}.h5"))
    return build


def test_added_encoders_are_embedded_in_one_job_a_sample_and_the_finished_one_is_left(together):
    scores = {"fit_probe": 9, "score_predictions": 1, "rank_predictors": 1, "draw_scaling": 1, "all": 1}
    assert together.first == {"embed_together": 3, "embed_patches": 9, "list_embeddings": 3, **scores}
    (record,) = files_of("records/embed_together.torch.gpu0.json", [""])
    said = json.loads((together.folder / record).read_text())["measures"]
    assert said["embedded"] == NETWORKS
    assert list(said["left"]) == ["gated"]
    assert bytes_of(together, ["handcrafted"]) == together.before
    assert planned(together) == {}


def test_one_that_cannot_be_had_is_refused_and_the_others_are_there(together):
    refused = {one: is_refused(together.folder / files_of("embeddings/{}.h5", [one])[0]) for one in CHOSEN}
    assert refused == {one: one == "gated" for one in CHOSEN}
    (record,) = files_of("records/embed_patches.{}.json", ["gated"])
    assert "nowhere.safetensors" in json.loads((together.folder / record).read_text())["reason"]
    (folder,) = files_of("embeddings", [""])
    left = {path.name for path in (together.folder / folder).iterdir()}
    assert left == {f"{one}.h5" for one in CHOSEN}


def test_a_new_encoder_embeds_alone_two_embed_together_and_no_other_does(together):
    configure(together, ["vit-small-random"])
    assert planned(together, more=["vit-small-random"]) == {"embed_patches": 1}
    configure(together, ["vit-small-random", "resnet18-random"])
    found = planned(together, more=["vit-small-random", "resnet18-random"])
    configure(together)
    assert found == {"embed_together": 1, "embed_patches": 2}


def test_other_code_embeds_all_again_in_one_job_and_other_patches_each_alone(together):
    module = together.folder / "workflow/spotweave/embeddings/sample.py"
    text = module.read_text()
    module.write_text(f"{text}\n# changed\n")
    found = planned(together)
    module.write_text(text)
    assert found == {"embed_together": 1, "embed_patches": 4}
    assert planned(together, "--forcerun", "extract_patches", "--nolock") == {"extract_patches": 1, "embed_patches": 4}


def test_alone_they_write_the_same_bytes_and_the_setting_makes_nothing_again(together):
    before = bytes_of(together, NETWORKS)
    configure(together, together=1)
    assert planned(together) == {}
    together.snakemake("--forcerun", "embed_patches", "--nolock", *files_of("embeddings/{}.h5", NETWORKS))
    assert bytes_of(together, NETWORKS) == before
    configure(together)
    assert planned(together) == {}
