"""Rendered pictures of Visium fiducial frames with known truth, from easy to cruel.

Dots are rings, as printed on real slides: grey, darker at the edge, a few filled with stain, each a few um off its
place. They are drawn from the distance to their centre, with the pixel's own width as the softness of their edge, so
that the truth holds to a few hundredths of a pixel. Tissue, debris, glass and everything else that is in the way is
drawn in colours measured on public sections.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from spotweave.geometry import Points, apply
from spotweave.visium.array import GAP_COLUMN, CaptureArea, capture_area, dots_of

Difficulty = Literal["easy", "medium", "hard", "cruel", "no_frame"]
Pixels = NDArray[np.float32]
DIFFICULTIES: tuple[Difficulty, ...] = ("easy", "medium", "hard", "cruel", "no_frame")
RING_WIDTH_UM = 9.0  # standard deviation across the ring's line on real frames
LEAST_VISIBLE = 0.15  # of a dot's contrast, below which it counts as hidden
# RGB of tissue on public H&E sections: pale and dark, cortex and tumour.
TISSUES = np.array(
    [
        (172, 128, 178),
        (150, 92, 158),
        (190, 140, 188),
        (128, 96, 150),
        (204, 150, 178),
        (160, 110, 140),
        (214, 176, 200),
    ],
    dtype=np.float32,
)
NUCLEI = np.array([(92, 62, 132), (70, 52, 110), (110, 70, 130)], dtype=np.float32)


@dataclass(frozen=True)
class Look:
    """Everything that makes a picture of a frame.

    `size_px` is of the longer side; `margins_um` (left, top, right, bottom) is the glass shown around the frame,
    negative where the picture cuts it; `hidden` the share of dots wanted under something opaque; `corners_covered` how
    many corners are covered on purpose; `dot_contrast` how much darker than the glass the rings are (grey levels),
    `dot_radius_um` the radius of their darkest circle and `dot_fill` how dark their middle is beside it (on real frames
    30 um and 0.6 to 0.75); `tissue_opacity` how far tissue hides the dots under it.
    """

    area: str = "6.5 mm"
    letter: str | None = "A1"
    size_px: int = 600
    margins_um: tuple[float, float, float, float] = (900.0, 900.0, 900.0, 900.0)
    rotation_deg: float = 0.0
    mirrored: bool = False
    anisotropy: float = 0.0
    blur_px: float = 0.0
    noise: float = 1.0
    jpeg_quality: int = 95
    glass: float = 180.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    dot_contrast: float = 36.0
    dot_radius_um: float = 30.0
    dot_fill: float = 0.65
    dot_scatter_um: float = 3.0
    filled_dots: float = 0.05
    tissue_opacity: float = 0.3
    tissue_share: float = 0.5
    shading: float = 0.0
    hidden: float = 0.0
    corners_covered: int = 0
    debris: int = 0
    has_frame: bool = True


@dataclass(frozen=True)
class Frame:
    """A rendered picture.

    Attributes
    ----------
    picture
        (H, W, 3) uint8 RGB.
    matrix
        (3, 3), um of `fiducials.array` -> px from the picture's top-left corner; of an absent frame, where it would be.
    look
        What was asked for.
    hidden
        (N,) bool per dot of `dots_of(area, letter)`: covered, or outside the picture.
    corners_visible
        (4,) bool, in the order of `SHAPES`: at least three quarters of the shape's dots can be seen.
    """

    picture: NDArray[np.uint8]
    matrix: NDArray[np.float64]
    look: Look
    hidden: NDArray[np.bool_]
    corners_visible: NDArray[np.bool_]


def draw_look(rng: np.random.Generator, difficulty: Difficulty, *, size_px: int | None = None) -> Look:
    """Draw a look; `cruel` ones hide up to 60 % of the dots and up to two corners, blur, turn and mirror at will."""
    level = 3 if difficulty == "no_frame" else DIFFICULTIES.index(difficulty)
    harsh = level / 3
    area = "6.5 mm" if rng.random() < 0.65 else "11 mm"
    least = 900 if area == "11 mm" and level < 3 else 600
    sizes = [size for size in (600, 700, 900, 1200, 1600, 2000) if size >= least]
    quarter = 90.0 * float(rng.integers(4)) if rng.random() < (0.15, 0.4, 0.6, 0.8)[level] else 0.0
    tilt = float(rng.normal(0, (0.5, 1.5, 4, 8)[level]))
    if level == 3 and rng.random() < 0.3:
        tilt = float(rng.uniform(-180, 180))
    margins = rng.uniform(200, 2500, size=4)
    if level >= 2 and rng.random() < 0.4:  # the picture cuts one side of the frame
        margins[rng.integers(4)] = rng.uniform(-700, 100)
    tint = 1 + rng.normal(0, 0.01 + 0.04 * harsh, size=3)
    return Look(
        area=area,
        letter=str(rng.choice(list(GAP_COLUMN))) if area == "6.5 mm" else None,
        size_px=size_px or int(rng.choice(sizes)),
        margins_um=tuple(float(m) for m in margins),  # type: ignore[arg-type]
        rotation_deg=quarter + tilt,
        mirrored=bool(rng.random() < (0.0, 0.1, 0.3, 0.5)[level]),
        anisotropy=float(rng.normal(0, 0.0003 + 0.001 * harsh)),
        blur_px=float(rng.uniform(0, (0.3, 0.8, 1.2, 1.8)[level])),
        noise=float(rng.uniform(0.5, (2, 4, 7, 10)[level])),
        jpeg_quality=int(rng.integers((90, 80, 60, 40)[level], 98)),
        glass=float(rng.uniform((170, 160, 140, 110)[level], 240)),
        tint=tuple(float(t) for t in np.clip(tint, 0.8, 1.15)),  # type: ignore[arg-type]
        dot_contrast=float(rng.uniform((28, 22, 14, 9)[level], 70)),
        dot_radius_um=float(rng.uniform(*((28, 32), (27, 34), (26, 36), (25, 38))[level])),
        dot_fill=float(rng.uniform(*((0.6, 0.8), (0.5, 0.9), (0.4, 1.0), (0.3, 1.0))[level])),
        dot_scatter_um=float(rng.uniform(0, (3, 5, 7, 8)[level])),
        filled_dots=float(rng.uniform(0, (0.05, 0.1, 0.2, 0.3)[level])),
        tissue_opacity=float(rng.uniform(0.1, (0.3, 0.5, 0.8, 1.0)[level])),
        tissue_share=float(rng.uniform(0.2, (0.5, 0.7, 0.9, 1.2)[level])),
        shading=float(rng.uniform(0, (0.05, 0.1, 0.2, 0.35)[level])),
        hidden=float(rng.uniform(0, (0.03, 0.15, 0.35, 0.6)[level])),
        corners_covered=int(rng.integers(0, (0, 0, 1, 2)[level] + 1)),
        debris=int(rng.integers(0, (10, 40, 120, 250)[level])),
        has_frame=difficulty != "no_frame",
    )


def render(rng: np.random.Generator, look: Look) -> Frame:
    """Render a look; the same generator state and look give the same picture."""
    area = capture_area(look.area)
    matrix, (width, height) = _place(area, look)
    pixel_size_um = 1.0 / np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    dots_um = dots_of(area, look.letter)
    scattered = dots_um + rng.normal(0, look.dot_scatter_um / np.sqrt(2), size=dots_um.shape)
    centres = apply(matrix, scattered)

    picture = _glass(rng, look, height, width)
    tissue, tissue_colour = _tissue(rng, area, matrix, look, height, width, pixel_size_um)
    picture += tissue[..., None] * (tissue_colour - picture)
    covers, cover_colour = _covers(rng, area, matrix, look, dots_um, height, width)
    opaque = np.maximum(covers, tissue * look.tissue_opacity)
    if look.has_frame:
        draw_dots(rng, picture, centres, look, pixel_size_um, 1 - opaque)
    picture += covers[..., None] * (cover_colour - picture)
    _debris(rng, picture, look, pixel_size_um)
    _lines(rng, picture, look)
    finished = _finish(rng, picture, look)

    inside = ((centres >= 0) & (centres < (width, height))).all(axis=1)
    at = np.clip(np.floor(centres).astype(int), 0, (width - 1, height - 1))
    hidden = ~inside | (1 - opaque[at[:, 1], at[:, 0]] < LEAST_VISIBLE)
    if not look.has_frame:
        hidden[:] = True
    shape = np.full(len(dots_um), -1)
    shape[: len(area.shape)] = area.shape
    visible = np.array([np.mean(hidden[shape == k]) <= 0.25 for k in range(4)])
    return Frame(finished, matrix, look, hidden, visible)


def _place(area: CaptureArea, look: Look) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Map of um to px, and (width, height): the turned frame with its margins fills the picture."""
    turn = np.radians(look.rotation_deg)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = linear @ np.diag([(-1 if look.mirrored else 1) * (1 + look.anisotropy), 1.0])
    outline = area.outline_um() @ linear.T
    left, top, right, bottom = look.margins_um
    low = outline.min(axis=0) - np.array([left, top])
    high = outline.max(axis=0) + np.array([right, bottom])
    scale = look.size_px / (high - low).max()
    matrix = np.eye(3)
    matrix[:2, :2] = linear * scale
    matrix[:2, 2] = -low * scale
    width, height = np.ceil((high - low) * scale - 1e-6).astype(int)
    return matrix, (int(width), int(height))


