"""Scores of `hest_exact` on the inputs of which HEST-Library's own scores are kept beside the project.

Run as a program it prints them as JSON, so that a test can choose the linear algebra's kernels before they are loaded.
"""

import json
from pathlib import Path

import numpy as np

ORACLE = Path(__file__).resolve().parents[2] / "shared/data/hest_exact_oracle"


def embeddings(name):
    """(N, D) float32 of one of the two sets."""
    if name == "handcrafted":
        return np.load(ORACLE / "her2st_handcrafted.npz")["embeddings"]
    return np.load(ORACLE / "her2st_320.npy")


def published():
    """Set -> fold -> `train`, `test`, `pearson_mean` and `pearson` by gene."""
    return json.loads((ORACLE / "hest_library_scores.json").read_text())


def scores():
    """Set -> fold -> (G,) list of Pearson correlations, genes in the order of the oracle's `genes`."""
    from spotweave import probes, protocols
    from spotweave.correlation import pearson_by_group
    from spotweave.expression.scales import SCALES
    from spotweave.probes import Training

    with np.load(ORACLE / "her2st_handcrafted.npz") as table:
        counts, sample = table["counts"].astype(np.float64), table["sample"]
    protocol = protocols.load("hest_exact")
    target = SCALES[protocol.target](counts, counts.sum(axis=1))
    found = {}
    for name, folds in published().items():
        features = embeddings(name)
        for fold, split in folds.items():
            train, test = (
                np.concatenate([np.flatnonzero(sample == one) for one in split[side]]) for side in ("train", "test")
            )
            nothing = np.zeros(len(train), dtype=np.int64)
            training = Training(features[train], target[train], nothing, nothing)
            prediction = probes.load("ridge").fit(training, protocol.fit, seed=1).predict(features[test])
            pooled = np.zeros(len(test), dtype=np.int64)
            found.setdefault(name, {})[fold] = pearson_by_group(target[test], prediction, pooled)[0].tolist()
    return found


if __name__ == "__main__":
    print(json.dumps(scores()))
