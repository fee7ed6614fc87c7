"""A simulated Visium HD section in the vendor's layout: bins of 2 um and their sums, cells, and the H&E.

The tissue of a `Pair` lies on a corner of the array, and the positions of the bins are the pair's true map. Transcripts
come of the same cells as in the other simulated technologies and drift a little before they are caught.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix

from spotweave.simulate import tissue as tissues
from spotweave.simulate.cells import Cells, cells_of, draw_calls
from spotweave.simulate.count_files import Written
from spotweave.simulate.expression import panel
from spotweave.simulate.ome_files import write_ome
from spotweave.simulate.section_pair import Pair
from spotweave.simulate.tissue import Floats
from spotweave.simulate.visium_hd import BASE_UM, Bins, Truth, Variant, write_bins, write_cells

DRIFT_UM = 2.5  # standard deviation of how far a transcript is caught from where it was
LARGEST_UM = 16  # the section's sides are multiples of it
FIRMWARE_SHIFT_UM = 16.0  # of the counts against the picture, across the array's rows, before Space Ranger 3.1.2
GENES_IN_ENSEMBL_FROM = 90_000_000_000  # as in the other simulated samples


@dataclass(frozen=True, kw_only=True)
class SectionTruth(Truth):
    """A section: what must be found in any files written of it.

    `counts` is sparse here, (2 um bins by (row, col), genes); `stripes` the factors of the array's rows and columns.
    """

    pair: Pair
    polygons: Cells
    stripes: tuple[Floats, Floats]

    @property
    def genes(self) -> list[str]:
        """Symbols: the panel of every simulated sample."""
        return list(panel().genes)

    @property
    def gene_ids(self) -> list[str]:
        """Ensembl ids."""
        return [f"ENSG{GENES_IN_ENSEMBL_FROM + index:011d}" for index in range(len(self.genes))]

    @property
    def pixel_size_um(self) -> float:
        """um per px of the full-resolution picture."""
        return self.pair.he_pixel_size_um

    @property
    def cell_numbers(self) -> list[int]:
        """Cells with any bin."""
        return np.unique(self.owners()[0])[1:].tolist()

    def to_slide(self, array_um: Floats) -> Floats:
        """Places (n, 2) on the array, um, as px of the H&E."""
        return self.pair.um_to_he(array_um - np.array([self.first_col, self.first_row]) * BASE_UM)

    def bins(self, size_um: int) -> Bins:
        """The truth in bins of a size."""
        fold = size_um // BASE_UM
        rows, columns = (side // fold for side in self.in_tissue.shape)
        in_tissue = self.in_tissue.reshape(rows, fold, columns, fold).any(axis=(1, 3)).ravel()
        row, col = (axis.ravel() for axis in np.mgrid[:rows, :columns])
        array = np.column_stack([row + self.first_row // fold, col + self.first_col // fold]).astype(np.int64)
        small_row, small_col = (axis.ravel() // fold for axis in np.indices(self.in_tissue.shape))
        pixels = self.to_slide(np.asarray((array[:, ::-1] + 0.5) * size_um, dtype=np.float64))
        counts = self._sums(small_row * columns + small_col, rows * columns)
        return Bins(size_um, array, pixels, in_tissue.astype(np.int64), counts)

    def cell_counts(self) -> Any:
        """Counts (cells, genes) of the bins in each cell, sparse."""
        owner = self.owners()[0].ravel()
        numbers = np.array(self.cell_numbers)
        return self._sums(np.searchsorted(numbers, owner), len(numbers), owner > 0)

    def owners(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The cell (rows, columns) of each 2 um bin, 0 for none, and whether its centre is in the nucleus."""
        return self._owners

    @functools.cached_property
    def _owners(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        row, col = np.indices(self.in_tissue.shape)
        centres = (np.stack([col.ravel(), row.ravel()], axis=1) + 0.5) * BASE_UM
        cell, in_nucleus = self.polygons.locate(np.asarray(centres, dtype=np.float64))
        shape = self.in_tissue.shape
        return (cell + 1).reshape(shape), (in_nucleus & (cell >= 0)).reshape(shape)

    def cell_rings(self) -> dict[int, Floats]:
        """Outline of each cell in px, closed."""
        rings = self.polygons.rings("cell")
        return {number: self.pair.um_to_he(rings[number - 1]) for number in self.cell_numbers}

    def _sums(self, unit: NDArray[np.int64], units: int, chosen: NDArray[np.bool_] | slice = slice(None)) -> csr_matrix:
        """Counts of units, given the unit of each 2 um bin."""
        bins = np.arange(self.counts.shape[0])[chosen]
        ones = np.ones(len(bins), dtype=np.int64)
        belongs = csr_matrix((ones, (unit[chosen], bins)), shape=(units, self.counts.shape[0]))
        return csr_matrix(belongs @ self.counts)


def draw_section(
    pair: Pair,
    seed: int,
    *,
    donor: int = 0,
    transcripts_per_cell: float = 40.0,
    stripe_spread: float = 0.0,
    shift_um: float = 0.0,
    corner: tuple[int, int] = (0, 0),
) -> SectionTruth:
    """Draw the counts of a section; the same arguments give the same truth.

    Parameters
    ----------
    pair
        Its sides are multiples of `LARGEST_UM`.
    stripe_spread
        Standard deviation of the log of the factor by which each row and each column of the array catches less.
    shift_um
        How far counts are shifted, to higher rows of the array, against the picture; see `FIRMWARE_SHIFT_UM`.
    corner
        Row and column of the section's corner on the array, in bins of 2 um; multiples of 8.

    Raises
    ------
    ValueError
        The section's sides are no multiples of `LARGEST_UM`.
    """
    tissue = pair.tissue
    if tissue.width_um % LARGEST_UM or tissue.height_um % LARGEST_UM:
        raise ValueError(f"a section of {tissue.width_um} x {tissue.height_um} um: no multiples of {LARGEST_UM} um")
    rows, columns = int(tissue.height_um) // BASE_UM, int(tissue.width_um) // BASE_UM
    call_rng, catch_rng, stripe_rng = np.random.default_rng([20240601, seed, donor]).spawn(3)
    polygons = cells_of(tissue)
    every = np.arange(len(panel().genes))
    calls = draw_calls(call_rng, donor, polygons, every, transcripts_per_cell)
    caught = calls.xy_um + catch_rng.normal(0, DRIFT_UM, calls.xy_um.shape) + np.array([0.0, shift_um])
    col, row = np.floor(caught / BASE_UM).astype(np.int64).T
    stripes = _stripes(stripe_rng, rows, stripe_spread), _stripes(stripe_rng, columns, stripe_spread)
    kept = (row >= 0) & (row < rows) & (col >= 0) & (col < columns)
    row, col, gene = row[kept], col[kept], calls.gene[kept]
    is_caught = catch_rng.random(len(row)) < stripes[0][row] * stripes[1][col]
    row, col, gene = row[is_caught], col[is_caught], gene[is_caught]
    shape = (rows * columns, len(every))
    counts = coo_matrix((np.ones(len(row), dtype=np.int64), (row * columns + col, gene)), shape=shape).tocsr()
    y_um, x_um = np.asarray((np.indices((rows, columns)) + 0.5) * BASE_UM, dtype=np.float64)
    in_tissue = tissues.at(tissue.level_um, x_um, y_um) > 0
    return SectionTruth(
        counts=counts,
        in_tissue=in_tissue,
        first_row=corner[0],
        first_col=corner[1],
        cells={},
        pair=pair,
        polygons=polygons,
        stripes=stripes,
    )


def _stripes(rng: np.random.Generator, many: int, spread: float) -> Floats:
    """Factors (many,) of at most 1."""
    factors = np.exp(spread * rng.standard_normal(many))
    return np.asarray(factors / factors.max(), dtype=np.float64)


def write_section(
    folder: Path,
    truth: SectionTruth,
    *,
    sizes: Sequence[int] = (8, 16),
    software: str = "spaceranger-3.1.3",
    has_cells: bool = False,
    **options: Any,
) -> dict[str, Written]:
    """Files by unit (`square_008um`, `cell`) and role, and the one `image` under each.

    Parameters
    ----------
    sizes
        Of the bins, um.
    has_cells
        Whether Space Ranger 4's cells and the map of barcodes are there too.
    options
        Of `visium_hd.write_bins`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Written] = {}
    for size in sizes:
        variant = Variant("simulated", size, software=software)
        files[f"square_{size:03d}um"] = write_bins(folder, truth.bins(size), truth, variant, **options)
    if has_cells:
        files["cell"] = write_cells(folder, truth, software=software)
    image = write_ome(folder / "tissue_image.tif", truth.pair.he, None, packed="jpeg")
    return {unit: {**own, "image": image} for unit, own in files.items()}
