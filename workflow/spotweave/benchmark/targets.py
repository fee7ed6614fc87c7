"""What a task asks for under a protocol: the genes of each fold, and the counts they are predicted and scored from.

`targets.h5` is written once per task and protocol. Every predictor fits to it and every prediction is scored against
it, so no two predictors are given other genes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from spotweave.benchmark.hdf5 import read_text, write_numbers, write_text
from spotweave.expression.target_scales import TARGET_SCALES

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spots:
    """Spots under tissue of one sample, in the order of its `st.h5ad`.

    Attributes
    ----------
    names
        N barcodes.
    positions_px
        (N, 2) float64, x and y in px of the full-resolution image.
    totals
        (N,) float64, counts of each spot over all genes of its table.
    counts
        (N, U) float32 raw counts of the genes in `genes`; NaN where the sample's table lacks the gene.
    genes
        U names: those of all folds, sorted; the same in every sample.
    """

    names: list[str]
    positions_px: Array
    totals: Array
    counts: NDArray[np.float32]
    genes: list[str]

    def at(self, rows: Sequence[int]) -> Spots:
        """The same of these rows only, in their order."""
        at = np.asarray(rows, dtype=np.int64)
        return Spots(
            [self.names[row] for row in rows], self.positions_px[at], self.totals[at], self.counts[at], self.genes
        )

    def counts_of(self, genes: Sequence[str]) -> Array:
        """(N, len(genes)) float64 raw counts; NaN where the sample's table lacks the gene."""
        place = {gene: column for column, gene in enumerate(self.genes)}
        return self.counts[:, [place[gene] for gene in genes]].astype(np.float64)

    def on_scale(self, scale: str, genes: Sequence[str]) -> Array:
        """(N, len(genes)) float64 expression on a scale of `expression.target_scales.TARGET_SCALES`.

        A gene that the table lacks is NaN: its correlation is undefined, as that of a gene that is in the table and
        never counted (some tables leave such genes out, and that must not change a score).
        """
        return TARGET_SCALES[scale](self.counts_of(genes), self.totals)


@dataclass(frozen=True)
class Chosen:
    """The genes of one fold; none, and the reason, where the fold cannot be run."""

    genes: list[str]
    reason: str = ""


class Targets:
    """An open `targets.h5`; a context manager. Samples are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = h5py.File(path, "r")
        self._genes = read_text(self._file["genes"])

    def __enter__(self) -> Targets:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fold(self, number: int) -> Chosen:
        """The genes of a fold that the splits have."""
        group = self._file[f"folds/{number}"]
        return Chosen(read_text(group["genes"]), str(group.attrs["reason"]))

    def spots(self, sample: str) -> Spots:
        """The spots of a sample of the folds."""
        group = self._file[f"samples/{sample}"]
        return Spots(
            read_text(group["spot"]),
            group["positions_px"][...],
            group["total"][...],
            group["counts"][...],
            self._genes,
        )


def write_targets(path: Path, samples: Mapping[str, Spots], folds: Mapping[int, Chosen]) -> None:
    """Write `targets.h5`; the same content makes the same bytes."""
    union = sorted({gene for chosen in folds.values() for gene in chosen.genes})
    with h5py.File(path, "w") as file:
        write_text(file, "genes", union)
        for number, chosen in sorted(folds.items()):
            group = file.create_group(f"folds/{number}")
            write_text(group, "genes", chosen.genes)
            group.attrs["reason"] = chosen.reason
        for name, spots in sorted(samples.items()):
            group = file.create_group(f"samples/{name}")
            write_text(group, "spot", spots.names)
            write_numbers(group, "positions_px", spots.positions_px)
            write_numbers(group, "total", spots.totals)
            write_numbers(group, "counts", spots.counts)
