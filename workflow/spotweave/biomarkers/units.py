"""What is correlated: expression and morphology of the same spots, or of the same cells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import scipy.sparse
from numpy.typing import NDArray

from spotweave.biomarkers.settings import AUTO, CELL, SPOT, Settings
from spotweave.errors import Refusal
from spotweave.expression.samples import Expression, columns, read_expression
from spotweave.expression.scales import log_share
from spotweave.expression.variable import most_variable_within_samples
from spotweave.nuclei.spots import COUNT, MEASURED, summaries
from spotweave.nuclei.table import MADE_BY, NucleiTable, read_nuclei

LEAST_UNITS = 50
LEAST_NUCLEI = 3  # in a spot: the mean of fewer says little of it

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Units:
    """Spots or cells with both sides known.

    Attributes
    ----------
    level
        `spot` or `cell`.
    genes, features
        Names of the columns of `expression` (N, G), ln(1 + 10^4 count / total), and `morphology` (N, K).
    xy_px
        (N, 2) places, slide px.
    pixel_size_um
        Of the slide.
    note
        Why there is nothing to correlate; None where there is.
    said
        For the record: `model`, `units_without_nuclei`, `genes_missing`.
    """

    level: str
    genes: list[str]
    features: list[str]
    expression: Floats
    morphology: Floats
    xy_px: Floats
    pixel_size_um: float
    note: str | None = None
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def xy_um(self) -> Floats:
        """(N, 2) places, um."""
        return self.xy_px * self.pixel_size_um


@dataclass(frozen=True)
class Files:
    """A sample's store: `st.h5ad` and the table of `measure_spots`; and cells, nuclei and matches where there are."""

    st: Path
    spots: Path
    cells: Path | None = None
    nuclei: Path | None = None
    matches: Path | None = None


def gather(sample: str, files: Files, settings: Settings) -> Units:
    """Bring expression and morphology of a sample together.

    Raises
    ------
    Refusal
        The configuration asks for what the sample's files do not have: cells, classes, features.
    """
    level = _level(sample, files, settings)
    made_by = _made_by(files.spots)
    if made_by.get("note"):
        return _nothing(level, str(made_by["note"]), made_by)
    units = _cells(sample, files, settings) if level == CELL else _spots(sample, files, settings)
    return _complete(units)


def _level(sample: str, files: Files, settings: Settings) -> str:
    matched = 0 if files.matches is None else pq.read_metadata(files.matches).num_rows
    if settings.level == CELL and (files.cells is None or files.nuclei is None or files.matches is None):
        raise Refusal(f"{sample} has no cells with counts; biomarkers: level: spot (or auto) works without")
    if settings.level != AUTO:
        return settings.level
    return CELL if files.cells is not None and files.nuclei is not None and matched >= LEAST_UNITS else SPOT


def _made_by(path: Path) -> dict[str, Any]:
    return dict(json.loads((pq.read_schema(path).metadata or {}).get(MADE_BY.encode(), b"{}")))


def _nothing(level: str, note: str, made_by: dict[str, Any]) -> Units:
    none = np.zeros((0, 0))
    size = float(made_by.get("slide_pixel_size_um") or np.nan)
    return Units(level, [], [], none, none, np.zeros((0, 2)), size, note, {"model": made_by.get("model")})


def _of_classes(table: NucleiTable, settings: Settings) -> NucleiTable:
    """The nuclei that are asked for."""
    if not settings.classes:
        return table
    known = table.made_by.get("classes", [])
    missing = sorted(set(settings.classes) - set(known))
    if missing:
        raise Refusal(
            f"biomarkers: classes: {', '.join(missing)}: {table.made_by.get('model')} knows "
            f"{', '.join(known) or 'no classes'}; leave `classes` empty for all nuclei"
        )
    return table.of_classes(settings.classes)


def _spots(sample: str, files: Files, settings: Settings) -> Units:
    expression = read_expression(files.st, sample)
    if settings.classes:
        found = _spots_of_classes(expression, files, settings)
    else:
        found = pq.read_table(files.spots).to_pandas().set_index("barcode").loc[expression.barcodes]
    wanted = [name if name in found else f"{name}_mean" for name in settings.features]
    unknown = [name for name, column in zip(settings.features, wanted, strict=True) if column not in found]
    if unknown:
        raise Refusal(f"biomarkers: features: {', '.join(unknown)} is in no column of {files.spots.name}")
    measured = found[wanted].to_numpy(dtype=np.float64)
    measured[found[COUNT].to_numpy() < LEAST_NUCLEI] = np.nan
    return _units(SPOT, expression, measured, wanted, settings, _made_by(files.spots))


