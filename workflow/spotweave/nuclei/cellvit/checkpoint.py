"""Published checkpoints: opened without running code, held against the network, loaded strictly."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spotweave.nuclei import NucleiSpec, NucleiUnavailable
from spotweave.nuclei.cellvit.network import VARIANTS, CellViT
from spotweave.nuclei.weights import RERUN

CLASSES = ("Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial")
"""PanNuke's, from id 1."""
TISSUES = 19
NORMAL = (0.5, 0.5, 0.5)
SHOWN = 3
_SCALAR = np.float64(0).__reduce__()[0]
# Besides tensors, a checkpoint may hold its best score as a number of numpy, by either of the function's addresses.
HARMLESS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64")),
]


@dataclass(frozen=True)
class Loaded:
    """A network with its weights, and what its checkpoint says of it.

    Attributes
    ----------
    mean, std
        Of red, green and blue (0 to 1), subtracted and divided by.
    is_mixed
        Whether it was trained in mixed precision.
    """

    network: CellViT
    arch: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    is_mixed: bool


def load(path: Path, spec: NucleiSpec) -> Loaded:
    """The network of a row with the weights of a file.

    The file is a dict of `arch`, `config` (flattened with dots) and `model_state_dict`; whatever else it holds is not
    used. Weights stay mapped in the file until they are used, so that they are in memory once.

    Raises
    ------
    NucleiUnavailable
        If it is no such file, is of another architecture or number of classes, or a tensor is missing, left over or of
        another shape.
    """

    def unavailable(problem: str) -> NucleiUnavailable:
        steps = [f"give a published checkpoint of CellViT-{spec.variant}, or correct the column variant", RERUN]
        return NucleiUnavailable(spec.nuclei, f"{path.name} {problem}.", steps)

    try:
        content = _opened(path)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise unavailable(f"cannot be opened as tensors and plain values ({first})") from error
    missing = [key for key in ("arch", "model_state_dict") if not isinstance(content, dict) or key not in content]
    if missing:
        raise unavailable(f"is no checkpoint of CellViT: it has no {' and no '.join(missing)}")
    variant, config = VARIANTS[spec.variant], content.get("config") or {}
    for what, found, expected in (
        ("arch", content["arch"], variant.arch),
        ("backbone", config.get("model.backbone", variant.backbone), variant.backbone),
        ("num_nuclei_classes", int(config.get("data.num_nuclei_classes", len(CLASSES) + 1)), len(CLASSES) + 1),
        ("nuclei_types", _named(config) or CLASSES, CLASSES),
    ):
        if found != expected:
            raise unavailable(f"says {what} {found!r}, CellViT-{spec.variant} has {expected!r}")
    tissues = int(config.get("data.num_tissue_classes", TISSUES))
    has_regression = bool(config.get("model.regression_loss", False))
    with torch.device("meta"):
        network = CellViT(variant, len(CLASSES) + 1, tissues, has_regression=has_regression)
    state = content["model_state_dict"]
    fault = misfit(network.state_dict(), state)
    if fault:
        raise unavailable(fault)
    network.load_state_dict(state, strict=True, assign=True)
    return Loaded(
        network.float().eval().requires_grad_(False),
        content["arch"],
        _numbers(config, "transformations.normalize.mean"),
        _numbers(config, "transformations.normalize.std"),
        bool(config.get("training.mixed_precision", False)),
    )


def misfit(expected: Mapping[str, torch.Tensor], found: Mapping[str, Any]) -> str | None:
    """What a state dict lacks, has too much or in another shape; None for one that fits."""
    faults = []
    for what, names in (
        ("lacks", sorted(set(expected) - set(found))),
        ("has beyond it", sorted(set(found) - set(expected))),
    ):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            faults.append(f"{what} {', '.join(names[:SHOWN])}{more}")
    for name in expected:
        shape = tuple(getattr(found.get(name), "shape", ()))
        if name in found and shape != tuple(expected[name].shape):
            faults.append(f"has {name} of shape {shape}, expected is {tuple(expected[name].shape)}")
            break
    return f"does not fit the network: it {'; it '.join(faults)}" if faults else None


def _opened(path: Path) -> Any:
    """The content of a file of torch, tensors and plain values only."""
    with torch.serialization.safe_globals(HARMLESS):
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)  # torch's format before 1.6


def _named(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Classes from id 1 on, of a flattened configuration; empty where it names none."""
    start = "dataset_config.nuclei_types."
    named = {
        int(number): name.removeprefix(start).capitalize() for name, number in config.items() if name.startswith(start)
    }
    return tuple(named[number] for number in sorted(named) if number > 0)


def _numbers(config: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """Three numbers of a flattened configuration; a list may have been flattened, too."""
    found = config.get(name) or [config.get(f"{name}.{place}", NORMAL[place]) for place in range(len(NORMAL))]
    return tuple(float(number) for number in found)
