"""Evaluations of embeddings of spots: what labels, slides and expression say of them, before fine-tuning and after.

`probing` and `clusters` hold them against labels, `retrieval` against embeddings of expression, `genes` against counts,
`slides` against what is known of whole slides; `effective_rank` and `maps` ask for nothing more. `study` does all of
them and makes one long table; `command` reads the files. What they are given are arrays: no torch, no encoders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SEEDS = (1, 2, 3, 4, 5)  # as published with STimage-1K4M, appendix C


@dataclass(frozen=True)
class Origins:
    """Where spots come from.

    Attributes
    ----------
    sample, donor
        (N,) str, one slide a sample.
    position_um
        (N, 2) float64 x and y within the sample; None where no pixel size is known.
    """

    sample: NDArray[np.str_]
    donor: NDArray[np.str_]
    position_um: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.sample)

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Origins:
        """The same of some spots."""
        at = None if self.position_um is None else self.position_um[chosen]
        return Origins(self.sample[chosen], self.donor[chosen], at)

    def samples(self) -> list[str]:
        """The samples, sorted."""
        return sorted(set(self.sample.tolist()))


@dataclass(frozen=True)
class Row:
    """One number, or why there is none.

    Attributes
    ----------
    what
        Name of the measure.
    split
        The way in which spots were split; blank where nothing is learned.
    fold, seed
        None where there is none.
    sample, gene
        Blank for a number over all of them.
    value
        None where it is not defined; `note` says why then.
    note
        What else must be known to read it.
    """

    what: str
    value: float | None
    split: str = ""
    fold: int | None = None
    seed: int | None = None
    sample: str = ""
    gene: str = ""
    note: str = ""
