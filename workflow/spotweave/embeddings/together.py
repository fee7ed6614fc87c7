"""Encoders that share one reading of a sample's patches.

Their rows are left beside the scratch of each encoder's own job, which finds them there and writes its file: the same
bytes as when it embeds alone. An encoder that cannot be had, or that fails, is left to its own job, which says so; the
others go on. A pass that is killed goes on from each encoder's last whole batch.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from spotweave.embeddings.batches import read_batches
from spotweave.embeddings.rows import ROWS, all_there, finite, rows_key, scratch_together, what_makes
from spotweave.encoders import ENCODERS, Encoder
from spotweave.networks.spec import EncoderSpec
from spotweave.resumed import ResumedRows
from spotweave.slide.patch_files import PatchReader
from spotweave.slide.resample import Pixels

log = logging.getLogger("spotweave")


@dataclass(frozen=True)
class Asked:
    """One encoder and its own job.

    Attributes
    ----------
    row
        Of the encoder table; no recipe's.
    code, scratch
        Of its own job: hash of its code, and the folder from which it goes on after a kill.
    """

    row: Mapping[str, str]
    code: str
    scratch: Path

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Asked:
        """From JSON."""
        return cls(row=said["row"], code=said["code"], scratch=Path(said["scratch"]))


def embed_together(
    asked: Sequence[Asked],
    patches: Path,
    *,
    slide: Path | None = None,
    sample: str,
    most: int,
    folder: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    batch: int = 64,
    ahead: bool = False,
) -> dict[str, Any]:
    """Embed one sample with several encoders, whose own jobs make the files.

    Parameters
    ----------
    patches, slide, sample, folder, seed, device, batch, ahead
        As for `embed_sample`, and as the encoders' own jobs have them.
    most
        Encoders in memory at a time; the patches are read once for each so many.

    Returns
    -------
    measures
        `embedded`, the encoders whose rows are there, and `left`, encoder -> why it is left to its own job.
    """
    left: dict[str, str] = {}
    specs = [EncoderSpec.from_row(one.row) for one in asked]
    waiting = list(zip(asked, specs, strict=True))
    for start in range(0, len(waiting), most):
        with contextlib.ExitStack() as stack:
            read = stack.enter_context(PatchReader(patches, slide))
            parts = []
            for one, spec in waiting[start : start + most]:
                key = rows_key(what_makes(spec, (), folder, seed, device, batch, one.code), patches, slide)
                scratch = scratch_together(one.scratch)
                if all_there(scratch, key, spec.dim, patches):
                    continue
                with _leaving(spec.encoder, left):
                    encoder = ENCODERS.load(spec.builder).build(spec, folder=folder, seed=seed, device=device)
                    kept = stack.enter_context(ResumedRows(scratch, key, {ROWS: spec.dim}))
                    parts.append(_Part(spec.encoder, encoder, kept))
            first = min((part.kept.done for part in parts), default=len(read))
            batches = stack.enter_context(contextlib.closing(read_batches(read, first, batch, ahead=ahead)))
            for rows, images in tqdm(batches, desc=f"{len(parts)} encoders {sample}", unit="batch", disable=None):
                for part in parts:
                    with _leaving(part.name, left):
                        part.embed(rows, images, read.barcodes)
                parts = [part for part in parts if part.name not in left]
                if not parts:
                    break
    return {"embedded": [spec.encoder for spec in specs if spec.encoder not in left], "left": left}


@dataclass(frozen=True)
class _Part:
    """An encoder at work, and its rows."""

    name: str
    encoder: Encoder
    kept: ResumedRows

    def embed(self, rows: slice, images: Pixels, barcodes: np.ndarray) -> None:
        """Add these rows; those that are there already (the others were killed earlier) are left as they are."""
        if self.kept.done <= rows.start:
            self.kept.append({ROWS: finite(self.encoder.encode(images), f"{self.name} ({ROWS})", barcodes, rows)})


@contextlib.contextmanager
def _leaving(encoder: str, left: dict[str, str]) -> Iterator[None]:
    """Note what stops one encoder, whatever it is: its own job meets it again, and is refused or fails by itself."""
    try:
        yield
    except Exception as error:
        left[encoder] = str(error) or type(error).__name__
        log.warning("%s is left to its own job: %s", encoder, left[encoder])
