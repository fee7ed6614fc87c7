"""Simulated Xenium bundles: one small known truth in the layout of every version of Xenium Onboard Analysis.

`VARIANTS` names the layouts a reader has to read alike; each writes the same cells, transcripts, outlines and
alignment. Cells are squares on a grid, so that areas, centroids and what lies where are known in closed form;
coordinates are multiples of 1/64 um, which every format keeps exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PIXEL_SIZE_UM = 0.2125
COLUMNS, ROWS = 7, 6
PITCH_UM = 16.0
CELL_UM = 12.0
NUCLEUS_UM = 5.0
GENES = [f"GENE{i}" for i in range(8)] + ["HLA-A", "MKI67"]
HE_PIXEL_SIZE_UM = 0.34
MIN_QV = 20.0
# Kind of feature in a matrix, category of a transcript, example of a name.
CONTROLS = {
    "probe": ("Negative Control Probe", "negative_control_probe", "NegControlProbe_00042"),
    "antisense": ("Negative Control Probe", "negative_control_probe", "antisense_PROKR2"),
    "codeword": ("Negative Control Codeword", "negative_control_codeword", "NegControlCodeword_0500"),
    "blank": ("Blank Codeword", "unassigned_codeword", "BLANK_0069"),
    "unassigned": ("Unassigned Codeword", "unassigned_codeword", "UnassignedCodeword_0037"),
    "deprecated": ("Deprecated Codeword", "deprecated_codeword", "DeprecatedCodeword_0321"),
    "genomic": ("Genomic Control", "genomic_control_probe", "Intergenic_Region_2124"),
}


@dataclass(frozen=True)
class Version:
    """What sets the files of a version apart."""

    software: str
    controls: tuple[str, ...]
    has_text_ids: bool = True
    has_byte_names: bool = False
    has_labels: bool = False
    merges_nuclei: bool = False
    transcript_columns: tuple[str, ...] = ()
    cell_columns: tuple[str, ...] = ()


BASE_TRANSCRIPTS = (
    "transcript_id",
    "cell_id",
    "overlaps_nucleus",
    "feature_name",
    "x_location",
    "y_location",
    "z_location",
    "qv",
)
BASE_CELLS = (
    "cell_id",
    "x_centroid",
    "y_centroid",
    "transcript_counts",
    "control_probe_counts",
    "control_codeword_counts",
)
V1_0 = Version(
    "xenium-1.0.1",
    ("probe", "antisense", "codeword", "blank"),
    has_text_ids=False,
    has_byte_names=True,
    transcript_columns=BASE_TRANSCRIPTS,
    cell_columns=(*BASE_CELLS, "total_counts", "cell_area", "nucleus_area"),
)
V1_3 = Version(
    "xenium-1.3.0.5",
    ("probe", "codeword", "blank"),
    transcript_columns=(*BASE_TRANSCRIPTS, "fov_name", "nucleus_distance"),
    cell_columns=(*BASE_CELLS, "unassigned_codeword_counts", "total_counts", "cell_area", "nucleus_area"),
)
V2_0 = Version(
    "xenium-2.0.0.6",
    ("probe", "codeword", "unassigned", "deprecated"),
    has_labels=True,
    transcript_columns=(*V1_3.transcript_columns, "codeword_index"),
    cell_columns=(
        *BASE_CELLS,
        "unassigned_codeword_counts",
        "deprecated_codeword_counts",
        "total_counts",
        "cell_area",
        "nucleus_area",
        "nucleus_count",
        "segmentation_method",
    ),
)
V2_0_EARLY = Version(
    "xenium-2.0.0.1",
    V2_0.controls,
    merges_nuclei=True,
    transcript_columns=V2_0.transcript_columns,
    cell_columns=V2_0.cell_columns,
)
V3_0 = Version(
    "xenium-3.0.0.15",
    (*V2_0.controls, "genomic"),
    has_labels=True,
    transcript_columns=(*V2_0.transcript_columns, "codeword_category", "is_gene"),
    cell_columns=(*V2_0.cell_columns[:6], "genomic_control_counts", *V2_0.cell_columns[6:]),
)
V4_0 = Version(
    "xenium-4.0.1.0",
    V3_0.controls,
    has_labels=True,
    transcript_columns=V3_0.transcript_columns,
    cell_columns=V3_0.cell_columns,
)


@dataclass(frozen=True)
class Truth:
    """A region: what must be found in any files written of it.

    Cells are numbered from 1 in the order they are filed; `xy_um` (n, 2) float64; `cell_area_um2`, `nucleus_area_um2`
    (n,) float64, NaN without a nucleus; `nuclei` (n,) int64; `counts` (n, genes) int64; `transcripts` one row per call
    (`feature`, kind of control or empty, `x`, `y`, `z`, `qv`, `cell` from 1, 0 outside, `in_nucleus`); `he_to_dapi`
    (3, 3) px of the H&E -> px of DAPI; `he_xy_px` (n, 2) the cells on the H&E.
    """

    xy_um: NDArray[np.float64]
    cell_area_um2: NDArray[np.float64]
    nucleus_area_um2: NDArray[np.float64]
    nuclei: NDArray[np.int64]
    counts: NDArray[np.int64]
    transcripts: pd.DataFrame
    he_to_dapi: NDArray[np.float64]
    he_xy_px: NDArray[np.float64]
    genes: list[str] = field(default_factory=lambda: list(GENES))

    @property
    def pixel_size_um(self) -> float:
        """um per px of DAPI."""
        return PIXEL_SIZE_UM

    @property
    def custom_gene(self) -> str:
        """The gene that was added to a predesigned panel."""
        return self.genes[-1]

    @property
    def gene_ids(self) -> list[str]:
        """Ensembl ids, one per gene."""
        return [f"ENSG{i:011d}" for i in range(len(self.genes))]

    @property
    def numbers(self) -> list[int]:
        """Cells as filed."""
        return list(range(1, len(self.xy_um) + 1))

    def keypoints(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points (n, 2) of DAPI and the same of the H&E, px."""
        matrix = self.he_to_dapi
        return self.he_xy_px @ matrix[:2, :2].T + matrix[:2, 2], self.he_xy_px

    def outlines(self, what: str) -> list[tuple[int, NDArray[np.float64]]]:
        """Cell and closed ring (5, 2) in um of every `cell` or `nucleus`."""
        rings = []
        for number, (x, y), nuclei in zip(self.numbers, self.xy_um, self.nuclei, strict=True):
            if what == "cell":
                rings.append((number, _square(x, y, CELL_UM)))
            else:
                shifts = {0: (), 1: (0.0,), 2: (-3.0, 3.0)}[int(nuclei)]
                rings += [(number, _square(x + shift, y, NUCLEUS_UM)) for shift in shifts]
        return rings


