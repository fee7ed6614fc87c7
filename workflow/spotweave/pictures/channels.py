"""Pictures whose red, green and blue were filed one by one: as three grey pages, or as three bands called grey."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyvips

from spotweave.errors import Refusal
from spotweave.pictures.samples import Load

RGB_NAMES = (("red", "r"), ("green", "g"), ("blue", "b"))
RGB_COLOURS = (-16776961, 16711935, 65535)  # of OME channels: signed RGBA
DESCRIPTION_LOOKED_AT = 100_000
# Bright field: most px let light through in every colour. Haematoxylin and eosin take most from the green.
BRIGHT_MIN = 0.35
GREEN_MORE_MIN = 1.1
LOOKED_AT_PX = 1000
NUMBERED = re.compile(r"(?:channel|ch|c)?[\s:_#-]*\d*(?:[\s:_-]*\d+)?", re.IGNORECASE)


def joined(pages: Sequence[Load]) -> Load:
    """The pages as the bands of one picture."""

    def load() -> pyvips.Image:
        first, *others = [page() for page in pages]
        return first.bandjoin(others).copy(interpretation="rgb16" if first.format == "ushort" else "srgb")

    return load


def as_colours(page: Load) -> Load:
    """A page of three bands that are called grey, with their right name."""

    def load() -> pyvips.Image:
        image = page()
        return image.copy(interpretation="rgb16" if image.format == "ushort" else "srgb")

    return load


def check_rgb(path: Path, load: Load, count: int, description: str | None, what: str) -> str:
    """Whether channels are red, green and blue: by their names, or if they have none, as bright field shows.

    Parameters
    ----------
    path, what
        The file, and what the channels are in it, for what is said of it (`three grey pages`).
    load
        Opens the channels as bands of one picture.
    count
        Of the channels.

    Returns
    -------
    What was taken for what, in words.

    Raises
    ------
    Refusal
        They have other names, or no names and not the look of an H&E.
    """
    channels = _channels(description)
    names = _names(channels)
    colours = [_attribute(channel, "Color") for channel in channels]
    if count == 3 and len(channels) == 3:
        named = [str(name).lower() for name in names]
        if all(name in allowed for name, allowed in zip(named, RGB_NAMES, strict=True)) or (
            not any(names) and colours == [str(colour) for colour in RGB_COLOURS]
        ):
            return f"{what} put together as red, green and blue"
    measured: float | None = None
    why = ""
    if count == 3 and not any(names):
        light, ratio = _look(load())
        if light >= BRIGHT_MIN and ratio >= GREEN_MORE_MIN:
            return (
                f"{what} without names put together as red, green and blue: bright field, where green is absorbed"
                f" {ratio:.2f} times as much as the others"
            )
        measured = round(light if light < BRIGHT_MIN else ratio, 3)
        why = (
            f" (no bright field: half of the px are darker than {light:.2f} of white)"
            if light < BRIGHT_MIN
            else f" (no H&E by its colours: green is absorbed {ratio:.2f} times as much as the others)"
        )
    said = f" ({', '.join(str(name)[:40] for name in names[:8])})" if any(names) else ""
    raise Refusal(
        f"{path.name}: {what} of one size{said}, none of which is an H&E picture{why}; if they are its red, "
        "green and blue, save them as one RGB picture",
        measured=count if measured is None else measured,
    )


def _look(picture: pyvips.Image) -> tuple[float, float]:
    """Median of the darkest band as a share of white; absorbance of the second band to the others' larger."""
    factor = max(1, min(picture.width, picture.height) // LOOKED_AT_PX)
    full = 65535.0 if picture.format == "ushort" else 255.0
    samples = np.clip(picture.shrink(factor, factor).numpy().astype(np.float32) / full, 1 / 255, 1)
    absorbed = -np.log10(samples).mean(axis=(0, 1))
    light = float(np.median(samples, axis=(0, 1)).min())
    return light, float(absorbed[1] / max(absorbed[0], absorbed[2], 1e-6))


def _names(channels: Sequence[str]) -> list[str | None]:
    """Names that say more than a number, as software gives to channels without any."""
    names = [_attribute(channel, "Name") for channel in channels]
    return [None if name is None or NUMBERED.fullmatch(name.strip()) else name for name in names]


def _channels(description: str | None) -> list[str]:
    return re.findall(r"<Channel\b[^>]{0,2000}>", (description or "")[:DESCRIPTION_LOOKED_AT])


def _attribute(tag: str, name: str) -> str | None:
    found = re.search(rf'\s{name}="([^"]*)"', tag)
    return found[1] if found else None
