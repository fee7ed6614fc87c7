"""The leaderboard's last columns: how sure a score is, and which predictors it is not told apart from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from spotweave.benchmark import verdicts
from spotweave.benchmark.leaderboard import RANKED_BY, TIES
from spotweave.benchmark.pairs import APART, TOO_FEW, TOO_SMALL

DECIMALS = 6
# As many names are listed; more are counted, and comparisons.csv has all.
LISTED = 3
ALONE = "nothing to compare with"


def with_ties(leaderboard: pd.DataFrame, comparisons: pd.DataFrame, spread: pd.DataFrame) -> pd.DataFrame:
    """Fill the columns `TIES` of a leaderboard.

    Parameters
    ----------
    leaderboard, comparisons, spread
        As from `leaderboard.rank`, `pairs.compare` and `spread.read`.

    Returns
    -------
    leaderboard
        `score_low`, `score_high`: 95 % interval of `pearson_mean_zero` on these sections, missing where one is too
        small. `rank_best`, `rank_worst`: the ranks that the verdicts over donors leave open. `donors`: over how many.
        `verdict`: `too few donors`, or how many of the others it is told apart from. `not_told_apart_from`: those it is
        not, over donors, by name or, where they are many, by number. `not_told_apart_on_sections`: the same on these
        sections. Empty without a rank.
    """
    own = spread[spread["other"] == ""].set_index(["task", "protocol", "predictor"])
    turned = comparisons.rename(columns={"predictor": "other", "other": "predictor"})
    turned["difference_over_donors"] = -turned["difference_over_donors"]
    sides = pd.concat([comparisons, turned], ignore_index=True)
    others = dict(iter(sides.groupby(["task", "protocol", "predictor"])))
    rows = []
    for _, row in leaderboard.iterrows():
        key = (row["task"], row["protocol"], row["predictor"])
        filled = dict.fromkeys(TIES)
        if key in own.index:
            reach = float(verdicts.reach(own.loc[key, "error"], own.loc[key, "freedom"]))
            filled |= {"score_low": row[RANKED_BY] - reach, "score_high": row[RANKED_BY] + reach}
        if pd.notna(row["rank"]):
            filled |= _among(others[key]) if key in others else {"rank_best": 1, "rank_worst": 1, "verdict": ALONE}
        rows.append(filled)
    found = pd.DataFrame(rows, columns=list(TIES), index=leaderboard.index)
    for column in ("score_low", "score_high"):
        found[column] = found[column].astype(np.float64).round(DECIMALS) + 0.0
    for column in ("rank_best", "rank_worst", "donors"):
        found[column] = found[column].astype("Int64")
    return leaderboard.assign(**{column: found[column] for column in TIES})


def _among(pairs: pd.DataFrame) -> dict[str, object]:
    """The columns of one predictor, from all its pairs, in each of which it is the `predictor`."""
    is_apart = pairs["verdict"] == APART
    too_few = (pairs["verdict"] == TOO_FEW).all()
    told = f"told apart from {int(is_apart.sum())} of {len(pairs)}"
    if (pairs["on_sections"] == TOO_SMALL).all():
        on_sections = TOO_SMALL
    else:
        on_sections = listed(pairs.loc[pairs["on_sections"] != APART, "other"], len(pairs))
    best, worst = verdicts.possible_ranks(
        pairs["difference_over_donors"].to_numpy(dtype=np.float64), is_apart.to_numpy(dtype=bool), 1 + len(pairs)
    )
    return {
        "rank_best": int(best),
        "rank_worst": int(worst),
        "donors": int(pairs["donors"].min()),
        "verdict": TOO_FEW if too_few else told,
        "not_told_apart_from": listed(pairs.loc[~is_apart, "other"], len(pairs)),
        "not_told_apart_on_sections": on_sections,
    }


def listed(names: Sequence[str], all_others: int) -> str:
    """Names with blanks between, or how many of all others they are; `none`."""
    if not len(names):
        return "none"
    return " ".join(sorted(names)) if len(names) <= LISTED else f"{len(names)} of {all_others} others"
