"""um per px of a slide, which the layout does not have: from the spacing of its spots, held against their radius."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.stimage import Printed

# Spacing gives what the fitted lattice does to 0.6 % on real arrays. Radii come from Space Ranger, whose spots are
# wider than the 55 um that are printed by up to a quarter, or from elsewhere; some that are published are wrong by two.
STATED_LIMIT, RADIUS_LIMIT = 0.05, 0.4
NEIGHBOURS = 4  # of a spot inside a square lattice; a hexagonal one has more
NEXT = 1.35  # a neighbour is no farther than this, in the nearest ones' distances: below the diagonal of a square
WAYS = ("agreement", "spacing", "radius")


@dataclass(frozen=True)
class PixelSize:
    """um per px, where it is from, and what each way gave; None where spots have no spacing."""

    um: float
    source: str
    by_spacing_um: float | None
    by_radius_um: float


def spacing_px(xy_px: NDArray[np.float64]) -> float | None:
    """Median distance of neighbours on the lattice; None of fewer than two places.

    Of nearest spots alone it would be too short: of four neighbours that lie a little off, the nearest is the one that
    is off towards the spot.
    """
    from scipy.spatial import KDTree

    count = min(NEIGHBOURS, len(xy_px) - 1)
    if count < 1:
        return None
    distance = KDTree(xy_px).query(xy_px, list(range(2, count + 2)))[0]
    nearest = np.median(distance[:, 0])
    return float(np.median(distance[distance <= NEXT * nearest])) if nearest > 0 else None


def measure(
    name: str,
    xy_px: NDArray[np.float64],
    radius_px: float,
    printed: Printed,
    stated_um: float | None = None,
    way: str = "agreement",
) -> PixelSize:
    """What is stated, or else follows from the spacing, or of a single spot from the radius.

    Parameters
    ----------
    xy_px, radius_px
        (N, 2) centres and the radius of the spots.
    printed
        Diameter and pitch in um.
    stated_um
        As an export of ours says; None for a folder of others.
    way
        `spacing` or `radius` takes that one, whatever the others say.

    Raises
    ------
    Refusal
        The spacing is over 5 % from what is stated, or the radius gives 1.4 times as much or as little.
    """
    apart_px = spacing_px(xy_px)
    by_spacing = None if apart_px is None else printed.pitch_um / apart_px
    by_radius = printed.diameter_um / (2 * radius_px)
    if way == "radius" or (way == "agreement" and by_spacing is None and stated_um is None):
        return PixelSize(by_radius, "radius of spots", by_spacing, by_radius)
    if by_spacing is not None and way == "spacing":
        return PixelSize(by_spacing, "spacing of spots", by_spacing, by_radius)
    um = stated_um or by_spacing
    if um is None:
        raise Refusal(f"{name}: its spots have no spacing; choose --pixel-size-from radius")
    for what, other, limit in (("spacing", by_spacing, STATED_LIMIT), ("radius", by_radius, RADIUS_LIMIT)):
        apart = 0.0 if other is None else max(um, other) / min(um, other) - 1
        if apart > limit:
            raise Refusal(
                f"{name}: {um:.4g} um per px {'as stated' if stated_um else 'by the spacing of spots'}, {other:.4g} by "
                f"their {what}; look at the picture and choose (--pixel-size-from spacing, or radius)",
                measured=round(apart, 4),
                threshold=limit,
            )
    return PixelSize(um, "stated by the export" if stated_um else "spacing of spots", by_spacing, by_radius)
