"""Nuclei: where they lie, and one of them drawn onto the layers of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from spotweave.simulate.nuclei_scenes.kinds import KINDS, Kind, Tissue
from spotweave.simulate.nuclei_scenes.noise import SIDE_PX, UM_PER_PX, Floats, Rng, log_uniform, noise, sigmoid

TAKEN_UM_PER_PX = 0.5  # pixels in which it is noted where nuclei are: coarser than the scene's
TRIES = 5  # places tried for every nucleus aimed at
OVERLAP = 0.02  # share of a nucleus' core that may lie in others'
FAINT_SHARE = 0.35  # of `Tissue.out_of_focus`
EDGE_SLOPE = 1.7  # the logistic function at this slope is close to a Gaussian edge
REACH, REACH_PX = 1.6, 6  # half of a nucleus' window: multiple of its half length, and pixels added
FULL_TURN = 6.3  # rad, rounded up
WAVES = (2, 3, 4, 5)  # around the outline


@dataclass(frozen=True)
class Nucleus:
    """A place: centre in px of the scene, half axes, direction of the long one, kind, and number of the region."""

    y_px: float
    x_px: float
    semi_major_um: float
    semi_minor_um: float
    angle: float
    kind: str
    region: int


def _blank() -> Floats:
    return np.zeros((SIDE_PX, SIDE_PX), np.float32)


@dataclass
class Layers:
    """What nuclei put into a scene, all (SIDE_PX, SIDE_PX).

    Attributes
    ----------
    labels
        int32: number of the nucleus on top, from 1; 0 is none.
    haematoxylin
        float32: concentration in nuclei.
    cover
        float32, 0-1: how much of a pixel is nucleus.
    eosin_left
        float32, 0-1: share of the ground's eosin that nuclei leave.
    eosin_added
        float32: concentration of eosin in nucleoli.
    whole_px
        By label: pixels of a nucleus, those behind others too.
    faint
        Labels of nuclei out of focus.
    """

    labels: NDArray[np.int32] = field(default_factory=lambda: np.zeros((SIDE_PX, SIDE_PX), np.int32))
    haematoxylin: Floats = field(default_factory=_blank)
    cover: Floats = field(default_factory=_blank)
    eosin_left: Floats = field(default_factory=lambda: _blank() + 1)
    eosin_added: Floats = field(default_factory=_blank)
    whole_px: list[int] = field(default_factory=lambda: [0])
    faint: list[int] = field(default_factory=list)


def places(
    rng: Rng, region: NDArray[np.intp], tissues: Sequence[Tissue], directions: Floats, scale: float
) -> list[Nucleus]:
    """Where nuclei lie: clumped, and apart from one another as their region has it.

    Parameters
    ----------
    region
        (SIDE_PX, SIDE_PX): which of `tissues` a pixel is of.
    directions
        (SIDE_PX, SIDE_PX): of fibres, in radians.
    scale
        Factor of the length of all nuclei; there are fewer of larger ones.
    """
    side = int(SIDE_PX * UM_PER_PX / TAKEN_UM_PER_PX)
    taken = np.zeros((side, side), np.uint8)
    clumps = noise(rng, rng.choice([16.0, 32.0])) * rng.choice([0, rng.uniform(0.5, 1.5)])
    found: list[Nucleus] = []
    for number, tissue in enumerate(tissues):
        aim = int(tissue.nuclei_per_1000_um2 * (SIDE_PX * UM_PER_PX) ** 2 / 1000 / (scale**2))
        ys, xs = np.nonzero(region == number)
        if not len(ys):
            continue
        here = 0
        for place in rng.integers(0, len(ys), aim * TRIES):
            if here >= aim * len(ys) / SIDE_PX**2:
                break
            y, x = ys[place], xs[place]
            if clumps[y, x] < rng.normal(-0.3, 0.5) and rng.random() < 0.8:
                continue
            kind, semi_major_um, semi_minor_um, angle = _form(rng, tissue, scale, directions[y, x])
            if not _take(taken, y // 2, x // 2, semi_major_um * tissue.apart, semi_minor_um * tissue.apart, angle):
                continue
            y_px, x_px = y + rng.uniform(-0.5, 0.5), x + rng.uniform(-0.5, 0.5)
            found.append(Nucleus(y_px, x_px, semi_major_um, semi_minor_um, angle, kind, number))
            here += 1
    return found


def _form(rng: Rng, tissue: Tissue, scale: float, direction: float) -> tuple[str, float, float, float]:
    """Kind, half axes in um and angle of a nucleus where fibres run in a direction."""
    name = str(rng.choice(list(tissue.mix), p=list(tissue.mix.values())))
    kind = KINDS[name]
    semi_minor_um = rng.uniform(*kind.semi_minor_um) * scale * tissue.size[name]
    semi_major_um = semi_minor_um * rng.uniform(*kind.elongation)
    angle = rng.uniform(0, np.pi)
    if name == "spindle" or (name == "columnar" and rng.random() < 0.8) or rng.random() < 0.2:
        angle = direction + rng.normal(0, 0.25) + (np.pi / 2 if name == "columnar" else 0)
    return name, semi_major_um, semi_minor_um, angle


def _take(taken: NDArray[np.uint8], y: int, x: int, semi_major_um: float, semi_minor_um: float, angle: float) -> bool:
    """Mark an ellipse about a pixel as taken; false, and nothing marked, where others have it."""
    reach = int(semi_major_um / TAKEN_UM_PER_PX) + 2
    top, left = max(0, y - reach), max(0, x - reach)
    window = taken[top : y + reach + 1, left : x + reach + 1]
    core = np.zeros_like(window)
    axes = (max(1, int(semi_major_um / TAKEN_UM_PER_PX)), max(1, int(semi_minor_um / TAKEN_UM_PER_PX)))
    cv2.ellipse(core, (int(x - left), int(y - top)), axes, np.degrees(angle), 0, 360, 1, -1)
    if (window & core).sum() > OVERLAP * core.sum():
        return False
    window |= core
    return True


def draw_nuclei(rng: Rng, found: Sequence[Nucleus], tissues: Sequence[Tissue], contrast: float) -> Layers:
    """All nuclei, one over the other in an order by chance; `contrast` is a factor of their concentration."""
    layers = Layers()
    order = rng.permutation(len(found))
    chromatin = noise(rng, 1.2), noise(rng, 2.5)
    for place in order:
        _draw(rng, layers, found[place], tissues[found[place].region], chromatin, contrast)
    return layers


def _draw(
    rng: Rng, layers: Layers, nucleus: Nucleus, tissue: Tissue, chromatin: tuple[Floats, Floats], contrast: float
) -> None:
    """One nucleus onto the layers, over what is there."""
    kind = KINDS[nucleus.kind]
    edge_um = log_uniform(rng, 0.1, 0.35)
    darkness = rng.uniform(*kind.darkness) * tissue.darkness[nucleus.kind] * contrast
    faint = rng.random() < tissue.out_of_focus * FAINT_SHARE
    if faint:
        edge_um, darkness = rng.uniform(0.6, 1.6), darkness * rng.uniform(0.25, 0.7)
    window, along_um, across_um = _axes(nucleus)
    if kind.bend:
        bend = rng.normal(0, kind.bend) * nucleus.semi_minor_um
        across_um = across_um - bend * ((along_um / nucleus.semi_major_um) ** 2 - 0.4)
    depth_um = _depth_um(rng, nucleus, kind, along_um, across_um)
    alpha = sigmoid(depth_um / edge_um * EDGE_SLOPE)
    concentration = darkness * np.maximum(0.15, _inside(rng, nucleus, tissue, depth_um, chromatin))
    for _ in range(rng.poisson(kind.nucleoli)):
        spot = _nucleolus(rng, nucleus, along_um, across_um)
        concentration = concentration + spot * darkness * rng.uniform(0.1, 0.6)
        if rng.random() < 0.5:
            layers.eosin_added[window] += spot * alpha * rng.uniform(0, 0.5)
    seen_through = rng.uniform(0.1, 0.6)
    behind = layers.haematoxylin[window]
    layers.haematoxylin[window] = behind * (1 - alpha * (1 - seen_through)) + alpha * concentration
    layers.cover[window] = np.maximum(layers.cover[window], alpha)
    layers.eosin_left[window] = np.minimum(layers.eosin_left[window], 1 - alpha * rng.uniform(0.2, 0.9))
    inside = depth_um > 0
    number = len(layers.whole_px)
    layers.labels[window][inside] = number
    layers.whole_px.append(int(inside.sum()))
    if faint:
        layers.faint.append(number)


def _axes(nucleus: Nucleus) -> tuple[tuple[slice, slice], Floats, Floats]:
    """A window about a nucleus, and its pixels' coordinates along and across the nucleus in um (float64)."""
    reach = int(nucleus.semi_major_um * REACH / UM_PER_PX) + REACH_PX
    top, left = max(0, int(nucleus.y_px) - reach), max(0, int(nucleus.x_px) - reach)
    bottom, right = min(SIDE_PX, int(nucleus.y_px) + reach + 1), min(SIDE_PX, int(nucleus.x_px) + reach + 1)
    y_um = (np.arange(bottom - top) + top - nucleus.y_px)[:, None] * UM_PER_PX
    x_um = (np.arange(right - left) + left - nucleus.x_px)[None] * UM_PER_PX
    cos, sin = np.cos(nucleus.angle), np.sin(nucleus.angle)
    return np.s_[top:bottom, left:right], cos * x_um + sin * y_um, -sin * x_um + cos * y_um


