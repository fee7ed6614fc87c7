"""Protocols: how a task is scored, every choice named. One protocol is one file; its module has `PROTOCOL`.

To add a protocol, add a file and name it under `protocols:` of the configuration; the contract test runs over every
module of this folder.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from spotweave.probes import Choices
from spotweave.registry import Registry

PROTOCOLS = Registry("protocols", "protocol")


@dataclass(frozen=True)
class Protocol:
    """Every choice between a table of counts and a score.

    Attributes
    ----------
    genes_from
        Samples whose counts choose the genes: `"all"` of the task (test samples included) or `"train"`.
    target
        Name of the expression scale, a key of `spotweave.expression.scales.SCALES`.
    score_over
        Spots that are scored together: `"pooled"` (all test spots of a fold) or `"sample"` (averaged over samples).
    min_spots
        A sample (or pool) with fewer test spots is not scored: a correlation would be noise.
    permutations
        Permutations of the spots of each test sample behind the null distribution.
    fit
        What the probe has to keep to.
    """

    genes_from: Literal["all", "train"]
    target: str
    score_over: Literal["pooled", "sample"]
    min_spots: int
    permutations: int
    fit: Choices

    def as_record(self) -> dict[str, Any]:
        """All choices as JSON content."""
        record = asdict(self)
        record["fit"]["alpha_grid"] = list(self.fit.alpha_grid)
        return record


def load(name: str) -> Protocol:
    """The protocol `name`."""
    protocol: Protocol = PROTOCOLS.load(name).PROTOCOL
    return protocol
