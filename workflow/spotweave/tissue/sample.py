"""One sample's tissue, from the files of its store to its outlines and the picture of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spotweave.deposits.raw import raw_file
from spotweave.io import read_json
from spotweave.placing import read_places
from spotweave.tissue import overview, polygons
from spotweave.tissue.section import find_tissue

UNITS_COMPARED = 50_000  # of the millions of bins and cells of a section, evenly: shares need no more


@dataclass(frozen=True)
class Made:
    """Where the outlines and the marks (GeoJSON, level-0 px) and the picture of them (JPEG) go."""

    tissue: Path
    marks: Path
    overlay: Path


def segment(
    manifest: Path,
    alignment: Path,
    units: Path,
    limits: Mapping[str, float],
    made: Made,
    *,
    method: str,
    weights: Mapping[str, str],
    min_hole_um2: float,
    simplify_um: float,
) -> dict[str, Any]:
    """Find the tissue on the picture as deposited and write it.

    Parameters
    ----------
    manifest, alignment, units
        `raw.json`, `alignment.json` and `units.parquet`.
    limits
        Those of `section.LIMITS`.
    made
        Where results go.
    method, weights
        The way tissue is found, a module of `tissue.methods`, and the weights of one that is trained.
    min_hole_um2
        Smaller holes are filled.
    simplify_um
        How far outlines may be moved.

    Returns
    -------
    Measures of the record.

    Raises
    ------
    Refusal
        As `section.find_tissue`.
    """
    aligned, (xy_px, in_tissue) = read_json(alignment), read_places(units)
    compared = slice(None, None, max(1, -(-len(xy_px) // UNITS_COMPARED)))
    found = find_tissue(
        raw_file(manifest, "image"),
        float(aligned["pixel_size_um"]),
        xy_px[compared],
        in_tissue[compared],
        aligned["spot_diameter_um"] or 0.0,
        limits,
        method=method,
        weights=weights,
        min_hole_um2=min_hole_um2,
        simplify_um=simplify_um,
    )
    polygons.write_geojson(made.tissue, found.outlines, aligned["pixel_size_um"])
    polygons.write_marks(made.marks, found.marks, aligned["pixel_size_um"])
    overview.write_overlay(made.overlay, found.rgb, found.outlines, found.scale, marks=found.marks)
    return found.measures
