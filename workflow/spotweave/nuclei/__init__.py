"""Where the nuclei are. One module of `nuclei/methods` is one way to find them, one row of the table is one model.

A method is a module with

    check(row) -> list[tuple[str, str]]
        What it asks of its row beyond the schema: (column, "what is wrong, what is allowed") for each fault. It is
        asked before the first job, whenever tables are read: a method imports the standard library only, and all else
        inside its functions.
    load(spec: NucleiSpec, *, folder: Path | None, device: str, seed: int) -> Model
        Raises `NucleiUnavailable` where the weights cannot be had; no others ever stand in for them.

The engine (`nuclei.segment`) cuts the tissue into tiles, hands them to the model in the main process, has what it says
separated into nuclei by worker processes, and writes what lies in the core of each tile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from spotweave.networks.spec import ModelUnavailable
from spotweave.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUCLEI = Registry("nuclei/methods", "nuclei method")
NO_CLASS = "Nucleus"  # what a model calls nuclei that it does not tell apart


@dataclass(frozen=True)
class NucleiSpec:
    """One row of the table of nuclei models, typed. Column by column it is described in `nuclei.schema.yaml`."""

    nuclei: str
    method: str
    um_per_px: float
    variant: str = ""
    weights: str = "none"
    source: str = ""
    sha256: str = ""

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> NucleiSpec:
        """Type the cells of a row that fits the schema; remarks are left out."""
        known: dict[str, Any] = {name: row[name] for name in cls.__dataclass_fields__ if row.get(name)}
        return cls(**{**known, "um_per_px": float(row["um_per_px"])})


class NucleiUnavailable(ModelUnavailable):
    """The weights of `model`, by its name in the table, cannot be had here, or are not what its row says."""

    def __init__(self, model: str, problem: str, steps: Sequence[str]) -> None:
        super().__init__(f"nuclei model {model}", problem, steps)


@dataclass(frozen=True)
class Instances:
    """The nuclei of one tile.

    Attributes
    ----------
    labels
        (H, W) int32: 0, or 1 to n without a gap.
    classes
        (n,) uint8: place of a nucleus' class in the model's `classes`, from 1.
    probabilities
        (n,) float32: of that class; NaN where the model gives none.
    """

    labels: NDArray[np.int32]
    classes: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


class Overview(Protocol):
    """The slide as a model may look at it before the tiles come; the same whatever the number of workers."""

    pixel_size_um: float  # of the slide

    def read(self, um_per_px: float) -> NDArray[np.uint8]:
        """The whole slide, (H, W, 3) RGB, reduced by area."""
        ...

    def tissue(self, um_per_px: float) -> NDArray[np.bool_]:
        """(H, W): which pixels of `read` lie on tissue."""
        ...

    def sample_tiles(self, count: int) -> list[NDArray[np.uint8]]:
        """Up to `count` tiles as `predict` gets them, spread evenly over those with most tissue in their core."""
        ...


class Model(Protocol):
    """What `load` returns.

    Attributes
    ----------
    um_per_px
        Tiles are resampled to it: by area when reduced, bicubically when enlarged (2x at most).
    native_um_per_px
        Slides whose pixels are of a size between these two are read as they are.
    tile_px, margin_px
        Side of a tile, and how much of it at each edge is for looking at only: a nucleus belongs to the tile whose core
        (tile_px - 2 margin_px a side) holds its centroid. No nucleus should be wider than twice the margin.
    batch
        Tiles that `predict` is best given at a time.
    classes
        Their names, from id 1 on; (`NO_CLASS`,) for a model that tells no classes apart.
    provenance
        What is to be known of the weights beyond the row, for every file that is written (`arch`, `weights_sha256`).
    """

    um_per_px: float
    native_um_per_px: tuple[float, float]
    tile_px: int
    margin_px: int
    batch: int
    classes: tuple[str, ...]
    provenance: Mapping[str, str]

    def prepare(self, overview: Overview) -> None:
        """Take from the whole slide what must not differ from tile to tile (thresholds, stains)."""
        ...

    def predict(self, tiles: NDArray[np.uint8]) -> Sequence[Any]:
        """(B, H, W, 3) RGB -> for each tile what its `separator` takes, picklable. In the main process, on the device.

        What it says of a tile must not depend on the other tiles of the call.
        """
        ...

    def separator(self) -> Callable[[Any], Instances]:
        """What turns one of `predict`'s answers into nuclei, picklable; it runs in worker processes."""
        ...


def check_row(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the schema cannot say about a row of the table of nuclei models.

    Parameters
    ----------
    row
        A row whose single cells fit the schema.

    Returns
    -------
    faults
        (column, "what is wrong, what is allowed") for each; empty for a sound row.
    """
    unknown = NUCLEI.fault(row.get("method", ""))
    if unknown is not None:
        return [("method", unknown)]
    return [*_weights_faults(row), *NUCLEI.load(row["method"]).check(row)]


def _weights_faults(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """Whatever the method, a row says where its weights come from."""
    weights, source = row.get("weights", ""), row.get("source", "")
    faults: list[tuple[str, str]] = []
    if weights == "file" and not source:
        faults.append(("source", "empty, weights from a file need its path"))
    if weights == "none":
        faults += [(name, "there are no weights, allowed: empty") for name in ("source", "sha256") if row.get(name)]
    return faults
