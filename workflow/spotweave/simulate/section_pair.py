"""One simulated section seen twice: in DAPI by an instrument, and as H&E after it has been stained and scanned.

The tissue lies in the instrument's um (x right, y down from the corner of the DAPI picture). The H&E is painted from
the same tissue, warped by a map known in closed form. Px are counted from the top-left corner of the top-left px.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spotweave.geometry import fit_affine
from spotweave.simulate import tissue as tissues
from spotweave.simulate.stain import EGG, Staining, paint, stamp
from spotweave.simulate.tissue import BACKGROUND, GRID_UM, FloatField, Floats, Nuclei, Tissue, enlarge, smooth_noise
from spotweave.simulate.warp import Warp, draw_warp

MARGIN_UM = 30.0  # of glass around the warped section
OUTSIDE_UM = -60.0  # level of what no tissue of the section is mapped to
FIELD_OF_VIEW_UM = 640.0
BLUR_UM = 0.35  # standard deviation of the microscope's point spread, and of being off focus


@dataclass(frozen=True)
class Pair:
    """A section in both pictures.

    Attributes
    ----------
    he
        (H, W, 3) uint8.
    dapi
        (h, w) uint16.
    he_pixel_size_um, dapi_pixel_size_um
        um per px; instrument um = DAPI px times its size.
    warp
        The true map, instrument um -> px of `he`.
    tissue
        In instrument um; its `nuclei` are the true ones.
    """

    he: NDArray[np.uint8]
    dapi: NDArray[np.uint16]
    he_pixel_size_um: float
    dapi_pixel_size_um: float
    warp: Warp
    tissue: Tissue

    def um_to_he(self, points_um: Floats) -> Floats:
        """The true place (n, 2), px of the H&E, of points (n, 2) in instrument um."""
        return self.warp.to_slide(points_um)

    @property
    def nuclei_um(self) -> Floats:
        """Centroids (n, 2) of the nuclei, instrument um."""
        return centroids(self.tissue)

    @property
    def nucleus_area_um2(self) -> Floats:
        """Areas (n,) of the nuclei as both pictures show them."""
        nuclei = self.tissue.nuclei
        return np.asarray(np.pi * nuclei.semi_major_um * nuclei.semi_minor_um, dtype=np.float64)

    @property
    def on_he(self) -> NDArray[np.bool_]:
        """Which nuclei (n,) are on the H&E."""
        places = self.um_to_he(self.nuclei_um)
        return np.asarray(((places >= 0) & (places < np.array(self.he.shape[1::-1]))).all(axis=1), dtype=bool)

    def best_affine(self) -> Floats:
        """The affine map (3, 3), instrument um -> px of the H&E, nearest to the true one over the nuclei on it."""
        seen = self.on_he
        return fit_affine(self.nuclei_um[seen], self.um_to_he(self.nuclei_um[seen]))


def centroids(tissue: Tissue) -> Floats:
    """Centroids (n, 2) of the nuclei, um."""
    return np.stack([tissue.nuclei.x_um, tissue.nuclei.y_um], axis=1)


def draw_pair(
    seed: int,
    *,
    size_um: tuple[float, float] = (1500.0, 1500.0),
    he_pixel_size_um: float = 1.0,
    dapi_pixel_size_um: float = 0.2125,
    deformation_um: float = 0.0,
    turn_deg: float = 0.0,
    mirrored: bool = False,
    overlap: float = 1.0,
    region_um: tuple[float, float, float, float] | None = None,
    tear_um: float = 0.0,
    lost: float = 0.0,
    noise: float = 1.0,
    stain_spread: float = 0.0,
    donor: int = 0,
) -> Pair:
    """Draw a section of `size_um` (width, height) and both of its pictures; the same arguments give the same bytes.

    Parameters
    ----------
    deformation_um
        Largest displacement that no matrix can undo.
    turn_deg, mirrored
        The H&E is the section mirrored in x, then turned from x towards y.
    overlap
        Share of the section's nuclei that is on the H&E; what is missing is missing at its left.
    region_um
        Left, top, right and bottom of the part of the section that the instrument looked at, multiples of `GRID_UM`;
        the H&E is of the whole. All of it if not given.
    tear_um
        Width of the gap by which one part of the section was torn off.
    lost
        Share of the nuclei that cannot be seen in DAPI, and share of the others that cannot be seen on the H&E.
    noise
        Strength of the noise in both pictures; 1 is that of a good scan.
    stain_spread
        0 for the standard stain, 1 for as large differences as between laboratories.
    donor
        Part of the seed.

    Raises
    ------
    ValueError
        The tissue would fold over itself, or the region's sides are no multiples of `GRID_UM`.
    """
    tissue_rng, warp_rng, he_rng, dapi_rng, lost_rng = np.random.default_rng([20220701, seed, donor]).spawn(5)
    grown = tissues.grow(tissue_rng, *size_um)
    warp = draw_warp(
        warp_rng,
        size_um,
        he_pixel_size_um,
        deformation_um=deformation_um,
        turn_deg=turn_deg,
        mirrored=mirrored,
        tear_um=tear_um,
    )
    warp, shape = frame_of(warp, size_um, he_pixel_size_um, centroids(grown), overlap=overlap)
    out_of_focus, unstained = lost_rng.random((2, len(grown.nuclei.x_um))) < lost
    stained = chosen_nuclei(grown, out_of_focus | ~unstained)
    he = paint_he(he_rng, stained, warp, shape, he_pixel_size_um, noise=noise, stain_spread=stain_spread)
    in_focus = chosen_nuclei(grown, ~out_of_focus)
    if region_um is not None:
        grown, in_focus = part_of(grown, region_um), part_of(in_focus, region_um)
        warp = dataclasses.replace(warp, origin=region_um[:2])
    dapi = paint_dapi(dapi_rng, in_focus, dapi_pixel_size_um, noise=noise)
    return Pair(he, dapi, he_pixel_size_um, dapi_pixel_size_um, warp, grown)


def chosen_nuclei(tissue: Tissue, chosen: NDArray[np.bool_]) -> Tissue:
    """The tissue with some of its nuclei (n,) only."""
    columns = {field.name: getattr(tissue.nuclei, field.name)[chosen] for field in dataclasses.fields(Nuclei)}
    return dataclasses.replace(tissue, nuclei=Nuclei(**columns))


def part_of(tissue: Tissue, box_um: tuple[float, float, float, float]) -> Tissue:
    """The part in a box (left, top, right, bottom), um, with its own corner as the origin."""
    left, top, right, bottom = box_um
    cells = [side / GRID_UM for side in box_um]
    if any(cell != round(cell) for cell in cells):
        raise ValueError(f"{box_um}: a part's sides are multiples of {GRID_UM:g} um")
    columns, rows = slice(round(cells[0]), round(cells[2])), slice(round(cells[1]), round(cells[3]))
    x, y = tissue.nuclei.x_um, tissue.nuclei.y_um
    part = chosen_nuclei(tissue, (x > left) & (x < right) & (y > top) & (y < bottom))
    nuclei = dataclasses.replace(part.nuclei, x_um=part.nuclei.x_um - left, y_um=part.nuclei.y_um - top)
    fields = ("domain", "level_um", "across_um", "along_um", "wall_um")
    cut = {name: getattr(tissue, name)[rows, columns] for name in fields}
    return Tissue(width_um=right - left, height_um=bottom - top, nuclei=nuclei, **cut)


def frame_of(
    warp: Warp, size_um: tuple[float, float], pixel_size_um: float, nuclei_um: Floats, *, overlap: float = 1.0
) -> tuple[Warp, tuple[int, int]]:
    """The warp moved so that the slide's origin is the picture's corner, and the picture's (rows, columns)."""
    axes = [np.linspace(0, side, 21) for side in size_um]
    border = warp.to_slide(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2))
    margin = MARGIN_UM / pixel_size_um
    low, high = border.min(axis=0) - margin, border.max(axis=0) + margin
    if overlap < 1:
        low[0] = np.quantile(warp.to_slide(nuclei_um)[:, 0], 1 - overlap)
    matrix = warp.matrix.copy()
    matrix[:2, 2] -= low
    columns, rows = np.ceil(high - low).astype(int).tolist()
    return dataclasses.replace(warp, matrix=matrix), (rows, columns)


