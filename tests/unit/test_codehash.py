"""The hash that decides what is rebuilt: it must see every module a rule can reach, and no other."""

import modulefinder
import os
import re
import shutil
from pathlib import Path

import pytest

from spotweave import codehash

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for path in (ROOT / "scripts").glob("*.py") if not path.name.startswith("_"))


@pytest.fixture
def tree(tmp_path):
    library = tmp_path / "workflow" / "spotweave"
    (library / "readers").mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    files = {
        "workflow/spotweave/__init__.py": "",
        "workflow/spotweave/low.py": "X = 1\n",
        "workflow/spotweave/mid.py": "def f():\n    from spotweave import low\n    return low.X\n",
        "workflow/spotweave/other.py": "",
        "workflow/spotweave/readers/__init__.py": "",
        "workflow/spotweave/readers/one.py": "from spotweave.low import X\n",
        "scripts/a.py": "import spotweave.mid\n",
        "scripts/b.py": "from spotweave import other\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def hashes(tree):
    for cached in (codehash._needs, codehash._files_of, codehash.closure, codehash.code_hash):
        cached.cache_clear()
    return {name: codehash.code_hash(tree / "workflow", tree / "scripts" / name) for name in ("a.py", "b.py")}


def test_an_edit_changes_exactly_the_scripts_that_reach_it(tree):
    before = hashes(tree)
    (tree / "workflow/spotweave/low.py").write_text("X = 2\n")
    after = hashes(tree)
    assert before["a.py"] != after["a.py"]
    assert before["b.py"] == after["b.py"]


@pytest.mark.parametrize("line", ["from .low import X", "from . import low", "from ..spotweave.low import X"])
def test_a_relative_import_is_followed(tree, line):
    (tree / "workflow/spotweave/other.py").write_text(f"{line}\n")
    before = hashes(tree)
    (tree / "workflow/spotweave/low.py").write_text("X = 2\n")
    assert hashes(tree)["b.py"] != before["b.py"]


def test_a_relative_import_climbs_out_of_a_package(tree):
    (tree / "workflow/spotweave/readers/__init__.py").write_text("from ..low import X\n")
    (tree / "scripts/b.py").write_text("from spotweave.readers import X\n")
    before = hashes(tree)
    (tree / "workflow/spotweave/low.py").write_text("X = 2\n")
    assert hashes(tree)["b.py"] != before["b.py"]


def test_a_table_that_a_module_reads_counts_for_those_that_reach_it(tree):
    (tree / "resources").mkdir()
    (tree / "resources/words.csv").write_text("a\n")
    (tree / "workflow/spotweave/low.py").write_text('READS = ("resources/*.csv",)\n')
    before = hashes(tree)
    (tree / "resources/words.csv").write_text("b\n")
    after = hashes(tree)
    assert before["a.py"] != after["a.py"]
    assert before["b.py"] == after["b.py"]


def test_times_do_not_matter(tree):
    before = hashes(tree)
    for path in tree.rglob("*.py"):
        os.utime(path, (1, 1))
    assert hashes(tree) == before


def test_the_place_of_the_clone_does_not_matter(tree, tmp_path_factory):
    before = hashes(tree)
    other = tmp_path_factory.mktemp("elsewhere") / "clone"
    shutil.copytree(tree, other)
    assert hashes(other) == before


def test_a_new_sibling_in_a_registry_changes_nothing(tree):
    def with_unit():
        return codehash.code_hash(tree / "workflow", tree / "scripts/b.py", tree / "workflow/spotweave/readers/one.py")

    hashes(tree)
    before = with_unit()
    (tree / "workflow/spotweave/readers/two.py").write_text("Y = 1\n")
    hashes(tree)
    assert with_unit() == before


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_closure_holds_all_that_python_itself_would_import(script):
    """`modulefinder` follows the compiled byte code: an independent way to the same set."""
    finder = modulefinder.ModuleFinder(path=[str(ROOT / "scripts"), str(ROOT / "workflow")])
    finder.run_script(str(script))
    reached = {
        Path(module.__file__).resolve()
        for name, module in finder.modules.items()
        if module.__file__ and re.match(r"spotweave|_stage", name)
    }
    found = {path.resolve() for path in codehash.closure(ROOT / "workflow", script)}
    assert reached <= found


def test_the_files_of_a_closure_are_in_the_order_of_their_names():
    """A set's order changes from process to process, and the hash would with it."""
    for script in SCRIPTS:
        found = codehash.closure(ROOT / "workflow", script)
        assert list(found) == sorted(found)
        assert script in found
