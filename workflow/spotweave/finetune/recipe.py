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


def stand_ins_of(gene_encoder: str) -> list[str]:
    """What stands in for ST-Align's scGPT, in words that every result says; nothing where it is itself."""
    return [] if gene_encoder == "scgpt" else [f"{gene_encoder} stands in for scGPT"]
