"""Ways to find the tissue on a picture. One module here is one way; `tissue: method` of the configuration names it.

A method is a module with

    WORKING_PIXEL_SIZE_UM
        Pictures are reduced to this size of a pixel before they are segmented (never enlarged).
    segment(picture: Picture, *, min_hole_um2: float, min_piece_um2: float) -> Mask
        The tissue on a reduced picture, (H, W) bool, all False where there is none; holes and pieces smaller than the
        two areas need not be kept apart: the outlines drop them in any case.

One that wants more names it in `TAKES`, a literal tuple, and gets it as keywords of `segment`:

    "slide": `Slide`, the deposited picture at any scale, in strips; never as a whole
    "weights": {"weights", "source", "revision", "sha256"} of `tissue:` in the configuration

One that takes weights has, beside them,

    LICENCE
        Of the published weights; it goes into the record.
    check(settings) -> list[tuple[str, str]]
        What it asks of `tissue:` beyond the schema: (key, "what is wrong, what is allowed") for each fault. It is asked
        before the first job: heavy imports belong into functions.

and `segment` raises `networks.spec.ModelUnavailable` where they cannot be had.

A method never sees the spots. Outlines, areas, limits and the agreement with the spots are measured alike for all
(`spotweave.tissue.section`), and so is what kind of picture it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotweave.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TISSUE_METHODS = Registry("tissue/methods", "tissue method")
NO_WEIGHTS = {"weights": "none", "source": "", "revision": "", "sha256": ""}


@dataclass(frozen=True)
class Slide:
    """The deposited picture for a method that reads more of it than the reduced one."""

    path: Path
    pixel_size_um: float

    def strips(self, width: int, height: int, rows: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """The picture resized to width x height px: (first row, (rows, width, 3) uint8) from the top down."""
        from spotweave.pictures.reduced import strips

        return strips(self.path, width, height, rows)


def takes(method: str, what: str) -> bool:
    """Whether a method asks for more than the reduced picture; it is not imported."""
    return what in TISSUE_METHODS.constant(method, "TAKES", ())


def faults(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with `tissue:` of the configuration, (key, "what is wrong, what is allowed") for each.

    Parameters
    ----------
    settings
        `method` and the keys of weights, as the schema has them; keys of weights that are absent state none.
    """
    settings = {**NO_WEIGHTS, **settings}
    unknown = TISSUE_METHODS.fault(settings["method"])
    if unknown is not None:
        return [("method", unknown)]
    if takes(settings["method"], "weights"):
        found: list[tuple[str, str]] = TISSUE_METHODS.load(settings["method"]).check(settings)
        return found
    return [
        (key, f"{settings[key]!r} would not be used by {settings['method']}, allowed: {nothing or 'empty'}")
        for key, nothing in NO_WEIGHTS.items()
        if settings[key] != nothing
    ]
