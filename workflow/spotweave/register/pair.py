"""Two pictures registered: candidates from every side, refined, judged alike; the best is accepted or all are refused.

A candidate is what the deposit gives (a matrix, keypoints, a stated identity), what the search over all turns and hands
leads to, and what VALIS makes of the best of these. A field is kept only where it lowers the distances of held-out
patches by more than chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spotweave.errors import Refusal
from spotweave.geometry import Points, apply, fit_affine
from spotweave.register import coarse, judge, refine, valis
from spotweave.register.judge import Judged
from spotweave.register.rasters import Raster
from spotweave.register.warping import onto
from spotweave.slide_map import SlideMap

POSES = 6
STIFFNESS = 0.02  # squared px: how much a bend of the field counts against a patch
FIELD_SHARE = 0.4  # of held-out patches found: with fewer, as of neighbouring sections, a field follows mistakes
FIELD_GAIN_UM, FIELD_GAIN_SE = 0.1, 2.0  # a field lowers the distances by more than this, and this many standard errors
# Held-out patches found, or gain: a start with neither is not worth more work.
HOPEFUL_SHARE, HOPEFUL_GAIN = 0.25, 8.0
VALIS_SIDE_PX = 1400
TURNS_DEG = (0, 90, 180, 270)
SAME_UM = 0.1
AREA_MIN, AREA_PERCENTILE = 0.2, 1.0  # of a field; the last percent lies on glass, where it means nothing


@dataclass(frozen=True)
class Settings:
    """How finely and how long is worked.

    Attributes
    ----------
    working_um_per_px
        Grid that maps are fitted and judged on.
    finest_um_per_px
        Grid of the last fit of a field.
    field_spacing_um
        Between the nodes of a field.
    valis
        Whether VALIS is asked.
    valis_starts_max
        How many starts it is given where the search finds nothing that holds.
    """

    working_um_per_px: float = 2.0
    finest_um_per_px: float = 1.0
    field_spacing_um: float = 40.0
    valis: bool = True
    valis_starts_max: int = 8


@dataclass(frozen=True)
class Given:
    """A map that someone states: its name, and (3, 3) um -> slide px."""

    name: str
    matrix: NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """A map with what it measures; `is_stated` where the deposit or the row gives it."""

    name: str
    found: SlideMap
    judged: Judged
    is_stated: bool = False

    @property
    def is_hopeful(self) -> bool:
        """Whether enough patches are found for it to be worth more work."""
        return self.judged.matched_share >= HOPEFUL_SHARE or self.judged.gain >= HOPEFUL_GAIN

    @property
    def has_field(self) -> bool:
        """Whether it is more than a matrix."""
        return self.found.field_px is not None


@dataclass(frozen=True)
class Registration:
    """What became of a pair.

    Attributes
    ----------
    candidates
        All, in the order they were made.
    chosen
        The accepted one; None where all are refused.
    best
        The best of all, accepted or not.
    notes
        What failed or was left out, in words.
    """

    candidates: tuple[Candidate, ...]
    chosen: Candidate | None
    best: Candidate
    notes: tuple[str, ...]

    def report(self, limits: Mapping[str, float]) -> dict[str, Any]:
        """JSON-ready: every candidate with its numbers and what is beyond its limit."""
        return {
            "chosen": self.chosen.name if self.chosen else None,
            "candidates": [
                {
                    "name": one.name,
                    "is_stated": one.is_stated,
                    "has_field": one.has_field,
                    "matrix_um_to_slide_px": one.found.matrix.tolist(),
                    **one.judged.report(),
                    "beyond_limits": [text for text, _, _ in one.judged.faults(limits)],
                }
                for one in self.candidates
            ],
            "notes": list(self.notes),
        }


def register(
    fixed: Raster,
    moving: Raster,
    given: Sequence[Given],
    settings: Settings,
    limits: Mapping[str, float],
    scales: Sequence[Sequence[float]] = ((1.0,),),
) -> Registration:
    """Register `moving` (native um) with `fixed` (native slide px).

    Parameters
    ----------
    fixed, moving
        Signals at least as fine as the finest grid where the pictures are.
    given
        Stated maps.
    settings, limits
        Of the configuration.
    scales
        Sizes of `moving`, relative to what both grids say of their um, that the search tries: the first of these lists,
        and the next where nothing holds.
    """
    work = _Work(refine.Pair(fixed, moving), settings)
    with tqdm(total=3 + len(given), disable=None, desc="registration") as bar:
        for one in given:
            work.add(one.name, SlideMap(one.matrix), is_stated=True)
            work.add_affine(f"{one.name}, refined", one.matrix)
            bar.update()
        poses = work.add_search(scales)
        bar.update()
        work.add_by_correlation()
        best = work.best()
        if best is not None and best.is_hopeful:
            work.add_field(best)
        bar.update()
        if settings.valis:
            work.add_valis(poses)
        bar.update()
    if not work.candidates:
        raise Refusal(
            "the pictures cannot be laid over each other in any turn: one of them shows next to nothing; check the H&E"
            " and the morphology picture"
        )
    return _verdict(tuple(work.candidates), limits, tuple(work.notes))


class _Work:
    """Candidates as they come."""

    def __init__(self, pair: refine.Pair, settings: Settings) -> None:
        self.pair = pair
        self.settings = settings
        self.candidates: list[Candidate] = []
        self.notes: list[str] = []

    def add(self, name: str, found: SlideMap, *, is_stated: bool = False) -> Candidate | None:
        """Judge a map, unless one that is nearly the same is there."""
        if any(_is_same(one.found, found, self.pair.moving) for one in self.candidates):
            return None
        judged = judge.judge(self.pair.fixed, self.pair.moving, found, self.settings.working_um_per_px)
        self.candidates.append(Candidate(name, found, judged, is_stated))
        return self.candidates[-1]

    def add_search(self, scales: Sequence[Sequence[float]]) -> list[coarse.Pose]:
        """Search list by list until something holds; returns all poses, the best first."""
        working_um = self.settings.working_um_per_px
        fixed, moving = self.pair.fixed.at(working_um), self.pair.moving.at(working_um)
        found: list[coarse.Pose] = []
        for some in scales:
            poses = coarse.search(fixed, moving, some, POSES)
            for number, pose in enumerate(poses, len(found) + 1):
                self.add_affine(f"search {number}", pose.matrix)
            found += poses
            if any(one.is_hopeful for one in self.candidates if not one.is_stated):
                break
        return sorted(found, key=lambda pose: -pose.score)

    def add_affine(self, name: str, start: NDArray[np.float64]) -> None:
        steps = refine.levels(self.settings.working_um_per_px)
        self.add(name, SlideMap(refine.affine(self.pair, start, steps)))

    def add_by_correlation(self) -> None:
        """From the best matrix, the one near it at which the whole of both correlates most."""
        best = self.best()
        if best is not None and best.is_hopeful:
            found = refine.by_correlation(self.pair, best.found.matrix, self.settings.working_um_per_px)
            self.add(f"{best.name}, correlated", SlideMap(found))

    def add_field(self, start: Candidate) -> None:
        steps = refine.field_levels(self.settings.working_um_per_px, self.settings.finest_um_per_px)
        found = refine.field(self.pair, start.found.matrix, steps, self.settings.field_spacing_um, STIFFNESS)
        if found.field_px is not None:
            self.add(f"{start.name}, field", found)

    def best(self) -> Candidate | None:
        return min(self.candidates, key=lambda one: one.judged.loss_um, default=None)

    def add_valis(self, poses: Sequence[coarse.Pose]) -> None:
        """Ask VALIS from the best matrix; where none holds, from the best pose in all turns and both hands."""
        flat = [one for one in self.candidates if not one.has_field]
        best = min(flat, key=lambda one: one.judged.loss_um, default=None)
        starts: list[tuple[str, NDArray[np.float64]]] = []
        if best is not None and best.is_hopeful:
            starts = [(best.name, best.found.matrix)]
        elif poses:
            starts = _all_turns(poses[0].matrix, self.pair)[: self.settings.valis_starts_max]
        for name, matrix in starts:
            self._ask_valis(name, matrix)

    def _ask_valis(self, name: str, matrix: NDArray[np.float64]) -> None:
        longest_um = max(self.pair.fixed.size_px) * self.pair.fixed.um_per_px
        um = max(self.settings.working_um_per_px, longest_um / VALIS_SIDE_PX)
        fixed, moving = self.pair.fixed.at(um), self.pair.moving.at(um)
        start = SlideMap(matrix)
        drawn, _ = onto(moving, fixed, start)
        step = self.settings.field_spacing_um / fixed.um_per_px
        found = valis.register(fixed.signal, drawn, step)
        if found.failure:
            self.notes.append(f"VALIS from {name}: {found.failure}")
        if found.rigid is None or found.full is None:
            return
        rows, columns = found.rigid.shape[:2]
        j, i = np.meshgrid(np.arange(columns), np.arange(rows))
        nodes = np.column_stack([j.ravel(), i.ravel()]).astype(np.float64) * found.step
        try:
            rigid = fit_affine(nodes, found.rigid.reshape(-1, 2))
        except ValueError as error:
            self.notes.append(f"VALIS from {name}: {error}")
            return
        to_native = fixed.to_native
        self.add(f"VALIS rigid from {name}", SlideMap(to_native @ rigid @ np.linalg.inv(to_native) @ matrix))
        shift = (found.full - nodes.reshape(rows, columns, 2)) * fixed.scale
        spacing = found.step * float(np.sqrt(fixed.scale[0] * fixed.scale[1]))
        full = SlideMap(matrix, shift.astype(np.float32), spacing)
        least = _least_area(full)
        if least < AREA_MIN:  # unrelated pictures are made alike by tearing one apart
            self.notes.append(f"VALIS from {name}: its field folds or shrinks the section to {least:.2f} of its area")
            return
        self.add(f"VALIS from {name}", full)


def _least_area(found: SlideMap) -> float:
    """The least that a field leaves of a small area, as a share: 1 for none, 0 and less where it folds."""
    assert found.field_px is not None
    field = found.field_px.astype(np.float64) / found.spacing_px
    along_x, along_y = np.gradient(field, axis=1), np.gradient(field, axis=0)
    area = (1 + along_x[..., 0]) * (1 + along_y[..., 1]) - along_x[..., 1] * along_y[..., 0]
    return float(np.percentile(area, AREA_PERCENTILE))


def _all_turns(matrix: NDArray[np.float64], pair: refine.Pair) -> list[tuple[str, NDArray[np.float64]]]:
    """A pose and its quarter turns and mirror images about the middle of the moving picture."""
    middle: Points = apply(pair.moving.to_native, np.array([pair.moving.size_px], dtype=np.float64) / 2)[0]
    found = []
    for mirrored in (False, True):
        for turn in TURNS_DEG:
            a = np.deg2rad(turn)
            own = np.eye(3)
            own[:2, :2] = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
            if mirrored:
                own[:2, :2] = own[:2, :2] @ np.diag([-1.0, 1.0])
            own[:2, 2] = middle - own[:2, :2] @ middle
            found.append((f"search 1 turned {turn} deg{', mirrored' if mirrored else ''}", matrix @ own))
    return found


def _is_same(first: SlideMap, second: SlideMap, moving: Raster) -> bool:
    """Whether two maps, both without a field, put everything within a tenth of a um of each other."""
    if first.field_px is not None or second.field_px is not None:
        return False
    return bool(distance_um(first, second, moving).max() < SAME_UM)


def distance_um(first: SlideMap, second: SlideMap, moving: Raster) -> NDArray[np.float64]:
    """How far apart two maps put 9 x 9 places of the instrument's picture, um by the first's pixel size."""
    width, height = moving.size_px
    x, y = np.meshgrid(np.linspace(0, width, 9), np.linspace(0, height, 9))
    um = apply(moving.to_native, np.column_stack([x.ravel(), y.ravel()]))
    apart_px = np.linalg.norm(second.to_slide(um) - first.to_slide(um), axis=1)
    return np.asarray(apart_px * first.pixel_size_um)


def _verdict(candidates: tuple[Candidate, ...], limits: Mapping[str, float], notes: tuple[str, ...]) -> Registration:
    """The best that is within all limits; a field only where it is better than the best matrix by more than chance."""
    fit = [one for one in candidates if not one.judged.faults(limits)]
    best = _best(candidates)
    assert best is not None
    return Registration(candidates, _best(fit), best, notes)


def _best(candidates: Sequence[Candidate]) -> Candidate | None:
    by_loss = sorted(candidates, key=lambda one: one.judged.loss_um)
    chosen = next((one for one in by_loss if not one.has_field), None)
    for field in (one for one in by_loss if one.has_field and one.judged.matched_share >= FIELD_SHARE):
        if chosen is None or is_better(field.judged, chosen.judged):
            chosen = field
    return chosen


def is_better(first: Judged, second: Judged) -> bool:
    """Whether held-out patches that both were judged by lie nearer in the first by more than chance."""
    places = {tuple(place): n for n, place in enumerate(second.place_px.tolist())}
    pairs = [(n, places[tuple(p)]) for n, p in enumerate(first.place_px.tolist()) if tuple(p) in places]
    if len(pairs) < judge.PATCHES_MIN:
        return False
    one, other = np.array(pairs).T
    gained = second.distance_um[other] - first.distance_um[one]
    error = float(gained.std(ddof=1)) / np.sqrt(len(gained))
    return bool(gained.mean() > max(FIELD_GAIN_UM, FIELD_GAIN_SE * error))
