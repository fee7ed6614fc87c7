"""Transcripts as numbers: the feature of each, and what keeps it from being counted for a gene.

The rules are those of `transcripts` and `features`. A control is a control whatever its quality; a feature that is
neither a control nor a gene of the sample's counts is of another panel; then come quality and position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spotweave.deposits.arrow_tables import text
from spotweave.errors import Refusal
from spotweave.xenium.features import GENE_CATEGORIES, OTHER_CONTROL, control_kind

COUNTED, OTHER_PANEL, LOW_QUALITY, NO_POSITION = range(4)
REASONS = ("counted", "not a gene of the counts", "low quality", "without a position")
CONTROL = "control: {}"
MOST_REASONS = 64
MOST_FEATURES = 1 << 17  # panels have up to 18,000; a row each would be no panel
NAMELESS = "(no name)"
COLUMNS = ("feature_name", "qv")
ALSO = ("codeword_category", "is_gene")  # where the file has them


@dataclass(frozen=True)
class Coded:
    """Transcripts of one batch.

    Attributes
    ----------
    feature
        (N,) int32, index of `Coder.features`.
    reason
        (N,) int8, index of `Coder.reasons`; 0 for those that count for a gene.
    has_position
        (N,) bool.
    """

    feature: NDArray[np.int32]
    reason: NDArray[np.int8]
    has_position: NDArray[np.bool_]


@dataclass
class Coder:
    """Turns batches into numbers, and tallies them by feature and reason.

    Parameters
    ----------
    name
        Of the file, for messages.
    genes
        Of the sample's counts: the first of the features, in this order.
    min_qv
        The lowest phred-scaled quality to count.

    Attributes
    ----------
    features, reasons
        Names of what the codes stand for; they grow while batches are coded.
    controls_of_quality
        Controls that reach the limit.
    """

    name: str
    genes: Sequence[str]
    min_qv: float
    features: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=lambda: list(REASONS))
    controls_of_quality: int = 0

    def __post_init__(self) -> None:
        self._index: dict[str, int] = {}
        self._reason_of_feature = bytearray()
        self._tally = np.zeros((0, MOST_REASONS), dtype=np.int64)
        self._nowhere = np.zeros(0, dtype=np.int64)
        for gene in self.genes:
            self._learn(gene, is_gene=True)

    def code(self, batch: pa.RecordBatch, xy: tuple[NDArray[Any], NDArray[Any]]) -> Coded:
        """Code the transcripts of a batch with `COLUMNS` and those of `ALSO` that there are, at `xy`.

        Raises
        ------
        Refusal
            There are more features, or more kinds of controls, than any panel has.
        """
        feature = self._features(batch.column("feature_name"))
        reason = np.frombuffer(bytes(self._reason_of_feature), dtype=np.int8)[feature]
        if "codeword_category" in batch.schema.names:
            stated = self._categories(batch.column("codeword_category"))
            reason = np.where(stated > 0, stated, reason)
        if "is_gene" in batch.schema.names:
            is_gene = pc.fill_null(pc.cast(batch.column("is_gene"), pa.bool_()), True)
            is_other = ~np.asarray(is_gene.to_numpy(zero_copy_only=False)) & (reason <= OTHER_PANEL)
            if is_other.any():
                reason[is_other] = self._control(OTHER_CONTROL)
        qv = np.asarray(batch.column("qv").to_numpy(zero_copy_only=False))
        is_good = qv >= self.min_qv  # False for NaN, which is no quality
        has_position = np.isfinite(xy[0]) & np.isfinite(xy[1])
        counted = reason == COUNTED
        reason[counted & ~is_good] = LOW_QUALITY
        reason[counted & is_good & ~has_position] = NO_POSITION
        self.controls_of_quality += int(np.count_nonzero((reason > NO_POSITION) & is_good))
        if not has_position.all():
            self._nowhere = plus(self._nowhere, feature[~has_position])
        pairs = np.bincount(feature.astype(np.intp) * MOST_REASONS + reason, minlength=self._tally.size)
        self._tally += pairs.reshape(self._tally.shape)
        return Coded(feature, reason, has_position)

    def learn(self, features: Sequence[str]) -> None:
        """Make these features known, in this order, behind those that are."""
        for name in features:
            if name not in self._index:
                self._learn(name)

    def without_position(self) -> pd.Series:
        """Transcripts by feature that have no position, whatever their quality and feature, int64."""
        return pd.Series(np.pad(self._nowhere, (0, len(self.features) - len(self._nowhere))), index=self.features)

    def tally(self) -> pd.DataFrame:
        """Transcripts by feature (index) and reason (columns, those of `reasons` in their order), int64."""
        self._grow()
        return pd.DataFrame(self._tally[:, : len(self.reasons)], index=pd.Index(self.features), columns=self.reasons)

    def _grow(self) -> None:
        """Make room for every feature that is known."""
        more = len(self.features) - len(self._tally)
        if more:
            self._tally = np.pad(self._tally, ((0, more), (0, 0)))

    def _features(self, column: pa.Array) -> NDArray[np.int32]:
        names, indices = encoded(column)
        codes = [self._index[name] if name in self._index else self._learn(name) for name in names]
        self._grow()
        return np.asarray(codes, dtype=np.int32)[indices]

    def _categories(self, column: pa.Array) -> NDArray[np.int8]:
        names, indices = encoded(column)
        codes = [COUNTED if name in (*GENE_CATEGORIES, NAMELESS) else self._control(name) for name in names]
        return np.asarray(codes, dtype=np.int8)[indices]

    def _learn(self, name: str, *, is_gene: bool = False) -> int:
        if len(self.features) == MOST_FEATURES:
            raise Refusal(
                f"{self.name}: more than {MOST_FEATURES:,} different features, which no panel has; download it again",
                measured=MOST_FEATURES + 1,
                threshold=MOST_FEATURES,
            )
        kind = control_kind(name)
        reason = COUNTED if is_gene else OTHER_PANEL if kind is None else self._control(kind)
        self.features.append(name)
        self._reason_of_feature.append(reason)
        return self._index.setdefault(name, len(self.features) - 1)

    def _control(self, kind: str) -> int:
        reason = CONTROL.format(kind.replace("/", "_"))  # a column of an HDF5 table, later
        if reason not in self.reasons:
            if len(self.reasons) == MOST_REASONS:
                raise Refusal(
                    f"{self.name}: more than {MOST_REASONS - len(REASONS)} kinds of controls, {kind!r} the last;"
                    " download it again",
                    measured=MOST_REASONS,
                    threshold=MOST_REASONS,
                )
            self.reasons.append(reason)
        return self.reasons.index(reason)


def plus(counted: NDArray[np.int64], features: NDArray[np.int32]) -> NDArray[np.int64]:
    """Counts by code of a feature, and one more for each of some features; as long as the largest code needs."""
    more = np.bincount(features, minlength=len(counted))
    more[: len(counted)] += counted
    return more


def encoded(column: pa.Array) -> tuple[list[str], NDArray[np.int32]]:
    """Different values of a column as text, and the index of each row's; what is missing is `NAMELESS`."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    names = [NAMELESS if name is None else name for name in text(column.dictionary).to_pylist()]
    indices = column.indices
    if indices.null_count:
        indices = pc.fill_null(indices, len(names))
        names.append(NAMELESS)
    return names, np.asarray(indices.to_numpy(zero_copy_only=False))