def on_slide(tissue: Tissue, warp: Warp, shape: tuple[int, int], pixel_size_um: float) -> Tissue:
    """The tissue as it lies on the slide, in um from the corner of a picture of `shape` (rows, columns)."""
    width_um, height_um = shape[1] * pixel_size_um, shape[0] * pixel_size_um
    grid = (int(np.ceil(height_um / GRID_UM)) + 1, int(np.ceil(width_um / GRID_UM)) + 1)
    rows, columns = np.indices(grid)
    centres_um = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) * GRID_UM
    source = warp.to_um(np.asarray(centres_um / pixel_size_um, dtype=np.float64)).reshape(*grid, 2)
    # NaN is neither above nor below anything.
    within = (source > 0) & (source < (tissue.width_um, tissue.height_um))
    known = np.asarray(within.all(axis=-1), dtype=bool)
    places = np.where(known[..., None], source, 0.0)
    index = np.moveaxis(places, -1, 0)[::-1] / GRID_UM - 0.5

    def moved(field: FloatField) -> FloatField:
        return np.asarray(ndimage.map_coordinates(field, index, order=1, mode="nearest"), dtype=np.float32)

    domain = np.where(known, tissues.at(tissue.domain, places[..., 0], places[..., 1]), BACKGROUND).astype(np.uint8)
    level = np.where(known, moved(tissue.level_um), OUTSIDE_UM).astype(np.float32)
    return Tissue(
        width_um,
        height_um,
        domain,
        level,
        moved(tissue.across_um),
        moved(tissue.along_um),
        moved(tissue.wall_um),
        _moved_nuclei(tissue, warp, pixel_size_um),
    )


