"""A frozen encoder's vectors of the spots, in the place of what a method's own trunk makes of their patches.

What a method does with patches beside its trunk falls away with it: they are not laid at random, nor in eight ways, nor
looked at several times, as an encoder gives a spot one vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from spotweave.learning.normalised import NormalisedVectors
from spotweave.spots import Sample, TrainingSample

Settings = Mapping[str, Any]
# Settings that ask for more than one look at a patch, or for a trunk, and what stands for them without.
WITHOUT_PATCHES: dict[str, Any] = {
    "augment": False,
    "symmetries": False,
    "looks": 0,
    "trunk": None,
    "trunk_arguments": None,
}


def with_encoder(
    settings: Mapping[str, Any], row: Mapping[str, str], samples: Sequence[TrainingSample]
) -> dict[str, Any]:
    """The settings of a method over the encoder that its row names; of a row that names none, as they are.

    They gain `encoder`, its name, and `vector_dim`, the length of its embeddings.

    Raises
    ------
    ValueError
        If embeddings of the samples are of different lengths.
    """
    if not row.get("encoder"):
        return dict(settings)
    lengths = {one.sample.embedded().shape[1] for one in samples}
    if len(lengths) != 1:
        raise ValueError(f"embeddings of {row['encoder']} are of {len(lengths)} lengths: {sorted(lengths)}")
    dim = lengths.pop()
    own = {name: value for name, value in WITHOUT_PATCHES.items() if name in settings}
    features = {"feature_dim": dim} if "feature_dim" in settings else {}
    return {**settings, **own, **features, "encoder": row["encoder"], "vector_dim": dim}


def is_embedded(settings: Settings) -> bool:
    """Whether a method is shown vectors and no patches."""
    return "encoder" in settings


def vectors_of(sample: Sample) -> torch.Tensor:
    """(N, D) float32, as the encoder left them."""
    return torch.from_numpy(sample.embedded())


def measured(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (D,) and root mean square deviation () over all numbers of (N, D) training vectors, float32.

    One spread for all of them: those that hardly vary stay small, and who is near whom stays as it is.
    """
    values = vectors.cpu().numpy().astype(np.float64)
    shift = values.mean(axis=0)
    spread = max(float(np.sqrt(np.square(values - shift).mean())), 1e-12)
    return torch.from_numpy(shift).float(), torch.tensor(spread, dtype=torch.float32)


def normalised(network: torch.nn.Module, vectors: torch.Tensor) -> NormalisedVectors:
    """The network over vectors that are shifted and scaled as (N, D) training vectors say."""
    return NormalisedVectors(network, *measured(vectors))
