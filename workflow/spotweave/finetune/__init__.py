"""Fine-tuning: encoders that learn from the dataset's own pairs of patch and expression, one fold at a time.

What every way of fine-tuning shares: the training samples of a fold, and their pairs. Nothing of a test
sample is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
from scipy import sparse

from spotweave.errors import Refusal
from spotweave.expression.gene_names import meeting_names, why_they_do_not_meet
from spotweave.io import is_refused

COUNTS_PER_SPOT = 1e4
# Patches read at a time.
CHUNK = 256


@dataclass(frozen=True)
class Sample:
    """Where one sample's pairs lie."""

    sample: str
    patches: Path
    expression: Path


@dataclass(frozen=True)
class Pairs:
    """The pairs of a fold's training samples.

    Attributes
    ----------
    images
        (N, H, W, 3) uint8, as the `shrink` of `read_pairs` made them.
    expression
        (N, G) float32, ln(1 + 10^4 count / total of the spot), not centred.
    genes
        G names, sorted.
    samples
        Ids of the samples the pairs come from.
    empty_spots
        Spots without a single count, left out.
    """

    images: np.ndarray
    expression: np.ndarray
    genes: tuple[str, ...]
    samples: tuple[str, ...]
    empty_spots: int


def pick_fold(splits: Mapping[str, Any], fold: int) -> dict[str, Any]:
    """The fold of that number in a splits file.

    Raises
    ------
    Refusal
        If there is none, because a donor fell away.
    """
    for found in splits["folds"]:
        if found["fold"] == fold:
            return found
    there = ", ".join(str(found["fold"]) for found in splits["folds"]) or "none"
    left_out = [f"{entry.get('donor') or entry.get('sample_id')} ({entry['reason']})" for entry in splits["left_out"]]
    why = f"; left out: {', '.join(left_out)}" if left_out else ""
    raise Refusal(f"fold {fold} does not exist: task {splits['task']} has folds {there}{why}")


def training_samples(fold: Mapping[str, Any], samples: Sequence[Sample]) -> list[Sample]:
    """The fold's training samples, in the order of the splits file; refused ones are no longer in it.

    Raises
    ------
    ValueError
        If a training sample is not given, or is refused though the splits hold it.
    """
    by_id = {sample.sample: sample for sample in samples}
    missing = [name for name in fold["train"] if name not in by_id]
    if missing:
        raise ValueError(f"training samples without patches and expression: {', '.join(missing)}")
    chosen = [by_id[name] for name in fold["train"]]
    for sample in chosen:
        for path in (sample.patches, sample.expression):
            if is_refused(path):
                raise ValueError(f"{path} is refused, but fold {fold['fold']} trains on {sample.sample}")
    return chosen


def read_pairs(samples: Sequence[Sample], n_genes: int, shrink: Callable[[np.ndarray], np.ndarray]) -> Pairs:
    """Read the pairs of some samples, with genes that are chosen on these samples alone.

    Parameters
    ----------
    n_genes
        How many genes at most; see `highly_variable`.
    shrink
        Applied to patches (n, 224, 224, 3) uint8 as they are read, so that no more is held than is used.
    """
    tables = _with_meeting_genes([_read_expression(sample) for sample in samples])
    genes = highly_variable(tables, n_genes)
    if not genes:
        why = why_they_do_not_meet(
            [sample.sample for sample in samples], [table.var_names.tolist() for table in tables]
        )
        raise Refusal(f"no gene is in every sample to train on: {why}", measured=0, threshold=1)
    kept = [np.asarray(table.X.sum(axis=1)).ravel() > 0 for table in tables]
    expression = [
        log_normalise(table.X)[rows][:, table.var_names.get_indexer(genes)].toarray()
        for table, rows in zip(tables, kept, strict=True)
    ]
    images = [_read_images(sample.patches, rows, shrink) for sample, rows in zip(samples, kept, strict=True)]
    return Pairs(
        images=np.concatenate(images),
        expression=np.concatenate(expression).astype(np.float32),
        genes=tuple(genes),
        samples=tuple(sample.sample for sample in samples),
        empty_spots=int(sum((~rows).sum() for rows in kept)),
    )


def log_normalise(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """ln(1 + 10^4 count / total of the spot) of (spots, genes) counts; spots without counts stay zero."""
    total = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    scale = np.divide(COUNTS_PER_SPOT, total, out=np.zeros_like(total), where=total > 0)
    return sparse.csr_matrix(sparse.diags_array(scale) @ counts).log1p()


def highly_variable(tables: Sequence[anndata.AnnData], n_genes: int) -> list[str]:
    """Names of the genes of highest variance among those that all tables have.

    The variance is of log-normalised expression, within samples, averaged over samples: a gene that only tells
    one sample from another (a batch effect) does not count as variable. Ties go to the name that sorts first.
    """
    common = sorted(set.intersection(*(set(table.var_names) for table in tables)))
    variance = np.zeros(len(common))
    for table in tables:
        values = log_normalise(table.X)[:, table.var_names.get_indexer(common)]
        mean = np.asarray(values.mean(axis=0)).ravel()
        mean_square = np.asarray(values.multiply(values).mean(axis=0)).ravel()
        variance += (mean_square - mean**2) / len(tables)
    best = np.argsort(-variance, kind="stable")[:n_genes]
    return sorted(common[index] for index in best)


def _read_expression(sample: Sample) -> anndata.AnnData:
    """The rows of the expression table that have a patch, in the order of the patches; repeated genes are left out."""
    with h5py.File(sample.patches, "r") as opened:
        barcodes = opened["barcode"].asstr()[:, 0]
    table = anndata.read_h5ad(sample.expression)
    unknown = [barcode for barcode in barcodes if barcode not in table.obs_names]
    if unknown:
        raise ValueError(
            f"{sample.patches}: {len(unknown)} barcodes are not in {sample.expression}, first {unknown[0]}"
        )
    table = table[barcodes, ~table.var_names.duplicated(keep=False)].copy()
    table.X = sparse.csr_matrix(table.X)
    return table


def _with_meeting_genes(tables: Sequence[anndata.AnnData]) -> Sequence[anndata.AnnData]:
    """The tables with one name for one gene id in all of them."""
    ids = [
        table.var["gene_id"].fillna("").tolist() if "gene_id" in table.var else [""] * table.n_vars for table in tables
    ]
    for table, names in zip(tables, meeting_names([table.var_names.tolist() for table in tables], ids), strict=True):
        table.var_names = names
    return tables


def _read_images(path: Path, rows: np.ndarray, shrink: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    with h5py.File(path, "r") as opened:
        chunks = [shrink(opened["img"][start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]
    return np.concatenate(chunks)[rows]