def _depth_um(rng: Rng, nucleus: Nucleus, kind: Kind, along_um: Floats, across_um: Floats) -> Floats:
    """How far within the outline pixels lie, about, in um; negative outside."""
    along, across = along_um / nucleus.semi_major_um, across_um / nucleus.semi_minor_um
    if nucleus.kind == "spindle" and rng.random() < 0.5:  # both ends are drawn out
        across = across * (1 + 0.5 * along**2)
    if rng.random() < 0.3:  # an egg
        across = across * (1 + rng.uniform(-0.3, 0.3) * along)
    radius = np.sqrt(along**2 + across**2) + 1e-6
    turn = np.arctan2(across, along)
    waves = sum(
        rng.normal(0, kind.wobble / (1 if wave < 4 else 1.6)) * np.cos(wave * turn + rng.uniform(0, FULL_TURN))
        for wave in WAVES
    )
    return (1 + waves - radius) * nucleus.semi_minor_um


def _inside(rng: Rng, nucleus: Nucleus, tissue: Tissue, depth_um: Floats, chromatin: tuple[Floats, Floats]) -> Floats:
    """Concentration as a share of the rim's: paler inside, with chromatin cut from fine and less fine noise."""
    pale = np.clip(tissue.inside[nucleus.kind] + rng.normal(0, 0.08), 0.3, 1.05)
    rim_um = rng.uniform(0.35, 0.9)
    profile = pale + (1 - pale) * np.exp(-np.maximum(depth_um, 0) / rim_um)
    strength = tissue.chromatin[nucleus.kind] * rng.uniform(0.6, 1.4)
    height, width = depth_um.shape
    top, left = rng.integers(0, SIDE_PX - height + 1), rng.integers(0, SIDE_PX - width + 1)
    fineness = rng.uniform(0, 1)
    fine, medium = (noise[top : top + height, left : left + width] for noise in chromatin)
    return profile + strength * (fineness * fine + (1 - fineness) * medium)


def _nucleolus(rng: Rng, nucleus: Nucleus, along_um: Floats, across_um: Floats) -> Floats:
    """A spot of height 1 within a nucleus, flat with a soft edge."""
    share, turn = np.sqrt(rng.random()) * 0.6, rng.uniform(0, FULL_TURN)
    spot_along_um = share * nucleus.semi_major_um * np.cos(turn)
    spot_across_um = share * nucleus.semi_minor_um * np.sin(turn)
    radius_um = rng.uniform(0.35, 0.95)
    return np.exp(-((((along_um - spot_along_um) ** 2 + (across_um - spot_across_um) ** 2) / radius_um**2) ** 2))
