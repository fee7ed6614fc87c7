"""Placing: how the units of a technology (spots, bins, cells) come onto the slide, one module a way.

`resources/technologies.csv` names the way in its column `placing`; the module of that name here has

* `LIMITS`: the names of the limits that it holds its numbers against, a literal tuple: it is read without importing the
  module, and no other limit reaches the job;
* `place(deposit) -> Placement`; wrong data raise `Refusal`, never less.

`Placement` is all that later stages see of it, whatever the technology.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from spotweave.registry import Registry

if TYPE_CHECKING:  # the registry itself must stay light
    import numpy as np
    from numpy.typing import NDArray
    from pandas import DataFrame

    from spotweave.slide_map import SlideMap

PLACINGS = Registry("placing", "way of placing")

SLIDE = "slide, px of the full-resolution picture, x right, y down, origin at its top-left corner"
PLACED_COLUMNS = (
    "unit_id",
    "in_tissue",
    "x_px",
    "y_px",
    "modelled_x_px",
    "modelled_y_px",
    "vendor_x_px",
    "vendor_y_px",
)


@dataclass(frozen=True)
class Options:
    """What a sample's row, or else its technology, says of its array and picture; None where neither does.

    Attributes
    ----------
    pitch_um
        um between array columns and between array rows.
    spot_diameter_um
        Of one spot.
    spots_to_image_scale
        px of the picture to a px of the one that the deposit's positions were measured on.
    stated_pixel_size_um
        um per px of the picture, as its source states it.
    """

    pitch_um: tuple[float | None, float | None]
    spot_diameter_um: float | None
    spots_to_image_scale: float = 1.0
    stated_pixel_size_um: float | None = None


@dataclass(frozen=True)
class Deposit:
    """What there is to place a sample by.

    Attributes
    ----------
    manifest
        Its raw files (`raw.json`).
    table
        The reader's units (`matrices.reading.SPOT_COLUMNS`).
    reading
        The reader's measures.
    frame
        Content of `fiducials.json`; None for arrays without a printed frame.
    options
        What the row or its technology says.
    limits
        Of the configuration, those the way of placing names in its `LIMITS`.
    slide_map
        From the instrument's um to the slide, where the sample was registered.
    registration
        Content of `registration.json`: what the judge measured of that map.
    """

    manifest: Path
    table: DataFrame
    reading: Mapping[str, Any]
    frame: Mapping[str, Any] | None
    options: Options
    limits: Mapping[str, float]
    slide_map: SlideMap | None = None
    registration: Mapping[str, Any] | None = None

    @classmethod
    def read(
        cls,
        manifest: Path,
        spots: Path,
        reading: Path,
        fiducials: Path | None,
        registered: tuple[Path, Path] | None,
        options: Options,
        limits: Mapping[str, float],
    ) -> Deposit:
        """From what the earlier stages wrote.

        These are `raw.json`, `spots.csv`, the read stage's record, `fiducials.json`, and `registration.json` with
        `registration_field.npy`.
        """
        from spotweave.io import read_json
        from spotweave.matrices.reading import read_spots
        from spotweave.slide_map import SlideMap

        table = read_spots(spots)
        frame = None if fiducials is None else read_json(fiducials)
        found = None if registered is None else SlideMap.read(*registered)
        registration = None if registered is None else read_json(registered[0])
        return cls(manifest, table, read_json(reading)["measures"], frame, options, limits, found, registration)


@dataclass(frozen=True)
class Transform:
    """A map that was used: 3x3, from one frame of reference to another, with how far its evidence lies off it.

    Attributes
    ----------
    source, target
        The frames: what is measured, its unit of length, its axes and its origin.
    matrix
        (3, 3) float64.
    residual_um, residual_p95_um
        Median and 95th percentile of the distances; None for a map that is stated and not measured.
    """

    source: str
    target: str
    matrix: NDArray[np.float64]
    residual_um: float | None = None
    residual_p95_um: float | None = None

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "from": self.source,
            "to": self.target,
            "matrix": self.matrix.tolist(),
            "residual_um": self.residual_um,
            "residual_p95_um": self.residual_p95_um,
        }


@dataclass(frozen=True)
class Placement:
    """A sample's units on its slide, the same for every technology: what leaves this stage.

    Attributes
    ----------
    units
        `PLACED_COLUMNS`, one row for each of the reader's table, in its order. `unit_id` str; `in_tissue` int64, 0/1
        (0 too where a unit's place is in doubt); the rest float64, slide px: `x_px`, `y_px` where a unit is (NaN if it
        has no place), `modelled_…` where the fitted map has it, `vendor_…` where the deposit has it (NaN where there is
        no such thing).
    spot_diameter_um
        Of one unit that is round; None where units are none.
    size_px
        Width and height of the slide.
    transforms
        The maps that were used.
    measures
        JSON-ready, for the record. At least `pixel_size_um`, `pixel_size_se_um`, `pixel_size_from`, `anisotropy`,
        `residual_um`, `positions_from`, `spot_pitch_um` and `flags`: what a person should look at, each `code: text`.
    """

    units: DataFrame
    spot_diameter_um: float | None
    size_px: tuple[int, int]
    transforms: tuple[Transform, ...]
    measures: Mapping[str, Any]

    def content(self) -> dict[str, Any]:
        """Content of `alignment.json`: picture, diameter, transforms, and every measure of the record."""
        return {
            "transforms": [transform.content() for transform in self.transforms],
            "spot_diameter_um": self.spot_diameter_um,
            "image_width_px": self.size_px[0],
            "image_height_px": self.size_px[1],
            **self.measures,
        }

    def write(self, alignment: Path, units: Path) -> None:
        """Write `alignment` (.json) and `units` (.parquet); the same placement gives the same bytes."""
        from spotweave.io import write_json

        write_json(alignment, self.content())
        write_units(units, self.units)


class Way(Protocol):
    """The face of a module of this package."""

    LIMITS: tuple[str, ...]

    def place(self, deposit: Deposit) -> Placement:
        """Place one sample; `Refusal` with the number and its limit."""
        ...


def place_sample(way: str, deposit: Deposit) -> Placement:
    """Place one sample by the way of a name.

    Raises
    ------
    ValueError
        There is no such way.
    Refusal
        The sample's own data do not let its units be placed.
    """
    return cast(Way, PLACINGS.load(way)).place(deposit)


def write_units(path: Path, units: DataFrame) -> None:
    """Write the units of a `Placement` (parquet: a section of bins has millions)."""
    units[list(PLACED_COLUMNS)].to_parquet(path, index=False)


def read_units(path: Path) -> DataFrame:
    """Read what `write_units` wrote, to the last bit."""
    import pandas as pd

    return pd.read_parquet(path)


def read_places(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Where units are, (N, 2) slide px (NaN without a place), and whether in tissue, (N,) 0/1."""
    import numpy as np

    from spotweave import parquet

    x_px, y_px, in_tissue = parquet.numbers(path, ["x_px", "y_px", "in_tissue"])
    return np.column_stack([x_px, y_px]), in_tissue
