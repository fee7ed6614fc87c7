"""One sample of the benchmark: counts from `st.h5ad`, features from `embeddings/{encoder}.h5`, joined by barcode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anndata
import h5py
import numpy as np
import scipy.sparse
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Embeddings:
    """Features of one sample's patches: (N,) barcodes, (N, D) features, and the dataset they were read from."""

    barcodes: NDArray[np.str_]
    features: NDArray[np.float32]
    dataset: str


@dataclass(frozen=True)
class Joined:
    """Spots that have both, in the order of the expression.

    Attributes
    ----------
    expression
        Reduced to the joined spots.
    features
        (N, D) float32.
    without_features, without_expression
        Number of spots under tissue without an embedding, and of embeddings without a spot under tissue.
    """

    expression: Expression
    features: NDArray[np.float32]
    dataset: str
    without_features: int
    without_expression: int


def read_expression(path: Path, sample_id: str) -> Expression:
    """Read the spots under tissue (`in_tissue` = 1) of a `st.h5ad`."""
    data = anndata.read_h5ad(path)
    for axis, names in (("spot", data.obs_names), ("gene", data.var_names)):
        if not names.is_unique:
            raise ValueError(f"{path}: the {axis} {names[names.duplicated()][0]!r} is there twice")
    in_tissue = data.obs["in_tissue"].to_numpy().astype(int) == 1
    return Expression(
        sample_id,
        data.obs_names.to_numpy().astype(str)[in_tissue],
        data.var_names.to_numpy().astype(str),
        scipy.sparse.csr_matrix(data.X)[in_tissue],
        np.asarray(data.obsm["spatial"], dtype=np.float64)[in_tissue, :2],
        data.var["gene_id"].fillna("").to_numpy().astype(str) if "gene_id" in data.var else None,
    )


def with_meeting_genes(samples: Sequence[Expression]) -> list[Expression]:
    """The samples with their genes renamed so that those of the same id meet (`gene_names.meeting_names`)."""
    names = [sample.genes.tolist() for sample in samples]
    ids = [[""] * len(sample.genes) if sample.gene_ids is None else sample.gene_ids.tolist() for sample in samples]
    return [
        replace(sample, genes=np.array(met, dtype=str))
        for sample, met in zip(samples, meeting_names(names, ids), strict=True)
    ]


def read_embeddings(path: Path, fold: int) -> Embeddings | None:
    """Read the features to use in one outer fold.

    An encoder that was trained within the folds keeps `fold{k}/embeddings`, which must be used in that fold and in no
    other (elsewhere it has seen the test donors); every other encoder keeps one `embeddings` for all folds.

    Returns
    -------
    embeddings
        None if the file has neither.
    """
    with h5py.File(path, "r") as file:
        dataset = next((name for name in (f"fold{fold}/embeddings", "embeddings") if name in file), None)
        if dataset is None:
            return None
        barcodes = file["barcode"].asstr()[...].reshape(-1).astype(str)
        features = file[dataset][...].astype(np.float32)
    if len(barcodes) != len(features):
        raise ValueError(f"{path}: {len(barcodes)} barcodes for {len(features)} embeddings")
    if len(np.unique(barcodes)) != len(barcodes):
        raise ValueError(f"{path}: a barcode is there twice")
    if not np.isfinite(features).all():
        raise ValueError(f"{path}: {dataset} has values that are not finite")
    return Embeddings(barcodes, features, dataset)


def join(expression: Expression, embeddings: Embeddings) -> Joined:
    """Match by barcode, never by position."""
    row_of = {barcode: row for row, barcode in enumerate(embeddings.barcodes.tolist())}
    found = np.array([row_of.get(barcode, -1) for barcode in expression.barcodes.tolist()], dtype=np.int64)
    both = found >= 0
    reduced = replace(
        expression,
        barcodes=expression.barcodes[both],
        counts=expression.counts[both],
        positions_px=expression.positions_px[both],
    )
    return Joined(
        reduced,
        embeddings.features[found[both]],
        embeddings.dataset,
        without_features=int((~both).sum()),
        without_expression=len(embeddings.barcodes) - int(both.sum()),
    )
