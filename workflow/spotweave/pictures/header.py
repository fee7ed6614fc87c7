"""What a picture's header says: its size, its resolution tag, and what was chosen of a file that holds several."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path

from spotweave.pictures.files import Picture, open_picture

# A resolution tag beyond these is no microscope's: software that knows none writes 72, 96 or 300 dpi (353, 265, 85 um).
PLAUSIBLE_UM = (0.05, 20.0)
# Both signs for micro.
OME_MEASURES_UM = {
    **dict.fromkeys(("\u00b5m", "\u03bcm", "um", "micron"), 1.0),
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "in": 25_400.0,
}
UM_PER_MM = 1000.0
UNEVEN = 0.02  # difference of x and y from which px are not square
NUMBER = r"\+?\d*[.,]?\d+(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class Header:
    """What a picture's header says; `pixel_size_um` is its resolution tag, None where absent or implausible.

    `note` says what was chosen of the file or left out, None where there was nothing to choose.
    """

    width_px: int
    height_px: int
    pixel_size_um: float | None
    note: str | None = None


def read_header(path: Path) -> Header:
    """Read a picture's header; only samples whose range must be looked at (16 bits, float, opacity) are decoded.

    Raises
    ------
    Refusal
        When the file is not a picture that can be decoded, or none as it stands.
    """
    picture = open_picture(path)
    pixel_size_um, note = _embedded_pixel_size_um(picture)
    notes = "; ".join(one for one in (picture.note, note) if one) or None
    return Header(picture.image.width, picture.image.height, pixel_size_um, notes)


def _embedded_pixel_size_um(picture: Picture) -> tuple[float | None, str | None]:
    """um per pixel as the scanner's description says, or else the resolution tag; why a statement is not believed."""
    size_px = (picture.image.width, picture.image.height)
    said = _described_um(picture.description, size_px)
    if not said and picture.xres > 1.0:  # libvips gives pixels per mm, 1 where there is no tag
        yres = picture.yres if picture.yres > 1.0 else picture.xres
        said = {(UM_PER_MM / picture.xres, UM_PER_MM / yres)}
    if not said:
        return None, None
    if len(said) > 1:
        return None, f"{len(said)} pixel sizes in its description: none is believed"
    ((x_um, y_um),) = said
    if not PLAUSIBLE_UM[0] <= x_um <= PLAUSIBLE_UM[1]:
        return None, None
    if abs(x_um - y_um) > UNEVEN * x_um:
        return None, f"px of {x_um:.4g} x {y_um:.4g} um by its own statement, which is not believed"
    return x_um, None


def _described_um(text: str | None, size_px: tuple[int, int]) -> set[tuple[float, float]]:
    """Along x and y, of an Aperio slide `MPP = 0.499`, of an OME-TIFF `PhysicalSizeX` and `Y` of its `Pixels`.

    An OME description has one `Pixels` for each picture of the file, the label too: those of the picture's size count.
    """
    if text is None:
        return set()
    aperio = re.search(rf"\bMPP\s*=\s*({NUMBER})", text)
    if aperio:
        um = _number(aperio[1])
        return {(um, um)}
    tags = [_attributes(tag) for tag in re.findall(r"<(?:\w+:)?Pixels\b[^>]{0,4000}>", text)]
    width, height = map(str, size_px)
    own = [tag for tag in tags if (tag.get("SizeX"), tag.get("SizeY")) == (width, height)]
    found = [_physical_um(tag) for tag in own or tags]
    return {one for one in found if one is not None}


def _attributes(tag: str) -> dict[str, str]:
    found = re.findall(r"""([\w:]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""", tag)
    return {name: html.unescape(double or single).strip() for name, double, single in found}


def _physical_um(tag: dict[str, str]) -> tuple[float, float] | None:
    """Of one `Pixels`; None where it says none in a measure of length. Writers that name one for x alone mean both."""
    sides, measure = [], "um"
    for axis in "XY":
        size, measure = tag.get(f"PhysicalSize{axis}", ""), tag.get(f"PhysicalSize{axis}Unit", measure)
        if re.fullmatch(NUMBER, size) and measure in OME_MEASURES_UM:
            sides.append(round(_number(size) * OME_MEASURES_UM[measure], 9))
        elif axis == "X":
            return None
    return sides[0], sides[-1]


def _number(text: str) -> float:
    return float(text.replace(",", "."))
