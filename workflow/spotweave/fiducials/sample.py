"""The frame in one picture, from its file to the measures, the overlay and the places of all spots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.deposits.raw import RawFile, raw_file
from spotweave.fiducials import verdict
from spotweave.fiducials.cytassist import to_slide
from spotweave.fiducials.detector import Detector
from spotweave.fiducials.find import Found, find
from spotweave.fiducials.fit import FrameFit
from spotweave.fiducials.pictures import write_overlay
from spotweave.fiducials.printing import TABLE
from spotweave.geometry import apply
from spotweave.io import atomic, read_json, write_json
from spotweave.pictures.header import read_header
from spotweave.pictures.reduced import read_reduced
from spotweave.visium.array import capture_area
from spotweave.visium.loupe import read_loupe

PICTURE_PX = 2048
ARRAY = "array, um, x right along the columns, y down along the rows, origin at array position (0, 0)"


@dataclass(frozen=True)
class Looked:
    """A picture that was looked at.

    Attributes
    ----------
    path, size_px
        Its file, its width and height.
    found
        The frame in it.
    printing
        The table of printed places that was used.
    """

    path: Path
    size_px: tuple[int, int]
    found: Found
    printing: Path

    @property
    def reasons(self) -> list[str]:
        """Why the frame must not be used; none for one that may."""
        return [complaint.reason for complaint in self.found.complaints]

    def measures(self) -> dict[str, Any]:
        """JSON-ready: `is_usable`, `complaints`, and what was measured of the fit."""
        return {"is_usable": not self.reasons, "complaints": self.reasons, **verdict.describe(self.found.fit)}

    def draw(self, overlay: Path, title: str) -> None:
        """Write the picture (PNG, about 2,000 px) with what was found in it."""
        picture, scale = read_reduced(self.path, PICTURE_PX / max(self.size_px))
        smaller = (1 / scale[0], 1 / scale[1])
        fit = self.found.fit
        write_overlay(
            overlay,
            picture,
            None if fit is None else fit.in_larger_picture(smaller),
            [detection.enlarged(smaller) for detection in self.found.detections],
            title=title,
            reasons=self.reasons,
            pixel_size_um=None if fit is None else fit.pixel_size_um,
            printing=self.printing,
        )


def look(path: Path, weights: Path, printing: Path = TABLE) -> Looked:
    """Look for the frame in a picture.

    Parameters
    ----------
    weights
        Of the corner detector.
    printing
        Table of the printed places of dots.

    Raises
    ------
    Refusal
        The picture cannot be read.
    """
    header = read_header(path)
    size_px = (header.width_px, header.height_px)
    return Looked(path, size_px, find(path, size_px, Detector(weights), printing=printing), printing)


def detect(
    sample: str, manifest: Path, weights: Path, printing: Path, fiducials: Path, overlay: Path
) -> dict[str, Any]:
    """Find the frame of a sample in the instrument's picture where it has one, else in the H&E, and write what it is.

    Parameters
    ----------
    sample
        Its id, for the title.
    manifest
        `raw.json`.
    fiducials, overlay
        Where they go (.json, .png).

    Returns
    -------
    Measures of the record: no maps, those are in `fiducials`.

    Raises
    ------
    Refusal
        A picture or the registration cannot be read. A picture without a frame is no reason to refuse.
    """
    roles = {file["role"] for file in read_json(manifest)["files"]}
    role = "cytassist_image" if "cytassist_image" in roles else "image"
    looked = look(raw_file(manifest, role), weights, printing)
    fit = looked.found.fit
    on_slide = fit.matrix if fit is not None and role == "image" else None
    if fit is not None and role == "cytassist_image" and "alignment" in roles:
        on_slide = _through_loupe(fit, raw_file(manifest, "alignment"))
    measures = {
        "picture": role,
        "fitted_at_um": round(looked.found.fitted_at_um, 3) if looked.found.fitted_at_um else None,
        "corners_detected": len(looked.found.detections),
        **looked.measures(),
    }
    content = {
        "from": ARRAY,
        "to": f"px of the {role} as filed, x right, y down, origin at its top-left corner",
        **measures,
        "matrix_to_slide": None if on_slide is None else on_slide.tolist(),
        "detections": [vars(detection) for detection in looked.found.detections],
    }
    write_json(fiducials, content)
    looked.draw(overlay, sample)
    return {name: value for name, value in measures.items() if name not in ("matrix", "corners_matrix")}


def fit_picture(picture: Path, weights: Path, overlay: Path | None, spots: Path | None) -> Mapping[str, Any]:
    """Fit the frame in any picture.

    Parameters
    ----------
    overlay
        Where to draw what was found (.png), if anywhere.
    spots
        Where the places of all spots go (.csv: `array_row`, `array_col`, `x_px`, `y_px`) if the fit may be used.

    Returns
    -------
    `Looked.measures`.

    Raises
    ------
    Refusal
        The picture cannot be read.
    """
    looked = look(picture, weights)
    if overlay is not None:
        with atomic(overlay) as part:
            looked.draw(part, picture.name)
    if spots is not None and looked.found.fit is not None and not looked.reasons:
        area = capture_area(looked.found.fit.area)
        table = pd.DataFrame(area.places(), columns=["array_row", "array_col"])
        table[["x_px", "y_px"]] = apply(looked.found.fit.matrix, area.spots_um()).round(3)
        with atomic(spots) as part:
            table.to_csv(part, index=False)
    return looked.measures()


def _through_loupe(fit: FrameFit, alignment: Path) -> NDArray[np.float64] | None:
    """The map to the H&E, through the registration in a Loupe file; None where it holds none."""
    to_instrument = read_loupe(RawFile(alignment.name, alignment)).to_instrument
    return None if to_instrument is None else to_slide(fit.matrix, to_instrument)
