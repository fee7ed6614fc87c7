"""Simulated Xenium bundles: one small known truth in the layout of every version of Xenium Onboard Analysis.

`VARIANTS` names the layouts a reader has to read alike; each writes the same cells, transcripts, outlines and
alignment. Cells are squares on a grid, so that areas, centroids and what lies where are known in closed form;
coordinates are multiples of 1/64 um, which every format keeps exactly.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from spotweave.simulate.count_files import Block, Written, write_h5_layout_3, write_mex

PIXEL_SIZE_UM = 0.2125
COLUMNS, ROWS = 7, 6
PITCH_UM = 16.0
CELL_UM = 12.0
NUCLEUS_UM = 5.0
GENES = [f"GENE{i}" for i in range(8)] + ["HLA-A", "MKI67"]
CUSTOM_GENE = GENES[-1]
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
    def gene_ids(self) -> list[str]:
        """Ensembl ids, one per gene."""
        return [f"ENSG{i:011d}" for i in range(len(self.genes))]

    @property
    def numbers(self) -> list[int]:
        """Cells as filed."""
        return list(range(1, len(self.xy_um) + 1))

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


# --- files of a truth -----------------------------------------------------------------------------


def calls_of(truth: Truth, version: Version) -> pd.DataFrame:
    """The transcripts a version can have: those of its own controls."""
    known = truth.transcripts["control"].isin(["", *version.controls])
    return truth.transcripts[known].reset_index(drop=True)


def _ids(numbers: Sequence[int], version: Version) -> list[Any]:
    """Names of cells in a table; 0 is no cell."""
    if version.has_text_ids:
        return [text_id(number) if number else "UNASSIGNED" for number in numbers]
    return [number or -1 for number in numbers]


def transcript_table(truth: Truth, version: Version) -> pa.Table:
    """`transcripts.parquet`."""
    calls = calls_of(truth, version)
    names = [name.encode() for name in calls["feature"]] if version.has_byte_names else list(calls["feature"])
    category = [CONTROLS[kind][1] if kind else "predesigned_gene" for kind in calls["control"]]
    category = [
        "custom_gene" if name == "MKI67" else kind for kind, name in zip(category, calls["feature"], strict=True)
    ]
    columns: dict[str, Any] = {
        "transcript_id": pa.array(np.arange(len(calls)) + (1 << 48), pa.uint64()),
        "cell_id": pa.array(_ids(calls["cell"].tolist(), version)),
        "overlaps_nucleus": pa.array(calls["in_nucleus"].astype(np.uint8), pa.uint8()),
        "feature_name": pa.array(names),
        "x_location": pa.array(calls["x"], pa.float32()),
        "y_location": pa.array(calls["y"], pa.float32()),
        "z_location": pa.array(calls["z"], pa.float32()),
        "qv": pa.array(calls["qv"], pa.float32()),
        "fov_name": pa.array(["A1"] * len(calls)),
        "nucleus_distance": pa.array(np.zeros(len(calls)), pa.float32()),
        "codeword_index": pa.array(np.arange(len(calls)) % 500, pa.int32()),
        "codeword_category": pa.array(category),
        "is_gene": pa.array(calls["control"] == ""),
    }
    return pa.table({name: columns[name] for name in version.transcript_columns})


def cell_table(truth: Truth, version: Version) -> pa.Table:
    """`cells.parquet`."""
    calls = calls_of(truth, version)
    kinds = {
        "control_probe_counts": ("probe", "antisense"),
        "control_codeword_counts": ("codeword",),
        "genomic_control_counts": ("genomic",),
        "unassigned_codeword_counts": ("unassigned", "blank"),
        "deprecated_codeword_counts": ("deprecated",),
    }
    good = calls[(calls["qv"] >= MIN_QV) & (calls["cell"] > 0)]
    columns: dict[str, Any] = {
        "cell_id": pa.array(_ids(truth.numbers, version)),
        "x_centroid": pa.array(truth.xy_um[:, 0]),
        "y_centroid": pa.array(truth.xy_um[:, 1]),
        "transcript_counts": pa.array(truth.counts.sum(axis=1)),
        "cell_area": pa.array(truth.cell_area_um2),
        "nucleus_area": pa.array(truth.nucleus_area_um2, from_pandas=True),
        "nucleus_count": pa.array(truth.nuclei),
        "segmentation_method": pa.array(["Segmented by nucleus expansion of 5.0um"] * len(truth.nuclei)),
    }
    total = truth.counts.sum(axis=1)
    for name, of in kinds.items():
        own = good[good["control"].isin(of)]["cell"].value_counts()
        counted = np.array([own.get(number, 0) for number in truth.numbers], dtype=np.int64)
        columns[name] = pa.array(counted)
        total = total + (counted if name in version.cell_columns else 0)
    columns["total_counts"] = pa.array(total)
    return pa.table({name: columns[name] for name in version.cell_columns})


def boundary_table(truth: Truth, version: Version, what: str) -> pa.Table:
    """`cell_boundaries.parquet`, `nucleus_boundaries.parquet`."""
    rings = truth.outlines(what)
    owners = [number for number, ring in rings for _ in ring]
    xy = np.concatenate([ring for _, ring in rings])
    columns: dict[str, Any] = {
        "cell_id": pa.array(_ids(owners, version)),
        "vertex_x": pa.array(xy[:, 0], pa.float32()),
        "vertex_y": pa.array(xy[:, 1], pa.float32()),
    }
    if version.has_labels:
        columns["label_id"] = pa.array(
            [label for label, (_, ring) in enumerate(rings, start=1) for _ in ring], pa.int32()
        )
    return pa.table(columns)


def matrix_block(truth: Truth, version: Version) -> Block:
    """The count matrix: genes, then controls, which have counts too."""
    calls = calls_of(truth, version)
    good = calls[(calls["qv"] >= MIN_QV) & (calls["cell"] > 0)]
    features = [CONTROLS[kind][2] for kind in version.controls]
    controls = np.zeros((len(truth.numbers), len(features)), dtype=np.int64)
    of = good[good["control"] != ""]
    np.add.at(controls, (of["cell"].to_numpy() - 1, of["feature"].map(features.index).to_numpy()), 1)
    types = [CONTROLS[kind][0] for kind in version.controls]
    return Block(
        [str(name) for name in _ids(truth.numbers, version)],
        np.concatenate([truth.counts, controls], axis=1),
        [*truth.genes, *features],
        [*truth.gene_ids, *features],
        [*["Gene Expression"] * len(truth.genes), *types],
        ["Unknown"] * (len(truth.genes) + len(features)),
    )


def write_table(path: Path, table: pa.Table) -> Path:
    """A table by its suffix: `.parquet` in several row groups, `.csv`, `.csv.gz`.

    As text, names are no bytes, and numbers have all digits (of a float32 Arrow writes as few as name it).
    """
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path, row_group_size=max(1, len(table) // 3))
        return path
    for index, column in enumerate(table.schema):
        as_text = {pa.binary(): pa.string(), pa.float32(): pa.float64()}.get(column.type, column.type)
        table = table.set_column(index, column.name, table[column.name].cast(as_text))
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink)
    content = sink.getvalue().to_pybytes()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def write_experiment(path: Path, version: Version, *, cells: int, ranger: str | None = None) -> Path:
    """`experiment.xenium`; `ranger` is the version of Xenium Ranger, if it segmented the cells again."""
    major, minor = version.software.removeprefix("xenium-").split(".")[:2]
    content: dict[str, Any] = {
        "major_version": int(major),
        "minor_version": int(minor),
        "run_name": "simulated",
        "region_name": "Region_1",
        "num_cells": cells,
        "panel_name": "Simulated panel",
        "panel_organism": "Human",
        "panel_num_targets_predesigned": len(GENES) - 1,
        "panel_num_targets_custom": 1,
        "pixel_size": PIXEL_SIZE_UM,
        "analysis_sw_version": version.software,
        "images": {"morphology_filepath": "morphology.ome.tif"},
    }
    if ranger:
        content["xenium_ranger"] = {"version": ranger, "command": "resegment"}
    path.write_text(json.dumps(content, indent=2))
    return path


def write_alignment(path: Path, matrix: NDArray[np.float64]) -> Path:
    """`*_he_imagealignment.csv`."""
    path.write_text("".join(",".join(repr(float(value)) for value in row) + "\n" for row in matrix))
    return path


def write_keypoints(path: Path, matrix: NDArray[np.float64], he_px: NDArray[np.float64], error_px: float = 0.0) -> Path:
    """Keypoints of Xenium Explorer for a map; `error_px` is the standard deviation of where they were put on DAPI."""
    fixed = he_px @ matrix[:2, :2].T + matrix[:2, 2]
    fixed = fixed + np.random.default_rng(7).normal(0, 1, fixed.shape) * error_px
    lines = ["fixedX,fixedY,alignmentX,alignmentY"]
    lines += [",".join(repr(float(v)) for v in row) for row in np.column_stack([fixed, he_px])]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_bundle(
    folder: Path,
    truth: Truth,
    version: Version,
    *,
    tables: str = ".parquet",
    counts: str = "h5",
    prefix: str = "",
    ranger: str | None = None,
    alignment: str | None = "matrix",
) -> Written:
    """All files of a bundle, by role.

    `tables` is the suffix of the tables, `counts` one of `h5`, `h5.gz`, `mex`, `mex plain`, `mex without types`;
    `alignment` is `matrix`, `keypoints` or None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    block = matrix_block(truth, version)
    files: dict[str, Path] = {}
    if counts.startswith("h5"):
        path = write_h5_layout_3(folder / f"{prefix}cell_feature_matrix.h5", block)
        with h5py.File(path, "a") as file:
            file.attrs["software_version"] = version.software
        files["counts"] = path
        if counts == "h5.gz":
            files["counts"] = path.with_name(f"{path.name}.gz")
            files["counts"].write_bytes(gzip.compress(path.read_bytes(), mtime=0))
            path.unlink()
    else:
        inner = folder / "cell_feature_matrix"
        inner.mkdir()
        columns = 2 if counts == "mex without types" else 3
        files |= write_mex(inner, block, prefix=prefix, columns=columns, packed=counts == "mex")
    made: Mapping[str, pa.Table] = {
        "cells": cell_table(truth, version),
        "transcripts": transcript_table(truth, version),
        "cell_boundaries": boundary_table(truth, version, "cell"),
        "nucleus_boundaries": boundary_table(truth, version, "nucleus"),
    }
    files |= {role: write_table(folder / f"{prefix}{role}{tables}", table) for role, table in made.items()}
    files["experiment"] = write_experiment(
        folder / f"{prefix}experiment.xenium", version, cells=len(truth.numbers), ranger=ranger
    )
    if alignment == "matrix":
        files["alignment"] = write_alignment(folder / f"{prefix}he_imagealignment.csv", truth.he_to_dapi)
    elif alignment == "keypoints":
        files["alignment"] = write_keypoints(folder / f"{prefix}keypoints.csv", truth.he_to_dapi, truth.he_xy_px)
    return files