def _smooth(rng: np.random.Generator, height: int, width: int, cells: float) -> Pixels:
    """(H, W) smooth noise from about -1 to 1, with structures of `cells` px."""
    small = rng.normal(0, 1, size=(max(int(height / cells), 1) + 3, max(int(width / cells), 1) + 3)).astype(np.float32)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, dtype=np.float32)


def _glass(rng: np.random.Generator, look: Look, height: int, width: int) -> Pixels:
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    direction = rng.uniform(0, 2 * np.pi)
    shade = 1 - look.shading * (0.5 * (x**2 + y**2) + 0.5 * (np.cos(direction) * x + np.sin(direction) * y))
    shade += 0.01 * _smooth(rng, height, width, max(height, width) / 6)
    base = look.glass * np.asarray(look.tint, dtype=np.float32)
    return np.asarray(base * shade[..., None], dtype=np.float32)


def _add_blob(rng: np.random.Generator, cover: Pixels, centre: Points, radius_px: float, soft_px: float) -> None:
    """Raise `cover` (H, W) to 1 inside a lump with a wavy outline."""
    stretch = rng.uniform(0.7, 1.4)
    waves = [(k, radius_px * rng.normal(0, 0.18 / k), rng.uniform(0, 2 * np.pi)) for k in range(2, 9)]
    reach = max(stretch, 1 / stretch) * (radius_px + sum(abs(size) for _, size, _ in waves)) * 1.25 + soft_px + 2
    low = np.maximum(np.floor(centre - reach).astype(int), 0)
    high = np.minimum(np.ceil(centre + reach).astype(int), cover.shape[::-1])
    if (low >= high).any():
        return
    x, y = np.meshgrid(*(np.arange(a, b, dtype=np.float32) for a, b in zip(low, high, strict=True)))
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    distance, angle = np.hypot(dx * stretch, dy / stretch), np.arctan2(dy, dx)
    edge = np.full_like(distance, radius_px)
    for k, size, phase in waves:
        edge += np.float32(size) * np.cos(k * angle + np.float32(phase))
    edge += 0.05 * radius_px * _smooth(rng, len(distance), distance.shape[1], max(radius_px / 10, 2))
    lump = np.clip((edge - distance) / max(soft_px, 0.7) + 0.5, 0, 1)
    window = cover[low[1] : high[1], low[0] : high[0]]
    np.maximum(window, lump, out=window)


