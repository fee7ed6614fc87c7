"""Encoders that share one reading of a sample's patches: the same files, and none made again for a new one."""

from __future__ import annotations

import json

import pytest

from project import SMALL
from spotweave.io import is_refused

SAMPLE = "demo-a1"
NETWORKS = ["resnet-tiny-random", "dinov2-tiny-random"]
# Its weights are nowhere.
GATED = (
    "gated,timm_model,resnet50,,file,nowhere.safetensors,,,,1024,224,none,0.5 0.5 0.5,0.2 0.2 0.2,stage3,float32,,no,0"
)
CHOSEN = ["handcrafted", *NETWORKS, "gated"]


def configure(project, encoders=CHOSEN, together=4):
    project.configure({**SMALL, "encoders": encoders, "embed": {"together": together}})


def file_of(encoder):
    return f"results/demo/samples/{SAMPLE}/embeddings/{encoder}.h5"


def record_of(encoder):
    return f"results/demo/samples/{SAMPLE}/records/embed_patches.{encoder}.json"


def made(project, encoders=CHOSEN):
    """Encoder -> its file and its record."""
    return {one: [(project.folder / path(one)).read_bytes() for path in (file_of, record_of)] for one in encoders}


@pytest.fixture(scope="module")
def together(tmp_path_factory, finished):
    """A build finished with one encoder, to which three were added: two are embedded with together."""
    project = finished.copy(tmp_path_factory.mktemp("together"))
    table = project.folder / "config/encoders.csv"
    table.write_text(table.read_text() + GATED + ",," * (table.read_text().split("\n")[0].count(",") > 19) + "\n")
    project.before = (project.folder / file_of("handcrafted")).stat().st_mtime_ns
    configure(project)
    project.first_plan = project.planned()
    project.snakemake(*map(file_of, CHOSEN))
    return project


def targets(project):
    """What a plan of the sample's embeddings runs."""
    config = json.loads((project.folder / "config/try.yaml").read_text() or "{}") if False else None
    del config
    return project.planned(*map(file_of, CHOSEN))


def test_x(together):
    print(together.first_plan)
    print((together.results / f"samples/{SAMPLE}/records/embed_together.torch.gpu0.json").read_text())
    print(targets(together))
    print(together.planned())
    assert 0
