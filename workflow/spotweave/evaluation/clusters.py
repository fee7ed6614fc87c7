"""How labels lie in an embedding: apart from each other or not, and whether clusters find them without being told."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from spotweave.evaluation import SEEDS, Row

# Distances of each spot to each other: beyond, silhouettes are those of a draw.
MOST_SPOTS = 10_000
# Higher is better, but for the last.
INDICES = ("silhouette", "calinski_harabasz", "davies_bouldin")
ARI = "kmeans_ari"
STARTS = 10  # of k-means, for each seed


def cluster_quality(embedding: NDArray[np.floating], labels: NDArray[np.str_], sample: NDArray[np.str_]) -> list[Row]:
    """Silhouette, Calinski and Harabasz's, Davies and Bouldin's index of the labels, by sample and pooled.

    Euclidean, by scikit-learn, as published with STimage-1K4M. Embeddings of unlike numbers of dimensions are hard to
    compare by them. Where they are not defined (one label, as many labels as spots, no distances at all, nothing but
    distances between labels) there is a reason in place of what scikit-learn gives: of an embedding that is the same
    everywhere, that is the best possible Davies and Bouldin's index.

    Parameters
    ----------
    embedding, labels, sample
        (N, D), and (N,) str.
    """
    from sklearn import metrics

    rows = []
    for name, chosen in _by_sample(sample):
        points, known = embedding[chosen], labels[chosen]
        fault = _fault(points, known)
        if fault:
            rows += [Row(what, None, sample=name, note=fault) for what in INDICES]
            continue
        drawn = MOST_SPOTS if len(points) > MOST_SPOTS else None
        note = f"of {MOST_SPOTS:,} spots, drawn" if drawn else ""
        silhouette = metrics.silhouette_score(points, known, sample_size=drawn, random_state=0)
        rows.append(Row("silhouette", float(silhouette), sample=name, note=note))
        rows.append(Row("calinski_harabasz", float(metrics.calinski_harabasz_score(points, known)), sample=name))
        rows.append(Row("davies_bouldin", float(metrics.davies_bouldin_score(points, known)), sample=name))
    return rows


def kmeans_agreement(
    embedding: NDArray[np.floating], labels: NDArray[np.str_], sample: NDArray[np.str_], seeds: Sequence[int] = SEEDS
) -> list[Row]:
    """Adjusted Rand index of k-means' clusters with the labels of each sample, as many clusters as it has labels.

    0 is what chance gives, 1 what the labels themselves do. ST-Align's table 1 has such numbers (five runs) without
    saying how clusters were found. Rows without a sample are the mean over samples.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_rand_score

    rows = []
    found: dict[int, list[float]] = {seed: [] for seed in seeds}
    for name, chosen in _by_sample(sample, pooled=False):
        points, known = embedding[chosen], labels[chosen]
        count = len(np.unique(known))
        if count < 2:
            rows.append(Row(ARI, None, sample=name, note=f"one label only ({known[0]})"))
            continue
        for seed in seeds:
            with warnings.catch_warnings():  # fewer distinct points than clusters: fewer clusters
                warnings.simplefilter("ignore", ConvergenceWarning)
                clusters = KMeans(count, n_init=STARTS, random_state=seed).fit_predict(points)
            found[seed].append(float(adjusted_rand_score(known, clusters)))
            rows.append(Row(ARI, found[seed][-1], seed=seed, sample=name))
    rows += [Row(ARI, float(np.mean(values)), seed=seed) for seed, values in found.items() if values]
    return rows


def _by_sample(sample: NDArray[np.str_], *, pooled: bool = True) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for name in sorted(set(sample.tolist())):
        yield name, sample == name
    if pooled:
        yield "", np.ones(len(sample), dtype=bool)


def _fault(points: NDArray[np.floating], labels: NDArray[np.str_]) -> str:
    names, place = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        return f"one label only ({names[0]})"
    if len(names) == len(labels):
        return "as many labels as spots"
    if not np.ptp(points, axis=0).any():
        return "the embedding is the same everywhere"
    if not any(np.ptp(points[place == label], axis=0).any() for label in range(len(names))):
        return "spots of one label are all alike: nothing to hold distances against"
    return ""
