"""Readers: one module per technology turns a sample's raw files into counts and a table of spots.

A reader is one module of this package, named in `resources/technologies.csv`, with

* `ROLES`: the roles of the raw files it cannot do without (`("counts", "spots")`);
* `OPTIONAL`: the roles it takes where they are given (`("scalefactors",)`);
* `read(files, *, member=None) -> Reading`: `files` maps each role to a `RawFile`; `member` selects one
  section of files that hold several. Wrong data raise `Refusal`, never less.

Modules are imported by name, one at a time, so that a change of one reader concerns only the samples read with it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from spotweave.errors import Refusal
from spotweave.raw import RawFile

if TYPE_CHECKING:  # the registry itself must stay light
    from anndata import AnnData
    from pandas import DataFrame

SPOT_COLUMNS = (
    "spot_id",
    "array_col",
    "array_row",
    "array_x",
    "array_y",
    "x_px",
    "y_px",
    "in_tissue",
    "total_counts",
)


@dataclass(frozen=True)
class Reading:
    """What a reader returns.

    Attributes
    ----------
    adata
        X: raw counts, CSR float32, units x genes, only units with counts and a position. obs: `x_px`, `y_px`
        (float64, as the vendor gives them, NaN if not given), `in_tissue` (int64, 0/1) and, for spots and bins,
        `array_col`, `array_row` (int64); cells have no array. var: `gene_id` (str, empty if unknown). Spots and bins
        sorted by (array_row, array_col), cells by name, genes as filed.
    spots
        `SPOT_COLUMNS`, one row per unit of the vendor's spot or cell file, in the same order; `array_col`,
        `array_row` Int64 (missing for cells), `array_x`, `array_y` float64 (NaN if not measured), `total_counts`
        Int64 (missing where the counts have no such unit).
    report
        JSON-ready measures: what was found, kept and left out; `unit` says what a row is: `spot`, `bin` or `cell`.
    """

    adata: AnnData
    spots: DataFrame
    report: dict[str, Any]

    def write(self, expression: Path, spots: Path) -> None:
        """Write `expression` (.h5ad, gzip) and `spots` (.csv); the same reading gives the same bytes."""
        self.adata.write_h5ad(expression, compression="gzip")
        self.spots.to_csv(spots, index=False, lineterminator="\n", encoding="utf-8")


class Reader(Protocol):
    """The face of a reader module."""

    ROLES: tuple[str, ...]
    OPTIONAL: tuple[str, ...]

    def read(self, files: Mapping[str, RawFile], *, member: str | None = None) -> Reading:
        """Read one sample."""
        ...


def names() -> list[str]:
    """Names of all readers, sorted, without importing them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Reader:
    """Import one reader by name; `ValueError` for a name that is none."""
    if name not in names():
        raise ValueError(f"unknown reader {name!r}, there are: {', '.join(names())}")
    return cast(Reader, importlib.import_module(f"{__name__}.{name}"))


def pick_files(manifest: Mapping[str, Any], roles: Iterable[str], optional: Iterable[str] = ()) -> dict[str, RawFile]:
    """The raw files of the given roles in a sample's manifest (`raw.json`), at most one of a role.

    Raises
    ------
    Refusal
        One of `roles` is not there, or any of them twice.
    """
    picked: dict[str, RawFile] = {}
    optional = tuple(optional)
    for role in (*roles, *optional):
        found = [file for file in manifest["files"] if file["role"] == role]
        if not found and role in optional:
            continue
        if len(found) != 1:
            given = ", ".join(f"{file['name']} ({file['role']})" for file in manifest["files"]) or "no files at all"
            raise Refusal(
                f"{manifest['sample']}: exactly one file of role '{role}' is needed, {len(found)} given; the row has "
                f"{given}",
                measured=len(found),
                threshold=1,
            )
        picked[role] = RawFile(found[0]["name"], Path(found[0]["path"]))
    return picked