# --- layouts --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """A layout: `write(folder, truth)` returns the files by role."""

    description: str
    version: Version
    options: dict[str, Any] = field(default_factory=dict)
    folder: str = ""

    def write(self, folder: Path, truth: Truth) -> Written:
        """Write the files, by role."""
        return write_bundle(folder / self.folder, truth, self.version, **self.options)

    def names(self, truth: Truth) -> list[str]:
        """Names of the cells, in the order they are filed."""
        return [str(name) for name in _ids(truth.numbers, self.version)]


VARIANTS: dict[str, Variant] = {
    "xoa_1_0": Variant("XOA 1.0: whole numbers as ids, names of features as bytes, parquet, HDF5", V1_0),
    "xoa_1_0_text": Variant(
        "XOA 1.0 as packed text, Market Exchange", V1_0, {"tables": ".csv.gz", "counts": "mex"}, "outs"
    ),
    "xoa_1_0_genes_tsv": Variant(
        "XOA 1.0, gene list of two columns: controls known by name only", V1_0, {"counts": "mex without types"}
    ),
    "xoa_1_3": Variant("XOA 1.3: ids as text, UNASSIGNED", V1_3),
    "xoa_1_3_text": Variant("XOA 1.3 as unpacked text", V1_3, {"tables": ".csv", "counts": "mex plain"}),
    "xoa_2_0": Variant("XOA 2.0: label_id of nuclei, codeword_index, segmentation_method", V2_0),
    "xoa_2_0_early": Variant("early XOA 2.0: no label_id, nuclei of one cell run together", V2_0_EARLY),
    "xoa_2_0_geo": Variant(
        "XOA 2.0 as GEO has it: prefixed, everything packed",
        V2_0,
        {"tables": ".csv.gz", "counts": "h5.gz", "prefix": "GSM0000001_A1_"},
    ),
    "xoa_3_0": Variant("XOA 3.0: is_gene and codeword_category", V3_0, {"alignment": "keypoints"}),
    "xoa_3_0_text": Variant("XOA 3.0 as packed text under outs/", V3_0, {"tables": ".csv.gz", "counts": "mex"}, "outs"),
    "xoa_4_0": Variant("XOA 4.0 under outs/", V4_0, {}, "outs"),
    "no_alignment": Variant("no alignment: the H&E is on the grid of DAPI", V1_3, {"alignment": None}),
    "segmented_again": Variant("segmented again by Xenium Ranger", V2_0, {"ranger": "xeniumranger-3.1.0.4"}),
    "segmented_again_old": Variant(
        "bundle of XOA 1.0 segmented again by Xenium Ranger 1.7: ids as text", V1_3, {"ranger": "1.7.0.2"}
    ),
}
