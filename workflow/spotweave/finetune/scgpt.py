"""Spots through scGPT, frozen: its folder opened with care, counts as its tokens, one vector a spot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.expression.binned import binned
from spotweave.expression.samples import Expression
from spotweave.io import file_hash
from spotweave.networks.scgpt import ScGpt, Sizes, filled
from spotweave.networks.spec import ModelUnavailable
from spotweave.networks.transform import pick_device
from spotweave.networks.weights import UNREADABLE

VOCABULARY, ARGUMENTS, WEIGHTS = "vocab.json", "args.json", "best_model.pt"
FIRST = "<cls>"
# Tokens of a spot at most, the first one among them, unless its arguments say otherwise.
MOST_TOKENS = 1200
# Spots at a time.
BATCH = 16
MODEL = "gene encoder scgpt"
STEPS = (
    f"get the folder of the whole-human model ({VOCABULARY}, {ARGUMENTS}, {WEIGHTS}) from the model zoo of"
    " https://github.com/bowang-lab/scGPT",
    "name it in the recipe's column gene_weights, and the SHA-256 of its weights in gene_sha256",
    "run again with --forcerun finetune_encoder; or let gene_encoder mlp or pca stand in for it, which results say",
)


class ScGptSpots:
    """scGPT of a folder as it was published.

    Parameters
    ----------
    folder
        Holds its vocabulary, its arguments and its weights.
    sha256
        That its weights have to have; empty for any.

    Raises
    ------
    ModelUnavailable
        If a file is missing, is another one than stated or does not fit the others; in one line, with the steps.
    """

    def __init__(self, folder: Path, sha256: str = "", device: str = "auto") -> None:
        missing = [name for name in (VOCABULARY, ARGUMENTS, WEIGHTS) if not (folder / name).is_file()]
        if missing:
            raise ModelUnavailable(MODEL, f"no file {folder / missing[0]}.", STEPS)
        self.sha256 = file_hash(folder / WEIGHTS)
        if sha256 and self.sha256 != sha256:
            said = f"{folder / WEIGHTS} has the SHA-256 {self.sha256}, expected is {sha256}."
            raise ModelUnavailable(MODEL, said, STEPS)
        try:
            self.vocabulary: dict[str, int] = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
            said = json.loads((folder / ARGUMENTS).read_text(encoding="utf-8"))
            self.network, self.width = _network(folder / WEIGHTS, self.vocabulary, said)
            self.padding, self.pad_value = self.vocabulary[said["pad_token"]], float(said["pad_value"])
            self.first, self.bins = self.vocabulary[FIRST], int(said["n_bins"])
            self.most = int(said.get("max_seq_len", MOST_TOKENS)) - 1
        except UNREADABLE as error:
            detail = " ".join(str(error).split())[:300]
            raise ModelUnavailable(MODEL, f"{folder} does not hold scGPT: {detail}.", STEPS) from error
        self.device = pick_device(device)
        self.network = self.network.to(self.device)
        # Of more genes than it takes scGPT draws some; here the same ones go first every time.
        self.order = np.random.default_rng(0).permutation(max(self.vocabulary.values()) + 1)

    def tokens(self, table: Expression) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Tokens (N, T) and values (N, T) of a sample's spots; what is not there is padding.

        Raises
        ------
        Refusal
            If the sample has no gene of the vocabulary.
        """
        known = np.array([self.vocabulary.get(gene, -1) for gene in table.genes.tolist()], np.int64)
        if not (known >= 0).any():
            raise Refusal(f"{table.sample_id} has no gene of scGPT's vocabulary: it is of human symbols", measured=0)
        rows = [self._spot(row, known) for row in table.counts[:, known >= 0]]
        longest = max(len(one) for one, _ in rows)
        tokens = np.full((len(rows), longest), self.padding, np.int64)
        values = np.full((len(rows), longest), self.pad_value, np.float32)
        for place, (one, own) in enumerate(rows):
            tokens[place, : len(one)], values[place, : len(one)] = one, own
        return tokens, values

    def _spot(self, row: Any, known: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        counted = row.data > 0
        genes, bins = known[known >= 0][row.indices[counted]], binned(row.data[counted], self.bins)
        kept = np.argsort(self.order[genes])[: self.most]
        return np.append(self.first, genes[kept]), np.append(self.pad_value, bins[kept])

    def embed(self, table: Expression) -> NDArray[np.float32]:
        """(N, width) float32 of unit length, one row a spot.

        Raises
        ------
        Refusal
            As `tokens`.
        """
        tokens, values = self.tokens(table)
        found = []
        with torch.inference_mode():
            for start in range(0, len(tokens), BATCH):
                one = torch.from_numpy(tokens[start : start + BATCH]).to(self.device)
                own = torch.from_numpy(values[start : start + BATCH]).to(self.device)
                found.append(self.network(one, own, one != self.padding).cpu().numpy())
        rows = np.concatenate(found).astype(np.float32)
        unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


def _network(path: Path, vocabulary: Mapping[str, int], said: Mapping[str, Any]) -> tuple[ScGpt, int]:
    if said.get("input_emb_style", "continuous") != "continuous":
        raise ValueError(f"input_emb_style {said['input_emb_style']!r}, allowed: continuous")
    sizes = Sizes(len(vocabulary), said["embsize"], said["nheads"], said["d_hid"], said["nlayers"])
    return filled(sizes, torch.load(path, map_location="cpu", weights_only=True)), sizes.dim
