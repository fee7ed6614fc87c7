"""The other half of a tuned encoder: expression of spots, as it was described in training, into the same space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spotweave.errors import Refusal
from spotweave.expression.samples import Expression, read_expression
from spotweave.finetune.niches import neighbours_of, niche_rows
from spotweave.finetune.pairs import LOG_SHARE, RANK, log_shares_of
from spotweave.finetune.towers import ExpressionTower
from spotweave.networks.tower import fold_files, read_header, state_of, unfilled_tower

# Spots embedded at a time.
CHUNK = 1024


def describe_as(header: Mapping[str, Any], table: Expression) -> NDArray[np.float32]:
    """(N, G) float32, the spots of another sample as those were described that a fold's file was trained on.

    Genes that the sample does not have are nought, as if nothing was counted.

    Raises
    ------
    Refusal
        If it has none of them.
    """
    described, genes = header["described"], header["genes"]
    if described["by"] == RANK:
        from spotweave.finetune.ranked_genes import most_variable_by_rank

        return np.asarray(most_variable_by_rank(len(genes))(table), np.float32)
    there = set(table.genes.tolist())
    if not there & set(genes):
        raise Refusal(f"{table.sample_id} has none of the {len(genes)} genes of {header['recipe']}", measured=0)
    places = [place for place, gene in enumerate(genes) if gene in there]
    own = [genes[place] for place in places]
    found = np.zeros((len(table.barcodes), len(genes)), np.float32)
    if described["by"] == LOG_SHARE:
        found[:, places] = log_shares_of(own)(table)
    else:
        from spotweave.finetune.ranked_genes import Overlap

        common = [gene for gene in described["common"] if gene in there]
        found[:, places] = Overlap(own, common, described["median"]).describe(table)
    return found


def embed_expression(path: Path, table: Expression) -> NDArray[np.float32]:
    """(N, D) embeddings of a sample's spots by the file of a fold, in the space that its patches are embedded in.

    Raises
    ------
    Refusal
        If the file embeds pictures only, or the sample has none of its genes.
    """
    header = read_header(path)
    if "expression" not in header:
        raise Refusal(f"{header['recipe']} learned from pictures only: it embeds no expression")
    values = describe_as(header, table)
    if header["expression"]["network"] == "stalign":
        network: Any = unfilled_tower(header)
        network.load_state_dict(state_of(path))
        near = neighbours_of(table.positions_px, np.zeros(len(values), np.int64), header["stalign"]["neighbours"])
        niches = niche_rows(values, near) if len(values) else values
        spots = _gene_model(header["scgpt"]).embed(table) if "scgpt" in header else values
        return _in_parts(network.eval().expression, spots, niches)
    tower = _tower(header, state_of(path, expression=True))
    return _in_parts(tower.eval(), values)


def _gene_model(said: Mapping[str, str]) -> Any:
    from spotweave.finetune.scgpt import ScGptSpots

    return ScGptSpots(Path(said["folder"]), said["sha256"])


def _tower(header: Mapping[str, Any], state: dict[str, torch.Tensor]) -> nn.Module:
    said, genes, dim = header["expression"], len(header["genes"]), header["embedding_dim"]
    tower: nn.Module
    if said["network"] == "mlp":
        tower = ExpressionTower(torch.zeros(genes), torch.ones(genes), said["hidden"], dim)
    else:
        tower = nn.Linear(genes, dim)
    tower.load_state_dict(state)
    return tower


def _in_parts(embed: Any, *values: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        parts = [
            embed(*(torch.from_numpy(side[start : start + CHUNK]) for side in values)).numpy()
            for start in range(0, max(len(values[0]), 1), CHUNK)
        ]
    found: NDArray[np.float32] = np.concatenate(parts)
    return found


def write_expression_embeddings(path: Path, expression: Path, sample: str, folds: Sequence[Path]) -> dict[str, Any]:
    """Write `fold{k}/embeddings` (N, D) float32 and `barcode` (N, 1) of a `st.h5ad`, as embeddings of patches lie.

    Parameters
    ----------
    folds
        A recipe's weight files; refused ones are folds that do not exist.

    Raises
    ------
    Refusal
        If no fold was trained, or the recipe embeds no expression, or the sample has none of its genes.
    """
    table = read_expression(expression, sample)
    found = {fold: embed_expression(file, table) for fold, file in fold_files(folds)}
    with h5py.File(path, "w") as file:
        for fold, rows in found.items():
            file[f"fold{fold}/embeddings"] = rows
        names = np.array(table.barcodes.tolist(), dtype=object).reshape(-1, 1)
        file.create_dataset("barcode", data=names, dtype=h5py.string_dtype())
    return {"spots": len(table.barcodes), "folds": sorted(found)}
