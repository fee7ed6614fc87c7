"""Whole slides told apart by the mean embedding of their spots: logistic regression, folds of whole donors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spotweave.evaluation import SEEDS, Origins, Row

FOLDS = 5
AUC, ACCURACY = "slide_auc", "slide_balanced_accuracy"
SPLIT = "donor"


def slide_probe(
    embedding: NDArray[np.floating],
    origins: Origins,
    labels: Mapping[str, str],
    seeds: Sequence[int] = SEEDS,
    *,
    tested: Collection[str] = (),
) -> list[Row]:
    """Area under the curve and balanced accuracy of a label of slides that has two values.

    The mean over a slide's spots stands for it (HEST-1k, section 7); columns are scaled by training slides, l2 of
    strength 1. Folds hold whole donors, as many of either label as can be.

    Parameters
    ----------
    labels
        Sample -> its label; samples without one are left out. The positive one is the last by name.
    seeds
        Of the folds.
    tested
        Samples held out in one fold, where the embedding was learned from the others; empty for folds of all.

    Returns
    -------
    Rows by fold and seed; without a value where a fold has one label only.
    """
    names = [name for name in origins.samples() if name in labels]
    known = np.array([labels[name] for name in names], dtype=str)
    kinds = sorted(set(known.tolist()))
    if len(kinds) != 2:
        note = f"{len(names)} labelled slides with {len(kinds)} labels; two labels are told apart"
        return [Row(what, None, SPLIT, note=note) for what in (AUC, ACCURACY)]
    means = np.stack([embedding[origins.sample == name].astype(np.float64).mean(axis=0) for name in names])
    donor_of = dict(zip(origins.sample.tolist(), origins.donor.tolist(), strict=True))
    donors = np.array([donor_of[name] for name in names], dtype=str)
    if tested:
        held = np.isin(names, sorted(tested))
        return _score(means, known == kinds[1], ~held, held, 0, None)
    least = min(len(set(donors[known == kind].tolist())) for kind in kinds)
    if least < 2:
        note = "a label has slides of one donor only: none to learn from while it is tested"
        return [Row(what, None, SPLIT, note=note) for what in (AUC, ACCURACY)]
    rows = []
    for seed in seeds:
        for fold, held in enumerate(_folds(known, donors, min(FOLDS, least), seed)):
            rows += _score(means, known == kinds[1], ~held, held, fold, seed)
    return rows


def _folds(labels: NDArray[np.str_], donors: NDArray[np.str_], count: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Donors of each kind (of the labels they have) shuffled and dealt out in turn: (slides,) which are held out."""
    of_kind: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for donor in sorted(set(donors.tolist())):
        of_kind[tuple(sorted(set(labels[donors == donor].tolist())))].append(donor)
    rng = np.random.default_rng(seed)
    dealt = [donor for kind in sorted(of_kind) for donor in rng.permutation(of_kind[kind]).tolist()]
    for fold in range(count):
        yield np.isin(donors, dealt[fold::count])


def _score(
    means: NDArray[np.float64],
    positive: NDArray[np.bool_],
    learned: NDArray[np.bool_],
    held: NDArray[np.bool_],
    fold: int,
    seed: int | None,
) -> list[Row]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    for side, rows in (("learned from", learned), ("tested", held)):
        if len(set(positive[rows].tolist())) < 2:
            note = f"slides that are {side} have one label only"
            return [Row(what, None, SPLIT, fold, seed, note=note) for what in (AUC, ACCURACY)]
    centre, spread = means[learned].mean(axis=0), means[learned].std(axis=0)
    spread[spread == 0] = 1.0
    scaled = (means - centre) / spread
    model = LogisticRegression(max_iter=10_000).fit(scaled[learned], positive[learned])
    auc = roc_auc_score(positive[held], model.decision_function(scaled[held]))
    accuracy = balanced_accuracy_score(positive[held], model.predict(scaled[held]))
    return [Row(AUC, float(auc), SPLIT, fold, seed), Row(ACCURACY, float(accuracy), SPLIT, fold, seed)]
