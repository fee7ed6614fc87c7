"""Which genes each fold of a task predicts under a protocol, and their counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from spotweave.benchmark.targets import Chosen, Spots, write_targets
from spotweave.benchmark.tasks import Task
from spotweave.expression.gene_lists import SPARSE_BOTH, VARIABLE
from spotweave.expression.gene_names import why_they_do_not_meet
from spotweave.expression.gene_sets import choose, chosen_from_training
from spotweave.expression.samples import Expression, columns, read_expression, with_meeting_genes
from spotweave.folds import Side, rows_of, samples_of, shared_samples
from spotweave.protocols import Protocol


def choose_genes(
    task: Task,
    protocol: Protocol,
    splits: Mapping[str, Any],
    expression: Mapping[str, Path],
    path: Path,
    listed: Sequence[str] = (),
) -> None:
    """Write `targets.h5` of a task under a protocol.

    Parameters
    ----------
    splits
        Content of `splits.json`.
    expression
        Sample id -> `st.h5ad`. Samples outside the folds, refused ones among them, are not read.
    path
        The file to write.
    listed
        The names of the task's list of genes, where it names one.
    """
    names = samples_of(splits)
    read = [read_expression(expression[name], name) for name in tqdm(names, desc="expression", disable=None)]
    counts = dict(zip(names, with_meeting_genes(read), strict=True))
    every = list(counts.values())
    asked = protocol.genes_of(task.genes)
    if asked != task.genes:
        task, listed = replace(task, genes=asked), ()
    from_all = protocol.genes_from == "all" and not chosen_from_training(task.genes)
    folds = {
        split["fold"]: genes_of_fold(
            task,
            every if from_all else side_of(split, "train", counts),
            listed,
            side_of(split, "test", counts) if task.genes == SPARSE_BOTH else (),
        )
        for split in tqdm(splits["folds"], desc="folds", disable=None)
    }
    union = sorted({gene for chosen in folds.values() for gene in chosen.genes})
    write_targets(path, {name: spots_of(sample, union) for name, sample in counts.items()}, folds)


def side_of(split: Mapping[str, Any], side: Side, counts: Mapping[str, Expression]) -> list[Expression]:
    """The training or the test spots of a fold, sample by sample."""
    chosen = {name: counts[name] for name in split[side]}
    for name in shared_samples(split):
        barcodes = chosen[name].barcodes.tolist()
        chosen[name] = chosen[name].spots(barcodes[row] for row in rows_of(split, side, name, barcodes))
    return list(chosen.values())


def genes_of_fold(
    task: Task, chosen_on: Sequence[Expression], listed: Sequence[str] = (), tested: Sequence[Expression] = ()
) -> Chosen:
    """The genes that these samples choose, alphabetical; the reason where there are none.

    Parameters
    ----------
    tested
        Test spots, for a choice that looks at them.
    """
    genes = choose(task.genes, chosen_on, task.n_genes, task.min_spot_share, listed, tested)
    if listed and len(genes) < len(listed):
        lost = sorted(set(listed) - set(genes))
        named = ", ".join(lost[:5])
        print(f"task {task.name}: {len(lost)} of {len(listed)} listed genes are not in every sample: {named} ...")
    if genes:
        return Chosen(genes)
    if listed:
        return Chosen([], f"no gene of the list {task.genes} is in every sample")
    names = [sample.sample_id for sample in chosen_on]
    why = why_they_do_not_meet(names, [sample.genes.tolist() for sample in chosen_on])
    share = f"{task.min_spot_share:.0%}"
    also = "" if task.genes == VARIABLE else f" and fits genes = {task.genes}"
    return Chosen([], why or f"no gene is counted in {share} of the spots of every sample it is chosen on{also}")


def spots_of(expression: Expression, genes: Sequence[str]) -> Spots:
    """What `targets.h5` keeps of a sample: (N, len(genes)) counts, NaN for a gene that its table lacks."""
    measured = np.isin(genes, expression.genes)
    counts = np.full((len(expression.barcodes), len(genes)), np.nan, dtype=np.float32)
    counts[:, measured] = columns(expression, np.asarray(genes, dtype=str)[measured].tolist()).toarray()
    return Spots(expression.barcodes.tolist(), expression.positions_px, expression.totals(), counts, list(genes))
