"""Fine-tuning: encoders that learn from the dataset's own pairs of patch and expression, one fold at a time.

What every way of fine-tuning shares: the training samples of a fold, and their pairs. Nothing of a test
sample is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spotweave.errors import Refusal
from spotweave.expression.gene_names import why_they_do_not_meet
from spotweave.expression.samples import Expression, columns, read_expression, with_meeting_genes
from spotweave.expression.scales import log_share
from spotweave.expression.variable import most_variable_within_samples
from spotweave.folds import NoSuchFold, shared_samples, split_of
from spotweave.io import is_refused
from spotweave.slide.patch_files import PatchReader

# Patches read at a time.
CHUNK = 256


@dataclass(frozen=True)
class Sample:
    """Where one sample's pairs lie; `slide` is read where its patches hold no pictures."""

    sample: str
    patches: Path
    expression: Path
    slide: Path | None = None


def samples_at(
    names: Sequence[str], patches: Sequence[Path], expression: Sequence[Path], slides: str | None
) -> list[Sample]:
    """The samples whose files these are; `slides` is the path of a slide with `{sample}` in it, or None."""
    return [
        Sample(name, one, counts, None if slides is None else Path(slides.replace("{sample}", name)))
        for name, one, counts in zip(names, patches, expression, strict=True)
    ]


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


def pick_fold(splits: Mapping[str, Any], fold: int) -> Mapping[str, Any]:
    """The fold of that number in a splits file.

    Raises
    ------
    Refusal
        If there is none, because a donor fell away, or if it trains on some spots of a sample and tests on others.
    """
    try:
        chosen = split_of(splits, fold)
    except NoSuchFold as why:
        raise Refusal(str(why)) from None
    if shared_samples(chosen):
        raise Refusal(f"fold {fold} splits samples, and fine-tuning holds out whole ones")
    return chosen


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
        How many genes at most; see `most_variable_within_samples`.
    shrink
        Applied to patches (n, 224, 224, 3) uint8 as they are read, so that no more is held than is used.
    """
    tables = with_meeting_genes([_read_expression(sample) for sample in samples])
    genes = most_variable_within_samples(tables, n_genes)
    if not genes:
        why = why_they_do_not_meet([sample.sample for sample in samples], [table.genes.tolist() for table in tables])
        raise Refusal(f"no gene is in every sample to train on: {why}", measured=0, threshold=1)
    kept = [table.totals() > 0 for table in tables]
    expression = [
        log_share(columns(table, genes), table.totals())[rows].toarray()
        for table, rows in zip(tables, kept, strict=True)
    ]
    images = [_read_images(sample, rows, shrink) for sample, rows in zip(samples, kept, strict=True)]
    return Pairs(
        images=np.concatenate(images),
        expression=np.concatenate(expression).astype(np.float32),
        genes=tuple(genes),
        samples=tuple(sample.sample for sample in samples),
        empty_spots=int(sum((~rows).sum() for rows in kept)),
    )


def _read_expression(sample: Sample) -> Expression:
    """The spots that have a patch, in the order of the patches."""
    with PatchReader(sample.patches, sample.slide) as opened:
        barcodes = opened.names()
    table = read_expression(sample.expression, sample.sample)
    there = set(table.barcodes.tolist())
    unknown = [barcode for barcode in barcodes if barcode not in there]
    if unknown:
        raise ValueError(
            f"{sample.patches}: {len(unknown)} barcodes are not in {sample.expression}, first {unknown[0]}"
        )
    return table.spots(barcodes)


def _read_images(sample: Sample, rows: np.ndarray, shrink: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    with PatchReader(sample.patches, sample.slide) as opened:
        chunks = [shrink(opened.images(start, start + CHUNK)) for start in range(0, len(rows), CHUNK)]
    return np.concatenate(chunks)[rows]
