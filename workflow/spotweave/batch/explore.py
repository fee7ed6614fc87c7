"""How far batches of a dataset lie apart, before and after each correction, and whether biology stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from spotweave.batch import scores
from spotweave.batch.corrections import COMPONENTS, CannotCorrect, corrected, space_of
from spotweave.batch.figure import Panel, draw, layout
from spotweave.batch.settings import Settings
from spotweave.batch.spots import Looked, look

COLUMNS = ("label", "correction", "score", "before", "after", "note")
COMPONENTS_MAX = 30
NOT_STATED = "not stated"
KEPT = "neighbours_kept"

Array = NDArray[np.float64]
Texts = NDArray[np.str_]

OF_BATCHES: Final[dict[str, Callable[[Array, Texts], float]]] = {
    "silhouette_batch": scores.silhouette,
    "lisi_batch": scores.lisi,
    "kbet_rejection": scores.kbet_rejection,
}
OF_BIOLOGY: Final[dict[str, Callable[[Array, Texts], float]]] = {
    "silhouette": scores.silhouette,
    "lisi": scores.lisi,
}


@dataclass(frozen=True)
class Explored:
    """Rows of `COLUMNS`, and those of `spots.COLUMNS`."""

    scores: list[dict[str, Any]]
    samples: list[dict[str, Any]]


def explore(
    rows: Mapping[str, Mapping[str, str]],
    files: Mapping[str, Path],
    listed: Sequence[str],
    settings: Settings,
    seed: int,
    picture: Path,
) -> Explored:
    """Score every label before and after every correction, and draw all of them.

    Parameters
    ----------
    rows
        Sample id -> its row of the cohort table, with `cohort`; of accepted samples.
    files
        Sample id -> `st_nuclei.h5ad` or `st.h5ad`.
    listed
        Names of genes.
    picture
        The .png to write.
    """
    looked = look({name: files[name] for name in sorted(rows)}, listed, settings, seed)
    title = (
        f"{len(looked.values)} spots of {len(set(looked.samples))} samples, {len(looked.genes)} of {len(listed)} genes"
    )
    if len(looked.genes) < 2 or len(set(looked.samples)) < 2:
        note = f"{title}: two samples and two genes are needed"
        draw(picture, note, [], settings.corrections, seed)
        return Explored([_row(label, note=note) for label in settings.labels], looked.table)
    before = components_of(looked.values)
    places = layout(before, seed)
    found: list[dict[str, Any]] = []
    panels: list[list[Panel]] = []
    biology = {name: _labels(looked, rows, name) for name in settings.biology}
    for label in settings.labels:
        batches = _labels(looked, rows, label)
        if len(set(batches)) < 2:
            found.append(_row(label, note=f"one {label}, {batches[0]}: nothing to compare"))
            continue
        first = score(before, batches, biology)
        drawn = [Panel(label, batches, places)]
        for name in settings.corrections:
            try:
                after = after_correction(name, looked.values, before, batches.tolist(), seed)
            except CannotCorrect as reason:
                found.append(_row(label, name, note=str(reason)))
                drawn.append(Panel(label, batches, None))
                continue
            then = score(after, batches, biology)
            found += [
                _row(label, name, which, first[which], then[which], _said(which, label, batches, biology))
                for which in first
            ]
            found.append(_row(label, name, KEPT, 1.0, scores.neighbours_kept(before, after, batches)))
            drawn.append(Panel(label, batches, layout(after, seed)))
        panels.append(drawn)
    draw(picture, title, panels, settings.corrections, seed)
    return Explored(found, looked.table)


def components_of(values: Array) -> Array:
    """(N, D) principal components of (N, G) values, D 30 at most."""
    most = min(COMPONENTS_MAX, values.shape[1], len(values) - 1)
    found: Array = PCA(most, svd_solver="full").fit_transform(values)
    return found


def after_correction(name: str, values: Array, components: Array, batches: Sequence[str], seed: int) -> Array:
    """(N, D) principal components after a correction, which works on them or on the (N, G) values themselves."""
    if space_of(name) == COMPONENTS:
        return corrected(name, components, batches, seed)
    return components_of(corrected(name, values, batches, seed))


def score(values: Array, batches: Texts, biology: Mapping[str, Texts]) -> dict[str, float | None]:
    """Score -> its value of (N, D) components; None of biology where there is one kind."""
    found: dict[str, float | None] = {name: of(values, batches) for name, of in OF_BATCHES.items()}
    for kind, labels in biology.items():
        some = len(set(labels)) > 1
        found |= {f"{name}_{kind}": of(values, labels) if some else None for name, of in OF_BIOLOGY.items()}
    return found


def _labels(looked: Looked, rows: Mapping[str, Mapping[str, str]], column: str) -> Texts:
    """(N,) what the row of each spot's sample has in a column."""
    return np.array([rows[sample].get(column, NOT_STATED) for sample in looked.samples.tolist()], dtype=str)


def _said(which: str, label: str, batches: Texts, biology: Mapping[str, Texts]) -> str:
    """What a reader of a score of biology has to know."""
    kind = next((name for name in biology if which in {f"{one}_{name}" for one in OF_BIOLOGY}), None)
    if kind is None:
        return ""
    if len(set(biology[kind])) < 2:
        return f"one {kind}, {biology[kind][0]}: nothing to keep apart"
    if all(len(set(batches[biology[kind] == value])) == 1 for value in set(biology[kind])):
        return f"no {kind} is in two values of {label}: what a correction takes may be either"
    return ""


def _row(
    label: str,
    correction: str = "",
    which: str = "",
    before: float | None = None,
    after: float | None = None,
    note: str = "",
) -> dict[str, Any]:
    """A row of the table; what is not known is blank."""
    told = {name: None if value is None else f"{value:.4f}" for name, value in (("before", before), ("after", after))}
    return {"label": label, "correction": correction, "score": which, **told, "note": note}
