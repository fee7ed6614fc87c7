"""Confidence intervals of correlations between maps: whole blocks of the section are drawn again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from spotweave.correlation import standardised

GRIDS = 8  # placings of the blocks, so that where they are cut does not matter
LEAST_BLOCKS = 6

Floats = NDArray[np.float64]


def block_side(xy_um: Floats, wanted_um: float) -> float:
    """The side of blocks that is used: what is wanted, or what gives at least about `LEAST_BLOCKS`, um."""
    return min(wanted_um, float(np.sqrt(np.ptp(xy_um, axis=0).prod() / LEAST_BLOCKS)))


def intervals(
    expression: Floats, features: Floats, xy_um: Floats, *, side_um: float, draws: int, seed: int, share: float = 0.95
) -> tuple[Floats, Floats]:
    """Ends (G, K) of the confidence interval of every correlation.

    Blocks of `side_um` are drawn with replacement, an equal part of the `draws` with each of `GRIDS` placings of them;
    the interval is Fisher's z of R plus and minus Student's t (blocks - 1) times the standard deviation of z over the
    draws.

    Parameters
    ----------
    expression, features, xy_um
        (N, G), (N, K), (N, 2), without NaN.
    """
    rng = np.random.default_rng([20260902, seed])
    scale = np.sqrt(len(xy_um))
    genes, own = standardised(expression) * scale, standardised(features) * scale
    columns = np.column_stack([np.ones(len(xy_um)), genes, genes**2, own, own**2])
    r = genes.T @ own / len(xy_um)
    found, blocks = [], []
    for _ in range(GRIDS):
        cells = np.floor((xy_um + rng.uniform(0, side_um, 2)) / side_um).astype(np.int64)
        _, block = np.unique(cells, axis=0, return_inverse=True)
        block = block.ravel()
        many = int(block.max()) + 1
        order = np.argsort(block, kind="stable")
        starts = np.searchsorted(block[order], np.arange(many))
        sums = np.add.reduceat(columns[order], starts, axis=0)
        pieces = np.split(order, starts[1:])
        products = np.stack([(genes[piece].T @ own[piece]).ravel() for piece in pieces])
        times = rng.multinomial(many, np.full(many, 1 / many), size=draws // GRIDS).astype(np.float64)
        found.append(_correlations(times @ sums, times @ products, genes.shape[1], own.shape[1]))
        # Blocks at the tissue's edge hold little: as many equal blocks would have the same spread of sizes.
        blocks.append(sums[:, 0].sum() ** 2 / (sums[:, 0] ** 2).sum())
    z = np.arctanh(np.clip(np.concatenate(found), -0.999999, 0.999999))
    reach = stats.t.ppf((1 + share) / 2, max(np.mean(blocks) - 1, 1.0)) * z.std(axis=0, ddof=1)
    middle = np.arctanh(np.clip(r, -0.999999, 0.999999))
    return np.tanh(middle - reach), np.tanh(middle + reach)


def _correlations(sums: Floats, products: Floats, genes: int, features: int) -> Floats:
    """Correlations (P, G, K) from sums (P, 1 + 2 G + 2 K) and sums of products (P, G K) over what was drawn."""
    many = sums[:, :1]
    x, xx, y, yy = np.split(sums[:, 1:] / many, np.cumsum([genes, genes, features]), axis=1)
    spread = np.sqrt(np.maximum(xx - x**2, 1e-12))[:, :, None] * np.sqrt(np.maximum(yy - y**2, 1e-12))[:, None, :]
    mixed = (products / many).reshape(-1, genes, features)
    return np.asarray((mixed - x[:, :, None] * y[:, None, :]) / spread)
