"""A simulated Visium sample without tissue or picture: what a reader must find in any files written of it.

Arrays have the vendor's geometry; barcodes are drawn, not the vendor's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spotweave.simulate.count_files import Block
from spotweave.visium import array as arrays

GENES = 60


@dataclass(frozen=True)
class Truth:
    """A sample: what a reader must find in any files written of it.

    `barcodes` 16 nucleotides, one per place; `array` (n, 2) int64 row, column; `pixels` (n, 2) int64 y, x of the
    full-resolution picture; `in_tissue` (n,) int64; `counts` (n, genes) int64; `names`, `ids` and `genomes` of genes.
    """

    capture_area: str
    barcodes: list[str]
    array: NDArray[np.int64]
    pixels: NDArray[np.int64]
    in_tissue: NDArray[np.int64]
    counts: NDArray[np.int64]
    names: list[str]
    ids: list[str]
    genomes: list[str]
    pixel_size_um: float

    @property
    def tissue(self) -> NDArray[np.intp]:
        """Indices of the spots in tissue."""
        return np.flatnonzero(self.in_tissue)

    @property
    def counted(self) -> NDArray[np.intp]:
        """Indices of the spots with any count."""
        return np.flatnonzero(self.counts.sum(axis=1))

    @property
    def every(self) -> NDArray[np.intp]:
        """Indices of all spots."""
        return np.arange(len(self.barcodes))


def draw_truth(
    seed: int = 0, *, capture_area: str = "6.5 mm", two_species: bool = False, whole_array: bool = True
) -> Truth:
    """Draw a sample with a few hundred spots in tissue, sparse counts beside it, and gene names that repeat.

    Without the `whole_array` it has the places around the tissue only, for speed.
    """
    rng = np.random.default_rng([20220301, seed])
    area = arrays.capture_area(capture_area)
    array = area.places()
    pixel_size_um = 0.5
    step_x, step_y = area.pitch_um
    from_centre = np.hypot(array[:, 0] - 0.55 * area.rows, (array[:, 1] - 0.4 * area.columns) * step_x / step_y)
    if not whole_array:
        array, from_centre = array[from_centre < 20], from_centre[from_centre < 20]
    turn = np.deg2rad(0.4)
    um = area.spots_um(array)
    xy = um @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / pixel_size_um + (1480, 1510)
    in_tissue = (from_centre < 13).astype(np.int64)
    counts = rng.negative_binomial(0.4, 0.1, (len(array), GENES))
    counts[in_tissue == 0] = rng.binomial(1, 0.004, (int((in_tissue == 0).sum()), GENES))
    counts[:, :2] = 0
    counts[np.flatnonzero(in_tissue)[0], 2] = 1 << 24  # the largest whole number that float32 is sure to hold
    names = [f"GENE{i}" for i in range(GENES - 4)] + ["HLA-A", "TBCE", "TBCE", "AC0001.1"]
    ids = [f"ENSG{i:011d}" for i in range(GENES)]
    genomes = ["GRCh38"] * GENES
    if two_species:
        names = names[: GENES // 2] + [name.capitalize() for name in names[: GENES // 2]]
        ids = ids[: GENES // 2] + [f"ENSMUSG{i:011d}" for i in range(GENES // 2)]
        genomes = ["GRCh38"] * (GENES // 2) + ["mm10"] * (GENES // 2)
    return Truth(
        capture_area,
        draw_barcodes(rng, len(array)),
        array,
        np.rint(xy[:, ::-1]).astype(np.int64),
        in_tissue,
        counts.astype(np.int64),
        names,
        ids,
        genomes,
        pixel_size_um,
    )


def draw_barcodes(rng: np.random.Generator, number: int) -> list[str]:
    """So many different barcodes of 16 nucleotides."""
    drawn: dict[str, None] = {}
    while len(drawn) < number:
        letters = rng.integers(0, 4, (number, 16))
        drawn.update((("".join("ACGT"[letter] for letter in row)), None) for row in letters)
    return list(drawn)[:number]


def block_of(truth: Truth, spots: NDArray[np.intp], before: str = "", after: str = "-1") -> Block:
    """Counts of some spots, under their barcodes with something before and after."""
    units = [f"{before}{truth.barcodes[spot]}{after}" for spot in spots]
    types = ["Gene Expression"] * len(truth.names)
    return Block(units, truth.counts[spots], truth.names, truth.ids, types, truth.genomes)
