"""Rows of embeddings on their way to a file: where they lie, what they come from, and whether they are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spotweave import resumed
from spotweave.errors import Refusal
from spotweave.networks.spec import EncoderSpec

ROWS = "embeddings"  # the dataset of an encoder that is the same in all folds


def what_makes(
    spec: EncoderSpec, folds: Sequence[Path], folder: Path | None, seed: int, device: str, batch: int, code: str
) -> str:
    """The `made_by` of a row's encoder: jobs that embed alone and together agree on it."""
    file = (folder or Path()) / spec.source
    weights = [*folds, *([file] if spec.weights == "file" and file.is_file() else [])]
    return resumed.key_of(spec.as_dict(), [*map(_stamp, weights)], seed, device, batch, code)


def rows_key(made_by: str, patches: Path, slide: Path | None) -> str:
    """What rows in a scratch come from: what makes them, and the state of the patches."""
    return resumed.key_of(made_by, _stamp(patches), _stamp(slide) if slide else None)


def scratch_together(scratch: Path) -> Path:
    """Where rows lie that a job embeds together with others, beside the scratch of the encoder's own job.

    The two may be at work at the same time, where Snakemake had a reason of its own to run the latter.
    """
    return scratch.with_suffix(".together")


def all_there(scratch: Path, key: str, width: int, patches: Path) -> bool:
    """Whether a folder holds the rows of all patches."""
    with h5py.File(patches) as file:
        return resumed.rows_done(scratch, key, {ROWS: width}) == len(file["barcode"])


def finite(embeddings: np.ndarray, what: str, barcodes: np.ndarray, rows: slice) -> np.ndarray:
    """The embeddings of these rows; a `Refusal` that names the first patch whose numbers are not finite."""
    bad = ~np.isfinite(embeddings).all(axis=1)
    if bad.any():
        first = barcodes[rows.start + int(bad.argmax()), 0].decode()
        raise Refusal(
            f"encoder {what} gives numbers that are not finite, first for patch {first}: check its weights, "
            "or set its dtype to float32",
            measured=int(bad.sum()),
            threshold=0,
        )
    return embeddings


def _stamp(path: Path) -> list[Any]:
    """What tells one state of a file from another without reading it: its name, size and time of change."""
    said = path.stat()
    return [str(path), said.st_size, said.st_mtime_ns]
