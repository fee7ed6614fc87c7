"""Encoders: patch -> embedding. One module here is one way to build encoders, one row of the table is one encoder.

A builder is a module with

    check(row) -> list[tuple[str, str]]
        What it asks of its row beyond the schema: (column, "what is wrong, what is allowed") for each fault.
    patch_fault(row, size_px) -> str | None
        Why it cannot take patches of size_px x size_px px, and what to do; None where it can.
    build(spec: EncoderSpec, *, folder: Path | None, seed: int, device: str = "auto") -> Encoder
        Raises `EncoderUnavailable` where the weights cannot be had; no other weights ever stand in for them.

The first two are asked before the first job, whenever tables are read: a builder imports the standard library only, and
all else inside `build`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from spotweave.registry import Registry

if TYPE_CHECKING:
    import numpy as np

ENCODERS = Registry("encoders", "encoder builder")
RANDOM_SUFFIX = "-random"


class Encoder(Protocol):
    """What every builder returns."""

    dim: int

    def encode(self, batch: np.ndarray) -> np.ndarray:
        """Embed patches (B, H, W, 3) uint8 RGB, each by itself, as (B, dim) float32."""
        ...


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
    unknown = ENCODERS.fault(row.get("builder", ""))
    if unknown is not None:
        return [("builder", unknown)]
    return [*_weights_faults(row), *ENCODERS.load(row["builder"]).check(row)]


def patch_fault(row: Mapping[str, str], size_px: int) -> str | None:
    """Why the encoder of a sound row cannot take patches of `size_px` x `size_px` px; None where it can."""
    fault: str | None = ENCODERS.load(row["builder"]).patch_fault(row, size_px)
    return fault


def _weights_faults(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """Whatever builds it, a row says where its weights come from, and its name says when they are random."""
    name, weights, source = row.get("encoder", ""), row.get("weights", ""), row.get("source", "")
    faults: list[tuple[str, str]] = []
    if weights == "random" and not name.endswith(RANDOM_SUFFIX):
        faults.append(("encoder", f"{name!r} has random weights, allowed: a name that ends in '{RANDOM_SUFFIX}'"))
    if weights != "random" and name.endswith(RANDOM_SUFFIX):
        faults.append(("weights", f"{weights!r} but {name!r} says random, allowed: random"))
    if weights == "hub" and not re.fullmatch(r"[\w.-]+(/[\w.-]+)+", source):
        faults.append(("source", f"{source!r}, weights from the hub allow: owner/repository, or owner/repository/file"))
    if weights == "file" and not source:
        faults.append(("source", "empty, weights from a file need its path"))
    if weights == "package":
        if not re.fullmatch(r"[\w.-]+(/[\w-][\w.-]*)+", source):
            faults.append(("source", f"{source!r}, weights from a package allow: its name/path of the file in it"))
        if not row.get("sha256"):
            faults.append(("sha256", "empty, weights from a package need the SHA-256 that they are held against"))
    if row.get("tensors") == "ordered" and weights in {"none", "random"}:
        faults.append(("tensors", f"there is no file with weights {weights!r}, allowed: empty"))
    if weights in {"none", "random"} and source:
        faults.append(("source", f"{source!r} would not be used with weights {weights!r}, allowed: empty"))
    if row.get("revision") and weights not in {"hub", "package"}:
        faults.append(
            (
                "revision",
                "is for weights from the hub or a package, allowed: empty; the hash of a file goes into sha256",
            )
        )
    if row.get("sha256") and weights not in {"hub", "file", "package"}:
        faults.append(("sha256", f"there is no file with weights {weights!r}, allowed: empty"))
    if row.get("gated") == "yes" and weights != "hub":
        faults.append(("gated", "'yes' is for weights from the hub, allowed: no"))
    return faults
