"""Simulated samples of Spatial Transcriptomics v1 (200 um pitch, 100 um spots), laid out as the vendor's files are.

The layout was read off the public her2st deposit: counts `{id}.tsv.gz` (rows `XxY`, columns gene symbols), spots
`{id}_selection.tsv` (`x y new_x new_y pixel_x pixel_y selected`, where `pixel = (new - 1) * pitch_px`) and the picture
`{id}.jpg`. As in real deposits the picture's resolution tag is wrong, one spot under the tissue has no row of counts,
and one row of counts has no spot.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

from spotweave.io import atomic, write_json, write_text
from spotweave.simulate import tissue as tissues
from spotweave.simulate.expression import draw_counts, expected_counts, panel
from spotweave.simulate.stain import Staining, paint
from spotweave.simulate.tissue import DOMAINS, GRID_UM, Floats, Tissue

PITCH_UM = 200.0
SPOT_DIAMETER_UM = 100.0
FIRST_SPOT = 2  # as (new - 1) * pitch_px puts array position 1 on the picture's edge
PRINT_ERROR_UM = 5.0  # standard deviation of a printed spot's place along each axis
SELECTED_FROM = 0.20  # covered share of a spot from which the vendor's person selects it
WRONG_DPI = (96, 96)
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Donor:
    """What all sections of one donor share."""

    pixel_size_um: float
    staining: Staining


@dataclass(frozen=True)
class Section:
    """One simulated sample with its truth. Arrays over spots have one row for each of the array's positions.

    `image` (rows, columns, 3) uint8; `array_xy` (n, 2) int; `pixel_xy` (n, 2) px of `image`, from the top-left corner
    of its top-left pixel; `matrix` (3, 3) maps array um (200 * array position) to px before print errors; `counts` and
    `expected` (n, genes); `fractions` (n, 5) in the order of `tissue.DOMAINS`; `nuclei` (n,) under each spot.
    """

    seed: int
    donor: int
    pixel_size_um: float
    rotation_deg: float
    matrix: Floats
    image: NDArray[np.uint8]
    tissue: Tissue
    genes: tuple[str, ...]
    array_xy: NDArray[np.int64]
    pixel_xy: Floats
    fractions: Floats
    nuclei: NDArray[np.int64]
    selected: NDArray[np.bool_]
    expected: Floats
    counts: NDArray[np.int32]
    spot_without_counts: int | None
    counts_without_spot: int | None

    @property
    def spot_ids(self) -> list[str]:
        """`XxY` of every array position."""
        return [f"{x}x{y}" for x, y in self.array_xy]


def simulate_section(seed: int, donor: int, *, columns: int = 10, rows: int = 10) -> Section:
    """Simulate one section of one donor on an array of `columns` x `rows` spots.

    The picture is (columns + 1) x (rows + 1) pitches large. The same arguments give the same bytes.
    """
    tissue_rng, paint_rng, array_rng, count_rng = np.random.default_rng([seed, donor]).spawn(4)
    traits_rng, gene_rng = np.random.default_rng([donor]).spawn(2)
    traits = _donor(traits_rng, donor)
    pixel_size_um = traits.pixel_size_um
    shape = (round((rows + 1) * PITCH_UM / pixel_size_um), round((columns + 1) * PITCH_UM / pixel_size_um))

    rotation_deg = round(float(array_rng.uniform(-1.2, 1.2)), 3)
    matrix = _array_to_pixels(array_rng, columns, rows, pixel_size_um, rotation_deg)
    across, down = np.meshgrid(np.arange(columns), np.arange(rows))
    array_xy = np.stack([across.ravel(), down.ravel()], axis=1) + FIRST_SPOT
    pixel_xy = array_xy * PITCH_UM @ matrix[:2, :2].T + matrix[:2, 2]
    pixel_xy += array_rng.normal(0, PRINT_ERROR_UM / pixel_size_um, pixel_xy.shape)
    spots_um = pixel_xy * pixel_size_um

    grown = tissues.grow(tissue_rng, shape[1] * pixel_size_um, shape[0] * pixel_size_um)
    fractions, nuclei = _under_spots(grown, spots_um)
    selected = fractions[:, 1:].sum(axis=1) >= SELECTED_FROM
    expected = expected_counts(count_rng, gene_rng, fractions, nuclei)
    counts = draw_counts(count_rng, expected)
    return Section(
        seed=seed,
        donor=donor,
        pixel_size_um=pixel_size_um,
        rotation_deg=rotation_deg,
        matrix=matrix,
        image=paint(paint_rng, grown, traits.staining, shape, pixel_size_um, spots_um, SPOT_DIAMETER_UM),
        tissue=grown,
        genes=panel().genes,
        array_xy=array_xy,
        pixel_xy=pixel_xy,
        fractions=fractions,
        nuclei=nuclei,
        selected=selected,
        expected=expected,
        counts=counts,
        spot_without_counts=_pick(count_rng, selected),
        counts_without_spot=_pick(count_rng, ~selected & (counts.sum(axis=1) > 0)),
    )


def write_section(section: Section, folder: Path, sample_id: str, truth_folder: Path | None = None) -> list[Path]:
    """Write the vendor's three files into `folder`, and the truth (`.json`, `.npz`) into `truth_folder`.

    `truth_folder` is `folder/truth` unless given. Returns the vendor's three paths. The same section gives the same
    bytes.
    """
    counts, spots, image = (folder / f"{sample_id}{end}" for end in (".tsv.gz", "_selection.tsv", ".jpg"))
    _write_counts(section, counts)
    write_text(spots, _spot_table(section))
    with atomic(image) as part:
        Image.fromarray(section.image).save(part, "JPEG", quality=JPEG_QUALITY, dpi=WRONG_DPI)
    _write_truth(section, truth_folder or folder / "truth", sample_id)
    return [counts, spots, image]


def _donor(rng: np.random.Generator, donor: int) -> Donor:
    """Traits spread evenly over their ranges by multiples of an irrational number, so that even two donors differ."""
    pixel_size_um = round(0.66 + 0.06 * ((0.35 + 0.618034 * donor) % 1.0), 4)
    haematoxylin = 0.82 + 0.36 * ((0.20 + 0.414214 * donor) % 1.0)
    eosin = 0.80 + 0.40 * ((0.70 + 0.754878 * donor) % 1.0)
    warmth = rng.uniform(-3, 3)
    glass = (241 + warmth, 239 - abs(warmth), 238 - warmth)
    return Donor(pixel_size_um, Staining(haematoxylin, eosin, glass))


def _array_to_pixels(
    rng: np.random.Generator, columns: int, rows: int, pixel_size_um: float, rotation_deg: float
) -> Floats:
    """A similarity from array um to px that puts the array's centre within 15 um of the picture's centre."""
    cos, sin = np.cos(np.deg2rad(rotation_deg)), np.sin(np.deg2rad(rotation_deg))
    linear = np.array([[cos, -sin], [sin, cos]]) / pixel_size_um
    array_centre_um = (FIRST_SPOT + (np.array([columns, rows]) - 1) / 2) * PITCH_UM
    centre_um = (np.array([columns, rows]) + 1) / 2 * PITCH_UM + rng.uniform(-15, 15, 2)
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre_um / pixel_size_um - linear @ array_centre_um
    return matrix


def _under_spots(grown: Tissue, spots_um: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Domain fractions (spots, 5) and number of nuclei (spots,) within each printed spot's disc."""
    radius_um = SPOT_DIAMETER_UM / 2
    steps = np.arange(-radius_um + GRID_UM / 4, radius_um, GRID_UM / 2)
    dx, dy = np.meshgrid(steps, steps)
    disc = np.hypot(dx, dy) < radius_um
    codes = tissues.at(grown.domain, spots_um[:, :1] + dx[disc], spots_um[:, 1:] + dy[disc])
    fractions = np.stack([(codes == code).mean(axis=1) for code in range(len(DOMAINS))], axis=1)
    centres = cKDTree(np.stack([grown.nuclei.x_um, grown.nuclei.y_um], axis=1))
    return fractions, np.asarray(centres.query_ball_point(spots_um, radius_um, return_length=True), dtype=np.int64)


