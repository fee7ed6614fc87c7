"""Which genes are predicted: those that HEST-1k would choose."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import anndata
import numpy as np
import scanpy
import scipy.sparse
from numpy.typing import NDArray

from spotweave.expression.samples import Expression, columns

CONTROL_WORDS = ("BLANK", "Control")


def candidates(samples: Sequence[Expression], min_spot_share: float) -> list[str]:
    """Genes counted in at least `min_spot_share` of the spots of every sample, sorted, control probes left out."""
    common = reduce(np.intersect1d, (_widely_counted(sample, min_spot_share) for sample in samples))
    # Of one sample there is nothing to intersect, and its genes are in the order of its file.
    return [gene for gene in np.sort(common).tolist() if not any(word in gene for word in CONTROL_WORDS)]


def _widely_counted(sample: Expression, min_spot_share: float) -> NDArray[np.str_]:
    spots_with_gene = np.asarray((sample.counts > 0).sum(axis=0)).ravel()
    return sample.genes[spots_with_gene >= min_spot_share * len(sample.barcodes)]


def most_variable_genes(samples: Sequence[Expression], n_genes: int, min_spot_share: float) -> list[str]:
    """The most variable of the widely expressed genes, alphabetical.

    The recipe of HEST-1k (`get_k_genes`, criterion "var"): candidates as above, samples stacked, log1p of raw counts
    without a size factor, highly variable genes as in Seurat (normalised dispersion in 20 bins of the mean; Satija et
    al. 2015, as implemented by scanpy).

    Parameters
    ----------
    samples
        Whose counts decide: all samples of a task, or the training samples.
    n_genes
        How many; all candidates are returned where there are no more.
    """
    names = candidates(samples, min_spot_share)
    if len(names) <= n_genes:
        return names
    stacked = scipy.sparse.vstack([columns(sample, names) for sample in samples], format="csr")
    data = anndata.AnnData(stacked.astype(np.float32))
    data.var_names = names
    scanpy.pp.log1p(data)
    scanpy.pp.highly_variable_genes(data, n_top_genes=n_genes, flavor="seurat")
    # Genes tied at the limit are all marked.
    return data.var_names[data.var["highly_variable"]].tolist()[:n_genes]
