"""Content hash of the code a rule depends on.

Snakemake does not see the modules a script imports, and it sees a script's mtime rather than its content; so
every rule carries this hash as a parameter. A fresh clone changes no hash; an edited module changes the
hashes of exactly those scripts that import it, directly or through others. Imports are found in the source
(also those inside functions, and relative ones), nothing is executed.

A module that reads files of the project names them: `READS = ("resources/vocabulary/*.csv",)`, patterns from the
project's root. They count as a part of it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "spotweave"
READS = "READS"


@cache
def _needs(library: Path, path: Path) -> tuple[frozenset[str], tuple[Path, ...]]:
    """What a file needs: dotted names of the package's modules, or names inside them, and files that it `READS`."""
    names: set[str] = set()
    files: tuple[Path, ...] = ()
    if path.suffix != ".py":  # a table or weights that the code reads
        return frozenset(), files
    for node in _statements(ast.parse(path.read_bytes(), filename=str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _imported_from(library, path, node)
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Assign) and any(
            isinstance(one, ast.Name) and one.id == READS for one in node.targets
        ):
            patterns: tuple[str, ...] = ast.literal_eval(node.value)
            files = tuple(found for pattern in patterns for found in sorted(library.parent.glob(pattern)))
    return frozenset(name for name in names if name.split(".")[0] in (PACKAGE, "_stage")), files


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Every statement below a node, at any depth; expressions, most of a module and never an import, are not entered."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, block, ()):
            if isinstance(child, ast.stmt):
                yield child
            yield from _statements(child)


def _imported_from(library: Path, path: Path, node: ast.ImportFrom) -> str:
    """The absolute name of the module behind `from`; dots climb from the folder the file lies in."""
    if not node.level:
        return node.module or ""
    package = path.parent.relative_to(library).parts if path.is_relative_to(library) else ()
    above = package[: len(package) - node.level + 1]
    return ".".join((*above, *((node.module,) if node.module else ())))


@cache
def _files_of(library: Path, dotted: str) -> tuple[Path, ...]:
    """The file of a module and the `__init__.py` of every package above it; () for a name inside a module."""
    parts = dotted.split(".")
    folder = library.joinpath(*parts)
    if (folder / "__init__.py").is_file():
        own = folder / "__init__.py"
    elif folder.with_suffix(".py").is_file():
        own = folder.with_suffix(".py")
    else:
        return ()
    above = (library.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts)))
    return (own, *(path for path in above if path.is_file()))


def _packages_above(library: Path, path: Path) -> list[Path]:
    """The `__init__.py` of the packages that a module lies in: importing it runs them."""
    folders = path.relative_to(library).parents if path.is_relative_to(library) else ()
    return [init for folder in folders if (init := library / folder / "__init__.py").is_file()]


@cache
def closure(library: Path, *entries: Path) -> tuple[Path, ...]:
    """Every file that the `entries` need, themselves included, sorted.

    Parameters
    ----------
    library
        The folder that holds the package (`workflow/`).
    entries
        Scripts or modules to start from, and other files whose content counts.
    """
    found: set[Path] = set()
    waiting = [*entries, *(above for entry in entries for above in _packages_above(library, entry))]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        names, files = _needs(library, path)
        waiting.extend(files)
        for name in names:
            waiting.extend(_files_of(library, name))
            waiting.extend(_files_of(path.parent, name) if name == "_stage" else ())
    return tuple(sorted(found))


@cache
def code_hash(library: Path, *entries: Path) -> str:
    """First 12 hex digits of the sha256 over names and contents of the closure of `entries`."""
    digest = hashlib.sha256()
    for path in closure(library, *entries):
        digest.update(path.name.encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