def _pick(rng: np.random.Generator, allowed: NDArray[np.bool_]) -> int | None:
    candidates = np.flatnonzero(allowed)
    return int(rng.choice(candidates)) if len(candidates) else None


def _write_counts(section: Section, path: Path) -> None:
    """Spots with any count, in the order of their names as text, as in her2st."""
    spot_ids = section.spot_ids
    present = [int(spot) for spot in np.flatnonzero(section.counts.sum(axis=1)) if spot != section.spot_without_counts]
    text = io.StringIO()
    text.write("\t".join(["", *section.genes]) + "\n")
    for spot in sorted(present, key=lambda spot: spot_ids[spot]):
        text.write("\t".join([spot_ids[spot], *map(str, section.counts[spot].tolist())]) + "\n")
    with atomic(path) as part:
        part.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def _spot_table(section: Section) -> str:
    pitch_px = PITCH_UM / section.pixel_size_um
    lines = ["x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected"]
    for spot, ((x, y), (pixel_x, pixel_y)) in enumerate(zip(section.array_xy, section.pixel_xy, strict=True)):
        if spot == section.counts_without_spot:
            continue
        new_x, new_y = pixel_x / pitch_px + 1, pixel_y / pitch_px + 1
        place = f"{x}\t{y}\t{new_x:.3f}\t{new_y:.3f}\t{pixel_x:.2f}\t{pixel_y:.2f}"
        lines.append(f"{place}\t{int(section.selected[spot])}")
    return "\n".join(lines) + "\n"


def _write_truth(section: Section, folder: Path, sample_id: str) -> None:
    spot_ids = section.spot_ids
    named = {
        name: None if spot is None else spot_ids[spot]
        for name, spot in (
            ("spot_without_counts", section.spot_without_counts),
            ("counts_without_spot", section.counts_without_spot),
        )
    }
    facts = {
        "simulated": True,
        "sample": sample_id,
        "seed": section.seed,
        "donor": section.donor,
        "pixel_size_um": section.pixel_size_um,
        "rotation_deg": section.rotation_deg,
        "matrix": section.matrix.tolist(),
        "matrix_maps": "array um (200 * array position, 1) to px of the picture, before print errors",
        "print_error_um": PRINT_ERROR_UM,
        "pitch_um": PITCH_UM,
        "spot_diameter_um": SPOT_DIAMETER_UM,
        "image_width_px": section.image.shape[1],
        "image_height_px": section.image.shape[0],
        "grid_um": GRID_UM,
        "domains": list(DOMAINS),
        **named,
    }
    write_json(folder / f"{sample_id}.json", facts)
    nuclei = section.tissue.nuclei
    with atomic(folder / f"{sample_id}.npz") as part:
        np.savez_compressed(
            part,
            tissue=section.tissue.domain > 0,
            domain=section.tissue.domain,
            nuclei_xy_px=np.stack([nuclei.x_um, nuclei.y_um], axis=1) / section.pixel_size_um,
            nuclei_domain=nuclei.domain,
            spot_ids=np.array(spot_ids),
            spots_xy_px=section.pixel_xy,
            fractions=section.fractions,
            nuclei_per_spot=section.nuclei,
            genes=np.array(section.genes),
            expected=section.expected.astype(np.float32),
        )
