"""What the configuration asks of the exploration of batch effects, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from spotweave.batch.corrections import CORRECTIONS
from spotweave.batch.settings import GENES, Settings
from spotweave.expression.gene_lists import CHOICES, LISTS, VARIABLE, list_path, read_list
from spotweave.registry import nearest

KEY = "batches"


def wanted(config: Mapping[str, Any]) -> bool:
    """Whether batch effects are looked at: the configuration has a block for them."""
    return KEY in config


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The block without its genes; what it leaves out has the library's defaults."""
    return {name: value for name, value in config.get(KEY, {}).items() if name != "genes"}


def corrections(config: Mapping[str, Any]) -> list[str]:
    """The corrections that are tried."""
    return list(Settings(**settings(config)).corrections)


def genes(config: Mapping[str, Any]) -> list[str]:
    """The names of the genes that are looked at."""
    named = config.get(KEY, {}).get("genes", GENES)
    path = list_path(named) if isinstance(named, str) else None
    return list(named) if path is None else read_list(path)


def faults(config: Mapping[str, Any], source: str, columns: Collection[str]) -> list[str]:
    """Corrections, columns and lists of genes that there are not.

    Parameters
    ----------
    columns
        Of the cohort tables, with `cohort`.
    """
    if not wanted(config):
        return []
    where = f"{source}:{KEY}"
    asked = Settings(**settings(config))
    found = [f"{where}.corrections: {CORRECTIONS.fault(name)}" for name in asked.corrections if CORRECTIONS.fault(name)]
    for key, names in (("labels", asked.labels), ("biology", asked.biology)):
        found += [
            f"{where}.{key}: {name!r} is no column, {nearest(name, columns)}" for name in names if name not in columns
        ]
    named = config[KEY].get("genes", GENES)
    if named in (VARIABLE, *CHOICES):
        ours = ", ".join(sorted(file.stem for file in LISTS.glob("*.txt")))
        found.append(f"{where}.genes: {named!r} is chosen for a task, allowed: {ours}, the path of a list, or names")
        return found
    try:
        genes(config)
    except ValueError as error:
        found.append(f"{where}.genes: {error}")
    return found
