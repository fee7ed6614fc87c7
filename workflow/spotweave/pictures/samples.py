"""Samples of any type as 8-bit RGB, or a refusal that says why they are no colours as they stand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyvips

from spotweave.errors import Refusal
from spotweave.pictures.colours import as_rgb

# Glass is brighter than half of what a camera can tell; samples of 15 bits and fewer never are.
HALF_OF_16_BITS = 32767
NEARLY_ALL = 0.999
# An opacity is nearly everywhere full or nothing.
OPAQUE, CLEAR, UNDECIDED_MAX = 0.98, 0.02, 0.10
Load = Callable[[], pyvips.Image]


def eight_bits(path: Path, load: Load, page: pyvips.Image, is_opacity: bool) -> tuple[pyvips.Image, str | None]:
    """A page as 8-bit RGB.

    Parameters
    ----------
    path
        The file, for what is said of it.
    load, page
        Opens the page anew, for each time that its samples must be looked at; and the page, opened.
    is_opacity
        Whether a band beyond the colours is opacity, by what the file says.

    Returns
    -------
    The picture, and what was left out of it in words.
    """
    notes = []
    has_colours = page.bands >= 3
    is_cmyk = page.interpretation == "cmyk"
    wanted = (4 if is_cmyk else 3) if has_colours else 1
    keep = page.bands
    if page.bands > wanted + 1:
        raise Refusal(
            f"{path.name}: {page.bands} bands; H&E has three, save the red, green and blue alone",
            measured=page.bands,
            threshold=wanted + 1,
        )
    if page.bands == wanted + 1:
        if is_opacity:
            _check_opacity(path, load(), page.bands)
        else:
            keep = wanted
            notes.append(f"band {page.bands}, which is not opacity by its tag, was left out")
    if not has_colours:
        notes.append("the picture is grey")
    if is_cmyk:
        notes.append("converted from CMYK")
    note = "; ".join(notes) or None
    if page.format == "uchar":
        return _three(path, as_rgb(page if keep == page.bands else page.extract_band(0, n=keep))), note
    if page.format not in ("ushort", "float", "double"):
        raise Refusal(f"{path.name}: samples of type {page.format}, which are no colours; save it with 8 bits a sample")
    factor = _to_eight_bits(path, load, wanted)
    scaled = page * ([factor] * wanted + [255.0 / _full_opacity(page)] * (page.bands - wanted))
    if keep != page.bands:
        scaled = scaled.extract_band(0, n=keep)
    kind = "cmyk" if is_cmyk else "srgb" if has_colours else "b-w"
    eight = scaled.rint().cast("uchar").copy(interpretation=kind)
    return _three(path, as_rgb(eight)), note


def _three(path: Path, rgb: pyvips.Image) -> pyvips.Image:
    """What is RGB by the file's word has three bands, or that word is damaged."""
    if rgb.bands != 3:
        raise Refusal(
            f"{path.name}: {rgb.bands} bands that are no colours by its tags; fetch it again or save it as RGB"
        )
    return rgb


def _full_opacity(page: pyvips.Image) -> float:
    return {"uchar": 255.0, "ushort": 65535.0}.get(page.format, 1.0)


def _to_eight_bits(path: Path, load: Load, wanted: int) -> float:
    """What 16-bit or float samples are multiplied by; a range that leaves doubt is refused with the largest sample."""
    colours = load().extract_band(0, n=wanted)
    stats = colours.stats()
    low, high, total = (stats(column, 0)[0] for column in (0, 1, 2))
    if colours.format == "ushort":
        return _of_16_bits(path, int(high), load().extract_band(0, n=colours.bands))
    if not math.isfinite(total):
        raise Refusal(
            f"{path.name}: float samples of which some are no numbers (NaN) or infinite; save it with 8 bits a sample",
            measured="not a number",
        )
    if low >= 0 and 0.5 < high <= 1:
        return 255.0
    if low >= 0 and 127 < high <= 255:
        return 1.0
    raise Refusal(
        f"{path.name}: float samples from {low:.4g} to {high:.4g}, neither 0 to 1 nor 0 to 255; save it with 8 bits a "
        "sample",
        measured=high,
    )


def _of_16_bits(path: Path, largest: int, colours: pyvips.Image) -> float:
    """Single bright px (hot ones of a camera) do not make 12 bits into 16: nearly all samples are looked at."""
    counts = colours.hist_find().numpy().reshape(-1, colours.bands).sum(axis=1)
    nearly_all = int(np.searchsorted(np.cumsum(counts), NEARLY_ALL * counts.sum()))
    if nearly_all > HALF_OF_16_BITS:
        return 1 / 257
    but = f", and {NEARLY_ALL:.1%} are at most {nearly_all:,}" if largest > HALF_OF_16_BITS else ""
    raise Refusal(
        f"{path.name}: 16-bit samples of which the largest is {largest:,}{but}, so that the picture would be dark; "
        "save it with 8 bits a sample, or with all 16 bits used",
        measured=nearly_all,
        threshold=HALF_OF_16_BITS,
    )


def _check_opacity(path: Path, page: pyvips.Image, bands: int) -> None:
    """Whether the last band is full or nothing nearly everywhere, and full somewhere."""
    opacity = page.extract_band(bands - 1)
    full = _full_opacity(page)
    # One pass: how many px are opaque, how many clear.
    marks = (opacity >= OPAQUE * full).bandjoin(opacity <= CLEAR * full)
    stats = marks.cast("uchar").stats()
    opaque, clear = (stats(4, band + 1)[0] / 255 for band in (0, 1))
    undecided = 1 - opaque - clear
    if opaque == 0 or undecided > UNDECIDED_MAX:
        ordinal = {2: "second", 4: "fourth", 5: "fifth"}.get(bands, f"{bands}th")
        raise Refusal(
            f"{path.name}: a {ordinal} band that is not opacity (full at {opaque:.1%} and none at {clear:.1%} of the "
            "px); save the red, green and blue alone",
            measured=round(undecided, 4),
            threshold=UNDECIDED_MAX,
        )
