"""Pairs of patch and expression of some samples, read a sample at a time onto a scratch disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.expression.gene_names import meeting_names, why_they_do_not_meet
from spotweave.expression.samples import Expression, columns, read_expression
from spotweave.expression.scales import log_share
from spotweave.expression.variable import most_variable_within_samples
from spotweave.finetune import Sample
from spotweave.finetune.rows import RowsOnDisk
from spotweave.slide.patch_files import PatchReader

# Ways of describing a spot: `expression_side.describe_as`.
LOG_SHARE, RANK, OVERLAP = "log_share", "rank", "overlap"
# Patches read at a time.
CHUNK = 256
# Patches (n, H, W, 3) uint8 as they are -> as they are learned from, (n, px, px, 3) uint8.
Shrink = Callable[[np.ndarray], np.ndarray]
Images = NDArray[np.uint8] | RowsOnDisk
Values = NDArray[np.float32] | RowsOnDisk


@dataclass(frozen=True)
class Pairs:
    """The pairs of a fold's training samples; arrays, or rows on a disk, which are indexed alike.

    Attributes
    ----------
    images
        (N, H, W, 3) uint8, as the `shrink` of `read_pairs` made them.
    expression
        (N, G) float32; see `read_pairs`.
    genes
        G names, sorted, or by rank where each sample has genes of its own (then `rank 1` and so on).
    samples
        Ids of the samples the pairs come from.
    empty_spots
        Spots without a single count, left out.
    sample_of
        (N,) int, the place of each pair's sample in `samples`; None where all are of one.
    positions_px
        (N, 2) float64, x and y on the slide of its sample; None where nobody asks.
    described
        JSON types: how expression was made, for other spots to be described alike (`expression_side.describe_as`).
    vectors
        (N, W) float32, what a frozen model makes of each spot's expression; None where nobody asks.
    """

    images: Images
    expression: Values
    genes: tuple[str, ...]
    samples: tuple[str, ...]
    empty_spots: int
    sample_of: NDArray[np.int64] | None = None
    positions_px: NDArray[np.float64] | None = None
    described: dict[str, Any] = field(default_factory=dict)
    vectors: Values | None = None

    def groups(self) -> NDArray[np.int64]:
        """(N,) the place of each pair's sample."""
        return np.zeros(len(self.images), np.int64) if self.sample_of is None else self.sample_of


class Tables:
    """The expression of samples, read from their files each time it is gone through, under genes that meet."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = list(samples)
        names, ids = [], []
        for sample in self.samples:
            table = _read_table(sample)
            names.append(table.genes.tolist())
            ids.append([""] * len(table.genes) if table.gene_ids is None else table.gene_ids.tolist())
        self.names = meeting_names(names, ids)

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Expression]:
        for sample, names in zip(self.samples, self.names, strict=True):
            yield replace(_read_table(sample), genes=np.array(names, dtype=str))

    def common(self) -> list[str]:
        """Genes of all samples, sorted."""
        return sorted(set.intersection(*(set(names) for names in self.names)))

    def why_not(self) -> str:
        """Why genes of the samples do not meet."""
        return why_they_do_not_meet([sample.sample for sample in self.samples], self.names)


def variable_genes(tables: Tables, n_genes: int) -> list[str]:
    """The genes that pairs are described by: see `most_variable_within_samples`.

    Raises
    ------
    Refusal
        If no gene is in every sample.
    """
    genes = most_variable_within_samples(tables, n_genes) if tables.common() else []
    if not genes:
        raise Refusal(f"no gene is in every sample to train on: {tables.why_not()}", measured=0, threshold=1)
    return genes


# What describes the spots of a table: (N, G), of spots with counts.
Describe = Callable[[Expression], np.ndarray]


def log_shares_of(genes: Sequence[str]) -> Describe:
    """ln(1 + 10^4 count / total of the spot) of these genes; the total is over all genes."""
    return lambda table: np.asarray(log_share(columns(table, genes), table.totals()).toarray())


@dataclass(frozen=True)
class Beside:
    """What else is made of a spot's expression: vectors (n, `width`) float32 by `embed`."""

    width: int
    embed: Describe