def _tissue(
    rng: np.random.Generator,
    area: CaptureArea,
    matrix: NDArray[np.float64],
    look: Look,
    height: int,
    width: int,
    pixel_size_um: float,
) -> tuple[Pixels, Pixels]:
    """Cover (H, W) 0 to 1 and colour (H, W, 3) of the section."""
    outline = apply(matrix, area.outline_um())
    middle = outline.mean(axis=0)
    half = float(np.linalg.norm(outline[0] - outline[2])) / 2 / np.sqrt(2)
    cover = np.zeros((height, width), dtype=np.float32)
    for _ in range(int(rng.integers(1, 4))):
        centre = middle + rng.normal(0, 0.35 * half, size=2)
        radius = half * rng.uniform(0.4, 1.3) * np.sqrt(look.tissue_share)
        _add_blob(rng, cover, centre, radius, rng.uniform(1, 4))
    holes = _smooth(rng, height, width, max(400 / pixel_size_um, 3)) > rng.uniform(1.2, 3)
    cover[holes] *= 0.1
    first, second = TISSUES[rng.choice(len(TISSUES), 2, replace=False)]
    mix = np.clip(0.5 + 0.5 * _smooth(rng, height, width, max(1500 / pixel_size_um, 4)), 0, 1)[..., None]
    colour = first * mix + second * (1 - mix)
    colour = colour * (1 + 0.06 * _smooth(rng, height, width, max(60 / pixel_size_um, 1.5)))[..., None]
    # Nuclei: from clumps that cover a dot to single ones below the pixel.
    for size_um, share in ((25, 0.25), (80, 0.12)):
        clumps = _smooth(rng, height, width, max(size_um / pixel_size_um, 1.2)) > 2 - 2 * share
        colour[clumps] += 0.6 * (NUCLEI[rng.integers(len(NUCLEI))] - colour[clumps])
    return cover, np.asarray(colour * (look.glass / 200), dtype=np.float32)


