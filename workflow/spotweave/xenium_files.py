"""Files of a Xenium bundle (Xenium Onboard Analysis 1-4) besides its matrix: cells, transcripts, outlines, alignment.

All places are in um of the DAPI picture's frame; um / pixel size = DAPI pixels. The alignment matrix leads from
pixels of the H&E to pixels of the DAPI picture.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.raw import RawFile

MIN_QUALITY = 20.0  # the vendor's own matrix holds transcripts from this Phred score on
GENE_CATEGORIES = ("predesigned_gene", "custom_gene")
# Everything that is measured and is no gene, in the words of all versions.
CONTROL_PREFIXES = (
    "NegControlProbe_",
    "NegControlCodeword_",
    "antisense_",
    "BLANK_",
    "UnassignedCodeword_",
    "DeprecatedCodeword_",
    "Intergenic_",
    "GenomicControl",
)
UNASSIGNED = ("UNASSIGNED", "-1", "")
BATCH_ROWS = 1 << 18


def is_control(name: str) -> bool:
    """Whether a feature's name is that of a control."""
    return name.startswith(CONTROL_PREFIXES)


def read_experiment(raw: RawFile) -> dict[str, Any]:
    """`pixel_size_um`, `version` (of the re-segmentation where there was one), `panel`, `run`, `region` of a bundle."""
    try:
        content = json.loads(_bytes(raw))
        pixel_size_um = float(content["pixel_size"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{raw.name}: not the description of a Xenium run ({error}); download it again") from error
    if not 0.1 < pixel_size_um < 1:
        raise Refusal(f"{raw.name}: a pixel size of {pixel_size_um:g} um; 0.2125 is usual", measured=pixel_size_um)
    ranger = content.get("xenium_ranger") or {}
    return {
        "pixel_size_um": pixel_size_um,
        "version": str(ranger.get("version") or content.get("analysis_sw_version") or ""),
        "resegmented": bool(ranger),
        "panel": str(content.get("panel_name", "")),
        "run": str(content.get("run_name", "")),
        "region": str(content.get("region_name", "")),
    }


def read_cells(raw: RawFile) -> pd.DataFrame:
    """The table of cells: `cell_id` (str), `x_um`, `y_um`, `cell_area_um2`, `nucleus_area_um2` (float64, NaN if none)."""
    frame = _frame(raw)
    missing = [name for name in ("cell_id", "x_centroid", "y_centroid") if name not in frame]
    if missing:
        raise Refusal(f"{raw.name}: there is no column {', '.join(missing)}; it has {', '.join(frame.columns)[:200]}")
    table = pd.DataFrame({"cell_id": texts(frame["cell_id"])})
    for name, column in (
        ("x_um", "x_centroid"),
        ("y_um", "y_centroid"),
        ("cell_area_um2", "cell_area"),
        ("nucleus_area_um2", "nucleus_area"),
    ):
        given = frame[column] if column in frame else pd.Series(np.nan, index=frame.index)
        table[name] = pd.to_numeric(given, errors="coerce").to_numpy(np.float64)
    if not np.isfinite(table[["x_um", "y_um"]].to_numpy()).all():
        raise Refusal(f"{raw.name}: cells without a place; download the file again")
    if (twice := table["cell_id"].duplicated()).any():
        raise Refusal(f"{raw.name}: {int(twice.sum()):,} cells are there twice; download the file again")
    return table


def texts(column: Any) -> NDArray[np.object_]:
    """A column of names as text: early files hold bytes or numbers."""
    values = np.asarray(column, dtype=object)
    return np.array([value.decode() if isinstance(value, bytes) else str(value) for value in values], dtype=object)


def _frame(raw: RawFile) -> pd.DataFrame:
    try:
        with open(raw.path, "rb") as handle:
            head = handle.read(4)
        if not head:
            raise Refusal(f"{raw.name}: the file is empty; download it again")
        if head.startswith(b"PAR1"):
            return pd.read_parquet(raw.path)
        return pd.read_csv(io.BytesIO(_bytes(raw)))
    except (OSError, EOFError, ValueError, pa.ArrowException) as error:
        raise Refusal(f"{raw.name}: damaged ({error}); download it again") from error


def _bytes(raw: RawFile) -> bytes:
    data = raw.path.read_bytes()
    try:
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError) as error:
        raise Refusal(f"{raw.name}: damaged gzip ({error}); download it again") from error


@dataclass
class TranscriptReport:
    """What was read and what was left out, by reason."""

    read: int = 0
    kept: int = 0
    low_quality: int = 0
    controls: Counter[str] = field(default_factory=Counter)


def transcripts(raw: RawFile, report: TranscriptReport, min_quality: float = MIN_QUALITY) -> Iterator[pd.DataFrame]:
    """Gene transcripts, a batch at a time; controls and calls below the quality are left out and counted.

    Yields
    ------
    DataFrame
        `feature_name` (str), `x_um`, `y_um`, `z_um` (float64), `qv` (float64), `cell_id` (str, None outside cells),
        `overlaps_nucleus` (bool).
    """
    for batch in _batches(raw):
        frame = batch.to_pandas()
        missing = [name for name in ("feature_name", "x_location", "y_location", "qv") if name not in frame]
        if missing:
            raise Refusal(
                f"{raw.name}: there is no column {', '.join(missing)}; it has {', '.join(frame.columns)[:200]}"
            )
        report.read += len(frame)
        names = texts(frame["feature_name"])
        genes = _are_genes(frame, names)
        for name in names[~genes]:
            report.controls[_kind_of_control(name)] += 1
        good = frame["qv"].to_numpy(np.float64) >= min_quality
        report.low_quality += int((genes & ~good).sum())
        keep = genes & good
        report.kept += int(keep.sum())
        part = frame.loc[keep]
        cells = texts(part["cell_id"]) if "cell_id" in part else np.full(len(part), "", dtype=object)
        yield pd.DataFrame(
            {
                "feature_name": names[keep],
                "x_um": part["x_location"].to_numpy(np.float64),
                "y_um": part["y_location"].to_numpy(np.float64),
                "z_um": part["z_location"].to_numpy(np.float64) if "z_location" in part else np.nan,
                "qv": part["qv"].to_numpy(np.float64),
                "cell_id": np.where(np.isin(cells, UNASSIGNED), None, cells),
                "overlaps_nucleus": part["overlaps_nucleus"].to_numpy(bool) if "overlaps_nucleus" in part else False,
            }
        )


def _are_genes(frame: pd.DataFrame, names: NDArray[np.object_]) -> NDArray[np.bool_]:
    """By the category or the flag where the version has them; the prefix decides in any case."""
    by_name = np.array([not is_control(name) for name in names], dtype=bool)
    if "codeword_category" in frame:
        return by_name & np.isin(texts(frame["codeword_category"]), GENE_CATEGORIES)
    if "is_gene" in frame:
        return by_name & frame["is_gene"].to_numpy(bool)
    return by_name


def _kind_of_control(name: str) -> str:
    return next((prefix.rstrip("_") for prefix in CONTROL_PREFIXES if name.startswith(prefix)), "other")


def _batches(raw: RawFile) -> Iterator[pa.RecordBatch]:
    try:
        with open(raw.path, "rb") as handle:
            head = handle.read(4)
        if head.startswith(b"PAR1"):
            yield from pq.ParquetFile(raw.path).iter_batches(batch_size=BATCH_ROWS)
        else:
            compression = "gzip" if head.startswith(b"\x1f\x8b") else None
            with pa.input_stream(raw.path, compression=compression) as stream:
                yield from pc.open_csv(stream)
    except (OSError, pa.ArrowException) as error:
        raise Refusal(f"{raw.name}: damaged ({error}); download it again") from error


@dataclass(frozen=True)
class Outlines:
    """Polygons of cells or nuclei.

    Attributes
    ----------
    ids
        Cell of each polygon.
    labels
        Label of each polygon, -1 where the version has none.
    offsets
        (N + 1,) int64: vertices of polygon i are `xy_um[offsets[i]:offsets[i + 1]]`.
    xy_um
        (vertices, 2) float64.
    broken
        Polygons that are really several nuclei strung together (early 2.0 builds, without labels).
    """

    ids: list[str]
    labels: NDArray[np.int64]
    offsets: NDArray[np.int64]
    xy_um: NDArray[np.float64]
    broken: int


def read_outlines(raw: RawFile) -> Outlines:
    """Outlines of cells or nuclei; the rows of one polygon follow each other."""
    frame = _frame(raw)
    missing = [name for name in ("cell_id", "vertex_x", "vertex_y") if name not in frame]
    if missing:
        raise Refusal(f"{raw.name}: there is no column {', '.join(missing)}; it has {', '.join(frame.columns)[:200]}")
    ids = texts(frame["cell_id"])
    labels = frame["label_id"].to_numpy(np.int64) if "label_id" in frame else np.full(len(frame), -1)
    xy = frame[["vertex_x", "vertex_y"]].to_numpy(np.float64)
    starts = np.flatnonzero(np.r_[True, (ids[1:] != ids[:-1]) | (labels[1:] != labels[:-1])]) if len(ids) else []
    offsets = np.r_[starts, len(ids)].astype(np.int64)
    broken = 0
    for first, last in zip(offsets[:-1], offsets[1:], strict=True):
        # A ring closes once, at its end: one that closes before it is several rings.
        inner = xy[first + 1 : last - 1]
        broken += bool(len(inner) and (inner == xy[first]).all(axis=1).any())
    return Outlines([ids[first] for first in offsets[:-1]], labels[offsets[:-1]], offsets, xy, broken)


@dataclass(frozen=True)
class HEAlignment:
    """From the H&E to the DAPI picture.

    Attributes
    ----------
    matrix
        (3, 3) float64: H&E px -> DAPI px.
    scale
        DAPI px for one H&E px, by area; `anisotropy` how far the two axes differ from each other, as a share.
    mirrored
        Whether one picture is the mirror image of the other.
    residual_px
        Median distance of the keypoints from the fit, DAPI px; None for a matrix.
    """

    matrix: NDArray[np.float64]
    scale: float
    anisotropy: float
    mirrored: bool
    residual_px: float | None = None

    def pixel_size_um(self, dapi_pixel_size_um: float) -> float:
        """um per pixel of the H&E."""
        return dapi_pixel_size_um * self.scale


def read_he_alignment(raw: RawFile) -> HEAlignment:
    """Read `*_he_imagealignment.csv` (a 3x3 matrix) or the keypoints of Xenium Explorer.

    The affine of keypoints is fitted to all of them by least squares, `fixed` being the DAPI and `alignment` the H&E.
    """
    rows = [row for row in csv.reader(io.StringIO(_bytes(raw).decode("utf-8-sig", "replace"))) if any(row)]
    names = [name.strip() for name in rows[0]] if rows else []
    try:
        if "fixedX" in names:
            places = np.array([[float(row[names.index(name)]) for name in KEYPOINTS] for row in rows[1:]])
            matrix, residual_px = _fit_keypoints(places, raw.name)
        else:
            matrix = np.array([[float(value) for value in row if value.strip()] for row in rows], dtype=np.float64)
            residual_px = None
    except (ValueError, IndexError) as error:
        raise Refusal(f"{raw.name}: neither a 3x3 matrix nor keypoints ({error})") from error
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or not np.allclose(matrix[2], (0, 0, 1), atol=1e-6):
        raise Refusal(f"{raw.name}: not an affine 3x3 matrix (its last row must be 0, 0, 1)")
    linear = matrix[:2, :2]
    determinant = float(np.linalg.det(linear))
    if abs(determinant) < 1e-6:
        raise Refusal(f"{raw.name}: the matrix cannot be inverted", measured=determinant)
    singular = np.linalg.svd(linear, compute_uv=False)
    return HEAlignment(
        matrix, abs(determinant) ** 0.5, float(singular[0] / singular[1] - 1), determinant < 0, residual_px
    )


KEYPOINTS = ("fixedX", "fixedY", "alignmentX", "alignmentY")


def _fit_keypoints(places: NDArray[np.float64], name: str) -> tuple[NDArray[np.float64], float]:
    if len(places) < 3:
        raise Refusal(
            f"{name}: {len(places)} keypoints; an affine needs three or more", measured=len(places), threshold=3
        )
    design = np.column_stack([places[:, 2:], np.ones(len(places))])
    if np.linalg.matrix_rank(design) < 3:
        raise Refusal(f"{name}: the keypoints lie on one line; an affine cannot be fitted")
    solution, *_ = np.linalg.lstsq(design, places[:, :2], rcond=None)
    residual = np.linalg.norm(design @ solution - places[:, :2], axis=1)
    return np.vstack([solution.T, (0.0, 0.0, 1.0)]), float(np.median(residual))
