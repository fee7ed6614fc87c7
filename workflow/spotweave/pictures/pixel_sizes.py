"""What is known of wrong pixel sizes: how far two may differ, and the mistakes that a value or a ratio is known for.

The aligner holds a sample's own estimates against each other by it (`align.pixel_size`), and the metadata what a row or
a published table states (`dataset.harmonise`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Source = Literal["frame", "lattice", "scalefactors", "tag", "stated"]
ORDER: tuple[Source, ...] = ("frame", "lattice", "scalefactors", "tag", "stated")
# The largest difference to any other that is no disagreement, by the less certain of a pair. Scale factors come from
# the same fit as the positions; scanners state their pixel to about 1 %; sources round, or measure few spots.
TOLERANCE: Mapping[Source, float] = {
    "frame": 0.005,
    "lattice": 0.005,
    "scalefactors": 0.005,
    "tag": 0.02,
    "stated": 0.03,
}
COARSEST_UM = 1.15  # HEST-1k's own rule, section 3.1; what a run accepts is in its configuration
DAPI_UM = 0.2125  # of every Xenium morphology picture
DEFAULT_DPI = (72, 96, 150, 300)
SAME_VALUE = 1e-3  # a default is met exactly but for rounding


@dataclass(frozen=True)
class Mistake:
    """A known mistake: the ratio of two pixel sizes it makes, how near one must be to it (a share), and its name."""

    ratio: float
    within: float
    name: str


MISTAKES = (
    Mistake(2.0, 0.02, "one is of a copy reduced by half"),
    Mistake(4.0, 0.02, "one is of a copy reduced to a quarter"),
    Mistake(8.0, 0.02, "one is of a copy reduced to an eighth"),
    Mistake(16.0, 0.02, "one is of a copy reduced to a sixteenth"),
    Mistake(2.54, 0.02, "an inch was taken for a centimetre"),
    Mistake(25.4, 0.02, "an inch was taken for a millimetre"),
    Mistake(25_400.0, 0.02, "an inch was taken for a micrometre"),
    Mistake(10.0, 0.02, "a centimetre was taken for a millimetre"),
    Mistake(1000.0, 0.02, "a millimetre was taken for a micrometre"),
    Mistake(10_000.0, 0.02, "a centimetre was taken for a micrometre"),
    Mistake(200 / 150, 0.01, "the pitch of a 1k array (200 um) was taken for that of a 2k array (150 um)"),
    # Diameters are exact numbers of software; their ratios lie so close together that no wider ranges are apart.
    Mistake(65 / 55, 0.0025, "the software's spot diameter (65 um) was taken for the printed one (55 um)"),
    Mistake(60 / 55, 0.0025, "the software's spot diameter (60 um) was taken for the printed one (55 um)"),
    Mistake(
        65 / 60, 0.0025, "the software's spot diameter of a 6.5 mm array (65 um) was taken for an 11 mm one's (60 um)"
    ),
    Mistake(
        70 / 65, 0.0025, "the spot diameter of the first Space Rangers (70 um) was taken for the later one (65 um)"
    ),
)


def difference(first_um: float, second_um: float) -> float:
    """How much larger the larger of two pixel sizes is, as a share."""
    low, high = sorted((first_um, second_um))
    return high / low - 1


def is_agreed(first: Source, first_um: float, second: Source, second_um: float) -> bool:
    """Whether two pixel sizes lie within the tolerance of the less certain of their sources."""
    return difference(first_um, second_um) <= max(TOLERANCE[first], TOLERANCE[second])


def software_default(pixel_size_um: float) -> str:
    """What software writes when it knows no resolution and this is: `72 dpi`, `1 um/px` …; '' if it is none."""
    if math.isclose(pixel_size_um, 1.0, rel_tol=1e-6):
        return "1 um/px"
    for dpi in DEFAULT_DPI:
        if math.isclose(pixel_size_um, 25_400 / dpi, rel_tol=SAME_VALUE):
            return f"{dpi} dpi"
        if math.isclose(pixel_size_um, 25.4 / dpi, rel_tol=SAME_VALUE):
            return f"{dpi} dpi with millimetres taken for micrometres"
    return ""


def explain_value(pixel_size_um: float) -> str:
    """What a written pixel size is known to be, where it is none of an H&E: '' if it is not known."""
    default = software_default(pixel_size_um)
    if default:
        return f"the {default} that software writes when it knows none"
    if math.isclose(pixel_size_um, DAPI_UM, rel_tol=SAME_VALUE):
        return f"the pixel size of a Xenium morphology picture ({DAPI_UM} um), not the H&E's"
    return ""


def explain(ratio: float) -> str:
    """The mistake that two pixel sizes of this ratio are known for; '' if there is none."""
    over = max(ratio, 1 / ratio)
    return next((mistake.name for mistake in MISTAKES if abs(over / mistake.ratio - 1) <= mistake.within), "")
