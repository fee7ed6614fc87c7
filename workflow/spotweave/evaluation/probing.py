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
WHAT, SCALED = "linear_probe_f1", "linear_probe_scaled_f1"
FLOOR, OVER_FOLDS = "linear_probe_f1_of_commonest", "_over_folds"

Predicted = dict[int, list[tuple[NDArray[np.int64], NDArray[np.str_]]]]  # seed -> tested rows and what is said of them


def linear_probe(
    embedding: NDArray[np.floating],
    labels: NDArray[np.str_],
    origins: Origins,
    way: str,
    seeds: Sequence[int] = SEEDS,
    *,
    scaled: bool = False,
    guard_um: float = GUARD_UM,
    tested: Collection[str] = (),
) -> list[Row]:
    """Macro F1 on test spots, for each seed (and fold), at the strength of l2 that is best on the spots to choose by.

    That is chosen for all seeds of a fold together, by their mean, the stronger one where two are equal: as published.

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
    scaled
        Whether columns are brought to mean 0 and variance 1 of training spots. Published numbers are without it: then
        the size of an embedding's columns is part of its score.

    Returns
    -------
    Rows `linear_probe_f1` (scaled, `linear_probe_scaled_f1`), and beside each `linear_probe_f1_of_commonest`, which
    says the commonest label of training everywhere. F1 is averaged over labels that test spots have or are given, 0 for
    one that is never right. Names with `_over_folds` are of all folds' test spots together, where each fold could be
    scored: of a band or a donor with one label alone, F1 says little. A split that teaches or tests nothing has rows
    without a value.
    """
    what = SCALED if scaled else WHAT
    try:
        found = rounds(way, origins, seeds, guard_um=guard_um, tested=tested)
    except NoSides as error:
        return [Row(what, None, way, note=str(error))]
    rows: list[Row] = []
    predicted: dict[str, Predicted] = {name: {seed: [] for seed in seeds} for name in (what, FLOOR)}
    for one in found:
        rows += _round(embedding, labels, (what, way, scaled), one, predicted)
    if len(found) > 1 and all(row.value is not None for row in rows):
        for name, of in predicted.items():
            for seed, parts in of.items():
                tests, said = (np.concatenate(column) for column in zip(*parts, strict=True))
                rows.append(Row(name + OVER_FOLDS, macro_f1(labels[tests], said), way, seed=seed))
    return rows


def _round(
    embedding: NDArray[np.floating],
    labels: NDArray[np.str_],
    how: tuple[str, str, bool],
    one: Round,
    predicted: dict[str, Predicted],
) -> list[Row]:
    """Rows of a fold; what is said of its test spots is added to `predicted`."""
    what, way, scaled = how
    for sides in one.by_seed.values():
        fault = _fault(labels, sides)
        if fault:
            return [Row(what, None, way, one.fold, note=fault)]
    tried = []
    for alpha in ALPHAS:
        tried.append([_fit(embedding, labels, sides, seed, alpha, scaled) for seed, sides in one.by_seed.items()])
    best = int(np.argmax([np.mean([validated for validated, _ in of]) for of in tried]))
    rows = []
    for (seed, sides), (_, said) in zip(one.by_seed.items(), tried[best], strict=True):
        note = "; ".join([f"alpha {ALPHAS[best]:g}", *_lacking(labels, sides)])
        for name, given in ((what, said), (FLOOR, _commonest(labels, sides))):
            predicted[name][seed].append((sides.test, given))
            score = macro_f1(labels[sides.test], given)
            rows.append(Row(name, score, way, one.fold, seed, note=note if name == what else ""))
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


def _fit(
    embedding: NDArray[np.floating], labels: NDArray[np.str_], sides: Sides, seed: int, alpha: float, scaled: bool
) -> tuple[float, NDArray[np.str_]]:
    """Macro F1 on the spots to choose by, and what is said of those to test on."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import SGDClassifier

    if scaled:
        learned = embedding[sides.train].astype(np.float64)
        spread = learned.std(axis=0)
        embedding = (embedding - learned.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    model = SGDClassifier(
        loss="log_loss", penalty="l2", alpha=alpha, class_weight="balanced", max_iter=10_000, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(embedding[sides.train], labels[sides.train])
    validated = macro_f1(labels[sides.validation], model.predict(embedding[sides.validation]))
    return validated, model.predict(embedding[sides.test])


def _commonest(labels: NDArray[np.str_], sides: Sides) -> NDArray[np.str_]:
    names, counts = np.unique(labels[sides.train], return_counts=True)
    return np.full(len(sides.test), names[counts.argmax()])


def macro_f1(truth: NDArray[np.str_], predicted: NDArray[np.str_]) -> float:
    """Mean F1 over the labels that either has; 0 for one of which nothing is right.

    F1 = 2 right / (true + predicted).
    """
    names = np.union1d(truth, predicted)
    right = np.array([(truth[predicted == name] == name).sum() for name in names])
    given = np.array([(truth == name).sum() + (predicted == name).sum() for name in names])
    return float((2 * right / given).mean())
