"""A simulated Visium sample with tissue, picture and counts that go together, laid out as a sample of GEO is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

from spotweave.io import atomic
from spotweave.simulate import tissue as tissues
from spotweave.simulate.count_files import Written, gzipped, write_h5_layout_3
from spotweave.simulate.expression import draw_counts, expected_counts, panel
from spotweave.simulate.frames import Look, draw_dots
from spotweave.simulate.stain import Staining, paint
from spotweave.simulate.tissue import DOMAINS, Floats
from spotweave.simulate.visium import Truth, block_of, draw_barcodes
from spotweave.simulate.visium_files import position_rows, write_positions, write_scalefactors
from spotweave.visium.array import SPOT_RADIUS_UM, capture_area, dots_of
from spotweave.visium.spacing import SPOT_DIAMETER_UM

JPEG_QUALITY = 90
FADE_PX = 120  # over which painted glass fades into plain glass


@dataclass(frozen=True)
class Deposit:
    """What `write_visium_deposit` wrote: `files` by role, and the truth they were written from."""

    files: Written
    truth: Truth
    nuclei_under_spots: NDArray[np.int64]


def write_visium_deposit(
    folder: Path,
    prefix: str,
    seed: int,
    *,
    donor: int = 0,
    pixel_size_um: float = 1.05,
    tissue_um: float = 2600.0,
    margin_um: float = 900.0,
) -> Deposit:
    """Write one simulated Visium sample as GEO would hold it.

    Parameters
    ----------
    folder, prefix
        Where, and what all names begin with, such as `GSM0000001_A_`.
    seed, donor
        Of the section, and of what the sections of a donor share; the same arguments give the same bytes.
    pixel_size_um
        um per px of the picture.
    tissue_um
        Side of the square in which the tissue grows, in the middle of the 6.5 mm array; the rest is empty glass.
    margin_um
        Glass around the array, on which the fiducial frame (of area B1) is printed.

    Returns
    -------
    Deposit
        Files `counts` (.h5.gz), `spots` (.csv.gz), `scalefactors` (.json.gz) and `image` (.jpg).
    """
    tissue_rng, paint_rng, count_rng, barcode_rng = np.random.default_rng([seed, donor, 65]).spawn(4)
    (gene_rng,) = np.random.default_rng([donor]).spawn(1)
    area = capture_area("6.5 mm")
    array = area.places()
    extent_um = area.spots_um().max(axis=0)
    shape = tuple(int(side) for side in np.ceil((extent_um[::-1] + 2 * margin_um) / pixel_size_um))
    spots_um = area.spots_um() + margin_um
    corner_px = np.floor((extent_um / 2 + margin_um - tissue_um / 2) / pixel_size_um).astype(int)

    grown = tissues.grow(tissue_rng, tissue_um, tissue_um)
    fractions, nuclei = _under_spots(grown, spots_um - corner_px * pixel_size_um, tissue_um)
    counts = draw_counts(count_rng, expected_counts(count_rng, gene_rng, fractions, nuclei))
    in_tissue = (fractions[:, 1:].sum(axis=1) >= 0.5).astype(np.int64)
    names = list(panel().genes)
    truth = Truth(
        area.name,
        draw_barcodes(barcode_rng, len(array)),
        array,
        np.rint(spots_um[:, ::-1] / pixel_size_um).astype(np.int64),
        in_tissue,
        counts.astype(np.int64),
        names,
        [f"ENSG{90000000000 + i:011d}" for i in range(len(names))],
        ["GRCh38"] * len(names),
        pixel_size_um,
    )
    folder.mkdir(parents=True, exist_ok=True)
    counts_path = write_h5_layout_3(folder / f"{prefix}filtered_feature_bc_matrix.h5", block_of(truth, truth.tissue))
    files = {
        "counts": gzipped(counts_path),
        "spots": write_positions(folder / f"{prefix}tissue_positions_list.csv.gz", position_rows(truth, truth.every)),
        "scalefactors": write_scalefactors(folder / f"{prefix}scalefactors_json.json.gz", truth),
        "image": folder / f"{prefix}image.jpg",
    }
    picture = _glass_with(paint_rng, grown, (shape[0], shape[1]), (int(corner_px[0]), int(corner_px[1])), pixel_size_um)
    frame_rng = np.random.default_rng([seed, donor, 66])
    dots_px = (dots_of(area, "B1") + margin_um) / pixel_size_um
    draw_dots(frame_rng, picture, dots_px, Look(letter="B1"), pixel_size_um)
    with atomic(files["image"]) as part:
        Image.fromarray(picture).save(part, "JPEG", quality=JPEG_QUALITY)
    return Deposit(files, truth, nuclei)


def _under_spots(grown: tissues.Tissue, spots_um: Floats, side_um: float) -> tuple[Floats, NDArray[np.int64]]:
    """Domain fractions (spots, 5) and number of nuclei (spots,) within each spot's disc, in the tissue's own um."""
    radius_um = SPOT_RADIUS_UM
    steps = np.arange(-radius_um + 1, radius_um, 2.0)
    dx, dy = (offset[np.hypot(*np.meshgrid(steps, steps)) < radius_um] for offset in np.meshgrid(steps, steps))
    x, y = spots_um[:, :1] + dx, spots_um[:, 1:] + dy
    outside = (x < 0) | (y < 0) | (x >= side_um) | (y >= side_um)
    codes = np.where(outside, 0, tissues.at(grown.domain, x, y))
    fractions = np.stack([(codes == code).mean(axis=1) for code in range(len(DOMAINS))], axis=1)
    centres = cKDTree(np.stack([grown.nuclei.x_um, grown.nuclei.y_um], axis=1))
    return fractions, np.asarray(centres.query_ball_point(spots_um, radius_um, return_length=True), dtype=np.int64)


def _glass_with(
    rng: np.random.Generator,
    grown: tissues.Tissue,
    shape: tuple[int, int],
    corner_px: tuple[int, int],
    pixel_size_um: float,
) -> NDArray[np.uint8]:
    """Empty glass of `shape` (rows, columns) with the painted tissue at `corner_px` (x, y), faded into it."""
    glass = (241.0, 239.0, 238.0)
    size = (int(grown.height_um / pixel_size_um), int(grown.width_um / pixel_size_um))
    no_spots = np.zeros((0, 2))
    painted = paint(rng, grown, Staining(1.0, 1.0, glass), size, pixel_size_um, no_spots, SPOT_DIAMETER_UM)
    empty = tissues.enlarge(grown.level_um, size) < -100
    edge = np.median(painted[empty], axis=0)
    noise = rng.integers(-2, 3, (*shape, 1), dtype=np.int8)
    picture = np.clip(np.rint(edge).astype(np.int16) + noise, 0, 255).astype(np.uint8)
    window = (slice(corner_px[1], corner_px[1] + size[0]), slice(corner_px[0], corner_px[0] + size[1]))
    ramp = [
        np.minimum.reduce([np.arange(side), np.arange(side)[::-1], np.full(side, FADE_PX)]) / FADE_PX for side in size
    ]
    weight = np.minimum(ramp[0][:, None], ramp[1][None, :])[..., None].astype(np.float32)
    picture[window] = np.rint(weight * painted + (1 - weight) * picture[window]).astype(np.uint8)
    return picture
