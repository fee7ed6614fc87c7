"""One row of the recipe table, typed, as contrastive fine-tuning reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """A recipe of the kind `infonce`. Column by column it is described in `spotweave.recipes.infonce`."""

    recipe: str
    base_encoder: str
    input_px: int
    embedding_dim: int
    genes: int
    hidden: int
    epochs: int
    batch: int
    lr_image: float
    lr_expression: float
    layer_decay: float
    temperature: float
    weight_decay: float
    augment: tuple[str, ...]
    jitter: float
    unfrozen: str

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> Recipe:
        """Type the cells of a row that fits the schema."""
        kinds: dict[str, Callable[[str], Any]] = {
            "int": int,
            "float": float,
            "str": str,
            "tuple[str, ...]": lambda cell: tuple(cell.split()),
        }
        blank = {"augment": "", "jitter": "0"}
        return cls(
            **{field.name: kinds[str(field.type)](row.get(field.name) or blank[field.name]) for field in fields(cls)}
        )
