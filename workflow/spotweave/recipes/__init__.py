"""Kinds of fine-tuning. One module here is one kind, one row of the recipe table is one recipe of some kind.

A kind is a module with

    COLUMNS: dict[str, dict]
        The columns of the recipe table that are its own: name -> JSON Schema of a cell, with a description.
    REQUIRED: tuple[str, ...]
        Those of them that may not be blank.
    check(row, base) -> list[tuple[str, str]]
        What else it asks of its row and of the row of the encoder it starts from: (column, "what is wrong, what is
        allowed") for each fault.
    stand_ins(row) -> list[str], if it has any
        What stands in for parts of what was published, in words that results say.
    train(splits, fold, samples, row, base, job) -> dict
        Trains one fold on its training samples only and writes the file of its weights, `job.weights`
        (`networks.tower.save`, which the builder `finetuned` embeds with), and the course of the training,
        `job.history`, a CSV table. `splits` is the content of the task's splits file, `samples` are all samples of the
        task (`finetune.Sample`), `base` is the `EncoderSpec` it starts from, `job` says the rest (`finetune.Job`).
        Returns what the record says it measured, JSON types. Raises `Refusal` where there is no such fold or too little
        to train on.

All but `train` is asked before the first job, whenever tables are read: a kind imports the standard library only, and
all else inside `train`.
"""

from __future__ import annotations

from collections.abc import Mapping

from spotweave.registry import Registry

RECIPES = Registry("recipes", "recipe kind")


def stand_ins(row: Mapping[str, str]) -> list[str]:
    """What stands in, in the recipe of a sound row, for parts of what was published; in words that results say."""
    of_kind = getattr(RECIPES.load(row["kind"]), "stand_ins", None)
    return [] if of_kind is None else list(of_kind(row))
