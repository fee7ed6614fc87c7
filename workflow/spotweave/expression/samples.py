"""Expression of one sample, as `st.h5ad` has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from spotweave import h5ad
from spotweave.expression.gene_names import meeting_names


@dataclass(frozen=True)
class Expression:
    """Spots under tissue of one sample.

    Attributes
    ----------
    barcodes
        (N,) str, unique.
    genes
        (G,) str, unique; once several samples are read together, one name for one id in all of them.
    counts
        (N, G) raw counts, CSR.
    positions_px
        (N, 2) float64, x and y in px of the full-resolution image.
    gene_ids
        (G,) str, empty where unknown; None if the file has none.
    """

    sample_id: str
    barcodes: NDArray[np.str_]
    genes: NDArray[np.str_]
    counts: scipy.sparse.csr_matrix
    positions_px: NDArray[np.float64]
    gene_ids: NDArray[np.str_] | None = None

    def totals(self) -> NDArray[np.float64]:
        """(N,) counts of each spot, over all genes."""
        return np.asarray(self.counts.sum(axis=1, dtype=np.float64)).ravel()

    def spots(self, barcodes: Iterable[str]) -> Expression:
        """The same of these spots only, in their order; a `KeyError` names the first barcode that is not there."""
        row_of = {barcode: row for row, barcode in enumerate(self.barcodes.tolist())}
        rows = np.array([row_of[barcode] for barcode in barcodes], dtype=np.int64)
        return replace(
            self, barcodes=self.barcodes[rows], counts=self.counts[rows], positions_px=self.positions_px[rows]
        )


def read_expression(path: Path, sample_id: str) -> Expression:
    """Read the spots under tissue (`in_tissue` = 1) of a `st.h5ad`.

    Raises
    ------
    ValueError
        If a spot or a gene is there twice.
    """
    with h5py.File(path) as file:
        spots, genes = (_unique(path, axis, h5ad.names(file[of])) for axis, of in (("spot", "obs"), ("gene", "var")))
        in_tissue = h5ad.column(file["obs"], "in_tissue").astype(int) == 1
        return Expression(
            sample_id,
            spots[in_tissue],
            genes,
            h5ad.counts(file)[in_tissue],
            file["obsm/spatial"][()].astype(np.float64)[in_tissue, :2],
            h5ad.column(file["var"], "gene_id").astype(str) if h5ad.has_column(file["var"], "gene_id") else None,
        )


def read_places_px(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the spots under tissue of a `st.h5ad`, and their (N, 2) float64 x and y in px; counts are not read."""
    with h5py.File(path) as file:
        in_tissue = h5ad.column(file["obs"], "in_tissue").astype(int) == 1
        spots = _unique(path, "spot", h5ad.names(file["obs"]))[in_tissue]
        return spots.tolist(), file["obsm/spatial"][()].astype(np.float64)[in_tissue, :2]


def _unique(path: Path, axis: str, names: NDArray[np.object_]) -> NDArray[np.str_]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{path}: the {axis} {name!r} is there twice")
        seen.add(name)
    return names.astype(str)


def columns(expression: Expression, genes: Sequence[str]) -> scipy.sparse.csr_matrix:
    """Counts of `genes` in that order, (N, len(genes)); a gene the sample does not have is a `KeyError`."""
    place = {gene: column for column, gene in enumerate(expression.genes.tolist())}
    return expression.counts[:, [place[gene] for gene in genes]]


def with_meeting_genes(samples: Sequence[Expression]) -> list[Expression]:
    """The samples with their genes renamed so that those of the same id meet (`gene_names.meeting_names`)."""
    names = [sample.genes.tolist() for sample in samples]
    ids = [[""] * len(sample.genes) if sample.gene_ids is None else sample.gene_ids.tolist() for sample in samples]
    return [
        replace(sample, genes=np.array(met, dtype=str))
        for sample, met in zip(samples, meeting_names(names, ids), strict=True)
    ]
