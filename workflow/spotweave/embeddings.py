"""One sample's patches through an encoder, or through the encoders a recipe trained, into one file."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tqdm import tqdm

from spotweave import resumed
from spotweave.encoders import ENCODERS, Encoder
from spotweave.errors import Refusal
from spotweave.networks.spec import EncoderSpec
from spotweave.resumed import ResumedRows
from spotweave.slide.patch_files import PatchReader

ROWS_AT_A_TIME = 4096  # copied from the scratch to the file


def embed_sample(
    path: Path,
    patches: Path,
    row: Mapping[str, str],
    *,
    slide: Path | None = None,
    sample: str,
    encoder: str,
    folds: Sequence[Path] = (),
    folder: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    batch: int = 64,
    scratch: Path | None = None,
    code: str = "",
) -> dict[str, Any]:
    """Build what a row of the encoder table describes and write the embeddings of one sample.

    Parameters
    ----------
    path, patches, slide, sample, encoder, batch, scratch
        As for `write_embeddings`.
    row
        The encoder's row; for a recipe that of its base, with the builder `finetuned`.
    folds
        A recipe's weight files, one a fold; refused ones are folds that do not exist.
    folder
        Where a relative path of a weights file lies; None is the working folder.
    seed
        Of random weights.
    device
        `auto`, `cpu` or `cuda`.
    code
        Hash of the code that runs: rows that other code left in `scratch` are computed again.

    Returns
    -------
    measures
        JSON types: `patches`, `dims` of each dataset written, and `weights_sha256` where the row states it (it was
        checked before the weights were opened).

    Raises
    ------
    EncoderUnavailable
        If the weights cannot be had.
    Refusal
        If no fold was trained, or an embedding is not finite.
    """
    spec = EncoderSpec.from_row(row)
    builder = ENCODERS.load(spec.builder)

    def build(spec: EncoderSpec) -> Encoder:
        return builder.build(spec, folder=folder, seed=seed, device=device)

    if spec.builder == "finetuned":
        named = {f"fold{fold}/embeddings": build(spec.at(file)) for fold, file in builder.fold_files(folds)}
    else:
        named = {"embeddings": build(spec)}
    made_by = resumed.key_of(spec.as_dict(), [stamp(file) for file in folds], seed, device, batch, code)
    count = write_embeddings(
        path,
        patches,
        named,
        slide=slide,
        sample=sample,
        encoder=encoder,
        batch=batch,
        scratch=scratch,
        made_by=made_by,
    )
    return {
        "patches": count,
        "dims": {name: one.dim for name, one in named.items()},
        **({"weights_sha256": spec.sha256} if spec.sha256 else {}),
    }


def write_embeddings(
    path: Path,
    patches: Path,
    named: Mapping[str, Encoder],
    *,
    slide: Path | None = None,
    sample: str,
    encoder: str,
    batch: int,
    scratch: Path | None = None,
    made_by: str = "",
) -> int:
    """Stream one sample's patches through encoders and write the embeddings, in the order of the patches.

    Parameters
    ----------
    path
        HDF5 file to write: `barcode` (N, 1) str and one dataset (N, dim) float32 an encoder; attributes
        `sample` and `encoder`.
    patches
        HDF5 file with `barcode` (N, 1) str, and `img` (N, H, W, 3) uint8 or the places of the patches.
    slide
        The sample's pyramid, from which patches are cut where `patches` holds only their places.
    named
        Dataset name -> encoder: `embeddings`, or `fold{k}/embeddings` for one trained per fold.
    batch
        Patches read and embedded at a time; it bounds the memory and changes no number beyond float32 rounding.
    scratch
        A folder in which rows outlive a job that is killed: the next one goes on behind the last whole batch, and
        writes the same bytes. None begins anew each time.
    made_by
        What encoders, transforms and batches are: rows of others, or of other patches, are computed again.

    Returns
    -------
    n_patches

    Raises
    ------
    Refusal
        If an encoder yields a number that is not finite, or there are neither pictures nor a slide.
    """
    widths = {name: one.dim for name, one in named.items()}
    key = resumed.key_of(made_by, stamp(patches), stamp(slide) if slide else None)
    with contextlib.ExitStack() as stack:
        read = stack.enter_context(PatchReader(patches, slide))
        folder = scratch or Path(stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent))) / "rows"
        kept = stack.enter_context(ResumedRows(folder, key, widths))
        count = len(read)
        shown = tqdm(total=count, initial=kept.done, desc=f"{encoder} {sample}", unit="patch", disable=None)
        for rows in _slices(kept.done, count, batch):
            images = read.images(rows.start, rows.stop)
            kept.append(
                {
                    name: _finite(one.encode(images), f"{encoder} ({name})", read.barcodes, rows)
                    for name, one in named.items()
                }
            )
            shown.update(len(images))
        shown.close()
        with h5py.File(path, "w") as written:
            written.attrs["sample"] = sample
            written.attrs["encoder"] = encoder
            written.create_dataset("barcode", data=read.barcodes, dtype=h5py.string_dtype())
            for name, width in widths.items():
                table = written.create_dataset(name, (count, width), "float32")
                for rows in _slices(0, count, ROWS_AT_A_TIME):
                    table[rows] = kept.rows(name, rows.start, rows.stop)
        kept.remove()
    return count


def stamp(path: Path) -> list[Any]:
    """What tells one state of a file from another without reading it: its name, size and time of change."""
    said = path.stat()
    return [str(path), said.st_size, said.st_mtime_ns]


def _slices(first: int, count: int, batch: int) -> Iterator[slice]:
    return (slice(start, min(start + batch, count)) for start in range(first, count, batch))


def _finite(embeddings: np.ndarray, what: str, barcodes: np.ndarray, rows: slice) -> np.ndarray:
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
