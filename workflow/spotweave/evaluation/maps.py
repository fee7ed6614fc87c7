"""t-SNE of each slide as a picture, one panel an embedding, spots coloured by label (STimage-1K4M, appendix D)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spotweave.io import atomic

PERPLEXITY = 30.0
LEAST_SPOTS = 5
PANEL_IN = 4.0


def draw_map(
    target: Path, embeddings: Mapping[str, NDArray[np.floating]], labels: NDArray[np.str_], title: str, seed: int = 0
) -> str:
    """Write a map of one slide (.png); the same bytes for the same numbers.

    Parameters
    ----------
    embeddings
        Name -> (n, D) of the same spots.
    labels
        (n,) str; blank where there is none (grey).

    Returns
    -------
    Why there is no picture, blank where there is.
    """
    import matplotlib
    from matplotlib.figure import Figure

    if len(labels) < LEAST_SPOTS:
        return f"{len(labels)} spots are too few for a map"
    flat = [name for name, points in embeddings.items() if not np.ptp(points, axis=0).any()]
    if flat:
        return f"embedding {flat[0]} is the same everywhere"
    matplotlib.use("Agg")
    names = sorted(set(labels.tolist()) - {""})
    colours = [matplotlib.colormaps["tab10" if len(names) <= 10 else "tab20"](at % 20) for at in range(len(names))]
    figure = Figure(figsize=(PANEL_IN * len(embeddings) + 1.6, PANEL_IN + 0.4), dpi=100)
    for at, (name, points) in enumerate(embeddings.items(), start=1):
        axes = figure.add_subplot(1, len(embeddings), at)
        places = _places(points, seed)
        for label, colour in [("", "#cccccc"), *zip(names, colours, strict=True)]:
            chosen = labels == label
            if chosen.any():
                axes.scatter(
                    places[chosen, 0], places[chosen, 1], s=8, color=colour, linewidths=0, label=label or "no label"
                )
        axes.set_title(name, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=11)
    figure.subplots_adjust(left=0.02, right=1 - 1.6 / figure.get_figwidth(), bottom=0.02, top=0.86, wspace=0.05)
    with atomic(target) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
    return ""


def _places(points: NDArray[np.floating], seed: int) -> NDArray[np.float32]:
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    wide = points.astype(np.float64)
    init = "pca" if min(wide.shape) > 1 else "random"
    return np.asarray(TSNE(perplexity=perplexity, init=init, random_state=seed).fit_transform(wide))