def read_pairs(
    samples: Sequence[Sample],
    n_genes: int,
    shrink: Shrink,
    scratch: Path | None = None,
    beside: Beside | None = None,
) -> Pairs:
    """Read the pairs of some samples, with genes that are chosen on these samples alone.

    Parameters
    ----------
    n_genes
        How many genes at most, each as ln(1 + 10^4 count / total), not centred.
    shrink
        Applied to patches as they are read, so that no more is held than is used.
    scratch
        Folder of the disk that holds them.
    beside
        Makes `Pairs.vectors`.
    """
    tables = Tables(samples)
    genes = variable_genes(tables, n_genes)
    return read_described(tables, genes, log_shares_of(genes), {"by": LOG_SHARE}, shrink, scratch, beside)


def read_described(
    tables: Tables,
    genes: Sequence[str],
    describe: Describe,
    described: dict[str, Any],
    shrink: Shrink,
    scratch: Path | None = None,
    beside: Beside | None = None,
) -> Pairs:
    """Read pairs whose expression is what `describe` makes of a sample's spots with counts, (n, len(genes)).

    Parameters
    ----------
    described
        See `Pairs`.
    beside
        As of `read_pairs`.
    """
    images: RowsOnDisk | None = None
    vectors = None if beside is None else RowsOnDisk((beside.width,), np.float32, scratch)
    expression = RowsOnDisk((len(genes),), np.float32, scratch)
    groups, positions, empty = [], [], 0
    for place, (sample, table) in enumerate(zip(tables.samples, tables, strict=True)):
        kept = table.totals() > 0
        empty += int((~kept).sum())
        counted = table.spots(table.barcodes[kept])
        if kept.any():
            expression.append(np.asarray(describe(counted), np.float32))
            if beside is not None and vectors is not None:
                vectors.append(np.asarray(beside.embed(counted), np.float32))
        groups.append(np.full(int(kept.sum()), place, np.int64))
        positions.append(counted.positions_px)
        for chunk in _images(sample, kept, shrink):
            if images is None:
                images = RowsOnDisk(chunk.shape[1:], np.uint8, scratch)
            images.append(chunk)
    return Pairs(
        images=np.empty((0, 1, 1, 3), np.uint8) if images is None else images,
        expression=expression,
        genes=tuple(genes),
        samples=tuple(sample.sample for sample in tables.samples),
        empty_spots=empty,
        sample_of=np.concatenate(groups),
        positions_px=np.concatenate(positions),
        described=described,
        vectors=vectors,
    )


def read_pictures(samples: Sequence[Sample], shrink: Shrink, scratch: Path | None = None) -> Pairs:
    """Patches of all spots of some samples, whatever was counted there; no expression is opened."""
    images: RowsOnDisk | None = None
    groups = []
    for place, sample in enumerate(samples):
        with PatchReader(sample.patches, sample.slide) as opened:
            count = len(opened)
        groups.append(np.full(count, place, np.int64))
        for chunk in _images(sample, np.ones(count, bool), shrink):
            if images is None:
                images = RowsOnDisk(chunk.shape[1:], np.uint8, scratch)
            images.append(chunk)
    found = np.concatenate(groups)
    return Pairs(
        images=np.empty((0, 1, 1, 3), np.uint8) if images is None else images,
        expression=np.empty((len(found), 0), np.float32),
        genes=(),
        samples=tuple(sample.sample for sample in samples),
        empty_spots=0,
        sample_of=found,
    )


def _read_table(sample: Sample) -> Expression:
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


def _images(sample: Sample, kept: NDArray[np.bool_], shrink: Shrink) -> Iterator[np.ndarray]:
    with PatchReader(sample.patches, sample.slide) as opened:
        for start in range(0, len(kept), CHUNK):
            rows = kept[start : start + CHUNK]
            if rows.any():
                yield shrink(opened.images(start, start + CHUNK)[rows])
