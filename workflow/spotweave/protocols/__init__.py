"""Protocols: how a task is scored, every choice named. One protocol is one file; its module has `PROTOCOL`.

To add a protocol, add a file and name it under `protocols:` of the configuration; the contract test runs over every
module of this folder. One that is another with some choices switched needs no file: its name spells them
(`strict+genes=all+penalty=100`, `spotweave.tables.switches`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from spotweave.probes import Choices
from spotweave.registry import Registry
from spotweave.tables.switches import SWITCHES, base_of, switches_of

PROTOCOLS = Registry("protocols", "protocol")
# Ridge penalties to choose from where they are cross-validated: 10^-2 to 10^7, two a decade.
PENALTIES = tuple(10 ** (step / 2) for step in range(-4, 15))
TRAIN_HVG = "train_hvg"


@dataclass(frozen=True)
class Protocol:
    """Every choice between a table of counts and a score.

    Attributes
    ----------
    genes_from
        Samples whose counts choose the genes: `"all"` of the task (test samples included) or `"train"`; `"train_hvg"`,
        the most variable for their mean of the training samples, whatever genes the task asks for.
    target
        Name of the expression scale, a key of `spotweave.expression.target_scales.TARGET_SCALES`.
    score_over
        Spots that are scored together: `"pooled"` (all test spots of a fold) or `"sample"` (averaged over samples).
    min_spots
        A sample (or pool) with fewer test spots is not scored: a correlation would be noise.
    permutations
        Permutations of the spots of each test sample behind the null distribution.
    fit
        What the probe has to keep to.
    """

    genes_from: Literal["all", "train", "train_hvg"]
    target: str
    score_over: Literal["pooled", "sample"]
    min_spots: int
    permutations: int
    fit: Choices

    def genes_of(self, asked: str) -> str:
        """Which genes a task is given that asks for `asked` (the column `genes`)."""
        return TRAIN_HVG if self.genes_from == TRAIN_HVG else asked

    def as_record(self) -> dict[str, Any]:
        """All choices as JSON content."""
        record = asdict(self)
        record["fit"]["alpha_grid"] = list(self.fit.alpha_grid)
        return record


def load(name: str) -> Protocol:
    """The protocol `name`, switched as the name says.

    Raises
    ------
    ValueError
        If there is no such protocol, or a switch is wrong.
    """
    protocol: Protocol = PROTOCOLS.load(base_of(name)).PROTOCOL
    return switched(protocol, switches_of(name))


def switched(protocol: Protocol, switches: Mapping[str, str]) -> Protocol:
    """The protocol with single choices changed, as `switches_of` reads them from a name.

    A penalty that is chosen by nested cross-validation is fitted in double, whatever the type was before: there is no
    other fit of it.
    """
    fields = {"scale": "target", "genes": "genes_from", "over": "score_over"}
    changes: dict[str, Any] = {field: switches[switch] for switch, field in fields.items() if switch in switches}
    if "penalty" in switches:
        changes["fit"] = _penalised(protocol.fit, switches["penalty"])
    return replace(protocol, **changes)


def _penalised(fit: Choices, penalty: str) -> Choices:
    if penalty not in SWITCHES["penalty"]:
        return replace(fit, alpha_rule="given", alpha_grid=(float(penalty),))
    if penalty == "published":
        return replace(fit, alpha_rule="100/(components*genes)", alpha_grid=())
    return replace(fit, alpha_rule="cross-validated", alpha_grid=PENALTIES, features_dtype="float64")
