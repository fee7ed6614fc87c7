"""Rows of the nuclei table, and models that come as a file of code."""

import hashlib
import re

import numpy as np
import pytest
import torch

from project import ROOT
from spotweave.nuclei import NUCLEI, NucleiSpec, NucleiUnavailable, check_row
from spotweave.nuclei.methods import instanseg

GOOD = {"nuclei": "one", "method": "instanseg", "weights": "file", "source": "m.pt", "sha256": "0" * 64}
GOOD |= {"um_per_px": "0.5", "gpu": "0"}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({}, []),
        ({"method": "instansek"}, [("method", "'instansek' is no nuclei method, did you mean 'instanseg'?")]),
        ({"source": ""}, [("source", "empty, weights from a file need its path")]),
        ({"sha256": ""}, [("sha256", "empty, a TorchScript file is code and needs it: the output of sha256sum")]),
        (
            {"weights": "none"},
            [
                ("source", "there are no weights, allowed: empty"),
                ("sha256", "there are no weights, allowed: empty"),
                ("weights", "'none', allowed: file"),
            ],
        ),
    ],
)
def test_a_row_is_checked_by_what_its_method_asks(cells, expected):
    assert check_row({**GOOD, **cells}) == expected


@pytest.mark.parametrize("name", NUCLEI.names())
def test_a_method_is_light_until_it_is_loaded(name):
    """Rows are checked before every job: a method's module imports the standard library and our own face alone."""
    import ast

    source = (NUCLEI.library / f"nuclei/methods/{name}.py").read_bytes()
    found = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in found if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in found if isinstance(node, ast.ImportFrom)}
    allowed = {"__future__", "typing", "collections.abc", "pathlib", "dataclasses", "math", "functools"}
    assert names <= allowed | {"spotweave.nuclei"}


class Stand(torch.nn.Module):
    """In the place of InstanSeg: pixels of a red below a tenth, as one label, 7."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 7.0 * (images[:, :1] < 0.1).float()


class Other(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


class Overview:
    """Two tiles of tissue: red from 50 to 150."""

    def sample_tiles(self, count):
        return [np.linspace(50, 150, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)] * min(2, count)


def saved(folder, module, **cells):
    torch.jit.script(module).save(str(folder / "m.pt"))
    sha256 = hashlib.sha256((folder / "m.pt").read_bytes()).hexdigest()
    spec = NucleiSpec("instanseg", "instanseg", 0.5, "", "file", "m.pt", cells.get("sha256", sha256))
    return instanseg.load(spec, folder=folder, device="cpu", seed=0)


def test_labels_of_a_script_become_nuclei(tmp_path):
    """Colours are scaled by the slide: 55 is dark on one that runs from 50 to 150, and 70 is not."""
    model = saved(tmp_path, Stand())
    model.prepare(Overview())
    tiles = np.full((2, 64, 64, 3), 140, np.uint8)
    tiles[0, 10:20, 10:30] = 55
    tiles[1, 10:20, 10:30] = 70
    first, second = (model.separator()(maps) for maps in model.predict(tiles))
    assert first.labels.max() == 1
    assert (first.labels == 1).sum() == 200
    assert (first.classes.tolist(), np.isnan(first.probabilities).all()) == ([1], True)
    assert second.labels.max() == 0
    assert model.provenance["arch"] == "InstanSeg"


def test_code_of_another_hash_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(NucleiUnavailable, match=r"m.pt has the SHA-256 .* expected is 000"):
        saved(tmp_path, Stand(), sha256="0" * 64)


def test_a_script_that_gives_no_labels_is_said_to(tmp_path):
    with pytest.raises(NucleiUnavailable, match=r"m.pt gives \(1, 3, 128, 128\), expected is \(1, 1, height, width\)"):
        saved(tmp_path, Other())


def test_what_is_no_script_is_said_to_be_none(tmp_path):
    (tmp_path / "m.pt").write_bytes(b"no")
    spec = NucleiSpec("i", "instanseg", 0.5, "", "file", "m.pt", hashlib.sha256(b"no").hexdigest())
    with pytest.raises(NucleiUnavailable, match=r"m.pt cannot be opened as TorchScript"):
        instanseg.load(spec, folder=tmp_path, device="cpu", seed=0)


def test_the_example_of_the_page_is_a_method():
    page = (ROOT / "docs/adding-a-nuclei-method.md").read_text(encoding="utf-8")
    example = {"__name__": "example"}
    exec(re.search(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[1], example)
    assert example["check"]({"weights": "none"}) == []
    model = example["load"](NucleiSpec("dark", "dark", 0.5), folder=None, device="cpu", seed=0)

    class Slide:
        def read(self, um_per_px):
            return np.full((20, 20, 3), 200, np.uint8)

        def tissue(self, um_per_px):
            return np.ones((20, 20), bool)

    model.prepare(Slide())
    tiles = np.full((1, 64, 64, 3), 180, np.uint8)
    tiles[0, 20:30, 20:30] = 60
    found = model.separator()(model.predict(tiles)[0])
    assert (found.labels == 1).sum() == 100
    assert len(found.classes) == len(found.probabilities) == 1
    assert model.tile_px > 2 * model.margin_px
