"""Margins of the package croma (Grisi, van der Laak & Litjens, arXiv 2607.25497), where somebody has installed it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from spotweave.robustness.labels import Labels

PACKAGE = "croma"
INSTALL = "python -m pip install --no-deps croma==1.0.1"


def is_there() -> bool:
    """Whether the package can be imported; nothing is."""
    return find_spec(PACKAGE) is not None


def margins(features: NDArray[np.floating], labels: Labels, candidates: Sequence[int]) -> dict[str, float]:
    """Columns of the table: `mari`, `croma`, `croma_tail` (mean of the worst tenth), and `croma_index`, its own index.

    Raises
    ------
    ValueError, RuntimeError
        As the package does, where a patch has no neighbour to be compared by.
    """
    import pandas as pd
    from croma import RI, CRoMa, MaRI  # type: ignore[import-not-found, unused-ignore]

    manifest = pd.DataFrame(
        {
            "sample_id": [str(row) for row in range(len(features))],
            "label": labels.biology,
            "group_id": labels.groups,
            "image_path": "none",
            "centre": labels.centres,
        }
    )
    given = np.asarray(features, dtype=np.float64)
    index = RI.compute(given, manifest, confounder_column="centre", k_candidates=list(candidates))
    weighed = MaRI.compute(given, manifest, confounder_column="centre", k_candidates=list(candidates))
    margin = CRoMa.compute(given, manifest, confounder_column="centre")
    return {
        "croma_index": float(index.value),
        "mari": float(weighed.value),
        "croma": float(margin.value),
        "croma_tail": float(margin.ltm_alpha),
    }
