"""One sample registered: from its raw files to the accepted map, its record and its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.geometry import apply
from spotweave.io import write_json
from spotweave.pictures.header import read_header
from spotweave.register import coarse, evidence, pair, views
from spotweave.register.evidence import Files, Instrument, Slide
from spotweave.register.pair import Candidate, Given, Registration, Settings
from spotweave.slide_map import SlideMap
from spotweave.xenium.alignment import read_he_alignment
from spotweave.xenium.experiment import read_experiment

LIMITS = (
    "registration_error_max_um",
    "registration_error_p95_max_um",
    "registration_matched_min",
    "registration_gain_min",
    "pixel_size_max_um",
    "pixel_size_min_um",
)
IDENTITY = "identity"
SCALES = ((1.0,), (0.95, 1.05))  # what a tag or a row says of the pixel size may be off by so much
SAME_SIZE = 0.05  # two pixel sizes nearer than this are tried as one
UNKNOWN_UM = 0.5  # grids are laid out by this where nothing says what a px is; it decides nothing
SIZES_TRIED = 3
GIVE = (
    "give the H&E image alignment file or keypoints of this section (role alignment), and check that the H&E and the"
    " bundle are of one section"
)


@dataclass(frozen=True)
class Outputs:
    """Where things go."""

    registration: Path
    field: Path
    overlay: Path
    checkerboard: Path


def register(
    manifest: Path,
    stated: str | None,
    stated_pixel_size_um: float | None,
    settings: Settings,
    limits: Mapping[str, float],
    outputs: Outputs,
) -> dict[str, Any]:
    """Register a sample's instrument with its H&E and write what came of it.

    Parameters
    ----------
    manifest
        `raw.json` with the roles experiment, cells and image; morphology, nucleus_boundaries and alignment where they
        are.
    stated
        `identity` where the row states that a px of the H&E is a px of DAPI.
    stated_pixel_size_um
        What the row says of the H&E.
    settings, limits
        Of the configuration; those of `LIMITS`.
    outputs
        Where the results go.

    Returns
    -------
    Measures of the record.

    Raises
    ------
    Refusal
        No candidate is within the limits, or a file is damaged.
    """
    files = Files.of(manifest)
    experiment_px_um = read_experiment(files.roles["experiment"]).pixel_size_um
    given = _given(files.roles.get("alignment"), stated, experiment_px_um)
    seen = evidence.read_instrument(files, settings.finest_um_per_px)
    image = files.roles["image"]
    header = read_header(image.path)
    sizes = evidence.pixel_sizes(header, stated_pixel_size_um, {one.name: _size_um(one) for one in given})
    tried: list[Registration] = []
    to_try = _distinct(list(sizes.values())) or _likely(image.path, seen, settings, limits)
    for size_um in to_try:
        slide = evidence.read_slide(image.path, size_um, settings.finest_um_per_px)
        # VALIS from all turns is the last resort.
        starts = settings.valis_starts_max if size_um == to_try[-1] else 0
        some = replace(settings, valis_starts_max=starts)
        found = pair.register(slide.raster, seen.raster, given, some, limits, SCALES)
        tried.append(found)
        if found.chosen is not None:
            break
    chosen = tried[-1].chosen
    if chosen is None:
        raise _refusal(tried, image, seen, limits)
    content = _content(tried[-1], chosen, seen, slide, given, sizes, limits)
    write_json(outputs.registration, content)
    chosen.found.write_field(outputs.field)
    caption = (
        f"{seen.source} on H&E: {chosen.name}; held-out error {chosen.judged.error_um:.2f} um (median),"
        f" {chosen.judged.error_p95_um:.2f} um (95th percentile)"
    )
    views.write_overlay(outputs.overlay, slide, seen.raster, chosen.found, caption)
    views.write_checkerboard(outputs.checkerboard, slide, seen.raster, chosen.found)
    return {name: value for name, value in content.items() if name not in ("field_spacing_px", "stated_maps")}


def _given(alignment: RawFile | None, stated: str | None, pixel_size_um: float) -> list[Given]:
    """The maps that the deposit or the row states, um -> px of the H&E."""
    to_dapi = np.diag([1 / pixel_size_um, 1 / pixel_size_um, 1.0])
    found = []
    if alignment is not None:
        read = read_he_alignment(alignment)
        matrix = np.asarray(np.linalg.inv(read.matrix) @ to_dapi, dtype=np.float64)
        found.append(Given(f"alignment file, {read.kind}", matrix))
    if stated == IDENTITY:
        found.append(Given("stated identity", to_dapi))
    elif stated:
        raise ValueError(f"the stated alignment is {stated!r}; {IDENTITY!r} is all that can be stated")
    return found


def _size_um(given: Given) -> float:
    return SlideMap(given.matrix).pixel_size_um


def _distinct(sizes_um: list[float]) -> list[float]:
    kept: list[float] = []
    for size_um in sizes_um:
        if all(abs(np.log(size_um / other)) > SAME_SIZE for other in kept):
            kept.append(size_um)
    return kept


def _likely(image: Path, seen: Instrument, settings: Settings, limits: Mapping[str, float]) -> list[float]:
    """Pixel sizes at which the H&E, whose own is not known, fits the instrument's picture in some turn."""
    slide = evidence.read_slide(image, UNKNOWN_UM, 4 * settings.working_um_per_px)
    # A grid laid out with too large a px shows things too large: the other is enlarged as much.
    least, largest = (UNKNOWN_UM / limits[name] for name in ("pixel_size_max_um", "pixel_size_min_um"))
    scales = coarse.likely_scales(slide.raster, seen.raster.at(slide.raster.um_per_px), least, largest, SIZES_TRIED)
    return [UNKNOWN_UM / scale for scale in scales]