def _covers(
    rng: np.random.Generator,
    area: CaptureArea,
    matrix: NDArray[np.float64],
    look: Look,
    dots_um: Points,
    height: int,
    width: int,
) -> tuple[Pixels, Pixels]:
    """What hides dots wholly: folds, clots, bubbles, labels; as many as the look wants."""
    centres = apply(matrix, dots_um)
    covers = np.zeros((height, width), dtype=np.float32)
    per_um = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    corners = apply(matrix, area.corners_um)
    for corner in rng.permutation(4)[: look.corners_covered]:
        _add_blob(rng, covers, corners[corner], 420 * per_um, 2.0)
    at = np.clip(np.floor(centres).astype(int), 0, (width - 1, height - 1))
    for _ in range(60):
        if np.mean(covers[at[:, 1], at[:, 0]] > 1 - LEAST_VISIBLE) >= look.hidden:
            break
        centre = centres[rng.integers(len(centres))] + rng.normal(0, 200 * per_um, size=2)
        radius = float(rng.uniform(150, 900)) * per_um
        _add_blob(rng, covers, centre, radius, rng.uniform(1, 4))
    dark = TISSUES[rng.integers(len(TISSUES))] * rng.uniform(0.45, 1.1)
    colour = dark * (1 + 0.12 * _smooth(rng, height, width, max(50 * per_um, 1.5)))[..., None]
    return covers, np.asarray(colour, dtype=np.float32)


