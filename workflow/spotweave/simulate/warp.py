"""A map from an instrument's um to the slide that is known in closed form: a tear, smooth waves, then a similarity.

p' = matrix @ (q + waves(q)), where q is p with everything beyond a line moved away from it. The waves are plane sine
waves less the affine map nearest to them, so that `deformation_um` is what no matrix can undo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spotweave.geometry import apply
from spotweave.simulate.tissue import Floats

WAVES = 6
WAVELENGTHS = (0.7, 1.6)  # as shares of the section's longer side
STEEPEST = 0.7  # of the waves' gradient: at 1 the tissue would fold over itself
INVERSE_STEPS = 60


@dataclass(frozen=True)
class Warp:
    """Instrument um -> slide px.

    `matrix` (3, 3) is the similarity, um -> px; `waves` (k, 5) hold wave vector x, y in radians a um, phase, amplitude
    x, y in um; `removed` (2, 3) is the affine map taken from them; `tear` holds the line's normal x, y, its distance
    from the section's corner along it and the width of the gap, um; `origin` is the place on the section
    where the instrument's um begin.
    """

    matrix: Floats
    waves: Floats
    removed: Floats
    tear: tuple[float, float, float, float] = (1.0, 0.0, np.inf, 0.0)
    origin: tuple[float, float] = (0.0, 0.0)

    def to_slide(self, points_um: Floats) -> Floats:
        """Positions (n, 2) of the instrument, um, as slide px."""
        return self.whole(self.torn(points_um))

    def torn(self, points_um: Floats) -> Floats:
        """Positions (n, 2) of the instrument as those of the section after the tear, um."""
        x, y, at, gap = self.tear
        normal = np.array([x, y])
        points = points_um + np.array(self.origin)
        return np.asarray(points + np.where(points @ normal > at, gap, 0.0)[:, None] * normal, dtype=np.float64)

    def whole(self, torn_um: Floats) -> Floats:
        """Positions (n, 2) after the tear, um, as slide px: smooth everywhere."""
        return np.asarray(apply(self.matrix, torn_um + self._waves(torn_um)), dtype=np.float64)

    def to_um(self, points_px: Floats) -> Floats:
        """Slide px (n, 2) as positions of the instrument, um; NaN in the gap of a tear."""
        target = np.asarray(
            apply(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64), points_px), dtype=np.float64
        )
        torn = target
        for _ in range(INVERSE_STEPS if len(self.waves) else 0):
            following = target - self._waves(torn)
            step = float(np.abs(following - torn).max(initial=0.0))
            torn = following
            if step < 1e-7:
                break
        x, y, at, gap = self.tear
        normal = np.array([x, y])
        along = torn @ normal
        points = torn - np.where(along > at + gap, gap, 0.0)[:, None] * normal
        points[(along > at) & (along <= at + gap)] = np.nan
        return points - np.array(self.origin)

    def _waves(self, points_um: Floats) -> Floats:
        if not len(self.waves):
            return np.zeros_like(points_um)
        raw = np.sin(points_um @ self.waves[:, :2].T + self.waves[:, 2]) @ self.waves[:, 3:]
        return raw - (points_um @ self.removed[:, :2].T + self.removed[:, 2])


def draw_warp(
    rng: np.random.Generator,
    size_um: tuple[float, float],
    pixel_size_um: float,
    *,
    deformation_um: float = 0.0,
    turn_deg: float = 0.0,
    mirrored: bool = False,
    tear_um: float = 0.0,
) -> Warp:
    """Draw a warp of a section of `size_um` (width, height) whose similarity leaves the section's corner at any place.

    The largest displacement by waves within the section is `deformation_um`. Raises `ValueError` where the tissue
    would fold over itself.
    """
    centre = np.array(size_um) / 2
    turn = np.deg2rad(turn_deg)
    matrix = np.eye(3)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix[:2, :2] = rotation @ np.diag([-1.0 if mirrored else 1.0, 1.0]) / pixel_size_um
    heading, towards = rng.uniform(0, 2 * np.pi, (2, WAVES))
    lengths = rng.uniform(*WAVELENGTHS, WAVES) * max(size_um)
    waves = np.column_stack(
        [
            2 * np.pi / lengths * np.cos(heading),
            2 * np.pi / lengths * np.sin(heading),
            rng.uniform(0, 2 * np.pi, WAVES),
            np.cos(towards),
            np.sin(towards),
        ]
    )
    angle = rng.uniform(0, 2 * np.pi)
    normal = np.array([np.cos(angle), np.sin(angle)])
    place = float(centre @ normal) + rng.uniform(-0.1, 0.1) * min(size_um)
    tear = (float(normal[0]), float(normal[1]), place, tear_um) if tear_um else (1.0, 0.0, np.inf, 0.0)
    if not deformation_um:
        return Warp(matrix, np.zeros((0, 5)), np.zeros((2, 3)), tear)

    axes = [np.linspace(0, side, 41) for side in size_um]
    nodes = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    raw = np.sin(nodes @ waves[:, :2].T + waves[:, 2]) @ waves[:, 3:]
    fitted, *_ = np.linalg.lstsq(np.column_stack([nodes, np.ones(len(nodes))]), raw, rcond=None)
    removed = np.asarray(fitted.T)
    left = raw - (nodes @ removed[:, :2].T + removed[:, 2])
    scale = deformation_um / np.hypot(*left.T).max()
    waves[:, 3:] *= scale
    warp = Warp(matrix, waves, removed * scale, tear)
    if _steepest(warp, nodes) > STEEPEST:
        raise ValueError(f"a section of {size_um} um would fold over itself under a deformation of {deformation_um} um")
    return warp


def _steepest(warp: Warp, nodes: Floats) -> float:
    """The largest singular value of the waves' gradient over points (n, 2)."""
    phase = np.cos(nodes @ warp.waves[:, :2].T + warp.waves[:, 2])
    gradient = np.einsum("nk,ka,kb->nab", phase, warp.waves[:, 3:], warp.waves[:, :2]) - warp.removed[:, :2]
    return float(np.linalg.svd(gradient, compute_uv=False).max())
