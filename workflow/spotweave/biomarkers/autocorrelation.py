"""How far neighbours are alike, and what that does to a correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial.distance import pdist

from spotweave.biomarkers.shifts import pitch_of
from spotweave.correlation import standardised

MOST_UNITS = 1500  # drawn for correlograms, which need pairs at every distance, not every pair
CLASSES = 60
FARTHEST = 0.5  # of the shorter side, as shifts go
ALIKE = 0.05  # of the product of both autocorrelations between neighbours: what is called none
LEAST_PRODUCT = 0.1  # between neighbours; of less, `ALIKE` of it would be noise
RANGE_QUANTILE = 0.9  # of the ranges of all pairs

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Correlograms:
    """Autocorrelation by distance.

    `farther_um` (D,) upper ends of the distance classes; `weight` (D,) share of all pairs of units that is in
    each; `expression` (D, G), `features` (D, K); `units` how many there are in all.
    """

    farther_um: Floats
    weight: Floats
    expression: Floats
    features: Floats
    units: int

    def range_um(self) -> float:
        """Distance at which the product of both autocorrelations has fallen to `ALIKE`, for most pairs; 0 for noise."""
        product = self.expression[:, :, None] * self.features[:, None, :]
        alike = product >= ALIKE * np.maximum(product[0], LEAST_PRODUCT)
        # How many classes until the first below: noise of farther ones, where pairs are few, is no range.
        many = np.where(alike.all(axis=0), len(product), np.argmin(alike, axis=0))
        return float(np.quantile(np.concatenate([[0.0], self.farther_um])[many], RANGE_QUANTILE))

    def variance(self) -> Floats:
        """Variance (G, K) of R between unrelated maps of these autocorrelations (Clifford, Richardson & Hemon 1989)."""
        between = np.einsum("d,dg,dk->gk", self.weight, self.expression, self.features)
        return np.asarray(np.maximum(1 / self.units + (1 - 1 / self.units) * between, 1 / self.units))


def correlograms(expression: Floats, features: Floats, xy_um: Floats, seed: int) -> Correlograms:
    """Autocorrelation of every column of `expression` (N, G) and `features` (N, K) by distance, no column constant."""
    units = len(xy_um)
    chosen = np.arange(units)
    if units > MOST_UNITS:
        chosen = np.sort(np.random.default_rng([20260901, seed]).choice(units, MOST_UNITS, replace=False))
    values = np.hstack([standardised(expression), standardised(features)])[chosen] * np.sqrt(units)
    farthest = FARTHEST * float(np.ptp(xy_um, axis=0).min())
    width = max(pitch_of(xy_um), farthest / CLASSES)
    distance = pdist(xy_um[chosen])
    # Classes around multiples of the width: neighbours on a lattice are exactly one pitch apart.
    kind = np.maximum(np.floor(distance / width - 0.5).astype(np.int64), 0)
    first, second = np.triu_indices(len(chosen), 1)
    classes = max(int(farthest / width - 0.5), 1)
    found, weight = np.zeros((classes, values.shape[1])), np.zeros(classes)
    for index in range(classes):
        own = kind == index
        many = int(own.sum())
        weight[index] = many / len(distance)
        if many:
            pairs = csr_matrix((np.ones(many), (first[own], second[own])), shape=(len(chosen),) * 2)
            found[index] = np.einsum("ng,ng->g", values, pairs @ values) / many
    genes = expression.shape[1]
    farther_um = np.asarray((np.arange(classes) + 1.5) * width, dtype=np.float64)
    return Correlograms(farther_um, weight, found[:, :genes], found[:, genes:], units)
