"""Fine-tuning: encoders that learn from the dataset's own pairs of patch and expression, one fold at a time.

What every way of fine-tuning shares: the training samples of a fold. Nothing of a test sample is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spotweave.errors import Refusal
from spotweave.folds import NoSuchFold, shared_samples, split_of
from spotweave.io import is_refused


@dataclass(frozen=True)
class Sample:
    """Where one sample's pairs lie; `slide` is read where its patches hold no pictures."""

    sample: str
    patches: Path
    expression: Path
    slide: Path | None = None


@dataclass(frozen=True)
class Job:
    """What a job of one fold is told beside its row.

    Attributes
    ----------
    weights, history
        Files to write: `networks.tower` and `finetune.history`.
    folder
        Where a relative path of the base's weights lies.
    seed
        Of everything random.
    device
        `auto`, `cpu` or `cuda`.
    scratch
        A folder in which a job that is killed leaves what the next one goes on from; it is gone once the job is done.
    code
        Hash of the code that runs: what other code left in `scratch` is not gone on from.
    processes
        That train together; on GPUs one each.
    """

    weights: Path
    history: Path
    folder: Path | None = None
    seed: int = 0
    device: str = "auto"
    scratch: Path | None = None
    code: str = ""
    processes: int = 1


def samples_at(
    names: Sequence[str], patches: Sequence[Path], expression: Sequence[Path], slides: str | None
) -> list[Sample]:
    """The samples whose files these are; `slides` is the path of a slide with `{sample}` in it, or None."""
    return [
        Sample(name, one, counts, None if slides is None else Path(slides.replace("{sample}", name)))
        for name, one, counts in zip(names, patches, expression, strict=True)
    ]


def pick_fold(splits: Mapping[str, Any], fold: int) -> Mapping[str, Any]:
    """The fold of that number in a splits file.

    Raises
    ------
    Refusal
        If there is none, because a donor fell away, or if it trains on some spots of a sample and tests on others.
    """
    try:
        chosen = split_of(splits, fold)
    except NoSuchFold as why:
        raise Refusal(str(why)) from None
    if shared_samples(chosen):
        raise Refusal(f"fold {fold} splits samples, and fine-tuning holds out whole ones")
    return chosen


def training_samples(fold: Mapping[str, Any], samples: Sequence[Sample]) -> list[Sample]:
    """The fold's training samples, in the order of the splits file; refused ones are no longer in it.

    Raises
    ------
    ValueError
        If a training sample is not given, or is refused though the splits hold it.
    """
    by_id = {sample.sample: sample for sample in samples}
    missing = [name for name in fold["train"] if name not in by_id]
    if missing:
        raise ValueError(f"training samples without patches and expression: {', '.join(missing)}")
    chosen = [by_id[name] for name in fold["train"]]
    for sample in chosen:
        for path in (sample.patches, sample.expression):
            if is_refused(path):
                raise ValueError(f"{path} is refused, but fold {fold['fold']} trains on {sample.sample}")
    return chosen