def _square(x: float, y: float, side: float) -> NDArray[np.float64]:
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)], dtype=np.float64)
    return np.array([x, y]) + corners * side / 2


def text_id(number: int) -> str:
    """A cell's name as Xenium 1.3 and later write it: hexadecimal with the letters a to p, and the segmentation."""
    return f"{number:08x}".translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop")) + "-1"


def he_to_dapi(turn_deg: float = 90.0, *, mirrored: bool = True) -> NDArray[np.float64]:
    """A map from px of an H&E to px of DAPI: scale, flip of x, turn, shift."""
    scale = HE_PIXEL_SIZE_UM / PIXEL_SIZE_UM
    turn = np.deg2rad(turn_deg)
    matrix = np.eye(3)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix[:2, :2] = scale * rotation @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    matrix[:2, 2] = (903.5, -41.25)
    return matrix


def draw_truth(seed: int = 0) -> Truth:
    """Draw a region: a cell without transcripts, cells with no nucleus and with two, calls of low quality, controls."""
    rng = np.random.default_rng([20230101, seed])
    across, down = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS))
    xy_um = np.column_stack([across.ravel(), down.ravel()]) * PITCH_UM + 20.0 + rng.integers(-64, 65, (42, 2)) / 64
    nuclei = rng.choice([1, 1, 1, 2], len(xy_um)).astype(np.int64)
    nuclei[[4, 11]] = 0
    nuclei[[6, 7]] = 2
    nucleus_area = np.where(nuclei > 0, nuclei * NUCLEUS_UM**2, np.nan)
    transcripts = _draw_transcripts(rng, xy_um, nuclei)
    good = transcripts[(transcripts["control"] == "") & (transcripts["qv"] >= MIN_QV) & (transcripts["cell"] > 0)]
    counts = np.zeros((len(xy_um), len(GENES)), dtype=np.int64)
    np.add.at(counts, (good["cell"].to_numpy() - 1, good["feature"].map(GENES.index).to_numpy()), 1)
    matrix = he_to_dapi()
    dapi_px = np.column_stack([xy_um / PIXEL_SIZE_UM, np.ones(len(xy_um))])
    he_px = np.asarray(np.linalg.solve(matrix, dapi_px.T).T[:, :2], dtype=np.float64)
    area = np.full(len(xy_um), CELL_UM**2)
    return Truth(xy_um, area, nucleus_area, nuclei, counts, transcripts, matrix, he_px)


def _draw_transcripts(
    rng: np.random.Generator, xy_um: NDArray[np.float64], nuclei: NDArray[np.int64], calls: int = 2000
) -> pd.DataFrame:
    cell = rng.integers(0, len(xy_um) + 1, calls)
    cell[cell == 3] = 0  # the third cell is empty
    inside = np.where(cell[:, None] > 0, xy_um[cell - 1], rng.uniform(150, 160, (calls, 2)))
    offset = rng.integers(-int(CELL_UM * 32), int(CELL_UM * 32) + 1, (calls, 2)) / 64
    near = (np.abs(offset) < NUCLEUS_UM / 2).all(axis=1)
    kinds = rng.choice(["", *CONTROLS], calls, p=[0.86, *[0.02] * len(CONTROLS)])
    genes = rng.choice(GENES[1:], calls)  # the first gene is in no cell
    return pd.DataFrame(
        {
            "feature": [CONTROLS[kind][2] if kind else gene for kind, gene in zip(kinds, genes, strict=True)],
            "control": kinds,
            "x": np.round((inside + offset)[:, 0] * 64) / 64,
            "y": np.round((inside + offset)[:, 1] * 64) / 64,
            "z": rng.integers(0, 64 * 20, calls) / 64,
            "qv": rng.choice([5.0, 19.75, 20.0, 31.5, 40.0], calls, p=[0.1, 0.1, 0.1, 0.2, 0.5]),
            "cell": cell,
            "in_nucleus": near & (cell > 0) & (nuclei[cell - 1] == 1),
        }
    )


def calls_of(truth: Truth, version: Version) -> pd.DataFrame:
    """The transcripts a version can have: those of its own controls."""
    known = truth.transcripts["control"].isin(["", *version.controls])
    return truth.transcripts[known].reset_index(drop=True)


def cell_names(numbers: Sequence[int], version: Version) -> list[Any]:
    """Names of cells in a table; 0 is no cell."""
    if version.has_text_ids:
        names = {number: text_id(number) if number else "UNASSIGNED" for number in set(numbers)}
        return [names[number] for number in numbers]
    return [number or -1 for number in numbers]
