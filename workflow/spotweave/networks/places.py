"""Where spots of a section are, as networks over sections see it: places on its array, and who is beside whom."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

NEIGHBOURS = 4


class PlaceEmbedding(nn.Module):
    """A learned vector for each column and each row of the array: (..., N, 2) whole numbers -> two (..., N, `dim`).

    Parameters
    ----------
    places
        Columns, and rows, that there are vectors for.
    """

    def __init__(self, places: int, dim: int) -> None:
        super().__init__()
        self.x, self.y = nn.Embedding(places, dim), nn.Embedding(places, dim)

    def forward(self, grid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Raises `ValueError` for a place beyond those there are vectors for."""
        most = self.x.num_embeddings
        if grid.numel() and not 0 <= int(grid.min()) <= int(grid.max()) < most:
            raise ValueError(f"array places {int(grid.min())} to {int(grid.max())}, allowed: 0 to {most - 1}")
        return self.x(grid[..., 0]), self.y(grid[..., 1])


def neighbour_matrix(
    grid: NDArray[np.floating] | NDArray[np.integer], *, reach: float | None, self_loops: bool
) -> NDArray[np.float32]:
    """Who of N spots is a neighbour of whom: (N, N) float32, row i has 1 at the neighbours of spot i.

    The four nearest others, so that it is not symmetric. Of others equally far the one that lies higher, then further
    left, comes first: an array has many such, and the published code leaves them to an unstable sort.

    Parameters
    ----------
    grid
        (N, 2) places on the array, x and y.
    reach
        Neighbours farther than this many steps are none; None for whatever distance.
    self_loops
        Whether a spot is a neighbour of its own.
    """
    grid = np.asarray(grid, dtype=np.float64)
    count = len(grid)
    squared = ((grid[:, None, :] - grid[None, :, :]) ** 2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    found = np.zeros((count, count), np.float32)
    for spot in range(count):
        order = np.lexsort((grid[:, 0], grid[:, 1], np.round(squared[spot], 9)))[: min(NEIGHBOURS, count - 1)]
        near = order if reach is None else order[squared[spot, order] <= reach**2 + 1e-9]
        found[spot, near] = 1
    if self_loops:
        np.fill_diagonal(found, 1)
    return found
