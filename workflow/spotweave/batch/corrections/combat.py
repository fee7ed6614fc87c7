"""ComBat: each gene of each batch is shifted and scaled, by amounts that genes lend each other strength for.

Johnson, Li and Rabinovic 2007 (parametric), as scanpy has it (`scanpy.pp.combat`), without covariates: where batches
differ in biology, some of that goes too.
"""

from __future__ import annotations

from collections.abc import Sequence

import anndata
import numpy as np
import pandas as pd
import scanpy
from numpy.typing import NDArray

from spotweave.batch.corrections import CannotCorrect

SPACE = "genes"
BATCH = "batch"

Array = NDArray[np.float64]


def correct(values: Array, batches: Sequence[str], seed: int) -> Array:
    """(N, G) values shifted and scaled by gene and batch; nothing is random.

    Raises
    ------
    CannotCorrect
        If there is one gene, or a gene is constant within every batch: its change is 0 / 0, on which scanpy's iteration
        would end for all genes.
    """
    if values.shape[1] < 2:
        raise CannotCorrect("ComBat takes its priors from many genes, and there is one")
    codes = np.unique(batches, return_inverse=True)[1]
    spread = np.max([np.ptp(values[codes == batch], axis=0) for batch in np.unique(codes)], axis=0)
    if (spread == 0).any():
        raise CannotCorrect(f"{int((spread == 0).sum())} of {len(spread)} genes are constant within every batch")
    names = [str(row) for row in range(len(values))]
    data = anndata.AnnData(values.copy(), obs=pd.DataFrame({BATCH: pd.Categorical(batches)}, index=names))
    found: Array = scanpy.pp.combat(data, BATCH, inplace=False)
    return found