def _moved_nuclei(tissue: Tissue, warp: Warp, pixel_size_um: float) -> Nuclei:
    """Nuclei at their places on the slide, um; an ellipse stays one of equal area but for the warp's own swelling."""
    nuclei, step = tissue.nuclei, 0.25
    centre = warp.torn(centroids(tissue))
    long_axis = np.stack([np.cos(nuclei.angle_rad), np.sin(nuclei.angle_rad)], axis=1)
    short_axis = long_axis[:, ::-1] * (-1, 1)
    place = warp.whole(centre) * pixel_size_um
    lengthwise = (warp.whole(centre + step * long_axis) * pixel_size_um - place) / step
    crosswise = (warp.whole(centre + step * short_axis) * pixel_size_um - place) / step
    stretch = np.hypot(*lengthwise.T)
    area = np.abs(lengthwise[:, 0] * crosswise[:, 1] - lengthwise[:, 1] * crosswise[:, 0])
    return dataclasses.replace(
        nuclei,
        x_um=place[:, 0],
        y_um=place[:, 1],
        semi_major_um=nuclei.semi_major_um * stretch,
        semi_minor_um=nuclei.semi_minor_um * area / stretch,
        angle_rad=np.arctan2(lengthwise[:, 1], lengthwise[:, 0]),
    )


def paint_he(
    rng: np.random.Generator,
    tissue: Tissue,
    warp: Warp,
    shape: tuple[int, int],
    pixel_size_um: float,
    *,
    noise: float = 1.0,
    stain_spread: float = 0.0,
) -> NDArray[np.uint8]:
    """The H&E of `shape` (rows, columns) as (rows, columns, 3) uint8."""
    low, high = 1 - 0.3 * stain_spread, 1 + 0.3 * stain_spread
    warmth = 6 * stain_spread * rng.uniform(-1, 1)
    staining = Staining(rng.uniform(low, high), rng.uniform(low, high), (241 + warmth, 239 - abs(warmth), 238 - warmth))
    moved = on_slide(tissue, warp, shape, pixel_size_um)
    picture = paint(rng, moved, staining, shape, pixel_size_um, np.zeros((0, 2)), 0.0)
    grain = rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(2.5 * noise)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def paint_dapi(
    rng: np.random.Generator, tissue: Tissue, pixel_size_um: float, *, noise: float = 1.0
) -> NDArray[np.uint16]:
    """The DAPI picture (rows, columns) uint16: nuclei of unequal brightness, haze of the tissue, shading of each field.

    Brightness has nothing to do with how dark a nucleus is in the H&E.
    """
    shape = (round(tissue.height_um / pixel_size_um), round(tissue.width_um / pixel_size_um))
    nuclei = tissue.nuclei
    brightness = 2600 * np.exp(rng.normal(0, 0.4, len(nuclei.x_um)))
    light = np.zeros(shape, dtype=np.float32)
    for code in np.unique(nuclei.domain):
        own = nuclei.domain == code
        stamp(
            light,
            nuclei.x_um[own] / pixel_size_um,
            nuclei.y_um[own] / pixel_size_um,
            nuclei.semi_major_um[own] / pixel_size_um,
            nuclei.semi_minor_um[own] / pixel_size_um,
            nuclei.angle_rad[own],
            brightness[own],
            egg=EGG,
        )
    light *= 1 + 0.15 * smooth_noise(rng, shape, max(1.5 / pixel_size_um, 2.0))  # chromatin is not even
    ndimage.gaussian_filter(light, BLUR_UM / pixel_size_um, output=light, mode="nearest")
    box = (0.0, 0.0, shape[1] * pixel_size_um / GRID_UM, shape[0] * pixel_size_um / GRID_UM)
    haze = np.clip(tissue.level_um / 8 + 0.5, 0, 1) * (220 + 60 * smooth_noise(rng, tissue.level_um.shape, 25))
    light += np.maximum(enlarge(ndimage.gaussian_filter(haze, 1.5), shape, box), 0)
    light *= _shading(shape, pixel_size_um)
    light += 90
    grain = rng.standard_normal(shape, dtype=np.float32)
    light += grain * np.sqrt(light + 100) * np.float32(1.2 * noise)
    return np.clip(light, 0, 65535).astype(np.uint16)


def _shading(shape: tuple[int, int], pixel_size_um: float) -> FloatField:
    """Fields of view are lit better in their middle."""
    rows, columns = (
        ((np.arange(size) + 0.5) * pixel_size_um / FIELD_OF_VIEW_UM % 1.0 - 0.5).astype(np.float32) for size in shape
    )
    return np.asarray(1.06 - 0.5 * (rows[:, None] ** 2 + columns[None, :] ** 2), dtype=np.float32)
