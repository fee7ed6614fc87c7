"""The frame in a picture file: reduced to what the fit needs, detected, fitted, refitted finer where that pays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spotweave.fiducials.detection import Detection
from spotweave.fiducials.fit import locate, relocate
from spotweave.fiducials.measures import FrameFit
from spotweave.fiducials.printing import TABLE
from spotweave.fiducials.verdict import Complaint, complaints
from spotweave.pictures.reduced import read_reduced
from spotweave.visium.array import NAMES

LONGER_SIDES_PX = (2048, 4096)  # tried one after the other until a fit is accepted
COARSE_UM = 6.5  # a fit on coarser pixels than these is repeated on finer ones, if the picture has them
FINE_UM = 4.4
FINEST_SIDE_PX = 6000


class FindsCorners(Protocol):
    """What finds corner shapes: `fiducials.detector.Detector`, or a stand-in."""

    def detect(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """Corner shapes in (H, W, 3) uint8 RGB."""
        ...


@dataclass(frozen=True)
class Found:
    """What was found in a picture file.

    Attributes
    ----------
    fit
        In px of the file; None if no frame was found.
    complaints
        Why the fit must not be used; empty for a fit that may.
    detections
        In px of the file.
    fitted_at_um
        um per px of the reduced picture that the fit was made on.
    """

    fit: FrameFit | None
    complaints: list[Complaint]
    detections: list[Detection]
    fitted_at_um: float | None


def find(
    path: Path,
    size_px: tuple[int, int],
    detector: FindsCorners,
    *,
    areas: Iterable[str] = NAMES,
    printing: Path | None = TABLE,
) -> Found:
    """Find the frame in a picture of (width, height) px.

    Raises
    ------
    Refusal
        The picture cannot be read.
    """
    areas = tuple(areas)
    found = Found(None, complaints(None), [], None)
    for side in LONGER_SIDES_PX:
        picture, scale = read_reduced(path, side / max(size_px))
        detections = detector.detect(picture)
        fit = locate(picture, detections, areas=areas, printing=printing)
        in_file = [detection.enlarged(scale) for detection in detections]
        found = _found(fit, in_file, scale)
        if not found.complaints or side >= max(size_px):
            break
    if fit is not None and not found.complaints and fit.pixel_size_um > COARSE_UM and max(scale) > 1.05:
        factor = min(fit.pixel_size_um / FINE_UM / max(scale), FINEST_SIDE_PX / max(size_px))
        picture, finer = read_reduced(path, factor)
        again = relocate(picture, fit.in_larger_picture((scale[0] / finer[0], scale[1] / finer[1])), printing=printing)
        if again is not None and not complaints(again):
            found = _found(again, found.detections, finer)
    return found


def _found(fit: FrameFit | None, detections: Sequence[Detection], scale: tuple[float, float]) -> Found:
    in_file = fit.in_larger_picture(scale) if fit is not None else None
    return Found(in_file, complaints(fit), list(detections), fit.pixel_size_um if fit is not None else None)
