"""Simulated samples on disk, and the whole way from them to the scores of a probe over an encoder."""

from __future__ import annotations

import json
from dataclasses import dataclass

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse

from spotweave import metrics, protocols
from spotweave.benchmark import long_table
from spotweave.benchmark.choosing import choose_genes
from spotweave.benchmark.fitting import Cell, predict_fold
from spotweave.benchmark.folds_table import FoldRow
from spotweave.benchmark.predictions import Prediction, write_prediction
from spotweave.benchmark.scoring import Scoring, score_fold
from spotweave.benchmark.splits import make_splits
from spotweave.benchmark.targets import Targets
from spotweave.benchmark.tasks import Task
from spotweave.splitting import Member

DIMENSIONS, GENES = 16, 60
TASK = Task("demo", 20, None, 0.1, "simulated")
DONOR_OF = {"a1": "A", "a2": "A", "b1": "B", "b2": "B"}
METRICS = ("pearson", "pearson_null95", "undefined_share")


@dataclass(frozen=True)
class Outcome:
    """What one fold came to: its row, its prediction, its part of the long table."""

    row: FoldRow
    prediction: Prediction
    scores: pd.DataFrame

    def values(self, metric="pearson"):
        """(U, G) values of the fold."""
        return long_table.folds_of(self.scores, metric)[self.row.fold]

    def by_gene(self, metric="pearson"):
        rows = self.scores[self.scores["metric"] == metric]
        return dict(zip(rows["gene"], rows["value"], strict=True))

    def __getitem__(self, column):
        """A column of the leaderboard, for this fold alone."""
        name = next(name for name in metrics.METRICS.names() if column in metrics.load(name).COLUMNS)
        return metrics.load(name).summarise([self.values(name)])[column]


class Cohort:
    """Samples on disk whose log expression is linear in the embedding (`signal` 1) or free of it (0)."""

    def __init__(self, folder, seed=0, donor_of=DONOR_OF, signal=1.0, spots=50, level=4.0):
        self.folder = folder
        self.donor_of = dict(donor_of)
        self.expression, self.embeddings = {}, {}
        rng = np.random.default_rng(seed)
        self.weights = rng.normal(size=(DIMENSIONS, GENES)) / np.sqrt(DIMENSIONS)
        level = level + rng.normal(size=GENES) / 2
        self.features, self.counts = {}, {}
        for name in donor_of:
            self.features[name] = rng.normal(size=(spots, DIMENSIONS)).astype(np.float32)
            log_mean = level + signal * 0.5 * self.features[name] @ self.weights
            self.counts[name] = rng.poisson(np.exp(log_mean)).astype(np.float32)
            self.write_expression(name)
            self.write_embeddings(name, {"embeddings": self.features[name]})

    def barcodes(self, name):
        return [f"{row}x{len(name)}" for row in range(len(self.counts[name]))]

    def genes(self):
        return [f"G{number:02d}" for number in range(GENES)]

    def write_expression(self, name, in_tissue=None, genes=None, gene_ids=None):
        counts = self.counts[name]
        rows = np.arange(len(counts))
        data = anndata.AnnData(
            scipy.sparse.csr_matrix(counts),
            obs=pd.DataFrame(
                {"in_tissue": np.ones(len(counts), int) if in_tissue is None else in_tissue},
                index=self.barcodes(name),
            ),
            var=pd.DataFrame(index=genes or self.genes()[: counts.shape[1]]),
        )
        if gene_ids is not None:
            data.var["gene_id"] = gene_ids
        data.obsm["spatial"] = np.stack([rows % 10, rows // 10], 1) * 100.0
        self.expression[name] = self.folder / f"{name}.h5ad"
        data.write_h5ad(self.expression[name])

    def write_embeddings(self, name, datasets, order=None):
        barcodes = np.array(self.barcodes(name), dtype=object)
        order = np.arange(len(barcodes)) if order is None else order
        self.embeddings[name] = self.folder / f"{name}.h5"
        with h5py.File(self.embeddings[name], "w") as file:
            file.create_dataset("barcode", data=barcodes[order][:, None], dtype=h5py.string_dtype())
            for dataset, features in datasets.items():
                file[dataset] = features[order]

    def cut(self, name, spots):
        """Keep the first spots of a sample only."""
        self.counts[name], self.features[name] = self.counts[name][:spots], self.features[name][:spots]
        self.write_expression(name)
        self.write_embeddings(name, {"embeddings": self.features[name]})

    def splits(self, n_folds=None):
        members = [Member(name, donor, 1) for name, donor in self.donor_of.items()]
        return make_splits("demo", n_folds, members)

    def choose(self, protocol="strict", splits=None):
        """Write `targets.h5` of a protocol; its path."""
        path = self.folder / f"targets.{protocol}.h5"
        choose_genes(TASK, protocols.load(protocol), splits or self.splits(), self.expression, path)
        return path

    def evaluate(
        self, protocol="strict", probe="ridge", encoder="colour", seed=1, splits=None, refusals=None, taken=METRICS
    ):
        """One outcome a fold; of a task without folds, one for the fold that it might have had."""
        splits = splits or self.splits()
        cell, scoring = Cell(protocol, encoder, probe, seed), Scoring(splits, protocol, taken, seed, 1000.0)
        outcomes = []
        with Targets(self.choose(protocol, splits)) as targets:
            for fold in range(max(1, len(splits["folds"]))):
                prediction = predict_fold(cell, fold, splits, targets, self.embeddings, refusals)
                path = self.folder / f"fold{fold}.prediction.h5"
                write_prediction(path, prediction)
                labels = {**scoring.labels(), "predictor": f"{encoder}+{probe}", "fold": fold}
                row, table = score_fold(scoring, targets, labels, path)
                outcomes.append(Outcome(row, prediction, table.to_pandas()))
        return outcomes

    def write_splits(self):
        path = self.folder / "splits.json"
        path.write_text(json.dumps(self.splits()))
        return path
