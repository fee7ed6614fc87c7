"""The nuclei of one sample: its slide through one model of the table, or one line that says why there are none."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from spotweave.io import read_json
from spotweave.nuclei import NUCLEI, Model, NucleiSpec, NucleiUnavailable
from spotweave.nuclei.engine import find
from spotweave.nuclei.files import write_nuclei
from spotweave.nuclei.merging import Merged, merge
from spotweave.nuclei.picture import write_picture
from spotweave.nuclei.tiles import MOST_ENLARGED, Grid, Windows, step_for
from spotweave.tissue.polygons import read_geojson


@dataclass(frozen=True)
class Outputs:
    """Where a model's nuclei go: .parquet, .geojson and the picture."""

    nuclei: Path
    geojson: Path
    overlay: Path


def segment_sample(
    slide: Path,
    tissue: Path,
    alignment: Path,
    outputs: Outputs,
    row: Mapping[str, str],
    *,
    folder: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    threads: int = 1,
) -> dict[str, Any]:
    """Find the nuclei of a sample and write them.

    Parameters
    ----------
    slide, tissue, alignment
        `slide.tif`, `tissue.geojson` and `alignment.json`.
    row
        The model's row of the table.
    folder
        Where a relative path of a weights file lies; None is the working folder.
    threads
        Processes; the result does not depend on it.

    Returns
    -------
    Measures of the record: `model`, `method`, `nuclei`, `nuclei_per_mm2` of tissue, `class_shares`, `um_per_px`,
    `tiles`, `duplicates_removed`, `off_tissue_removed`, `note` and what the model says of its weights. Where the slide
    is too coarse for the model or its weights cannot be had, the tables are empty, `nuclei` is null and `note` says
    why: the sample is none the worse for it.
    """
    spec = NucleiSpec.from_row(row)
    pixel_size_um = read_json(alignment).get("pixel_size_um")
    windows, polygons = Windows(slide), read_geojson(tissue)
    said = {"model": spec.nuclei, "method": spec.method, "variant": spec.variant or None}
    note = unfit(spec, pixel_size_um)
    model: Model | None = None
    if note is None:
        try:
            model = NUCLEI.load(spec.method).load(spec, folder=folder, device=device, seed=seed)
        except NucleiUnavailable as reason:
            note = reason.reason
    if model is None:
        made_by = {**said, "um_per_px": None, "slide_pixel_size_um": pixel_size_um, "classes": [], "note": note}
        write_nuclei(outputs.nuclei, outputs.geojson, (), made_by)
        write_picture(outputs.overlay, windows, outputs.nuclei, np.empty((0, 2)), polygons, pixel_size_um or 1.0)
        return {**said, "nuclei": None, "note": note}
    step = step_for(model, pixel_size_um)
    with tempfile.TemporaryDirectory(prefix="nuclei-") as shards:
        found, tiles = through(model, windows, polygons, pixel_size_um, threads=threads, folder=Path(shards))
        made_by = {
            **said,
            "um_per_px": round(step * pixel_size_um, 6),
            "slide_pixel_size_um": pixel_size_um,
            "classes": list(model.classes),
            **model.provenance,
        }
        parts = found.parts(model.classes, polygons, pixel_size_um)
        write_nuclei(outputs.nuclei, outputs.geojson, parts, made_by)
    xy_px = np.column_stack([found.x_px, found.y_px])
    write_picture(outputs.overlay, windows, outputs.nuclei, xy_px, polygons, pixel_size_um)
    area_mm2 = sum(polygon.area for polygon in polygons) * pixel_size_um**2 / 1e6
    return {
        **said,
        "nuclei": len(found.x_px),
        "nuclei_per_mm2": round(len(found.x_px) / area_mm2, 2) if area_mm2 else None,
        "class_shares": class_shares(found, model.classes),
        "um_per_px": round(step * pixel_size_um, 6),
        "tiles": tiles,
        "duplicates_removed": found.duplicates,
        "off_tissue_removed": found.off_tissue,
        "note": None,
        **model.provenance,
    }


def through(
    model: Model,
    windows: Windows,
    tissue: Sequence[shapely.Polygon],
    pixel_size_um: float,
    *,
    threads: int,
    folder: Path,
    origin_px: tuple[int, int] = (0, 0),
) -> tuple[Merged, int]:
    """The nuclei of a slide in their order, and how many tiles they were found in; `origin_px` as in `Grid`."""
    grid = Grid(step_for(model, pixel_size_um), model.tile_px - 2 * model.margin_px, model.margin_px, origin_px)
    shards = find(model, windows, grid, tissue, pixel_size_um=pixel_size_um, threads=threads, folder=folder)
    return merge(shards, tissue), len(shards)


def unfit(spec: NucleiSpec, pixel_size_um: float | None) -> str | None:
    """Why a slide of this pixel size is not for a model; None where it is."""
    if not pixel_size_um:
        return f"the pixel size of the slide is not known, and {spec.nuclei} needs it: give it in the sample's row"
    most = MOST_ENLARGED * spec.um_per_px
    if pixel_size_um > most:
        return (
            f"the slide is too coarse for {spec.nuclei}: {pixel_size_um:.4g} um a pixel, at most {most:.4g} "
            f"({spec.um_per_px:g}, enlarged {MOST_ENLARGED:g} times); use a model of coarser pixels"
        )
    return None


def class_shares(found: Merged, names: Sequence[str]) -> dict[str, float]:
    """Share of each class among the nuclei; empty without nuclei."""
    if not len(found.classes):
        return {}
    counts = np.bincount(found.classes, minlength=len(names) + 1)[1:]
    return {name: round(float(count / counts.sum()), 4) for name, count in zip(names, counts, strict=True)}
