"""The folder as a source of tasks for the workflow: what a job takes of a sample, the splits and the targets of a task.

What comes of it are the files that our own samples and tasks have, so that everything behind them is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spotweave.benchmark.targets import Chosen, Spots, Targets, write_targets
from spotweave.deposits.opening import open_hdf5, parsing
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.folds import samples_of
from spotweave.io import read_json, write_json
from spotweave.released.folder import joined_hash, read_task
from spotweave.released.scoring import read_spots, require_patches

PIXEL_SIZE, SOURCE_PX = "pixel_size", "patch_size_src"
# Of pictures that do not state it: all spots lie in one block then, and there are no intervals.
UNKNOWN_UM = 0.0
# A patch is cut with a whole number of pixels, some hundreds: its scale is the asked one but for this share.
SCALE_OFF = 0.02


@dataclass(frozen=True)
class Asked:
    """What patches are expected to be.

    Attributes
    ----------
    size_px, um_per_px
        Of a patch in the configuration: encoders were held against those.
    needs_um
        Whether a chosen method needs to know how large a pixel of the slide is.
    """

    size_px: int
    um_per_px: float
    needs_um: bool = False


def take_sample(
    root: Path, task: str, sample: str, asked: Asked, patches: Path, targets: Path, alignment: Path
) -> dict[str, Any]:
    """Look at all that a sample's files hold, and write what its embeddings and scores are made of.

    Parameters
    ----------
    root, task
        The released folder, and the folder in it.
    patches
        HDF5 file to write: `barcode` and `coords` of the released one with the sizes of ours, and `img`, which leads to
        the pictures there.
    targets
        As `targets.h5`, of this sample alone.
    alignment
        JSON with `pixel_size_um`; 0 where the pictures do not state it.

    Returns
    -------
    measures
        JSON types: `patches`, `size_px`, `pixel_size_um` and the SHA-256 of both files.

    Raises
    ------
    Refusal
        If the folder cannot be read, or a file is not what it should be.
    """
    read = read_task(root, task)
    if sample not in read.samples:
        raise Refusal(f"{task}/splits: {sample} is in no csv any more; run again")
    files = read.samples[sample]
    spots = read_spots(files, read.genes)
    barcodes, _, side = require_patches(files.patches)
    pixel_size_um = _require_asked(files.patches, side, asked)
    _lead_to(files.patches, patches, side, asked.um_per_px, pixel_size_um)
    write_targets(targets, {sample: spots}, {0: Chosen(read.genes)})
    write_json(alignment, {f"{PIXEL_SIZE}_um": pixel_size_um})
    return {
        "patches": len(barcodes),
        "size_px": side,
        "pixel_size_um": pixel_size_um,
        "sha256": list(files.hashes()),
    }


def split_task(root: Path, name: str, task: str, records: Mapping[str, Path]) -> dict[str, Any]:
    """Content of `splits.json`: the folder's folds, or none and the reason.

    A task stands or falls whole: without one of its samples it is another task than the published one.

    Parameters
    ----------
    root, name
        The released folder, and the folder in it.
    task
        What the task is called here.
    records
        Sample id -> the record of `take_sample`.
    """
    said = {sample: read_json(path) for sample, path in records.items()}
    refused = {sample: record["reason"] for sample, record in said.items() if record["status"] == "refused"}
    nothing: dict[str, Any] = {"task": task, "donors": {}, "folds": [], "data_sha256": None}
    nothing["left_out"] = [{"sample_id": sample, "reason": f"refused: {why}"} for sample, why in refused.items()]
    if refused:
        return {**nothing, "reason": f"the released task is left out: {next(iter(refused.values()))}"}
    try:
        read = read_task(root, name)
    except Refusal as refusal:
        return {**nothing, "reason": f"the released task is left out: {refusal.reason}"}
    hashes = {sample: record["measures"]["sha256"] for sample, record in said.items()}
    return {**read.splits(task), "data_sha256": joined_hash(read.splits_hash, hashes)}


def gather_targets(splits: Mapping[str, Any], of_sample: Mapping[str, Path], path: Path) -> None:
    """Write `targets.h5` of a task: the folder's genes in every fold, whatever the protocol.

    Parameters
    ----------
    splits
        Content of `splits.json`.
    of_sample
        Sample id -> its targets. Samples outside the folds are not read.
    """
    spots: dict[str, Spots] = {}
    chosen = Chosen([])
    for name in samples_of(splits):
        with Targets(of_sample[name]) as targets:
            spots[name], chosen = targets.spots(name), targets.fold(0)
    write_targets(path, spots, {split["fold"]: chosen for split in splits["folds"]})


def _require_asked(raw: RawFile, side: int, asked: Asked) -> float:
    """um per px of level 0, as HEST-1k writes it beside pictures or places; 0 where it does not."""
    if side != asked.size_px:
        why = f"patches of {side} px; say patch: size_px: {side} in the configuration"
        raise Refusal(f"{raw.name}: {why}", measured=side, threshold=asked.size_px)
    with open_hdf5(raw) as file, parsing(raw.name):
        said = {name: _numbers(file, name) for name in (PIXEL_SIZE, SOURCE_PX)}
    pixel_size_um, source_px = (next(iter(said[name]), UNKNOWN_UM) for name in (PIXEL_SIZE, SOURCE_PX))
    if not pixel_size_um and asked.needs_um:
        why = "its pictures state no pixel_size, which methods that see pictures need: run it without such methods"
        raise Refusal(f"{raw.name}: {why}")
    um_per_px = pixel_size_um * source_px / side
    if um_per_px and abs(um_per_px / asked.um_per_px - 1) > SCALE_OFF:
        why = f"patches of {um_per_px:.3g} um/px; say patch: pixel_size_um: {um_per_px:.3g} in the configuration"
        raise Refusal(f"{raw.name}: {why}", measured=um_per_px, threshold=asked.um_per_px)
    return pixel_size_um


def _numbers(file: h5py.File, name: str) -> list[float]:
    """What pictures and places state under a name, where it is a number above 0."""
    said = [np.asarray(file[one].attrs.get(name, UNKNOWN_UM)) for one in ("img", "coords")]
    numbers = [float(one) for one in said if one.ndim == 0 and one.dtype.kind in "fiu"]
    return [number for number in numbers if isfinite(number) and number > 0]


def _lead_to(raw: RawFile, path: Path, side: int, um_per_px: float, pixel_size_um: float) -> None:
    """A file of patches whose pictures stay where they are: a copy of all tasks would be some tens of GB."""
    with open_hdf5(raw) as source, h5py.File(path, "w") as file:
        file["img"] = h5py.ExternalLink(str(raw.path.resolve()), "/img")
        for name in ("coords", "barcode"):
            file[name] = source[name][...]
        file["coords"].attrs.update({"patch_size_target": side, "pixel_size_target": um_per_px})
        if pixel_size_um:
            file["coords"].attrs[PIXEL_SIZE] = pixel_size_um
