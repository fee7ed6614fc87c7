"""Content hash of the code a rule depends on.

Snakemake does not see the modules a script imports, and it sees a script's mtime rather than its content; so
every rule carries this hash as a parameter. A fresh clone changes no hash; an edited module changes the
hashes of exactly those scripts that import it, directly or through others. Imports are found in the source
(also those inside functions), nothing is executed.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "spotweave"


@cache
def _imports(path: Path) -> frozenset[str]:
    """Dotted names of the package's modules, or names inside them, that the file imports."""
    names: set[str] = set()
    if path.suffix != ".py":  # a table or weights that the code reads
        return frozenset()
    for node in ast.walk(ast.parse(path.read_bytes(), filename=str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name for name in names if name.split(".")[0] in (PACKAGE, "_stage"))


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
    waiting = list(entries)
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for name in _imports(path):
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
