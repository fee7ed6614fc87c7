"""The list of mutants, and one of them put into a copy of the library."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("mutants.toml")
LIBRARY = "workflow/spotweave"


def in_tree(name: str) -> str:
    """The path of a test file as the list has it: in `tests/unit` without a folder, else in `tests`."""
    return f"tests/{name}" if "/" in name.partition("::")[0] else f"tests/unit/{name}"


@dataclass(frozen=True)
class Mutant:
    """One plausible bug; `number` counts from 1 in the order of the list."""

    number: int
    module: str
    bug: str
    old: str
    new: str
    tests: tuple[str, ...]
    killed_by: str

    @property
    def targets(self) -> list[list[str]]:
        """What is run, one after the other until something fails: the test that is known to fail, then all."""
        known = [[in_tree(self.killed_by)]] if self.killed_by else []
        return [*known, [in_tree(name) for name in self.tests]]

    def mutated(self, root: Path = ROOT) -> str:
        """The module's text with the bug in it.

        Raises
        ------
        ValueError
            The text to replace is not there exactly once, or the result is no Python.
        """
        text = (root / LIBRARY / self.module).read_text(encoding="utf-8")
        found = text.count(self.old)
        if found != 1:
            raise ValueError(f"mutant {self.number} ({self.module}): {self.old!r} is there {found} times, not once")
        changed = text.replace(self.old, self.new)
        compile(changed, self.module, "exec")
        return changed


def read(path: Path = LIST) -> list[Mutant]:
    """All mutants of the list."""
    with open(path, "rb") as handle:
        entries = tomllib.load(handle)["mutant"]
    return [
        Mutant(
            number,
            entry["module"],
            entry["bug"],
            entry["old"],
            entry["new"],
            tuple(entry["tests"].split()),
            entry.get("killed_by", ""),
        )
        for number, entry in enumerate(entries, start=1)
    ]
