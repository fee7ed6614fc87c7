"""How STimage-1K4M describes a spot for its fine-tuning (Chen et al. 2024): by rank, or by genes that all slides have.

scanpy chooses the genes, with the functions and settings that the paper's code has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.expression.samples import Expression, columns
from spotweave.finetune.pairs import OVERLAP, Describe, Tables
from spotweave.networks.threads import kept


def most_variable_by_rank(n_genes: int) -> Describe:
    """The most variable genes of each sample by itself, the most variable first.

    Column k is the sample's k-th gene, another one in another sample: so it is published. Variability is by Pearson
    residuals (Lause et al. 2021); counts are brought to the sample's median over the chosen genes, then ln(1 + x).
    """

    def describe(table: Expression) -> NDArray[np.float32]:
        if len(table.genes) < n_genes:
            raise Refusal(f"{table.sample_id} has {len(table.genes)} genes, {n_genes} are to be ranked")
        data = _data(table.counts, table.genes)
        with kept():
            sc.experimental.pp.highly_variable_genes(data, n_top_genes=n_genes, flavor="pearson_residuals")
        rank = data.var["highly_variable_rank"].to_numpy()
        first = np.argsort(np.where(np.isnan(rank), np.inf, rank), kind="stable")[:n_genes]
        chosen = table.counts[:, first].toarray()
        return _log_of_median_shares(chosen, chosen.sum(axis=1))

    return describe


@dataclass(frozen=True)
class Overlap:
    """Genes of all samples, and what counts are brought to.

    Attributes
    ----------
    genes
        The chosen ones, sorted.
    common
        All that the samples share: a spot's total is over these.
    median
        Of the totals of all spots with counts.
    """

    genes: list[str]
    common: list[str]
    median: float

    def as_dict(self) -> dict[str, Any]:
        """`Pairs.described`: the genes themselves travel beside it."""
        return {"by": OVERLAP, "common": self.common, "median": self.median}

    def describe(self, table: Expression) -> NDArray[np.float32]:
        """ln(1 + count x median / total) of the chosen genes, (n, G)."""
        totals = np.asarray(columns(table, self.common).sum(axis=1)).ravel()
        return _log_of_median_shares(columns(table, self.genes).toarray(), totals, self.median)


def overlap(tables: Tables, n_genes: int) -> Overlap:
    """The most variable of the genes that all samples have, by dispersion (Satija et al. 2015), over all their spots.

    Raises
    ------
    Refusal
        If no gene is in every sample.
    """
    common = tables.common()
    if not common:
        raise Refusal(f"no gene is in every sample to train on: {tables.why_not()}", measured=0, threshold=1)
    counts = scipy.sparse.vstack([columns(table, common) for table in tables]).tocsr()
    counts = counts[np.asarray(counts.sum(axis=1)).ravel() > 0]
    median = float(np.median(np.asarray(counts.sum(axis=1)).ravel()))
    data = _data(counts, np.array(common))
    with kept():
        sc.pp.normalize_total(data, target_sum=median)
        sc.pp.log1p(data)
        sc.pp.highly_variable_genes(data, n_top_genes=min(n_genes, len(common)), flavor="seurat")
    return Overlap(sorted(data.var_names[data.var["highly_variable"]].tolist()), common, median)


def _data(counts: scipy.sparse.csr_matrix, genes: NDArray[np.str_]) -> anndata.AnnData:
    return anndata.AnnData(counts.astype(np.float32), var=pd.DataFrame(index=pd.Index(genes)))


def _log_of_median_shares(
    counts: NDArray[Any], totals: NDArray[Any], median: float | None = None
) -> NDArray[np.float32]:
    """A spot without any of the genes is nought in all of them."""
    totals = np.asarray(totals, np.float64)
    if median is None:
        median = float(np.median(totals[totals > 0])) if (totals > 0).any() else 1.0
    return np.log1p(counts * (median / np.maximum(totals, 1e-12))[:, None] * (totals > 0)[:, None]).astype(np.float32)
