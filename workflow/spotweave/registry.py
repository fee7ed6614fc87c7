"""Registries: one package for a kind of thing, one module in it for each entry, found by name.

An entry is a module of its package whose name starts with no underscore; what such a module has to offer is said in the
`__init__` of the package. Names are looked up without importing anything, so that tables can be checked before the
first job, and a job imports (and is hashed with) the entries it uses and no others.

    PROBES = Registry("probes", "probe")
    PROBES.load("ridge").fit(...)

An entry that has outgrown one file is a package of that name, with a module for each part that is wanted by itself.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from spotweave.addresses import without_secrets

LONGEST = 100  # what is longer is not compared: the time grows with its square
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Registry:
    """The entries of one package.

    Parameters
    ----------
    package
        Its path within `spotweave` (`"probes"`, `"tissue/methods"`).
    what
        What an entry is called in messages (`"probe"`).
    library
        The folder of the library; another one only for its tests.
    """

    package: str
    what: str
    library: Path = HERE

    def names(self) -> tuple[str, ...]:
        """Names of all entries, sorted; nothing is imported."""
        folder = self.library / self.package
        return _names(folder, folder.stat().st_mtime_ns if folder.is_dir() else None)

    def fault(self, name: str) -> str | None:
        """What to say of a name that is no entry; None for one that is."""
        if name in self.names():
            return None
        return f"{without_secrets(name)[:LONGEST]!r} is no {self.what}, {nearest(name, self.names())}"

    def load(self, name: str, part: str = "") -> Any:
        """The module of an entry; with `part`, that module of an entry that is a package.

        Raises
        ------
        ValueError
            If there is no such entry: what there is, or what was meant.
        """
        fault = self.fault(name)
        if fault is not None:
            raise ValueError(fault)
        return importlib.import_module(f"spotweave.{self.module(name, part).replace('/', '.')}")

    def module(self, name: str, part: str = "") -> str:
        """Where the entry lies in the library, without its ending, as a code hash names it (`probes/ridge`).

        With `part`, where that part of it lies (`readers/visium/layout`): the whole entry where it is one file.
        """
        is_package = bool(part) and (self.library / self.package / name / "__init__.py").is_file()
        return f"{self.package}/{name}/{part}" if is_package else f"{self.package}/{name}"

    def constant(self, name: str, constant: str, default: Any = None) -> Any:
        """What an entry's module assigns to `constant` at its top: a literal, read without importing the module.

        An entry that is a package has them in its `__init__`. What is not a literal counts as absent.
        """
        path = self.library / f"{self.module(name)}.py"
        return _literals(path if path.is_file() else path.with_suffix("") / "__init__.py").get(constant, default)


@cache
def _names(folder: Path, changed: int | None) -> tuple[str, ...]:
    """Names of the modules and packages in a folder that was last `changed` then: rows ask for them by the thousand."""
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    return tuple(sorted(name for name in modules if not name.startswith("_")))


@cache
def _literals(path: Path) -> dict[str, Any]:
    """The literals that a module assigns to single names at its top."""
    found = {}
    for node in ast.parse(path.read_bytes(), filename=str(path)).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            with contextlib.suppress(ValueError):
                found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def literal(path: Path, name: str, default: Any = None) -> Any:
    """What a module assigns to a name at its top: a literal, read without importing the module."""
    return _literals(path).get(name, default)


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, whatever its case; None where none is like it."""
    folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name[:LONGEST].casefold(), list(folded), n=1)
    return folded[close[0]] if close else None


def nearest(name: str, known: Iterable[str], shown: int = 40) -> str:
    """`did you mean 'x'?`; `allowed: …` with the first names where none is like it; that there is none."""
    listed = sorted(known)
    if not listed:
        return "there is none yet"
    near = closest(name, listed)
    if near:
        return f"did you mean {near!r}?"
    more = f" … ({len(listed)} in all)" if len(listed) > shown else ""
    return f"allowed: {', '.join(listed[:shown])}{more}"
