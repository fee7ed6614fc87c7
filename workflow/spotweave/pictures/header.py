"""What a picture's header says: its size, its resolution tag, and what was chosen of a file that holds several."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from spotweave.pictures.files import Picture, open_picture

# A resolution tag beyond these is no microscope's: software that knows none writes 72, 96 or 300 dpi (353, 265, 85 um).
PLAUSIBLE_UM = (0.05, 20.0)
OME_MEASURES_UM = {"\u00b5m": 1.0, "\u03bcm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}  # both signs for micro


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
    return Header(picture.image.width, picture.image.height, _embedded_pixel_size_um(picture), picture.note)


def _embedded_pixel_size_um(picture: Picture) -> float | None:
    """um per pixel as the scanner's description says, or else the resolution tag."""
    described = _described_pixel_size_um(picture.description)
    if described is not None:
        return described if PLAUSIBLE_UM[0] <= described <= PLAUSIBLE_UM[1] else None
    if picture.xres <= 1.0:  # libvips gives pixels per mm, 1 where there is no tag
        return None
    pixel_size_um = 1000.0 / picture.xres
    return pixel_size_um if PLAUSIBLE_UM[0] <= pixel_size_um <= PLAUSIBLE_UM[1] else None


def _described_pixel_size_um(text: str | None) -> float | None:
    """Of an Aperio slide `MPP = 0.499`, of an OME-TIFF `PhysicalSizeX`; None without either."""
    if text is None:
        return None
    aperio = re.search(r"\bMPP\s*=\s*(\d*\.?\d+)", text)
    if aperio:
        return float(aperio[1])
    size = re.search(r'\bPhysicalSizeX="(\d*\.?\d+(?:[eE][-+]?\d+)?)"', text)
    measure = re.search(r'\bPhysicalSizeXUnit="([^"]+)"', text)
    if size is None or (measure is not None and measure[1] not in OME_MEASURES_UM):
        return None
    return float(size[1]) * (OME_MEASURES_UM[measure[1]] if measure else 1.0)
