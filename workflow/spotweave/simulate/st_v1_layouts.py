"""Layouts of Spatial Transcriptomics (first generation) deposits, all written from one truth.

`VARIANTS` names the layouts that the reader has to read alike; the truth is drawn without any tissue.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COLUMNS, ROWS = 33, 35
PITCH_PX = 290.0
SPOTS, GENES = 60, 25


@dataclass(frozen=True)
class Truth:
    """One section.

    Attributes
    ----------
    array
        (spots, 2) int64, column and row from 1, sorted by row and column.
    measured
        (spots, 2) float64, where the array really was, in its own steps.
    pixels
        (spots, 2) float64, x and y.
    counts
        (spots, genes) int64.
    genes, gene_ids
        Symbols and Ensembl ids.
    transform
        (3, 3) float64, measured places to pixels.
    """

    array: NDArray[np.int64]
    measured: NDArray[np.float64]
    pixels: NDArray[np.float64]
    counts: NDArray[np.int64]
    genes: list[str]
    gene_ids: list[str]
    transform: NDArray[np.float64]


def draw_truth(seed: int = 0) -> Truth:
    """Draw a section: spots on part of the array, slightly off their plan, counts with zeros in them."""
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(COLUMNS * ROWS, SPOTS, replace=False))
    array = np.column_stack([chosen % COLUMNS + 1, chosen // COLUMNS + 1])
    # Two decimals, as the spot detector writes them, so that text gives the number back.
    measured = np.round(array + rng.uniform(-0.2, 0.2, array.shape), 2)
    turn = np.deg2rad(1.5)
    linear = PITCH_PX * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    transform = np.vstack([np.column_stack([linear, (120.0, 80.0)]), (0.0, 0.0, 1.0)])
    pixels = np.round(np.column_stack([measured, np.ones(SPOTS)]) @ transform[:2].T, 3)
    counts = rng.poisson(rng.lognormal(0, 1.5, GENES), (SPOTS, GENES))
    genes = [f"GENE{number}" for number in range(GENES)]
    return Truth(array, measured, pixels, counts, genes, [f"ENSG{n:011d}" for n in range(1, GENES + 1)], transform)


Written = dict[str, Path]
Name = Callable[[Truth, int], str]


def by_array(mark: str = "x", before: str = "") -> Name:
    """Spots named by their planned places."""
    return lambda truth, spot: f"{before}{truth.array[spot, 0]}{mark}{truth.array[spot, 1]}"


def by_measure(mark: str = "x") -> Name:
    """Spots named by their measured places."""
    return lambda truth, spot: f"{truth.measured[spot, 0]:.2f}{mark}{truth.measured[spot, 1]:.2f}"


@dataclass(frozen=True)
class Variant:
    """A layout; `write(folder, truth)` returns the files by role."""

    description: str
    spot_name: Name = field(default_factory=by_array)
    counts: str = "counts.tsv"
    genes_in_rows: bool = False
    gene_form: str = "symbol"
    corner: bool = True
    decimals: bool = False
    spots: str = "selection"
    shuffled: bool = False
    more_counts: bool = False
    more_spots: bool = False
    other_section: str = ""
    member: str | None = None

    def write(self, folder: Path, truth: Truth) -> Written:
        """Write the files, by role."""
        files = {"counts": _put(folder / self.counts, self._counts(truth))}
        role = "transform" if self.spots == "transform" else "spots"
        files[role] = _put(folder / f"{self.spots}.tsv", self._places(truth))
        return files

    def gene_names(self, truth: Truth) -> list[str]:
        """The genes as the file names them."""
        forms = {
            "symbol": truth.genes,
            "ensembl": truth.gene_ids,
            "ensembl with version": [f"{gene}.7" for gene in truth.gene_ids],
            "both": [f"{name} {gene}" for name, gene in zip(truth.genes, truth.gene_ids, strict=True)],
        }
        return forms[self.gene_form]

    def _counts(self, truth: Truth) -> list[list[str]]:
        order = _order(len(truth.array), self.shuffled, 1)
        number = "{}.0" if self.decimals else "{}"
        names = [self.spot_name(truth, spot) for spot in order]
        rows = [[number.format(count) for count in truth.counts[spot]] for spot in order]
        if self.more_counts:  # a spot off the tissue, which the selection left out
            names.append("33x35")
            rows.append(["1"] * GENES)
        if self.other_section:
            names += [f"{self.other_section}{self.spot_name(truth, spot).lstrip('A1_x')}" for spot in order[:10]]
            rows += [["9"] * GENES for _ in order[:10]]
        table = [
            ["spot" if self.corner else "", *self.gene_names(truth)],
            *([n, *r] for n, r in zip(names, rows, strict=True)),
        ]
        return [list(column) for column in zip(*table, strict=True)] if self.genes_in_rows else table

    def _places(self, truth: Truth) -> list[list[str]]:
        order = _order(len(truth.array), self.shuffled, 2)
        if self.spots == "transform":
            return [[repr(float(value)) for value in truth.transform.T.ravel()]]
        rows = []
        for spot in order:
            plan, measured = (list(map(str, values)) for values in (truth.array[spot], truth.measured[spot]))
            pixels = [repr(float(value)) for value in truth.pixels[spot]]
            rows.append(
                {
                    "selection": [*plan, *measured, *pixels, "1"],
                    "selection_without_selected": [*plan, *measured, *pixels],
                    "keys": [self.spot_name(truth, spot), *pixels],
                    "meta": [self.spot_name(truth, spot), "0.5", *pixels],
                }[self.spots]
            )
        if self.more_spots:
            rows.append(["1", "1", "1.0", "1.0", "10.0", "10.0", "0"])
        return [SPOT_HEADERS[self.spots], *rows]


SPOT_HEADERS = {
    "selection": ["x", "y", "new_x", "new_y", "pixel_x", "pixel_y", "selected"],
    "selection_without_selected": ["x", "y", "new_x", "new_y", "pixel_x", "pixel_y"],
    "keys": ["", "X", "Y"],
    "meta": ["", "radius", "HE_X", "HE_Y"],
}


def _order(number: int, shuffled: bool, seed: int) -> list[int]:
    order = np.arange(number)
    if shuffled:
        np.random.default_rng(seed).shuffle(order)
    return [int(index) for index in order]


def _put(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    mark = "," if ".csv" in path.name else "\t"
    text = "".join(mark.join(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    return path


VARIANTS: dict[str, Variant] = {
    "selection": Variant("spots x genes, 10x14; x y new_x new_y pixel_x pixel_y selected"),
    "packed": Variant("the same, packed", counts="counts.tsv.gz"),
    "commas": Variant("separated by commas", counts="counts.csv"),
    "no_corner": Variant("no name over the column of spots", corner=False),
    "genes_in_rows": Variant("genes x spots", genes_in_rows=True),
    "underscores": Variant("spots named 10_14", by_array("_")),
    "genes_in_rows_underscores": Variant("genes x spots named 10_14", by_array("_"), genes_in_rows=True),
    "measured_names": Variant("spots named by measured places, 10.98x7.02", by_measure()),
    "r_names": Variant("column names made by R, X10x14", by_array(before="X"), genes_in_rows=True),
    "decimals": Variant("whole numbers written 3.0", decimals=True),
    "without_selected": Variant("spot file without the column selected", spots="selection_without_selected"),
    "keys": Variant("spot file of places and X, Y in pixels (He et al.)", spots="keys"),
    "meta": Variant("meta table with HE_X and HE_Y (Ortiz et al.)", spots="meta"),
    "transform": Variant(
        "no spot file, a transformation of nine numbers (Stahl et al.)", by_measure(), spots="transform"
    ),
    "ensembl": Variant("genes by Ensembl ids", gene_form="ensembl"),
    "ensembl_versions": Variant("genes by Ensembl ids with versions", gene_form="ensembl with version"),
    "symbol_and_ensembl": Variant("genes by symbol and Ensembl id", gene_form="both"),
    "shuffled": Variant("counts and spots in orders of their own", shuffled=True),
    "off_tissue": Variant("counts of a spot that was not selected", more_counts=True),
    "spots_without_counts": Variant("a spot without counts", more_spots=True),
    "joint": Variant("one table of two sections, A1x10x14", by_array(before="A1x"), other_section="B2x", member="A1"),
    "joint_underscores": Variant(
        "one table of two sections, A1_10x14", by_array(before="A1_"), other_section="B2_", member="A1"
    ),
}
