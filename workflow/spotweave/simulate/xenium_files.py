"""The files of a simulated Xenium bundle: tables, matrix, experiment, alignment to the H&E."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from spotweave.simulate.count_files import Block, Written, write_h5_layout_3, write_mex
from spotweave.simulate.xenium import CONTROLS, MIN_QV, Truth, Version, calls_of, cell_names


def transcript_table(truth: Truth, version: Version) -> pa.Table:
    """`transcripts.parquet`."""
    calls = calls_of(truth, version)
    names = [name.encode() for name in calls["feature"]] if version.has_byte_names else list(calls["feature"])
    category = [CONTROLS[kind][1] if kind else "predesigned_gene" for kind in calls["control"]]
    for index in np.flatnonzero(calls["feature"] == truth.custom_gene):
        category[index] = "custom_gene"
    columns: dict[str, Any] = {
        "transcript_id": pa.array(np.arange(len(calls)) + (1 << 48), pa.uint64()),
        "cell_id": pa.array(cell_names(calls["cell"].tolist(), version)),
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
        "cell_id": pa.array(cell_names(truth.numbers, version)),
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
        "cell_id": pa.array(cell_names(owners, version)),
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
        [str(name) for name in cell_names(truth.numbers, version)],
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


def write_experiment(path: Path, version: Version, truth: Truth, *, ranger: str | None = None) -> Path:
    """`experiment.xenium`; `ranger` is the version of Xenium Ranger, if it segmented the cells again."""
    major, minor = version.software.removeprefix("xenium-").split(".")[:2]
    content: dict[str, Any] = {
        "major_version": int(major),
        "minor_version": int(minor),
        "run_name": "simulated",
        "region_name": "Region_1",
        "num_cells": len(truth.numbers),
        "panel_name": "Simulated panel",
        "panel_organism": "Human",
        "panel_num_targets_predesigned": len(truth.genes) - 1,
        "panel_num_targets_custom": 1,
        "pixel_size": truth.pixel_size_um,
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
    return write_point_pairs(path, he_px @ matrix[:2, :2].T + matrix[:2, 2], he_px, error_px)


def write_point_pairs(
    path: Path, dapi_px: NDArray[np.float64], he_px: NDArray[np.float64], error_px: float = 0.0
) -> Path:
    """Keypoints of Xenium Explorer by both their places."""
    fixed = dapi_px + np.random.default_rng(7).normal(0, 1, dapi_px.shape) * error_px
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
    files["experiment"] = write_experiment(folder / f"{prefix}experiment.xenium", version, truth, ranger=ranger)
    if alignment == "matrix":
        files["alignment"] = write_alignment(folder / f"{prefix}he_imagealignment.csv", truth.he_to_dapi)
    elif alignment == "keypoints":
        files["alignment"] = write_point_pairs(folder / f"{prefix}keypoints.csv", *truth.keypoints())
    return files