def _spots_of_classes(expression: Expression, files: Files, settings: Settings) -> pd.DataFrame:
    """What `measure_spots` has, of some nuclei only."""
    if files.nuclei is None:
        raise Refusal(f"{expression.sample_id}: nuclei of some classes need the table of nuclei (--nuclei)")
    table = _of_classes(read_nuclei(files.nuclei, ["class", *MEASURED]), settings)
    spots = anndata.read_h5ad(files.st, backed="r")
    diameter_px = float(spots.uns["spatial"]["ST"]["scalefactors"]["spot_diameter_fullres"])
    diameter_um = diameter_px * float(table.made_by.get("slide_pixel_size_um") or np.nan)
    on_tissue = spots.obs.loc[expression.barcodes, "tissue_fraction"].to_numpy(dtype=np.float64)
    tissue_mm2 = on_tissue * np.pi * (diameter_um / 2) ** 2 / 1e6
    return summaries(table, expression.positions_px, diameter_px, tissue_mm2)


def _cells(sample: str, files: Files, settings: Settings) -> Units:
    assert files.cells is not None and files.nuclei is not None and files.matches is not None
    unknown = sorted(set(settings.features) - set(MEASURED))
    if unknown:
        raise Refusal(f"biomarkers: features: {', '.join(unknown)} is no feature of a nucleus; those are {MEASURED}")
    table = _of_classes(read_nuclei(files.nuclei, ["nucleus", "class", *settings.features]), settings)
    pairs = pq.read_table(files.matches, columns=["nucleus", "cell"]).to_pandas()
    row_of = pd.Series(np.arange(len(table.columns)), index=table.columns["nucleus"].to_numpy())
    pairs = pairs[pairs["nucleus"].isin(row_of.index)]
    data = anndata.read_h5ad(files.cells)
    rows = data.obs_names.get_indexer(pairs["cell"])
    if (rows < 0).any():
        raise Refusal(f"{files.matches.name} names cells that {files.cells.name} does not have; match again")
    expression = Expression(
        sample,
        data.obs_names.to_numpy().astype(str)[rows],
        data.var_names.to_numpy().astype(str),
        scipy.sparse.csr_matrix(data.X)[rows],
        np.asarray(data.obsm["spatial"], dtype=np.float64)[rows],
    )
    own = table.columns.iloc[row_of[pairs["nucleus"]].to_numpy()]
    measured = own[list(settings.features)].to_numpy(dtype=np.float64)
    return _units(CELL, expression, measured, list(settings.features), settings, table.made_by)


def _units(
    level: str,
    expression: Expression,
    measured: Floats,
    features: list[str],
    settings: Settings,
    made_by: dict[str, Any],
) -> Units:
    if made_by.get("slide_pixel_size_um") is None:
        return _nothing(level, "the pixel size of the slide is not known", made_by)
    genes, missing = _genes(expression, settings.genes)
    values = log_share(columns(expression, genes), expression.totals()).toarray()
    size = float(made_by["slide_pixel_size_um"])
    said = {"model": made_by.get("model"), "genes_missing": missing}
    return Units(level, genes, features, values, measured, expression.positions_px, size, None, said)


def _genes(expression: Expression, wanted: int | Sequence[str]) -> tuple[list[str], list[str]]:
    """The genes that are there, and those named that are not: panels differ, and one list serves a dataset."""
    if isinstance(wanted, int):
        return most_variable_within_samples([expression], wanted), []
    there = set(expression.genes.tolist())
    return [gene for gene in wanted if gene in there], [gene for gene in wanted if gene not in there]


def _complete(units: Units) -> Units:
    """Units of which all is known, and columns that vary over them; with too few of either a note."""
    if units.note is not None:
        return units
    known = np.isfinite(units.morphology).all(axis=1) & np.isfinite(units.xy_px).all(axis=1)
    said = {**units.said, "units_without_nuclei": int((~known).sum())}
    expression, morphology = units.expression[known], units.morphology[known]
    genes, features = _varies(expression), _varies(morphology)
    complete = Units(
        units.level,
        [name for name, varies in zip(units.genes, genes, strict=True) if varies],
        [name for name, varies in zip(units.features, features, strict=True) if varies],
        expression[:, genes],
        morphology[:, features],
        units.xy_px[known],
        units.pixel_size_um,
        None,
        said,
    )
    many, what = int(known.sum()), {SPOT: "spots", CELL: "cells"}[units.level]
    if many < LEAST_UNITS:
        said["note"] = f"only {many} {what} with nuclei measured; {LEAST_UNITS} are needed"
    elif not complete.genes:
        said["note"] = "none of the genes is in the sample, or none varies"
    elif not complete.features:
        said["note"] = f"no feature varies over the {what}"
    return Units(**{**complete.__dict__, "note": said.pop("note", None)})


def _varies(values: Floats) -> NDArray[np.bool_]:
    if not len(values):
        return np.zeros(values.shape[1], dtype=bool)
    return np.asarray(values.std(axis=0) > 1e-9 * np.abs(values).mean(axis=0))
