"""Scripts parse arguments and call the library: what they hold is counted in their source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for path in (ROOT / "scripts").glob("*.py") if path.name != "_stage.py")
HEAVY = {"anndata", "cv2", "h5py", "matplotlib", "numpy", "pandas", "pyarrow", "pyvips", "scipy", "shapely", "torch"}
# Reading and writing through io, building what the call takes, the call.
STATEMENTS_OF_WORK = 7
LINES = 40  # docstrings, blank lines and options aside


def tree_of(path):
    return ast.parse(path.read_bytes())


def work_of(tree):
    return next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "work"), None)


def is_plain(node):
    return isinstance(node, (ast.Import, ast.ImportFrom)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def lines_of(path):
    """Lines that do something, options and what `--help` says left out."""
    skipped = set()
    tree = tree_of(path)
    for node in ast.walk(tree):
        is_option = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        called = ast.unparse(node.value.func) if is_option else ""
        if called in ("stage.option", "parser.add_argument") or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ):
            skipped.update(range(node.lineno, node.end_lineno + 1))
    lines = path.read_text().splitlines()
    return [line for number, line in enumerate(lines, 1) if line.strip() and number not in skipped]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_its_arguments_and_a_call(path):
    assert len(lines_of(path)) <= LINES
    tree = tree_of(path)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert {function.name for function in functions} <= {"work", "main"}
    assert not any(isinstance(node, ast.ClassDef) for node in ast.walk(tree))
    work = work_of(tree)
    if work is not None:
        statements = [node for node in work.body if not is_plain(node)]
        assert len(statements) <= STATEMENTS_OF_WORK, [ast.unparse(one) for one in statements]
        # Judging, looping and mending are the library's.
        busy = (ast.If, ast.For, ast.While, ast.Try, ast.Raise, ast.FunctionDef, ast.Lambda, ast.Assert)
        assert not [ast.unparse(node) for one in work.body for node in ast.walk(one) if isinstance(node, busy)]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_nothing_heavy_is_imported_before_the_stage_has_looked_at_its_inputs(path):
    """At the top of a script stands nothing heavy; what the library imports there is looked at by running it."""
    tops = [node for node in tree_of(path).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in tops if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in tops if isinstance(node, ast.ImportFrom) and node.module}
    assert not {name.partition(".")[0] for name in names} & HEAVY


def test_a_list_of_samples_ends_where_its_reader_ends():
    """`| head -1`, as one does with a list of 222 samples."""
    command = [sys.executable, str(ROOT / "scripts/query.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as listing:
        listing.stdout.close()
        assert b"Traceback" not in listing.stderr.read()
