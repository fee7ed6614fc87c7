"""One sample in the released layout: counts, places and tissue together, with the pictures a person judges it by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from numpy.typing import NDArray

from spotweave import pooling as poolings
from spotweave.dataset.spots import release_spots, write
from spotweave.errors import Refusal
from spotweave.io import read_json
from spotweave.pictures.reduced import read_reduced
from spotweave.pooling import BY_PICTURE, CONSERVATION, GRID, PARTIAL, UNITS
from spotweave.report import plots
from spotweave.tissue.agreement import tissue_fraction
from spotweave.tissue.polygons import read_geojson

PICTURE_PX = 1000
IN_TISSUE_FROM = 0.5  # share of a spot that lies on tissue, where no one has selected spots: stray transcripts are none


@dataclass(frozen=True)
class Parts:
    """What a sample is put together from, all of it files of its store.

    Attributes
    ----------
    expression
        `expression.h5ad` of the read stage.
    alignment, units
        `alignment.json` and `units.parquet` of the placing stage.
    slide, tissue
        `slide.tif` and `tissue.geojson`.
    pool
        The first of the pools, of technologies that pool into grids; its spots are the sample's units.
    """

    expression: Path
    alignment: Path
    units: Path
    slide: Path
    tissue: Path
    pool: Path | None = None


@dataclass(frozen=True)
class Pictures:
    """Where the pictures go (.png): counts on the slide, and spots against the map fitted to them."""

    spatial: Path
    pixel_size: Path


def assemble(sample: str, parts: Parts, pooling: str, spots_min: int, st: Path, pictures: Pictures) -> dict[str, Any]:
    """Pool a sample's units, bring them into the released layout, and write them with their pictures.

    Parameters
    ----------
    sample
        Its id, for the titles.
    pooling
        Name of the technology's way of pooling.
    spots_min
        Fewer in-tissue units with counts are refused.
    st
        Where the AnnData goes (.h5ad).

    Returns
    -------
    Measures of the record; `conservation` says where every count went.

    Raises
    ------
    Refusal
        Too few units are in tissue and have counts.
    """
    units, conservation = _units(parts, pooling)
    alignment = read_json(parts.alignment)
    if parts.pool is not None:
        alignment["spot_diameter_um"] = units.uns[GRID]["size_um"]  # a square counts as the disc of its width
    longest_px = max(alignment["image_width_px"], alignment["image_height_px"])
    picture, _ = read_reduced(parts.slide, PICTURE_PX / longest_px)
    diameter_px = alignment["spot_diameter_um"] / alignment["pixel_size_um"]
    xy_px = units.obs[["x_px", "y_px"]].to_numpy(dtype=float)
    fraction = tissue_fraction(read_geojson(parts.tissue), xy_px[:, 0], xy_px[:, 1], diameter_px)
    if units.uns.get(GRID, {}).get("selected_by") == BY_PICTURE:
        units.obs["in_tissue"] = (fraction >= IN_TISSUE_FROM).astype(np.int64)
    released = release_spots(units, alignment, fraction, picture)
    in_tissue = released.obs["in_tissue"].to_numpy()
    _refuse_too_few(released, spots_min)
    write(st, released)
    _draw(sample, released[in_tissue], _modelled_px(units)[in_tissue], alignment, picture, pictures)
    return {
        "spots": released.n_obs,
        "spots_without_position": conservation.get("units_without_place", 0),
        "spots_in_tissue": int(in_tissue.sum()),
        "genes": released.n_vars,
        "spot_diameter_um": alignment["spot_diameter_um"],
        "counts_per_spot_median": float(np.median(released.obs["total_counts"][in_tissue])),
        "tissue_fraction_mean": round(float(released.obs["tissue_fraction"][in_tissue].mean()), 4),
        "conservation": conservation,
        **_of_pool(units),
    }


def _of_pool(units: anndata.AnnData) -> dict[str, Any]:
    """What the grid of pooled units is; nothing for units of the technology itself."""
    grid = units.uns.get(GRID)
    if grid is None:
        return {}
    return {
        "pooled_by": str(grid["name"]),
        "pool_preset": str(grid["preset"]),
        "spot_pitch_um": float(grid["pitch_um"]),
        "spots_partial": int(units.obs[PARTIAL].sum()),
    }


def _units(parts: Parts, pooling: str) -> tuple[anndata.AnnData, dict[str, Any]]:
    """The sample's units with their places, and where every count went."""
    if parts.pool is not None:
        return poolings.read_pool(parts.pool)
    pools, measures = poolings.pool_sample(pooling, poolings.Parts(parts.expression, parts.alignment, parts.units))
    return pools[UNITS], {**measures.pop(CONSERVATION)[UNITS], **measures}


def _refuse_too_few(released: anndata.AnnData, spots_min: int) -> None:
    in_tissue = released.obs["in_tissue"].to_numpy()
    counted = int((in_tissue & (released.obs["total_counts"].to_numpy() > 0)).sum())
    if counted < spots_min:
        raise Refusal(
            f"only {counted} of {int(in_tissue.sum())} in-tissue spots have counts; too few to learn or score anything",
            measured=counted,
            threshold=spots_min,
        )


def _measured(alignment: Mapping[str, Any]) -> list[str]:
    """The pixel size and how well places fit, as far as they are measured, in words."""
    size, error = f"{alignment['pixel_size_um']:.4f}", alignment["pixel_size_se_um"]
    said = [f"{size} um/px" if error is None else f"{size} ± {error:.4f} um/px"]
    if alignment["anisotropy"] is not None:
        said.append(f"anisotropy {alignment['anisotropy']:.2%}")
    if alignment["residual_um"] is not None:
        said.append(f"median residual {alignment['residual_um']:.1f} um")
    return said


def _modelled_px(units: anndata.AnnData) -> NDArray[np.float64]:
    return np.asarray(units.obs[["modelled_x_px", "modelled_y_px"]], dtype=np.float64)


def _draw(
    sample: str,
    shown: anndata.AnnData,
    modelled_px: NDArray[np.float64],
    alignment: Mapping[str, Any],
    picture: NDArray[np.uint8],
    pictures: Pictures,
) -> None:
    """Both pictures, of the released units in tissue."""
    scale = picture.shape[1] / alignment["image_width_px"]
    plots.spatial_plot(
        pictures.spatial,
        picture,
        scale,
        shown.obsm["spatial"],
        alignment["spot_diameter_um"] / alignment["pixel_size_um"],
        np.log10(1 + shown.obs["total_counts"].to_numpy()),
        f"{sample}: counts of {len(shown)} in-tissue spots",
        "log10(1 + counts)",
    )
    vendor = ["vendor_pxl_col_in_fullres", "vendor_pxl_row_in_fullres"]
    plots.pixel_size_plot(
        pictures.pixel_size,
        picture,
        scale,
        modelled_px,
        shown.obs[vendor].to_numpy() if vendor[0] in shown.obs else shown.obsm["spatial"],
        alignment["pixel_size_um"],
        f"{sample}: {', '.join(_measured(alignment))}",
    )
