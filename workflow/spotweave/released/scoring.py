"""A task of the released folder under a protocol: one encoder's embeddings in, a score for every fold out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spotweave.benchmark.fitting import Cell, predict_fold
from spotweave.benchmark.predictions import PREDICTED, write_prediction
from spotweave.benchmark.scoring import Scoring, score_fold
from spotweave.benchmark.targets import Chosen, Spots, Targets, write_targets
from spotweave.deposits.opening import open_hdf5, parsing
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.released.folder import ReleasedSample, ReleasedTask

# Of no consequence here: blocks are drawn for intervals, which a table of published means has none of.
BLOCK_UM = 1500.0


def require_patches(raw: RawFile) -> tuple[list[str], np.ndarray, int]:
    """Barcodes, (N, 2) float64 places in px and the side in px of a file of patches.

    Raises
    ------
    Refusal
        If it is not N square pictures of eight bits in three colours, each with a barcode of its own and a place.
    """
    with open_hdf5(raw) as file:
        for name in ("img", "barcode", "coords"):
            if not isinstance(file.get(name), h5py.Dataset):
                raise Refusal(f"{raw.name}: no dataset `{name}` in it; download it again")
        shape, count = file["img"].shape, len(file["barcode"])
        if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3 or file["img"].dtype != np.uint8:
            raise Refusal(f"{raw.name}: `img` is {shape} {file['img'].dtype}, allowed: (N, side, side, 3) uint8")
        if shape[0] != count or file["coords"].shape != (count, 2) or file["barcode"].size != count or not count:
            raise Refusal(f"{raw.name}: {shape[0]} pictures, {count} barcodes, places {file['coords'].shape}: no match")
        # HEST-Library's reader takes (N, 1) and (N,), and so does this one; what embeds takes (N, 1).
        if file["barcode"].shape != (count, 1):
            raise Refusal(f"{raw.name}: `barcode` is {file['barcode'].shape}, allowed: ({count}, 1)")
        with parsing(raw.name):
            barcodes = [str(one) for one in file["barcode"].asstr()[...].reshape(-1)]
        if len(set(barcodes)) != count:
            raise Refusal(f"{raw.name}: a barcode is there twice; download it again")
        return barcodes, file["coords"][...].astype(np.float64), int(shape[1])


def read_spots(sample: ReleasedSample, genes: Iterable[str]) -> Spots:
    """Counts of genes, sorted by name, at the patches of a sample, in the order of its patches.

    Raises
    ------
    Refusal
        If a gene or the barcode of a patch is not in the counts, or these are no counts.
    """
    from anndata.io import read_elem
    from scipy.sparse import csr_matrix

    from spotweave.matrices.h5ad import read_frame

    names, places, _ = require_patches(sample.patches)
    raw, wanted = sample.expression, sorted(genes)
    with open_hdf5(raw) as file, parsing(raw.name, "h5ad file"):
        for name in ("obs", "var", "X"):
            if name not in file:
                raise Refusal(f"{raw.name}: no `{name}` in it; download it again")
        known, var = (list(map(str, read_frame(raw.name, file[name], name).index)) for name in ("obs", "var"))
        counts = csr_matrix(read_elem(file["X"]))
    if counts.shape != (len(known), len(var)):
        raise Refusal(
            f"{raw.name}: counts {counts.shape} for {len(known)} spots and {len(var)} genes; download it again"
        )
    if not np.isfinite(counts.data).all() or (counts.data < 0).any():
        raise Refusal(f"{raw.name}: X has values below 0 or none at all; raw counts are expected")
    rows = _places_of(known, names, f"{raw.name}: no spot for the patch")
    columns = _places_of(var, wanted, f"{raw.name}: no gene")
    at_spots = counts[rows]
    totals = np.asarray(at_spots.sum(axis=1, dtype=np.float64)).ravel()
    return Spots(names, places, totals, at_spots[:, columns].toarray().astype(np.float32), wanted)


def score_task(task: ReleasedTask, embeddings: Mapping[str, Path], cell: Cell, folder: Path) -> dict[str, Any]:
    """Fit and score every fold of a task.

    Parameters
    ----------
    embeddings
        Sample id -> `embeddings.h5`, a row a patch.
    folder
        Where counts and predictions are kept meanwhile.

    Returns
    -------
    scores
        JSON types: `task`, `protocol`, `encoder`, `probe`, `seed`, `components` (of the fold with fewest; None where
        the probe keeps none), `pearson_mean` over folds, `pearson_std` (divided by n), and `folds`, each with `fold`,
        `pearson_mean` and `pearson` by gene, None where it is undefined, as it is left out of the mean.

    Raises
    ------
    Refusal
        If a fold cannot be predicted; the message says why.
    """
    splits, path = task.splits(), folder / "targets.h5"
    samples = {name: read_spots(sample, task.genes) for name, sample in task.samples.items()}
    write_targets(path, samples, {split["fold"]: Chosen(task.genes) for split in task.folds})
    scoring = Scoring(splits, cell.protocol, ["pearson"], cell.seed, BLOCK_UM)
    folds: list[dict[str, Any]] = []
    components = []
    with Targets(path) as targets:
        for number in range(len(task.folds)):
            prediction = predict_fold(cell, number, splits, targets, embeddings)
            if prediction.status != PREDICTED:
                raise Refusal(f"task {task.name}, fold {number}: {prediction.reason}")
            kept = folder / f"fold{number}.h5"
            write_prediction(kept, prediction)
            labels = {**scoring.labels(), "predictor": f"{cell.encoder}+{cell.probe}", "fold": number}
            row, table = score_fold(scoring, targets, labels, kept)
            values = table.to_pandas().groupby("gene")["value"].mean().reindex(task.genes)
            mean = float(values.mean())
            if not np.isfinite(mean):
                raise Refusal(
                    f"task {task.name}, fold {number}: no correlation is defined ({row.reason or 'constant'})"
                )
            by_gene = {gene: None if np.isnan(value) else float(value) for gene, value in values.items()}
            folds.append({"fold": number, "pearson_mean": mean, "pearson": by_gene})
            components.append(row.components)
    means = [fold["pearson_mean"] for fold in folds]
    known = [int(one) for one in components if one is not None]
    return {
        "task": task.name,
        "protocol": cell.protocol,
        "encoder": cell.encoder,
        "probe": cell.probe,
        "seed": cell.seed,
        "components": min(known) if known else None,
        "pearson_mean": float(np.mean(means)),
        "pearson_std": float(np.std(means)),
        "folds": folds,
    }


def _places_of(known: list[str], wanted: Iterable[str], missing: str) -> list[int]:
    place = {name: at for at, name in enumerate(known)}
    if len(place) != len(known):
        raise Refusal(f"{missing.partition(':')[0]}: a name of a spot or gene is there twice; download it again")
    found = []
    for name in wanted:
        if name not in place:
            raise Refusal(f"{missing} {name[:100]}; download the task again")
        found.append(place[name])
    return found
