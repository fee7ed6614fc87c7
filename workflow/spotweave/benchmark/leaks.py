"""What of the test side a score may owe to having been seen in training: a verdict for each predictor of a task.

Folds are looked at as they are, whatever way of splitting made them:

- *donors*: a donor of a test sample is a donor of a training sample (copies of a picture or a table count as one donor,
  where the audit of identity found them);
- *neighbours*: test spots lie so near to training spots of their own section that their patches share pixels;
- *genes*: the protocol chooses what is predicted with test spots in sight, or the task takes a list that may have been;
- *pretraining*: the encoder's weights have seen the pictures of a test sample's cohort (column `seen` of its row).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from spotweave import protocols
from spotweave.expression import gene_lists

# From here on a training set says something of a method rather than of its sections (STP-Bench, arXiv 2609.05956).
ENOUGH_SECTIONS, ENOUGH_SPOTS = 15, 30_000
NONE_FOUND = "none found"


def of_folds(splits: Mapping[str, Any], patch_um: float) -> list[str]:
    """What the folds of a task let through, in words; none, an empty list.

    Parameters
    ----------
    splits
        Content of `splits.json`.
    patch_um
        Side of a patch, um.
    """
    found = []
    donors, folds = splits["donors"], splits["folds"]
    crossed = sorted({donor for split in folds for donor in _donors(donors, split)})
    if crossed:
        found.append(f"donors on both sides: {_named(crossed)}")
    # Spots a patch's side apart share no pixel along either axis only if they are apart by its diagonal.
    near = [split["nearest_um"] for split in folds if split.get("nearest_um", patch_um * 2) < patch_um * 2**0.5]
    if near:
        found.append(f"training spots {min(near):g} um from test spots: patches of {patch_um:g} um share pixels there")
    return found


def of_predictor(splits: Mapping[str, Any], protocol: str, encoder: str, sight: Sight) -> str:
    """The verdict on one predictor of a task under a protocol: what was found, or `none found`.

    Parameters
    ----------
    encoder
        Its name; blank for a method over none.
    """
    found = of_folds(splits, sight.patch_um)
    rules = protocols.load(protocol)
    genes = rules.genes_of(sight.genes.get(splits["task"], gene_lists.VARIABLE))
    if gene_lists.list_path(genes) is not None:
        found.append(f"genes of the list {genes}, which may have been chosen with test spots in sight")
    elif genes == gene_lists.SPARSE_BOTH:
        found.append("genes chosen for being sparse in test spots too")
    elif genes == gene_lists.VARIABLE and rules.genes_from == "all":
        found.append("genes chosen with test spots in sight")
    tested = {sight.cohorts[name] for split in splits["folds"] for name in split["test"]}
    met = sorted(tested & set(sight.seen.get(encoder, ())))
    if met:
        found.append(f"its weights have seen pictures of {_named(met)}")
    return "; ".join(found) or NONE_FOUND


@dataclass(frozen=True)
class Sight:
    """What the audit knows beside splits and protocols.

    Attributes
    ----------
    cohorts
        Sample id -> its cohort.
    seen
        Encoder -> cohorts whose pictures its weights were trained on outside the folds; others have seen none.
    patch_um
        Side of a patch, um.
    genes
        Task -> which genes it asks for (the column `genes`); a task that is not there, those of the protocol.
    """

    cohorts: Mapping[str, str]
    seen: Mapping[str, Sequence[str]]
    patch_um: float
    genes: Mapping[str, str] = field(default_factory=dict)


def with_leaks(
    leaderboard: pd.DataFrame, folds: pd.DataFrame, splits: Mapping[str, Mapping[str, Any]], sight: Sight
) -> pd.DataFrame:
    """Fill the columns `leaks`, the verdict on each row, and `training`, how large the smallest training set is.

    Parameters
    ----------
    leaderboard, folds
        As from `leaderboard.rank` and `folds_table.read`.
    splits
        Task -> content of its `splits.json`.
    """
    spots = folds.groupby(["task", "protocol", "predictor"])["n_train_spots"].min()
    verdicts, sizes = [], []
    for row in leaderboard.itertuples(index=False):
        own = splits[row.task]
        verdicts.append(of_predictor(own, row.protocol, row.encoder, sight) if own["folds"] else "")
        sizes.append(_size(own, spots.get((row.task, row.protocol, row.predictor))))
    return leaderboard.assign(leaks=verdicts, training=sizes)


def _size(splits: Mapping[str, Any], spots: float | None) -> str:
    """`4 sections, 732 spots: small`, of the fold that has least; blank where nothing was fitted."""
    if spots is None or pd.isna(spots):
        return ""
    sections = min(len(split["train"]) for split in splits["folds"])
    small = sections < ENOUGH_SECTIONS or spots <= ENOUGH_SPOTS
    return f"{sections} section{'s' * (sections != 1)}, {int(spots):,} spots{': small' if small else ''}"


def _donors(donors: Mapping[str, str], split: Mapping[str, Any]) -> set[str]:
    return {donors[name] for name in split["train"]} & {donors[name] for name in split["test"]}


def _named(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
