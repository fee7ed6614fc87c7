"""Highly variable genes of single samples, and a published panel made of them.

The panel is the 785 genes that HisToGene, Hist2ST, THItoGene and TCGN share on HER2+ breast sections. The rule printed
with it gives thousands; the one here gives exactly those (`widely_counted_panel` with its defaults). It looks at one
section for variability and at sections of all donors for counts, so it leaks a little of every test section:
`most_dispersed` is the same idea on training samples alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from spotweave.expression.samples import Expression

PANEL_N_TOP = 1500
PANEL_MIN_SPOTS = 1000


def dispersions(sample: Expression) -> NDArray[np.float64]:
    """(G,) normalised dispersion of each gene of a sample; 0 where undefined.

    Counts scaled to the median total, log1p, dispersion standardised in 20 bins of the mean (Satija et al. 2015, as
    implemented by scanpy, flavour "seurat").
    """
    values = _highly_variable(sample, None)["dispersions_norm"].to_numpy(np.float64)
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def highly_variable_genes(sample: Expression, n_top: int) -> list[str]:
    """The `n_top` genes of highest normalised dispersion, all of those tied at the end, in the sample's order."""
    return sample.genes[_highly_variable(sample, n_top)["highly_variable"].to_numpy(bool)].tolist()


def _highly_variable(sample: Expression, n_top: int | None):  # type: ignore[no-untyped-def]  # a pandas table
    import anndata
    import scanpy

    data = anndata.AnnData(scipy.sparse.csr_matrix(sample.counts, dtype=np.float32))
    data.var_names = sample.genes.tolist()
    scanpy.pp.normalize_total(data)
    scanpy.pp.log1p(data)
    return scanpy.pp.highly_variable_genes(data, n_top_genes=n_top, flavor="seurat", inplace=False)


def widely_counted_panel(
    reference: Expression,
    in_every_section: Iterable[str],
    spots_counted: Mapping[str, int],
    n_top: int = PANEL_N_TOP,
    min_spots: int = PANEL_MIN_SPOTS,
) -> list[str]:
    """Genes that vary in one section and are counted in enough spots of many, sorted.

    Parameters
    ----------
    reference
        The section whose `n_top` highly variable genes are taken (A1, of the 36 HER2+ sections).
    in_every_section
        Genes that the tables of all sections have (all 36).
    spots_counted
        Gene -> spots with a count above 0, over the sections that count (32: A2 to G3, neither A1 nor H1 to H3).
    min_spots
        The fewest of these spots.
    """
    common = set(in_every_section)
    return sorted(
        gene
        for gene in highly_variable_genes(reference, n_top)
        if gene in common and spots_counted.get(gene, 0) >= min_spots
    )


def most_dispersed(samples: Sequence[Expression], names: Sequence[str], n_genes: int) -> list[str]:
    """Of these genes the `n_genes` of highest normalised dispersion, averaged over samples, alphabetical.

    Ties go to the name that sorts first. A sample of one spot says nothing of variability and does not count.
    """
    total = dict.fromkeys(names, 0.0)
    for sample in samples:
        if len(sample.barcodes) > 1:
            found = dict(zip(sample.genes.tolist(), dispersions(sample).tolist(), strict=True))
            total = {name: value + found[name] for name, value in total.items()}
    return sorted(sorted(names, key=lambda name: (-total[name], name))[:n_genes])
