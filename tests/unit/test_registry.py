"""Registries find entries by name, import none of them to do so, and say what was meant."""

import subprocess
import sys
from pathlib import Path

import pytest

from spotweave.registry import Registry, nearest

ROOT = Path(__file__).resolve().parents[2]


def _library(folder: Path) -> Path:
    things = folder / "things"
    (things / "folder_entry").mkdir(parents=True)
    (things / "data_only").mkdir()
    for name in ("__init__.py", "_shared.py", "small.py", "folder_entry/__init__.py"):
        (things / name).write_text("raise RuntimeError('imported')\n")
    (things / "notes.md").write_text("no entry\n")
    return folder


def test_entries_are_modules_and_packages_without_an_underscore(tmp_path: Path) -> None:
    assert Registry("things", "thing", _library(tmp_path)).names() == ("folder_entry", "small")


def test_a_name_that_is_none_is_told_what_was_meant(tmp_path: Path) -> None:
    things = Registry("things", "thing", _library(tmp_path))
    assert things.fault("small") is None
    assert things.fault("Smal") == "'Smal' is no thing, did you mean 'small'?"
    assert things.fault("_shared") == "'_shared' is no thing, allowed: folder_entry, small"
    with pytest.raises(ValueError, match="allowed: folder_entry, small"):
        things.load("zzz")


def test_case_does_not_keep_a_name_from_being_meant() -> None:
    assert nearest("ridge", ("RIDGE", "mean")) == "did you mean 'RIDGE'?"


def test_a_long_list_is_cut_and_counted() -> None:
    assert nearest("?", [f"e{number:02}" for number in range(50)]).endswith("e39 … (50 in all)")


def test_loading_imports_the_entry_asked_for_only() -> None:
    code = (
        "import sys; sys.path.insert(0, 'workflow'); from spotweave.registry import Registry;"
        "Registry('methods', 'method kind').load('mean_expression');"
        "print([name for name in sys.modules if name.startswith('spotweave.methods.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['spotweave.methods.mean_expression']"
