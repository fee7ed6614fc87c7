"""The known spots of other samples whose pictures are nearest to a spot's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

DISTANCES: Final[dict[str, str]] = {"l2": "euclidean", "l1": "cityblock"}
PUBLISHED_PER_SECTION = 100
PUBLISHED_KEPT = 128
QUERIES_AT_A_TIME = 256

Section = TypeVar("Section", str, int)


class NoExemplars(ValueError):
    """There is no spot that may serve as an exemplar, or the published search cannot run; the message says which."""


@dataclass(frozen=True)
class Nearest:
    """The nearest spots of N queries, K each, **the nearest last**.

    Attributes
    ----------
    distance
        (N, K) float64, falling along a row.
    section
        (N, K) int64, the place of the section among those searched.
    spot
        (N, K) int64, the row of the spot in its section.
    searched
        The names of the sections that were searched, in order.
    """

    distance: NDArray[np.float64]
    section: NDArray[np.int64]
    spot: NDArray[np.int64]
    searched: Sequence[Any]

    def last(self, k: int) -> Nearest:
        """The k nearest of them."""
        return Nearest(self.distance[:, -k:], self.section[:, -k:], self.spot[:, -k:], self.searched)


def nearest(
    queries: NDArray[Any],
    own: Section | None,
    sections: Mapping[Section, NDArray[Any]],
    k: int,
    distance: str = "l2",
    published: bool = False,
) -> Nearest:
    """The k spots nearest to each query among all spots of the sections, its own section left out.

    Distances are taken in float64; ties go to the section that comes first, and in it to the first spot.

    Parameters
    ----------
    queries
        (N, F) features of the spots of one section.
    own
        The name of their section, None if it is none of those searched.
    sections
        Name -> (M, F) features. Only sections that may be learned from belong here.
    k
        How many; all there are, where there are fewer.
    distance
        `l2` (EGN) or `l1` (EGN version 2).
    published
        As the original searches: of each section the min(N, 100) nearest, of these the 128 nearest over all sections,
        of these k. N is the number of *queries*, so that a section of few spots sees few exemplars, and a searched
        section of fewer spots stops it.

    Raises
    ------
    NoExemplars
        If nothing is left to search; with `published`, if a searched section has fewer spots than are asked of it.
    """
    from scipy.spatial.distance import cdist

    searched = [name for name in sections if name != own and len(sections[name])]
    if not searched:
        raise NoExemplars("there is no other training sample to take exemplars from")
    per_section = min(len(queries), PUBLISHED_PER_SECTION) if published else k
    if published:
        for name in searched:
            if len(sections[name]) < per_section:
                raise NoExemplars(
                    f"the published search wants {per_section} spots of every sample, and {name} has"
                    f" {len(sections[name])}"
                )
    kept = min(k, PUBLISHED_KEPT) if published else k
    parts = []
    for start in range(0, len(queries), QUERIES_AT_A_TIME):
        some = np.asarray(queries[start : start + QUERIES_AT_A_TIME], dtype=np.float64)
        found = [
            _nearest_of(cdist(some, np.asarray(sections[name], dtype=np.float64), DISTANCES[distance]), at, per_section)
            for at, name in enumerate(searched)
        ]
        far, section, spot = (np.concatenate(values, axis=1) for values in zip(*found, strict=True))
        order = np.argsort(far, axis=1, kind="stable")[:, :kept][:, ::-1]
        parts.append([np.take_along_axis(values, order, axis=1) for values in (far, section, spot)])
    if not parts:
        empty = np.zeros((0, min(kept, sum(len(sections[name]) for name in searched))))
        return Nearest(empty, empty.astype(np.int64), empty.astype(np.int64), searched)
    far, section, spot = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Nearest(far, section, spot, searched)


def _nearest_of(
    distances: NDArray[np.float64], section: int, k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Distance, section and spot of the k nearest of one section, nearest first."""
    spot = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, spot, axis=1), np.full_like(spot, section), spot
