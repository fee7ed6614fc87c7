"""A task: samples, genes and folds, as one row of the tasks table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spotweave.expression.gene_lists import VARIABLE
from spotweave.splitting import DEFAULT

DEFAULT_MIN_SPOT_SHARE = "0.10"


@dataclass(frozen=True)
class Task:
    """One row of the tasks table, typed.

    Attributes
    ----------
    n_genes
        Genes to predict (fewer where fewer are expressed widely enough).
    n_folds
        Folds; None for one a donor, or whatever else is held out.
    min_spot_share
        A gene is a candidate if it is counted in at least this share of the spots of every sample, 0-1.
    split, guard_um
        A module of `splitting`, and the width of the band that it leaves between training and test spots, um.
    order
        Sample ids as the row lists them; empty where it takes whole cohorts.
    genes
        How genes are chosen, or which list of them (`expression.gene_lists`).
    """

    name: str
    n_genes: int
    n_folds: int | None
    min_spot_share: float
    notes: str
    split: str = DEFAULT
    guard_um: float = 0.0
    order: tuple[str, ...] = ()
    genes: str = VARIABLE

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> Task:
        """Read a row of strings (blank or absent = the default)."""
        return cls(
            name=row["task"],
            n_genes=int(row["n_genes"]),
            n_folds=int(row["n_folds"]) if row.get("n_folds") else None,
            min_spot_share=float(row.get("min_spot_share") or DEFAULT_MIN_SPOT_SHARE),
            notes=row.get("notes", ""),
            split=row.get("split", DEFAULT),
            guard_um=float(row.get("guard_um") or 0),
            order=tuple(row.get("samples", "").split()),
            genes=row.get("genes") or VARIABLE,
        )
