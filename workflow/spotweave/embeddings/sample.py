"""One sample's patches through an encoder, or through the encoders a recipe trained, into one file."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tqdm import tqdm

from spotweave.embeddings.batches import read_batches, slices
from spotweave.embeddings.rows import ROWS, all_there, finite, rows_key, scratch_together, what_makes
from spotweave.encoders import ENCODERS, Encoder
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
    ahead: bool = False,
    code: str = "",
) -> dict[str, Any]:
    """Build what a row of the encoder table describes and write the embeddings of one sample.

    Where a job that embeds with several encoders has left the rows beside `scratch`, they are taken, nothing is built.

    Parameters
    ----------
    path, patches, slide, sample, encoder, batch, scratch, ahead
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
    made_by = what_makes(spec, folds, folder, seed, device, batch, code)
    together = scratch and scratch_together(scratch)
    named: dict[str, Encoder]
    if spec.builder == "finetuned":
        finetuned = ENCODERS.load(spec.builder)
        named = {
            f"fold{fold}/{ROWS}": finetuned.build(spec.at(file), folder=folder, seed=seed, device=device)
            for fold, file in finetuned.fold_files(folds)
        }
    elif together and all_there(together, rows_key(made_by, patches, slide), spec.dim, patches):
        named, scratch = {ROWS: _Embedded(spec.dim)}, together
    else:
        named = {ROWS: ENCODERS.load(spec.builder).build(spec, folder=folder, seed=seed, device=device)}
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
        ahead=ahead,
    )
    if together:
        shutil.rmtree(together, ignore_errors=True)
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
    ahead: bool = False,
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
    ahead
        Read the next patches in a thread of their own, as `read_batches`.

    Returns
    -------
    n_patches

    Raises
    ------
    Refusal
        If an encoder yields a number that is not finite, or there are neither pictures nor a slide.
    """
    widths = {name: one.dim for name, one in named.items()}
    with contextlib.ExitStack() as stack:
        read = stack.enter_context(PatchReader(patches, slide))
        folder = scratch or Path(stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent))) / "rows"
        kept = stack.enter_context(ResumedRows(folder, rows_key(made_by, patches, slide), widths))
        count = len(read)
        shown = tqdm(total=count, initial=kept.done, desc=f"{encoder} {sample}", unit="patch", disable=None)
        for rows, images in read_batches(read, kept.done, batch, ahead=ahead):
            kept.append(
                {
                    name: finite(one.encode(images), f"{encoder} ({name})", read.barcodes, rows)
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
                for rows in slices(0, count, ROWS_AT_A_TIME):
                    table[rows] = kept.rows(name, rows.start, rows.stop)
        kept.remove()
    return count


@dataclass
class _Embedded:
    """Stands for an encoder whose rows are all there."""

    dim: int

    def encode(self, batch: np.ndarray) -> np.ndarray:
        raise AssertionError("its rows are all there")
