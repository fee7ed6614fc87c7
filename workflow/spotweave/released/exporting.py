"""A task of ours in the layout of HEST-Benchmark's released folder, for code that reads that."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spotweave.benchmark.targets import Targets
from spotweave.errors import Refusal
from spotweave.expression.samples import Expression, read_expression, with_meeting_genes
from spotweave.folds import samples_of, shared_samples
from spotweave.io import own_part_path, remove, write_json
from spotweave.released import GENES_FILE, SPLIT_COLUMNS
from spotweave.slide.patch_files import PatchReader

ROWS_AT_A_TIME = 64


@dataclass(frozen=True)
class StoredSample:
    """Files of a sample's stages; the slide is read only where its patches hold no pictures."""

    expression: Path
    patches: Path
    slide: Path | None = None


def stored(samples: Path, name: str) -> StoredSample:
    """The files of a sample in the store of a dataset."""
    folder = samples / name
    return StoredSample(folder / "st.h5ad", folder / "patches.h5", folder / "slide.tif")


def export_task(
    splits: Mapping[str, Any], targets: Targets, samples: Mapping[str, StoredSample], folder: Path
) -> list[str]:
    """Write a task's folder, whole or not at all.

    Spots are those under tissue that have a patch, in the order of `st.h5ad`: the same scores come of it.

    Parameters
    ----------
    splits
        Content of `splits.json`.
    targets
        Of a protocol that chooses the same genes for all folds, as `hest_exact` does.
    samples
        Sample id -> its files; those outside the folds are not read.
    folder
        The task's folder, which must not be there yet.

    Returns
    -------
    samples
        What was written, sorted.

    Raises
    ------
    Refusal
        If the layout cannot hold the task: no folds, parts of a sample on both sides, other genes in each fold.
    """
    genes = _require(splits, targets, folder)
    names = samples_of(splits)
    read = with_meeting_genes([read_expression(samples[name].expression, name) for name in names])
    part = own_part_path(folder)
    try:
        for below in ("patches", "adata", "splits"):
            (part / below).mkdir(parents=True)
        for expression in read:
            _write_sample(expression, samples[expression.sample_id], part)
        for split in splits["folds"]:
            for side in ("train", "test"):
                _write_side(part / f"splits/{side}_{split['fold']}.csv", split[side])
        write_json(part / GENES_FILE, {"genes": genes})
        part.replace(folder)
    finally:
        remove(part)
    return names


def _require(splits: Mapping[str, Any], targets: Targets, folder: Path) -> list[str]:
    """The genes of all folds."""
    task = splits["task"]
    if folder.exists() or folder.is_symlink():
        raise Refusal(f"{folder}: there already; name another folder, or remove it")
    if not splits["folds"]:
        raise Refusal(f"task {task} has no folds ({splits['reason']}): there is nothing to export")
    chosen = [targets.fold(split["fold"]) for split in splits["folds"]]
    for split, of_fold in zip(splits["folds"], chosen, strict=True):
        shared = shared_samples(split)
        if shared:
            raise Refusal(f"task {task}: {shared[0]} is on both sides of fold {split['fold']}; the layout has no parts")
        if of_fold.reason:
            raise Refusal(f"task {task}, fold {split['fold']}: {of_fold.reason}")
        if of_fold.genes != chosen[0].genes:
            raise Refusal(f"task {task}: each fold has genes of its own, the layout one list; export hest_exact's")
    return list(chosen[0].genes)


def _write_sample(expression: Expression, sample: StoredSample, folder: Path) -> None:
    import anndata
    import pandas as pd

    name = expression.sample_id
    with PatchReader(sample.patches, sample.slide) as read:
        row_of = {barcode: row for row, barcode in enumerate(read.names())}
        kept = [barcode for barcode in expression.barcodes.tolist() if barcode in row_of]
        if not kept:
            raise Refusal(f"{name}: none of its spots under tissue has a patch")
        _write_patches(folder / f"patches/{name}.h5", read, [row_of[barcode] for barcode in kept], kept)
    own = expression.spots(kept)
    var = pd.DataFrame(index=pd.Index(own.genes.astype(object)))
    if own.gene_ids is not None:
        var["gene_id"] = own.gene_ids.astype(object)
    obs = pd.DataFrame({"in_tissue": np.ones(len(kept), dtype=np.int64)}, index=pd.Index(kept, dtype=object))
    table = anndata.AnnData(own.counts, obs=obs, var=var, obsm={"spatial": own.positions_px})
    table.write_h5ad(folder / f"adata/{name}.h5ad")


def _write_patches(path: Path, read: PatchReader, rows: Sequence[int], barcodes: Sequence[str]) -> None:
    """`img`, `coords` and `barcode` of these rows, in their order; pictures are read in the order of their file."""
    place = {row: at for at, row in enumerate(rows)}
    with h5py.File(path, "w") as file:
        said = dict(read.file["coords"].attrs)
        pictures = None
        for start in range(0, len(read), ROWS_AT_A_TIME):
            images = read.images(start, start + ROWS_AT_A_TIME)
            if pictures is None:
                side = images.shape[1:]
                pictures = file.create_dataset("img", (len(rows), *side), np.uint8, chunks=(1, *side))
                pictures.attrs.update(said)
            for row, image in enumerate(images, start=start):
                if row in place:
                    pictures[place[row]] = image
        file["coords"] = read.file["coords"][...][list(rows)]
        names = np.array(barcodes, dtype=object).reshape(-1, 1)
        file.create_dataset("barcode", data=names, dtype=h5py.string_dtype())


def _write_side(path: Path, names: Sequence[str]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as handle:
        table = csv.writer(handle, lineterminator="\n")
        table.writerow(SPLIT_COLUMNS)
        table.writerows([name, f"patches/{name}.h5", f"adata/{name}.h5ad"] for name in names)
