"""Corrections of batch effects. One module is one, named under `corrections` of the configuration's block `batches`.

A correction is a module with

    correct(values: Array, batches: Sequence[str], seed: int) -> Array
        (N, G) float64 values of N spots in, corrected ones out, of the same shape; `values` itself is left as it is.
        Raises `CannotCorrect`, with the reason, where these values cannot be corrected.
    SPACE: str
        What `values` are: `genes`, ln(1 + 10^4 count / total) of each gene, or `components`, their principal ones.
        A literal: it is read without importing the module.

Batches are checked before (`corrected`), so that a correction has two or more of two or more spots each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from spotweave.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

CORRECTIONS = Registry("batch/corrections", "correction of batch effects")
GENES, COMPONENTS = "genes", "components"


class CannotCorrect(Exception):
    """Values that a correction says nothing of; the message says why and stands in the table of scores."""


class Correction(Protocol):
    """What a correction's module offers."""

    SPACE: str

    def correct(self, values: Array, batches: Sequence[str], seed: int) -> Array:
        """(N, G) corrected values of (N, G) values."""


def space_of(name: str) -> str:
    """What the correction `name` works on, `genes` or `components`; nothing is imported."""
    space: str = CORRECTIONS.constant(name, "SPACE", GENES)
    return space


def corrected(name: str, values: Array, batches: Sequence[str], seed: int) -> Array:
    """(N, G) float64 values of N spots as the correction `name` leaves them.

    Parameters
    ----------
    values
        (N, G) float64, finite, in the space that the correction works on (`space_of`).
    batches
        (N,) the batch of each spot.
    seed
        Of everything random.

    Raises
    ------
    CannotCorrect
        If there is one batch, or a batch of one spot, or for a reason of the correction's own.
    RuntimeError
        If the correction changed nothing, or gave something else than finite values of that shape: it is broken.
    """
    import numpy as np  # names are looked up before the first job, by a process that has no need of it

    sizes = Counter(batches)
    if len(sizes) < 2:
        raise CannotCorrect(f"all spots are of one batch, {next(iter(sizes), 'none')}; there is nothing to correct")
    lone = sorted(batch for batch, many in sizes.items() if many < 2)
    if lone:
        raise CannotCorrect(f"{lone[0]} is a batch of one spot, which tells nothing of its batch; leave it out")
    module: Correction = CORRECTIONS.load(name)
    given = values.copy()
    found = np.asarray(module.correct(given, batches, seed), dtype=np.float64)
    if found.shape != values.shape or not np.isfinite(found).all():
        raise RuntimeError(f"{name} gave {found.shape} values of {values.shape}, or some that are not finite")
    if np.array_equal(found, values):
        raise RuntimeError(f"{name} changed no value: it corrects nothing")
    return found
