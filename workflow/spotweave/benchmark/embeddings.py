"""Features of one sample, as `embeddings/{encoder}.h5` has them, joined to its spots by barcode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spotweave.benchmark.predictions import NotPredicted
from spotweave.folds import samples_of
from spotweave.io import is_refused

RANDOM_WEIGHTS = "random weights"


@dataclass(frozen=True)
class Embeddings:
    """Features of one sample's patches: (N,) barcodes, (N, D) features, and the dataset they were read from."""

    barcodes: NDArray[np.str_]
    features: NDArray[np.float32]
    dataset: str


@dataclass(frozen=True)
class Joined:
    """Spots that have both an embedding and expression, in the order of the expression.

    Attributes
    ----------
    rows
        (N,) int, their rows among the spots of the sample.
    features
        (N, D) float32.
    without_features, without_expression
        Number of spots under tissue without an embedding, and of embeddings without a spot under tissue.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.float32]
    without_features: int
    without_expression: int


def read_embeddings(path: Path, fold: int) -> Embeddings | None:
    """Read the features to use in one outer fold.

    An encoder that was trained within the folds keeps `fold{k}/embeddings`, which must be used in that fold and in no
    other (elsewhere it has seen the test donors); every other encoder keeps one `embeddings` for all folds.

    Returns
    -------
    embeddings
        None if the file has neither.

    Raises
    ------
    ValueError
        If barcodes and features do not match, a barcode is there twice or a feature is not finite.
    """
    with h5py.File(path, "r") as file:
        dataset = next((name for name in (f"fold{fold}/embeddings", "embeddings") if name in file), None)
        if dataset is None:
            return None
        barcodes = file["barcode"].asstr()[...].reshape(-1).astype(str)
        features = file[dataset][...].astype(np.float32)
    if len(barcodes) != len(features):
        raise ValueError(f"{path}: {len(barcodes)} barcodes for {len(features)} embeddings")
    if len(np.unique(barcodes)) != len(barcodes):
        raise ValueError(f"{path}: a barcode is there twice")
    if not np.isfinite(features).all():
        raise ValueError(f"{path}: {dataset} has values that are not finite")
    return Embeddings(barcodes, features, dataset)


def require_embeddings(splits: Mapping[str, Any], embeddings: Mapping[str, Path], refusals: Mapping[str, str]) -> None:
    """Raise `NotPredicted` where an encoder has no embeddings of a sample of the folds.

    An encoder scored on fewer samples than the others would not be comparable with them.
    """
    names = samples_of(splits)
    missing = [name for name in names if is_refused(embeddings[name])]
    if missing:
        which = "any sample" if len(missing) == len(names) else ", ".join(missing)
        why = next((f"; {refusals[name]}" for name in missing if name in refusals), "")
        raise NotPredicted(f"the encoder is unavailable: no embeddings of {which}{why}")


def note_of(encoder: str) -> str | None:
    """What the leaderboard says of an encoder: one whose name ends in `-random` has random weights."""
    return RANDOM_WEIGHTS if encoder.endswith("-random") else None


def join(spots: Sequence[str], embeddings: Embeddings) -> Joined:
    """Match the barcodes of a sample's spots with those of its embeddings, never by position."""
    row_of = {barcode: row for row, barcode in enumerate(embeddings.barcodes.tolist())}
    found = np.array([row_of.get(barcode, -1) for barcode in spots], dtype=np.int64)
    both = found >= 0
    return Joined(
        np.flatnonzero(both),
        embeddings.features[found[both]],
        without_features=int((~both).sum()),
        without_expression=len(embeddings.barcodes) - int(both.sum()),
    )
