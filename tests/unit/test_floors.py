"""The library stands in floors: a module imports what lies below it, and nothing turns in a circle.

The floors are those of the table in docs/architecture.md, from the ground up: what is written there holds.
"""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "workflow"
PAGE = ROOT / "docs/architecture.md"
ROW = re.compile(r"^\| (?P<floor>[\w, ]*)\| (?P<names>`[\w`, ]+`) \|.*\|(?P<uses>[^|]*)\|$", re.MULTILINE)


def declared() -> tuple[dict[str, int], dict[str, set[str]]]:
    """Package or module of the library's top -> number of its floor, and what it uses of that floor."""
    floors: dict[str, int] = {}
    uses: dict[str, set[str]] = {}
    floor = 0
    for row in ROW.finditer(PAGE.read_text().partition("## The library, floor by floor")[2].partition("\n## ")[0]):
        floor += bool(row["floor"].strip())
        for name in re.findall(r"\w+", row["names"]):
            floors[name] = floor
            uses[name] = set(re.findall(r"\w+", row["uses"]))
    return floors, uses


def imports() -> dict[str, set[str]]:
    """Module -> modules of the library that it imports, within functions and for types too."""
    paths = {
        ".".join(path.relative_to(LIBRARY).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (LIBRARY / "spotweave").rglob("*.py")
    }
    found: dict[str, set[str]] = {}
    for module, path in paths.items():
        names: list[str] = []
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{module}: relative imports hide what they lead to"
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                names += [name if name in paths else str(node.module) for name in inner]
        found[module] = {name for name in names if name in paths} - {module, "spotweave"}
    return found


def top(module: str) -> str:
    return module.split(".")[1]


EDGES = {module: needed for module, needed in imports().items() if module != "spotweave"}
FLOORS, USES = declared()


def test_every_package_has_a_floor():
    assert set(FLOORS) == {top(module) for module in EDGES}


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_imports_lead_down_or_to_what_is_declared(package):
    found = {(module, needed) for module, targets in EDGES.items() for needed in targets if top(module) == package}
    beside = {pair for pair in found if FLOORS[top(pair[1])] == FLOORS[package] and top(pair[1]) != package}
    assert {pair for pair in found if FLOORS[top(pair[1])] > FLOORS[package]} == set()
    if FLOORS[package] > 1:
        assert {top(needed) for _, needed in beside} == USES[package], beside


def test_nothing_turns_in_a_circle():
    TopologicalSorter(EDGES).prepare()  # raises CycleError, which names the modules
    packages: dict[str, set[str]] = {}
    for module, targets in EDGES.items():
        packages.setdefault(top(module), set()).update(top(needed) for needed in targets)
    TopologicalSorter({package: needed - {package} for package, needed in packages.items()}).prepare()


def test_the_library_knows_nothing_of_snakemake_and_of_scripts():
    for path in (LIBRARY / "spotweave").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) (snakemake|_stage)\b", path.read_text(), re.MULTILINE), path
