"""What a sample's files show of its nuclei: the H&E, and DAPI or, without it, the outlines or centres of nuclei."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from spotweave.deposits.raw import RawFile, raw_file
from spotweave.io import read_json
from spotweave.pictures.grey import full_size_px, read_grey
from spotweave.pictures.header import Header, read_header
from spotweave.pictures.pixel_sizes import software_default
from spotweave.pictures.reduced import read_reduced
from spotweave.register import rasters
from spotweave.register.rasters import Raster
from spotweave.xenium.boundaries import read_boundaries
from spotweave.xenium.cells import read_cells
from spotweave.xenium.experiment import Experiment, read_experiment

PX_MAX = 64e6  # of one signal: what is held at once are some ten times as many bytes
SIDE_PX_MAX = 30_000  # cv2.remap addresses px with 16 bits
MARGIN_UM = 50.0


@dataclass(frozen=True)
class Files:
    """The raw files of a sample by role, those that are there."""

    roles: Mapping[str, RawFile]

    @classmethod
    def of(cls, manifest: Path) -> Files:
        """From `raw.json`."""
        names = {entry["role"]: entry["name"] for entry in read_json(manifest)["files"]}
        return cls({role: RawFile(name, raw_file(manifest, role)) for role, name in names.items()})


@dataclass(frozen=True)
class Instrument:
    """What the instrument saw.

    Attributes
    ----------
    experiment
        Its manifest.
    raster
        Signal of nuclei, native um.
    source
        `DAPI`, `nucleus outlines` or `cell centres`, as the record has it.
    name
        Of the file.
    note
        What was chosen of the file.
    """

    experiment: Experiment
    raster: Raster
    source: str
    name: str
    note: str | None


@dataclass(frozen=True)
class Slide:
    """The H&E: its header, its picture reduced (H, W, 3) and the signal of it, native slide px."""

    path: Path
    header: Header
    rgb: NDArray[np.uint8]
    raster: Raster


def read_instrument(files: Files, finest_um: float) -> Instrument:
    """The best that is there, on a grid of `finest_um` or coarser.

    Raises
    ------
    Refusal
        A file is damaged, or is not what it is called.
    """
    experiment = read_experiment(files.roles["experiment"])
    if "morphology" in files.roles:
        raw = files.roles["morphology"]
        size = full_size_px(raw.path, raw.name)
        # The reader averages by whole factors: twice as fine as is asked for at most, and brought to the grid then.
        most = min(PX_MAX, max(1.0, 4 * size[0] * size[1] * (experiment.pixel_size_um / finest_um) ** 2))
        grey, scale, note = read_grey(raw.path, raw.name, most, SIDE_PX_MAX)
        um = (scale[0] * experiment.pixel_size_um, scale[1] * experiment.pixel_size_um)
        raster = rasters.of_fluorescence(grey, um, float(np.sqrt(um[0] * um[1]))).at(finest_um)
        return Instrument(experiment, raster, "DAPI", raw.name, note)
    if "nucleus_boundaries" in files.roles:
        raw = files.roles["nucleus_boundaries"]
        return Instrument(experiment, _of_outlines(raw, finest_um), "nucleus outlines", raw.name, None)
    raw = files.roles["cells"]
    cells = read_cells(raw).table[["x_um", "y_um"]].to_numpy(dtype=np.float64)
    extent = tuple(float(side) for side in cells.max(axis=0) + MARGIN_UM)
    um_per_px = _bounded(finest_um, (extent[0], extent[1]))
    return Instrument(
        experiment, rasters.of_centres(cells, um_per_px, (extent[0], extent[1])), "cell centres", raw.name, None
    )


def read_slide(path: Path, pixel_size_um: float, finest_um: float) -> Slide:
    """The H&E on a grid of `finest_um` or coarser, if a px is `pixel_size_um`."""
    header = read_header(path)
    size_um = (header.width_px * pixel_size_um, header.height_px * pixel_size_um)
    rgb, scale = read_reduced(path, pixel_size_um / _bounded(finest_um, size_um))
    um_per_px = pixel_size_um * float(np.sqrt(scale[0] * scale[1]))
    return Slide(path, header, rgb, rasters.of_stain(rgb, scale, um_per_px))


def pixel_sizes(header: Header, stated_um: float | None, given_um: Mapping[str, float]) -> dict[str, float]:
    """What is said of the H&E's pixel size, um, by who says it; defaults that software writes are left out."""
    found = dict(given_um)
    if stated_um is not None:
        found["stated"] = stated_um
    if header.pixel_size_um is not None and not software_default(header.pixel_size_um):
        found["tag"] = header.pixel_size_um
    return found


def _bounded(um_per_px: float, size_um: tuple[float, float]) -> float:
    by_area = float(np.sqrt(size_um[0] * size_um[1] / PX_MAX))
    return max(um_per_px, by_area, max(size_um) / SIDE_PX_MAX)


def _of_outlines(raw: RawFile, finest_um: float) -> Raster:
    polygons = read_boundaries(raw).polygons
    bounds = shapely.total_bounds(polygons)
    size_um = (float(bounds[2]) + MARGIN_UM, float(bounds[3]) + MARGIN_UM)
    um_per_px = _bounded(finest_um, size_um)
    width, height = (int(np.ceil(side / um_per_px)) for side in size_um)
    signal = np.zeros((height, width), dtype=np.uint8)
    for polygon in polygons:
        ring = np.round((shapely.get_coordinates(polygon) / um_per_px - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(signal, [ring], 255, lineType=cv2.LINE_AA, shift=4)
    return Raster(signal, (um_per_px, um_per_px), um_per_px)
