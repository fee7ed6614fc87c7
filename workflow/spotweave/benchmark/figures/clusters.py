"""Whether predicted expression falls into the regions of a section: clusters of it against labels, or of the truth.

Spots are clustered by k-means on principal components of standardised genes, alike for what was measured and what was
predicted; the agreement is the adjusted Rand index (Hubert and Arabie 1985): 1 for the same parts, 0 by chance.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spotweave.benchmark.figures.gathered import Section
from spotweave.errors import Refusal

# Where no label says how many.
CLUSTERS = 4
COMPONENTS = 20
# Fewer spots than this for each cluster say nothing.
SPOTS_PER_CLUSTER = 5
LABELS, TRUTH = "labels", "clusters of the truth"
COLUMNS = ("fold", "sample_id", "predictor", "against", "clusters", "ari")
MEASURED = "measured"
DECIMALS = 6

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Clustered:
    """A test section in parts.

    Attributes
    ----------
    section
        Its spots: those that have a label, where labels are what is compared with.
    against
        `labels` or `clusters of the truth`.
    names
        Of the parts that are compared with.
    reference
        (N,) number of the part of each spot.
    found
        Predictor -> (N,) cluster of each spot; with labels `measured` too, what was measured clustered.
    """

    section: Section
    against: str
    names: Sequence[str]
    reference: Codes
    found: Mapping[str, Codes]

    def agreement(self) -> dict[str, float]:
        """The adjusted Rand index of each."""
        from sklearn.metrics import adjusted_rand_score

        return {name: float(adjusted_rand_score(self.reference, codes)) for name, codes in self.found.items()}


def read_labels(path: Path) -> dict[str, str]:
    """Spot -> label, of a CSV with columns `spot` and `label`; blank labels are none.

    Raises
    ------
    Refusal
        If it has other columns, or a spot twice.
    """
    with open(path, encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle)
        if not {"spot", "label"} <= set(reader.fieldnames or []):
            raise Refusal(f"{path}: no columns spot and label, but {', '.join(reader.fieldnames or ['nothing'])}")
        found: dict[str, str] = {}
        for line, row in enumerate(reader, 2):
            if row["spot"] in found:
                raise Refusal(f"{path}:{line}: spot {row['spot']} has a label already")
            if row["label"]:
                found[row["spot"]] = row["label"]
    return found


def clustered(section: Section, labels: Mapping[str, str] | None, seed: int) -> Clustered | None:
    """Cluster a section as often as it has predictors; None where it has too few spots for its parts.

    Parameters
    ----------
    labels
        Spot -> label; None for clusters of the truth. Spots without one are left out.
    seed
        Of k-means.
    """
    rows = [row for row, spot in enumerate(section.spots) if labels is None or spot in labels]
    own = _at(section, rows)
    truth = own.truth[:, np.isfinite(own.truth).all(axis=0)]
    if labels is None:
        count, against, names = CLUSTERS, TRUTH, [str(number + 1) for number in range(CLUSTERS)]
    else:
        names = sorted({labels[spot] for spot in own.spots})
        count, against = len(names), LABELS
    if count < 2 or len(rows) < SPOTS_PER_CLUSTER * count:
        return None
    if labels is None:
        reference = parts(truth, count, seed)
    else:
        reference = np.array([names.index(labels[spot]) for spot in own.spots], dtype=np.int64)
    found = {name: parts(values, count, seed) for name, values in own.predicted.items()}
    if labels is not None:
        found = {MEASURED: parts(truth, count, seed), **found}
    return Clustered(own, against, names, reference, found)


def parts(values: NDArray[np.float64], count: int, seed: int) -> Codes:
    """(N,) cluster of each of (N, G) spots, from 0; of constant spots all are one.

    Genes are standardised, constant ones left out; up to `COMPONENTS` principal components, exactly decomposed; the
    best of ten starts.
    """
    from sklearn.cluster import KMeans

    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    varied = spread > 1e-9 * np.maximum(np.abs(values).max(axis=0), 1e-12)
    if not varied.any():
        return np.zeros(len(values), np.int64)
    left, sizes, _ = np.linalg.svd(centred[:, varied] / spread[varied], full_matrices=False)
    components = (left * sizes)[:, :COMPONENTS]
    if len(np.unique(np.round(components, 9), axis=0)) < count:
        return np.zeros(len(values), np.int64)
    model = KMeans(count, n_init=10, random_state=seed).fit(components)
    return np.asarray(model.labels_, dtype=np.int64)


def matched(codes: Codes, reference: Codes) -> Codes:
    """Clusters by the numbers of the parts that they share most spots with, each number once; the rest follow."""
    from scipy.optimize import linear_sum_assignment

    size = max(int(codes.max()), int(reference.max())) + 1
    shared = np.zeros((size, size), np.int64)
    np.add.at(shared, (codes, reference), 1)
    rows, columns = linear_sum_assignment(-shared)
    number = np.empty(size, np.int64)
    number[rows] = columns
    return number[codes]


def write(path: Path, sections: Iterable[Clustered]) -> None:
    """Write a row a section and predictor, `COLUMNS`."""
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in sections:
            for name, index in sorted(one.agreement().items()):
                where = one.section.fold, one.section.sample
                writer.writerow([*where, name, one.against, len(one.names), round(index, DECIMALS) + 0.0])


def _at(section: Section, rows: Sequence[int]) -> Section:
    return Section(
        section.fold,
        section.sample,
        section.genes,
        [section.spots[row] for row in rows],
        section.positions_px[rows],
        section.truth[rows],
        {name: values[rows] for name, values in section.predicted.items()},
    )