def _refusal(tried: list[Registration], image: RawFile, seen: Instrument, limits: Mapping[str, float]) -> Refusal:
    count = sum(len(one.candidates) for one in tried)
    best = min((one.best for one in tried), key=lambda one: one.judged.loss_um)
    text, measured, limit = best.judged.faults(limits)[0]
    stated = [one for found in tried for one in found.candidates if one.is_stated]
    said = ""
    if stated and stated[0] is not best:
        said = f"; the {stated[0].name}: {stated[0].judged.faults(limits)[0][0]}"
    notes = [note for one in tried for note in one.notes]
    also = f"; {notes[0]}" if notes else ""
    return Refusal(
        f"{image.name} could not be registered with the {seen.source} of {seen.name}: of {count} candidates the best"
        f" ({best.name}) fails, {text} (limit {limit:g}){said}{also}; {GIVE}",
        measured=measured,
        threshold=limit,
    )


def _content(
    found: Registration,
    chosen: Candidate,
    seen: Instrument,
    slide: Slide,
    given: list[Given],
    sizes: Mapping[str, float],
    limits: Mapping[str, float],
) -> dict[str, Any]:
    """Content of `registration.json`."""
    matrix_of = {one.name: one for one in given}
    apart = {name: pair.distance_um(chosen.found, SlideMap(one.matrix), seen.raster) for name, one in matrix_of.items()}
    offsets = {name: round(float(np.median(distance)), 3) for name, distance in apart.items()}
    flags = [
        f"alignment-offset: the {name} puts cells {offset:.1f} um (median) off the accepted map"
        for name, offset in offsets.items()
        if offset > limits["registration_error_max_um"]
    ]
    if seen.source != "DAPI":
        flags.append(f"no-dapi: the bundle has no morphology picture; the {seen.source} stood in for it")
    judged = chosen.judged
    return {
        **chosen.found.content(),
        "pixel_size_um": chosen.found.pixel_size_um,
        "anisotropy": chosen.found.anisotropy,
        "has_field": chosen.has_field,
        "field_max_um": _field_max_um(chosen.found),
        "evidence": seen.source,
        "evidence_file": seen.name,
        "evidence_note": seen.note,
        "image_width_px": slide.header.width_px,
        "image_height_px": slide.header.height_px,
        "working_um_per_px": slide.raster.um_per_px,
        "overlap_share": _overlap(chosen.found, seen, slide),
        "pixel_sizes_said_um": dict(sizes),
        "stated_maps": {name: one.matrix.tolist() for name, one in matrix_of.items()},
        "stated_offset_um": offsets,
        **judged.report(),
        **found.report(limits),
        "flags": flags,
    }


def _field_max_um(found: SlideMap) -> float | None:
    if found.field_px is None:
        return None
    return round(float(np.linalg.norm(found.field_px, axis=-1).max()) * found.pixel_size_um, 3)


def _overlap(found: SlideMap, seen: Instrument, slide: Slide) -> float:
    """Share of the instrument's picture that lies on the slide."""
    width, height = seen.raster.size_px
    x, y = np.meshgrid((np.arange(50) + 0.5) / 50 * width, (np.arange(50) + 0.5) / 50 * height)
    at = found.to_slide(apply(seen.raster.to_native, np.column_stack([x.ravel(), y.ravel()])))
    inside = ((at >= 0) & (at <= (slide.header.width_px, slide.header.height_px))).all(axis=1)
    return round(float(inside.mean()), 4)
