"""Pages written from registries and tables are up to date."""

import ast
import re
from pathlib import Path

import pytest

from spotweave.plan import catalogue
from spotweave.simulate import layouts_page

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "workflow/spotweave"
# Pages and comments name modules as `spotweave/a/b.py`, `spotweave/a/`, `spotweave.a.b` or `spotweave.a.b.name`.
SPEAKING = ("README.md", "docs/*.md", "workflow/schemas/*", "workflow/rules/*", "config/*.yaml", "envs/*.yaml")
TO_BE_ADDED = {  # as their pages say
    ("docs/adding-a-technology.md", "spotweave/pooling/first.py"),
}
PATH = re.compile(r"(?<![\w.-])spotweave/[\w/*]+(?:\.py)?(?![\w<])")
DOTTED = re.compile(r"(?<![\w/.])spotweave(?:\.\w+)+")


def test_the_page_of_layouts_is_that_of_the_registries():
    assert (ROOT / "docs/layouts.md").read_text() == layouts_page.describe()
    assert sum(len(variants) for variants in layouts_page.registries().values()) >= 80


def test_the_page_of_cohorts_is_that_of_the_tables(monkeypatch):
    monkeypatch.chdir(ROOT)
    known = catalogue.catalogue(ROOT)
    assert (ROOT / "docs/cohorts.md").read_text() == catalogue.describe(known)
    assert len(known.samples) > 200


def _speaking():
    pages = [page for pattern in SPEAKING for page in ROOT.glob(pattern)]
    return sorted([*pages, *LIBRARY.rglob("*.py"), *ROOT.glob("scripts/*.py")])


def _is_there(named):
    """Whether `spotweave.a.b.name` is a module, or a name that the module `spotweave.a.b` has at its top."""
    place, parts = LIBRARY.parent, named.split(".")
    for i, part in enumerate(parts):
        place = place / part
        if place.is_dir() and (i + 1 == len(parts) or not (place / "__init__.py").is_file()):
            return True
        module = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
        rest = parts[i + 1 :]
        if place.is_dir() and ((place / rest[0]).exists() or (place / f"{rest[0]}.py").is_file()):
            continue
        return module.is_file() and (not rest or rest[0] in _names(module))
    return False


def _names(module):
    found = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
        found |= {node.name} if hasattr(node, "name") else set()
        found |= {alias.asname or alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name")}
    return found


def _named_but_gone(text, page):
    paths = {path for path in PATH.findall(text) if not list(LIBRARY.parent.glob(path))}
    paths = {path for path in paths if not (LIBRARY.parent / f"{path}.py").is_file()}
    dotted = {name for name in DOTTED.findall(text) if not _is_there(name)}
    return {name for name in paths | dotted if (page, name) not in TO_BE_ADDED}


def test_every_module_that_a_page_or_a_comment_names_is_there():
    gone = {}
    for path in _speaking():
        page = str(path.relative_to(ROOT))
        found = _named_but_gone(path.read_text(encoding="utf-8"), page)
        if found:
            gone[page] = sorted(found)
    assert gone == {}


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("as `spotweave/registry.py` says", set()),
        ("`workflow/spotweave/readers/*/layout.py`, `spotweave/tissue/methods`", set()),
        ("`spotweave.registry`, `spotweave.deposits.naming.Layout`, `spotweave.readers`", set()),
        ("`workflow/spotweave/raw_layouts.py`", {"spotweave/raw_layouts.py"}),
        ("in `spotweave/sources/_content`", {"spotweave/sources/_content"}),
        ("`spotweave.sources._api`", {"spotweave.sources._api"}),
        ("`spotweave.registry.Registrar`", {"spotweave.registry.Registrar"}),
    ],
)
def test_a_module_that_is_gone_is_found(text, gone):
    assert _named_but_gone(text, "docs/any.md") == gone
