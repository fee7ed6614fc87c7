"""Whether counts and selection of the spots agree with the picture under them, where no frame says so.

Two things can be seen. Selected spots lie on tissue, and those just beside them on the glass: the share of pairs in
which the selected one is the more colourful (area under the ROC curve). And dark tissue holds many cells, so counts
follow the darkness of the picture (Spearman's rho; weak on many sections). Their sum is compared with what the same
spots would have if they were mirrored, turned, exchanged, scaled or moved by a few steps: a placement that a rival
beats is wrong, or of another section. docs/placement-measured.md has what this finds on real sections, and what not.

Colour is the largest less the smallest of red, green and blue: nought on glass, in shadows, on dust and on a
blackened background alike. Darkness is the optical density.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from skimage.filters import threshold_otsu

from spotweave.errors import Refusal
from spotweave.geometry import Points, apply
from spotweave.ranks import mean_ranks, spearman

WORKING_UM = 12.5  # um per px that the picture is reduced to
REACH_STEPS = 3.0  # how far beside the selected ones other spots are compared with them, in distances of neighbours
SURROUND_STEPS = 2.1  # within which places are counted that surround one
FEWEST = 20  # spots on either side of a comparison
LEAST_INSIDE = 0.9  # share of the selected spots that a rival must leave in the picture
ON_TISSUE_FROM = 0.8  # share of the selected spots that are as colourful as tissue
STEPS = (1, 2, 3)
DIRECTIONS = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
TURNS: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "turned by 90 degrees": ((0, -1), (1, 0)),
    "turned by 180 degrees": ((-1, 0), (0, -1)),
    "turned by 270 degrees": ((0, 1), (-1, 0)),
    "mirrored left to right": ((-1, 0), (0, 1)),
    "mirrored top to bottom": ((1, 0), (0, -1)),
    "mirrored about a diagonal": ((0, 1), (1, 0)),
    "mirrored about the other diagonal": ((0, -1), (-1, 0)),
}
SCALES = (0.25, 0.5, 2.0, 4.0)


@dataclass(frozen=True)
class Sites:
    """Places of an array that are compared: the selected spots and those near them.

    Attributes
    ----------
    xy_px
        (N, 2) slide px.
    is_selected
        (N,) bool, whether they are in tissue by the deposit.
    counts
        (N,) float64, NaN where there are none.
    step_px
        (2, 2) slide px of a step to the neighbour along the array's x and y axis, one a row.
    """

    xy_px: Points
    is_selected: NDArray[np.bool_]
    counts: NDArray[np.float64]
    step_px: NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """How well spots agree with the picture.

    Attributes
    ----------
    edge
        Area under the ROC curve of the colour of selected spots and those beside them.
    rho
        Of counts and darkness; None where not to be had.
    rho_noise
        What rho may be by chance: two standard errors.
    coloured
        Share of the selected spots that are as colourful as tissue (Otsu's threshold of the whole picture).
    """

    edge: float
    rho: float | None
    rho_noise: float
    coloured: float

    @property
    def total(self) -> float:
        """From -2 to 2, 0 by chance; of rho what is beyond its noise, so that a round tissue has no rivals by luck."""
        rho = self.rho or 0.0
        return 2 * self.edge - 1 + float(np.copysign(max(abs(rho) - self.rho_noise, 0.0), rho))


def sites(
    array: NDArray[np.int64],
    xy_px: Points,
    in_tissue: NDArray[np.bool_],
    counts: NDArray[np.float64],
    matrix: NDArray[np.float64],
    pitch_um: tuple[float, float],
) -> Sites:
    """The selected spots and the places near them that are not, in the box of rows and columns that the spots span.

    Places without a spot are taken in: tables of selected spots alone leave out the glass.

    Parameters
    ----------
    array, xy_px, in_tissue, counts
        (N, 2) column and row, (N, 2) slide px (NaN if unknown), (N,) bool, (N,) totals or NaN, of the spots.
    matrix
        (3, 3), array um -> slide px: for places without a spot.
    pitch_um
        um between columns and rows.
    """
    low, high = array.min(axis=0), array.max(axis=0)
    columns, rows = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    places = np.column_stack([columns.ravel(), rows.ravel()])
    parity = array.sum(axis=1) % 2
    if (parity == parity[0]).all():  # a hexagonal lattice, or one of every other place
        places = places[places.sum(axis=1) % 2 == parity[0]]
    row_of = {place: row for row, place in enumerate(map(tuple, array.tolist()))}
    spot = np.array([row_of.get(place, -1) for place in map(tuple, places.tolist())])
    at_px = apply(matrix, places * np.asarray(pitch_um))
    there = spot >= 0
    known = there.copy()
    known[there] = np.isfinite(xy_px[spot[there]]).all(axis=1)
    at_px[known] = xy_px[spot[known]]
    selected, total = np.zeros(len(places), dtype=bool), np.full(len(places), np.nan)
    selected[there], total[there] = in_tissue[spot[there]], counts[spot[there]]
    um = places * np.asarray(pitch_um, dtype=np.float64)
    step_um = float(np.median(KDTree(um).query(um, k=2)[0][:, 1])) if len(um) > 1 else 1.0
    near = selected.copy()
    if selected.any():
        near |= (KDTree(um[selected]).query(um)[0] <= REACH_STEPS * step_um + 1e-6) & ~_surrounded(
            um, selected, step_um
        )
    return Sites(at_px[near], selected[near], total[near], step_um * matrix[:2, :2].T)


def _surrounded(um: Points, selected: NDArray[np.bool_], step_um: float) -> NDArray[np.bool_]:
    """(N,) places with more selected than other places around them: left out of the tissue, not beside it."""
    tree = KDTree(um)
    return np.array([selected[around].mean() > 0.5 for around in tree.query_ball_point(um, SURROUND_STEPS * step_um)])


def measure(
    picture: NDArray[np.uint8],
    scale: tuple[float, float],
    found: Sites,
    spot_diameter_px: float,
    size_px: tuple[int, int],
) -> dict[str, Any]:
    """How well spots agree with a picture, and which rival placement agrees best.

    Parameters
    ----------
    picture, scale
        (H, W, 3) uint8 RGB, and how many slide px make one of its px along x and y.
    found
        What is compared.
    spot_diameter_px
        Of a spot, in slide px: colours are averaged over about that.
    size_px
        Width and height of the slide.

    Returns
    -------
    dict
        `edge_auc`, `counts_rho`, `agreement` (`Score.total`), `coloured_share`, and of the best rival `rival`,
        `rival_edge_auc`, `rival_gain` (its agreement less that of the spots as they are; below 0 where no rival is
        better). None where fewer than 20 spots are on either side, or all of the array is selected.
    """
    view = _View(picture, scale, found, spot_diameter_px)
    filed = view.score(found.xy_px)
    nothing = dict.fromkeys(
        ("edge_auc", "counts_rho", "agreement", "coloured_share", "rival", "rival_edge_auc", "rival_gain")
    )
    if filed is None:
        return nothing
    best, name = None, None
    for what, xy_px in rivals(found, size_px).items():
        score = view.score(xy_px)
        if score is not None and (best is None or score.total > best.total):
            best, name = score, what
    return nothing | {
        "edge_auc": round(filed.edge, 4),
        "counts_rho": None if filed.rho is None else round(filed.rho, 4),
        "agreement": round(filed.total, 4),
        "coloured_share": round(filed.coloured, 4),
        "rival": name,
        "rival_edge_auc": None if best is None else round(best.edge, 4),
        "rival_gain": None if best is None else round(best.total - filed.total, 4),
    }


def rivals(found: Sites, size_px: tuple[int, int]) -> dict[str, Points]:
    """Where the spots would be by the mistakes that are made: name -> (N, 2) slide px."""
    xy_px = found.xy_px
    others = {"with x and y exchanged": xy_px[:, ::-1]}
    of_array = (xy_px.min(axis=0) + xy_px.max(axis=0)) / 2
    of_picture = np.asarray(size_px) / 2
    for what, turn in TURNS.items():
        matrix = np.array(turn)
        # A picture turned by a quarter had its width and height the other way round.
        before = of_picture[::-1] if matrix[0, 0] == 0 else of_picture
        others[f"{what}, about the picture's middle"] = (xy_px - before) @ matrix.T + of_picture
        others[f"{what}, about the array's middle"] = (xy_px - of_array) @ matrix.T + of_array
    for scale in SCALES:
        others[f"scaled by {scale:g}"] = xy_px * scale
    for steps in STEPS:
        for x, y in DIRECTIONS:
            by_px = steps * np.array([x, y]) @ found.step_px
            others[f"moved by {steps * x}, {steps * y} steps of the array"] = xy_px + by_px
    return others


def judge(measured: Mapping[str, Any], limits: Mapping[str, float]) -> list[str]:
    """Flags, each `code: text`, of what `measure` found.

    Parameters
    ----------
    limits
        `agreement_min`, `edge_auc_flagged`, `rival_gain_max`, `rival_gain_flagged`.

    Raises
    ------
    Refusal
        Spots and picture do not belong together.
    """
    if measured["edge_auc"] is None:
        return []
    edge, gain = measured["edge_auc"], measured["rival_gain"]
    # Part of a tissue may be selected, as a region of interest: then the spots beside it are tissue too.
    is_on_tissue = measured["coloured_share"] >= ON_TISSUE_FROM
    if measured["agreement"] < limits["agreement_min"] and not is_on_tissue:
        raise Refusal(
            f"the spots do not agree with the picture: those in tissue are more colourful than those beside them in"
            f" {edge:.0%} of the pairs, and counts go with the darkness at rho"
            f" {measured['counts_rho'] or 0:.2f}, and only {measured['coloured_share']:.0%} of them lie on tissue; give"
            " the picture and the positions of one section",
            measured=measured["agreement"],
            threshold=limits["agreement_min"],
        )
    if gain is None:
        gain = -np.inf
    is_good = (measured["rival_edge_auc"] or 0) >= limits["edge_auc_flagged"]
    if gain > limits["rival_gain_max"] and is_good:
        raise Refusal(
            f"the spots agree better with the picture {measured['rival']} (by {gain:.2f}: tissue told from glass in"
            f" {measured['rival_edge_auc']:.0%} of the pairs, {edge:.0%} as they are); correct the positions or the"
            " picture, or raise limits.rival_gain_max on purpose",
            measured=gain,
            threshold=limits["rival_gain_max"],
        )
    flags = []
    if edge < limits["edge_auc_flagged"]:
        flags.append(
            f"tissue-edge: in-tissue spots are more colourful than those beside them in {edge:.0%} of the pairs"
        )
    if gain > limits["rival_gain_flagged"]:
        flags.append(f"rival-placement: {measured['rival']} agrees better by {gain:.3f}")
    return flags


class _View:
    """Colour and darkness of a picture, blurred to the size of a spot."""

    def __init__(
        self, picture: NDArray[np.uint8], scale: tuple[float, float], found: Sites, spot_diameter_px: float
    ) -> None:
        self._scale, self._found = np.asarray(scale), found
        values = picture.astype(np.float32)
        sigma = max(spot_diameter_px / float(self._scale.mean()) / 4, 0.5)
        density = -np.log10((values + 1) / 256).sum(axis=2)
        self._dark = cv2.GaussianBlur(density, (0, 0), sigma)
        self._colour = cv2.GaussianBlur(values.max(axis=2) - values.min(axis=2), (0, 0), sigma)
        self._tissue_from = float(threshold_otsu(self._colour))

    def score(self, xy_px: Points) -> Score | None:
        """Of the spots at (N, 2) slide px; None where too few are in the picture to tell."""
        height, width = self._dark.shape
        at = np.floor(xy_px / self._scale)
        inside = ((at >= 0) & (at < (width, height))).all(axis=1)
        selected = self._found.is_selected
        if not selected.any() or inside[selected].mean() < LEAST_INSIDE:
            return None
        column, row = at[inside].astype(int).T
        chosen = selected[inside]
        if chosen.sum() < FEWEST or (~chosen).sum() < FEWEST:
            return None
        colour = self._colour[row, column]
        return Score(
            _auc(colour, chosen),
            *self._rho(self._dark[row, column], inside),
            float((colour[chosen] > self._tissue_from).mean()),
        )

    def _rho(self, dark: NDArray[np.float32], inside: NDArray[np.bool_]) -> tuple[float | None, float]:
        counts = self._found.counts[inside]
        used = self._found.is_selected[inside] & (counts > 0)
        if used.sum() < FEWEST or np.ptp(dark[used]) == 0 or np.ptp(counts[used]) == 0:
            return None, 0.0
        return spearman(dark[used], counts[used]), 2 / float(np.sqrt(used.sum() - 1))


def _auc(values: NDArray[np.float32], chosen: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney U over the number of pairs); ties count half."""
    ones = int(chosen.sum())
    zeros = len(chosen) - ones
    return float((mean_ranks(values)[chosen].sum() - ones * (ones + 1) / 2) / (ones * zeros))
