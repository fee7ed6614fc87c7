"""Encoders: patch -> embedding. One module here is one way to build encoders, one row of the table is one encoder.

A builder is a module with

    build(spec: EncoderSpec, *, folder: Path | None, seed: int, device: str = "auto") -> Encoder

which raises `EncoderUnavailable` where the weights cannot be had; no other weights ever stand in for them.
This module is read while tables are checked: it imports the standard library only, and no builder.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from spotweave.errors import Refusal

if TYPE_CHECKING:
    import h5py
    import numpy as np

RANDOM_SUFFIX = "-random"


class EncoderUnavailable(Refusal):
    """An encoder's weights cannot be had here.

    Parameters
    ----------
    encoder
        Its name in the table.
    problem
        What is missing.
    steps
        What to do, in order; they become part of the reason.
    """

    def __init__(self, encoder: str, problem: str, steps: Sequence[str]) -> None:
        numbered = " ".join(f"({number}) {step}" for number, step in enumerate(steps, start=1))
        super().__init__(f"encoder {encoder} is unavailable: {problem} To get it: {numbered}")
        self.steps = tuple(steps)


class Encoder(Protocol):
    """What every builder returns."""

    dim: int

    def encode(self, batch: np.ndarray) -> np.ndarray:
        """Embed patches (B, H, W, 3) uint8 RGB, each by itself, as (B, dim) float32."""
        ...


@dataclass(frozen=True)
class EncoderSpec:
    """One row of the encoder table, typed. Column by column it is described in `encoders.schema.yaml`."""

    encoder: str
    builder: str
    dim: int
    input_px: int
    architecture: str = ""
    arguments: str = ""
    weights: str = "none"
    source: str = ""
    revision: str = ""
    resize: str = "none"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    pool: str = "none"
    dtype: str = "float32"
    licence: str = ""
    gated: bool = False

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> EncoderSpec:
        """Type the cells of a row that fits the schema; columns that do not shape the encoder are left out."""
        known = {name: row[name] for name in cls.__dataclass_fields__ if row.get(name, "") != ""}
        typed: dict[str, Any] = {
            **known,
            "dim": int(row["dim"]),
            "input_px": int(row["input_px"]),
            "gated": row.get("gated") == "yes",
        }
        for name in ("mean", "std"):
            if name in known:
                typed[name] = tuple(float(value) for value in known[name].split())
        return cls(**typed)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EncoderSpec:
        """The inverse of `as_dict`."""
        return cls(**{**content, "mean": tuple(content["mean"]), "std": tuple(content["std"])})

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    def at(self, source: Path) -> EncoderSpec:
        """The same encoder with its weights at `source`."""
        return replace(self, source=str(source))


def parse_arguments(text: str) -> dict[str, Any]:
    """Architecture arguments from `name=value;name=value`: JSON values, and words for anything else."""
    arguments: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, value = part.partition("=")
        try:
            arguments[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            arguments[name.strip()] = value.strip()
    return arguments


def check_row(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the schema cannot say about a row of the encoder table.

    Parameters
    ----------
    row
        A row whose single cells fit the schema.

    Returns
    -------
    faults
        (column, "what is wrong, what is allowed") for each; empty for a sound row.
    """
    name, weights, builder = row.get("encoder", ""), row.get("weights", ""), row.get("builder", "")
    faults: list[tuple[str, str]] = []
    if weights == "random" and not name.endswith(RANDOM_SUFFIX):
        faults.append(("encoder", f"{name!r} has random weights, allowed: a name that ends in '{RANDOM_SUFFIX}'"))
    if weights != "random" and name.endswith(RANDOM_SUFFIX):
        faults.append(("weights", f"{weights!r} but {name!r} says random, allowed: random"))
    if builder == "timm_model":
        faults += [(column, "empty, a timm model needs it") for column in _missing_for_timm(row)]
        if weights == "none":
            faults.append(("weights", "'none', a timm model allows: hub, random, file"))
    elif builder == "handcrafted" and weights != "none":
        faults.append(("weights", f"{weights!r}, handcrafted features have none, allowed: none"))
    elif builder == "finetuned":
        faults.append(("builder", "'finetuned' is for recipes, allowed: handcrafted, timm_model"))
    source = row.get("source", "")
    if weights == "hub" and not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        faults.append(("source", f"{source!r}, weights from the hub allow: owner/repository"))
    if weights == "file" and not source:
        faults.append(("source", "empty, weights from a file need its path"))
    if weights in {"none", "random"} and source:
        faults.append(("source", f"{source!r} would not be used with weights {weights!r}, allowed: empty"))
    if row.get("gated") == "yes" and weights != "hub":
        faults.append(("gated", "'yes' is for weights from the hub, allowed: no"))
    return faults


def _missing_for_timm(row: Mapping[str, str]) -> list[str]:
    return [column for column in ("architecture", "resize", "mean", "std", "pool") if not row.get(column)]


def load(builder: str) -> Any:
    """The builder module of that name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if builder not in builders():
        raise ValueError(f"{builder!r} is not an encoder builder, allowed: {', '.join(builders())}")
    return importlib.import_module(f"{__name__}.{builder}")


def builders() -> list[str]:
    """Names of all builders, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def limit_threads(threads: int) -> None:
    """Let numerical libraries use so many threads; call it before they are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def write_embeddings(
    path: Path, patches: Path, named: Mapping[str, Encoder], *, sample: str, encoder: str, batch: int
) -> int:
    """Stream one sample's patches through encoders and write the embeddings, in the order of the patches.

    Parameters
    ----------
    path
        HDF5 file to write: `barcode` (N, 1) str and one dataset (N, dim) float32 an encoder; attributes
        `sample` and `encoder`.
    patches
        HDF5 file with `img` (N, H, W, 3) uint8 and `barcode` (N, 1) str.
    named
        Dataset name -> encoder: `embeddings`, or `fold{k}/embeddings` for one trained per fold.
    batch
        Patches read and embedded at a time; it bounds the memory and changes no number beyond float32 rounding.

    Returns
    -------
    n_patches

    Raises
    ------
    Refusal
        If an encoder yields a number that is not finite.
    """
    import h5py
    from tqdm import tqdm

    with h5py.File(patches, "r") as read, h5py.File(path, "w") as written:
        count = len(read["img"])
        written.attrs["sample"] = sample
        written.attrs["encoder"] = encoder
        written.create_dataset("barcode", data=read["barcode"][:], dtype=h5py.string_dtype())
        for name, unit in named.items():
            written.create_dataset(name, (count, unit.dim), "float32")
        for rows in tqdm(list(_slices(count, batch)), desc=f"{encoder} {sample}", unit="batch", disable=None):
            images = read["img"][rows]
            for name, unit in named.items():
                written[name][rows] = _finite(unit.encode(images), f"{encoder} ({name})", read["barcode"], rows)
    return count


def _slices(count: int, batch: int) -> Iterator[slice]:
    return (slice(start, min(start + batch, count)) for start in range(0, count, batch))


def _finite(embeddings: np.ndarray, what: str, barcodes: h5py.Dataset, rows: slice) -> np.ndarray:
    import numpy as np

    bad = ~np.isfinite(embeddings).all(axis=1)
    if bad.any():
        first = barcodes.asstr()[rows.start + int(bad.argmax())]
        raise Refusal(
            f"encoder {what} gives numbers that are not finite, first for patch {first.item()}: check its weights, "
            "or set its dtype to float32",
            measured=int(bad.sum()),
            threshold=0,
        )
    return embeddings
