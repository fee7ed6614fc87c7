"""What a score could have been on the same sections: whole blocks of tissue are drawn again.

Neighbouring spots are alike, so spots drawn one by one would be told far too narrow a spread. Squares of tissue of a
physical side are drawn with replacement instead, sample by sample, and the number that ranks go by is taken again from
what was drawn (the block bootstrap: Kuensch 1989; Lahiri, Resampling Methods for Dependent Data, 2003, chapter 12, for
planes). All predictors meet the same blocks, so that their differences are paired. Only sums by block are drawn, never
spots: n, sums, sums of squares and of products by gene are all that a correlation needs, and a thousand draws are one
product of matrices.

Blocks cut what reaches beyond their edges, so the spread that they show is too small by a share that falls with their
side. Everything is therefore drawn with blocks of half the side as well: what the spread gained from half to whole it
gains once more (`spread`).
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spotweave.correlation import standardised
from spotweave.metrics import Array, Scored

DRAWS = 1000  # with blocks of each side
GRIDS = 4  # placings of the blocks, each for an equal part of the draws: where they are cut must not matter
# With fewer there is no telling how much the score varies: the variance of three numbers is nearly anything.
LEAST_BLOCKS = 4
# Share of the sum of squares below which what was drawn of a gene is constant: rounding of sums, not of spots.
CONSTANT_SHARE = 1e-9


@dataclass(frozen=True)
class Blocks:
    """The blocks of one sample.

    Attributes
    ----------
    um_per_px, side_um
        Of the positions that they are cut from.
    offsets_um
        (GRIDS, 2) where each placing of the squares begins.
    cells
        GRIDS arrays (B,) int64: the squares that hold a spot under tissue, in ascending order.
    times
        GRIDS arrays (DRAWS / GRIDS, B) float64: how often each draw has each block.
    """

    um_per_px: float
    side_um: float
    offsets_um: Array
    cells: Sequence[NDArray[np.int64]]
    times: Sequence[Array]

    @classmethod
    def of(cls, sample: str, positions_px: Array, um_per_px: float, side_um: float, seed: int) -> Blocks:
        """Cut a sample into blocks of one side and draw them.

        Parameters
        ----------
        sample
            Its name: with the seed it decides the draws, whatever else is scored.
        positions_px
            (N, 2) x and y of all its spots under tissue, whoever predicts them.
        side_um
            Of a square.
        seed
            Of everything random.
        """
        rng = np.random.default_rng([seed, zlib.crc32(sample.encode())])
        offsets_um = rng.uniform(0, side_um, (GRIDS, 2))
        cells = [np.unique(_cells(positions_px, um_per_px, side_um, offset)) for offset in offsets_um]
        times = [
            rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=DRAWS // GRIDS).astype(np.float64)
            for own in cells
        ]
        return cls(um_per_px, side_um, offsets_um, cells, times)

    def sums(self, grid: int, positions_px: Array, columns: Array) -> Array:
        """(B, K) sums of (N, K) columns over the spots of each block of one placing; 0 where it has none of them."""
        at = np.searchsorted(
            self.cells[grid], _cells(positions_px, self.um_per_px, self.side_um, self.offsets_um[grid])
        )
        order = np.argsort(at, kind="stable")
        there, starts = np.unique(at[order], return_index=True)
        found = np.zeros((len(self.cells[grid]), columns.shape[1]))
        found[there] = np.add.reduceat(columns[order], starts, axis=0)
        return found


# Of the whole side, and of half of it.
Sides = tuple[Blocks, Blocks]


@dataclass(frozen=True)
class Redrawn:
    """The score of one group of spots (a sample, or a pool of samples), drawn again.

    Attributes
    ----------
    scores
        Two arrays (DRAWS,) float64, of whole and of half the side: mean correlation over genes, an undefined one
        counting as 0, as `pearson_mean_zero` has it.
    blocks
        For both, as how many equal blocks its blocks vary: the square of all spots by the sum of squares of those of
        each block (a block at the tissue's edge holds little). Summed over the samples of a pool, less one for every
        sample but one.
    """

    scores: tuple[Array, Array]
    blocks: tuple[float, float]


def whole_and_half(sample: str, positions_px: Array, um_per_px: float, side_um: float, seed: int) -> Sides:
    """The blocks of a sample, of the whole side and of half of it, as `Blocks.of` makes them."""
    whole, half = (Blocks.of(sample, positions_px, um_per_px, side, seed) for side in (side_um, side_um / 2))
    return whole, half


def redraw(scored: Scored, sample_names: Sequence[str], blocks: Mapping[str, Sides]) -> list[Redrawn]:
    """Draw every group of a fold again.

    Parameters
    ----------
    scored
        The test spots of a fold and what a predictor says of them.
    sample_names
        Name of each code in `scored.samples`.
    blocks
        Sample -> its blocks.

    Returns
    -------
    redrawn
        One of each group, in ascending order of its code.
    """
    return [_redraw_group(scored, scored.groups == group, sample_names, blocks) for group in np.unique(scored.groups)]


def _redraw_group(
    scored: Scored, group: NDArray[np.bool_], sample_names: Sequence[str], blocks: Mapping[str, Sides]
) -> Redrawn:
    truth, prediction = (_standardised(values[group]) for values in (scored.truth, scored.prediction))
    ones = np.ones((len(truth), 1))
    columns = np.hstack([ones, truth, truth**2, prediction, prediction**2, truth * prediction])
    positions_px, samples = scored.positions_px[group], scored.samples[group]
    members = [(sample_names[code], samples == code) for code in np.unique(samples)]
    found = []
    for side in range(2):
        drawn = [np.zeros((DRAWS // GRIDS, columns.shape[1])) for _ in range(GRIDS)]
        freedom = 0.0
        for (name, own), grid in itertools.product(members, range(GRIDS)):
            cut = blocks[name][side]
            sums = cut.sums(grid, positions_px[own], columns[own])
            drawn[grid] += cut.times[grid] @ sums
            freedom += (sums[:, 0].sum() ** 2 / (sums[:, 0] ** 2).sum() - 1) / GRIDS
        scores = np.concatenate([_mean_correlation(sums, truth.shape[1]) for sums in drawn])
        found.append((scores, freedom + 1))
    (whole, many), (half, more) = found
    return Redrawn((whole, half), (many, more))


def _standardised(values: Array) -> Array:
    """Columns with mean 0 and norm 1, so that sums keep their digits; 0 where constant or not measured."""
    found = standardised(values)
    return np.where(np.isnan(found), 0.0, found)


def _mean_correlation(sums: Array, genes: int) -> Array:
    """(R,) mean over genes of the correlation, 0 where undefined, from (R, 1 + 5 genes) sums of what was drawn."""
    many = np.maximum(sums[:, :1], 1.0)
    x, xx, y, yy, xy = np.split(sums[:, 1:], genes * np.arange(1, 5), axis=1)
    spread_x, spread_y = xx - x**2 / many, yy - y**2 / many
    undefined = (spread_x <= CONSTANT_SHARE * xx) | (spread_y <= CONSTANT_SHARE * yy)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (xy - x * y / many) / np.sqrt(spread_x * spread_y)
    return np.where(undefined, 0.0, found).mean(axis=1)


def _cells(positions_px: Array, um_per_px: float, side_um: float, offset_um: Array) -> NDArray[np.int64]:
    """(N,) the square that each position lies in, one number for both of its coordinates."""
    column, row = np.floor((positions_px * um_per_px + offset_um) / side_um).astype(np.int64).T
    found: NDArray[np.int64] = column * 2**31 + row
    return found
