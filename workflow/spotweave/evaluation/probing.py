"""How well a linear classifier tells labels from an embedding: the linear probe of STimage-1K4M.

Chen et al. 2024, section 5 and appendix C; the classifier and its strengths are those of PLIP (Huang et al. 2023).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from spotweave.evaluation import SEEDS, Origins, Row
from spotweave.evaluation.sides import GUARD_UM, NoSides, Round, Sides, rounds

ALPHAS = (1.0, 0.1, 0.01, 0.001, 0.0001)
WHAT, FLOOR = "linear_probe_f1", "linear_probe_f1_of_commonest"


def linear_probe(
    embedding: NDArray[np.floating],
    labels: NDArray[np.str_],
    origins: Origins,
    way: str,
    seeds: Sequence[int] = SEEDS,
    *,
    guard_um: float = GUARD_UM,
    tested: Collection[str] = (),
) -> list[Row]:
    """Macro F1 on test spots, for each seed (and fold), at the strength of l2 that is best on the spots to choose by.

    That is chosen for all seeds of a fold together, by their mean, the stronger one where two are equal: as published.
    The embedding is taken as it is: neither centred nor scaled, as published.

    Parameters
    ----------
    embedding
        (N, D), finite.
    labels
        (N,) str, none of them blank.
    way, guard_um, tested
        As for `sides.rounds`.
    seeds
        Of the classifier, and of `random` also of the split.

    Returns
    -------
    Rows `linear_probe_f1`, and beside each `linear_probe_f1_of_commonest`, which says the commonest label of training
    everywhere. F1 is averaged over labels that test spots have or are given, 0 for one that is never right.
    A split that teaches or tests nothing has rows without a value.
    """
    try:
        found = rounds(way, origins, seeds, guard_um=guard_um, tested=tested)
    except NoSides as error:
        return [Row(WHAT, None, way, note=str(error))]
    return [row for one in found for row in _round(embedding, labels, way, one)]


def _round(embedding: NDArray[np.floating], labels: NDArray[np.str_], way: str, one: Round) -> list[Row]:
    for sides in one.by_seed.values():
        fault = _fault(labels, sides)
        if fault:
            return [Row(WHAT, None, way, one.fold, note=fault)]
    scores = np.array([[_scores(embedding, labels, sides, seed, alpha) for seed, sides in one.by_seed.items()]
                       for alpha in ALPHAS])  # fmt: skip
    best = int(scores[:, :, 0].mean(axis=1).argmax())
    rows = []
    for at, (seed, sides) in enumerate(one.by_seed.items()):
        note = "; ".join([f"alpha {ALPHAS[best]:g}", *_lacking(labels, sides)])
        rows.append(Row(WHAT, float(scores[best, at, 1]), way, one.fold, seed, note=note))
        rows.append(Row(FLOOR, _floor(labels, sides), way, one.fold, seed))
    return rows


def _fault(labels: NDArray[np.str_], sides: Sides) -> str:
    for what, rows in (("to choose by", sides.validation), ("to test on", sides.test)):
        if not len(rows):
            return f"no spots {what}"
    known = sorted(set(labels[sides.train].tolist()))
    if len(known) < 2:
        return f"training spots have one label only ({known[0]})" if known else "no spots to learn from"
    return ""


def _lacking(labels: NDArray[np.str_], sides: Sides) -> list[str]:
    """What must be known of labels that are not on both sides."""
    learned, tested = (set(labels[rows].tolist()) for rows in (sides.train, sides.test))
    said = []
    if tested - learned:
        said.append(f"tested but never learned: {', '.join(sorted(tested - learned))}")
    if learned - tested:
        said.append(f"learned but not tested: {', '.join(sorted(learned - tested))}")
    return said


def _scores(
    embedding: NDArray[np.floating], labels: NDArray[np.str_], sides: Sides, seed: int, alpha: float
) -> tuple[float, float]:
    """Macro F1 on the spots to choose by, and on those to test on."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(
        loss="log_loss", penalty="l2", alpha=alpha, class_weight="balanced", max_iter=10_000, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(embedding[sides.train], labels[sides.train])
    validated, tested = (
        macro_f1(labels[rows], model.predict(embedding[rows])) for rows in (sides.validation, sides.test)
    )
    return validated, tested


def _floor(labels: NDArray[np.str_], sides: Sides) -> float:
    names, counts = np.unique(labels[sides.train], return_counts=True)
    return macro_f1(labels[sides.test], np.full(len(sides.test), names[counts.argmax()]))


def macro_f1(truth: NDArray[np.str_], predicted: NDArray[np.str_]) -> float:
    """Mean F1 over the labels that either has; 0 for one of which nothing is right.

    F1 = 2 right / (true + predicted).
    """
    names = np.union1d(truth, predicted)
    right = np.array([(truth[predicted == name] == name).sum() for name in names])
    given = np.array([(truth == name).sum() + (predicted == name).sum() for name in names])
    return float((2 * right / given).mean())
