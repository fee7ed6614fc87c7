"""Rows of the recipe table, typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Typed = TypeVar("Typed", bound="DataclassInstance")
_KINDS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "tuple[str, ...]": lambda cell: tuple(cell.split()),
}


def typed(kind: type[Typed], row: Mapping[str, str]) -> Typed:
    """A dataclass of the cells that fit its fields; blank cells are the fields' defaults."""
    given = {one.name: _KINDS[str(one.type)](row[one.name]) for one in fields(kind) if row.get(one.name)}
    return kind(**given)