def draw_dots(
    rng: np.random.Generator,
    picture: NDArray[Any],
    centres: Points,
    look: Look,
    pixel_size_um: float,
    visible: Pixels | None = None,
) -> None:
    """Darken a picture (H, W, 3; float32 or uint8) by a ring at each of `centres` (N, 2) px.

    `visible` (H, W) says how much of them shows, 0 to 1.
    """
    height, width = picture.shape[:2]
    softness = max(RING_WIDTH_UM / pixel_size_um, 0.5)
    radius = look.dot_radius_um / pixel_size_um
    reach = int(np.ceil(radius + 3 * softness)) + 1
    offsets = np.arange(-reach, reach + 1)
    strength = look.dot_contrast * rng.uniform(0.75, 1.1, size=len(centres))
    filled = rng.random(len(centres)) < look.filled_dots
    fill = np.where(filled, rng.uniform(0.9, 1.3, size=len(centres)), look.dot_fill)
    grey = np.array([1.0, 0.97, 0.78], dtype=np.float32)  # rings are bluish: blue is darkened less
    for (cx, cy), depth, inner in zip(centres, strength, fill, strict=True):
        x = int(np.floor(cx)) + offsets
        y = int(np.floor(cy)) + offsets
        x, y = x[(x >= 0) & (x < width)], y[(y >= 0) & (y < height)]
        if not len(x) or not len(y):
            continue
        distance = np.hypot(x[None, :] + 0.5 - cx, y[:, None] + 0.5 - cy)
        ring = np.exp(-0.5 * ((distance - radius) / softness) ** 2)
        inside = 1 / (1 + np.exp(np.clip((distance - radius) / (0.4 * softness), -30, 30)))
        dark = np.maximum(ring, inner * inside) * depth
        window = (slice(y[0], y[-1] + 1), slice(x[0], x[-1] + 1))
        if visible is not None:
            dark = dark * visible[window]
        darker = picture[window] - dark[..., None].astype(np.float32) * grey
        picture[window] = darker if picture.dtype == np.float32 else np.clip(np.rint(darker), 0, 255)


def _debris(rng: np.random.Generator, picture: Pixels, look: Look, pixel_size_um: float) -> None:
    """Specks of all sizes, some as round as dots."""
    height, width = picture.shape[:2]
    for _ in range(look.debris):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        radius = float(rng.choice([rng.uniform(10, 35), rng.uniform(35, 60), rng.uniform(60, 160)], p=[0.6, 0.3, 0.1]))
        axes = np.maximum(np.rint(radius * rng.uniform(0.7, 1.3, size=2) / pixel_size_um), 1).astype(int)
        shade = picture[centre[1], centre[0]] - rng.uniform(10, 90)
        colour = tuple(float(c) for c in shade)
        cv2.ellipse(picture, centre, tuple(map(int, axes)), float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)


def _lines(rng: np.random.Generator, picture: Pixels, look: Look) -> None:
    """Hairs, scratches and pen strokes; the more, the more debris there is."""
    height, width = picture.shape[:2]
    for _ in range(int(rng.poisson(look.debris / 40))):
        start = rng.uniform(0, (width, height))
        steps = np.cumsum(rng.normal(0, max(width, height) / 40, size=(12, 2)), axis=0)
        points = np.rint(start + steps).astype(np.int32).reshape(-1, 1, 2)
        shade = float(rng.uniform(20, 120))
        cv2.polylines(picture, [points], False, (shade, shade, shade), int(rng.integers(1, 3)), cv2.LINE_AA)


def _finish(rng: np.random.Generator, picture: Pixels, look: Look) -> NDArray[np.uint8]:
    """Blur, noise and JPEG."""
    if look.blur_px > 0.2:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), look.blur_px), dtype=np.float32)
    noisy = picture + rng.normal(0, look.noise, size=(*picture.shape[:2], 1)).astype(np.float32)
    bytes_ = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    _, packed = cv2.imencode(".jpg", bytes_[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, look.jpeg_quality])
    decoded = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[..., ::-1])


def plain(look: Look) -> Look:
    """The look without anything but the frame: no tissue, debris, noise or scatter."""
    return replace(
        look, tissue_share=0.0, debris=0, noise=0.0, dot_scatter_um=0.0, hidden=0.0, corners_covered=0, shading=0.0
    )
