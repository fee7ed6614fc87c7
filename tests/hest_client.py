"""A reader of the release that goes the way of HEST-Library's client (`load_hest` and what it offers): the same paths,
keys and sums, written anew. What it cannot find, that client cannot either."""

import json
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import openslide
import scanpy
import shapely
from PIL import Image

PATCH_PX, PATCH_UM_PER_PX, TISSUE_SHARE = 224, 0.5, 0.15
QC_GENES = 500


@dataclass
class Sample:
    """One sample as the client holds it: counts, slide, um/px, metadata, contours by number of tissue."""

    adata: anndata.AnnData
    slide: openslide.OpenSlide
    pixel_size: float
    meta: dict
    contours: dict

    def patches(self, barcodes):
        """Barcode -> (top left, patch) of spots whose square lies on tissue; the client's whole px."""
        source = PATCH_PX * PATCH_UM_PER_PX / self.pixel_size
        side = round(PATCH_PX * (PATCH_UM_PER_PX / self.pixel_size))
        centres = self.adata[barcodes].obsm["spatial"]
        tissue = shapely.union_all(list(self.contours.values()))
        level = self.slide.get_best_level_for_downsample(PATCH_UM_PER_PX / self.pixel_size)
        level_side = round(side / self.slide.level_downsamples[level])
        found = {}
        for barcode, (x, y) in zip(barcodes, (centres - source // 2).astype(int).tolist(), strict=True):
            square = shapely.box(x, y, x + side, y + side)
            if square.intersection(tissue).area >= TISSUE_SHARE * square.area:
                patch = self.slide.read_region((x, y), level, (level_side, level_side)).convert("RGB")
                found[barcode] = (x, y), np.asarray(patch.resize((PATCH_PX, PATCH_PX), Image.Resampling.BILINEAR))
        return found

    def save(self, folder):
        """What the client writes beside the slide."""
        folder.mkdir()
        self.adata.write(folder / "aligned_adata.h5ad")
        self.meta["adata_nb_col"] = len(self.adata.var_names)
        self.meta["fullres_px_width"], self.meta["fullres_px_height"] = self.slide.dimensions
        (folder / "metrics.json").write_text(json.dumps(self.meta))
        self.reduced.save(folder / "downscaled_fullres.jpeg")

    @property
    def reduced(self):
        return Image.fromarray(self.adata.uns["spatial"]["ST"]["images"]["downscaled_fullres"])

    @property
    def reduced_scale(self):
        return self.adata.uns["spatial"]["ST"]["scalefactors"]["tissue_downscaled_fullres_scalef"]


def load(release: Path) -> dict[str, Sample]:
    """Every sample of the release: the client lists the folder `st`."""
    names = sorted(path.name.partition(".")[0] for path in (release / "st").iterdir())
    return {name: read(release, name) for name in names}


def read(release: Path, sample: str) -> Sample:
    """One sample."""
    (outlines,) = (release / "tissue_seg").glob(f"*{sample}_contours.geojson")
    text = outlines.read_text()
    assert "hole" not in text, "the client takes this word for its old format"
    adata = anndata.read_h5ad(release / "st" / f"{sample}.h5ad")
    meta = json.loads((release / "metadata" / f"{sample}.json").read_text())
    assert "spatial" in adata.obsm
    # It asks for the share of the 500 strongest genes and fails on smaller panels, the demo's among them.
    shares = [number for number in (50, 100, 200, QC_GENES) if number <= adata.n_vars]
    scanpy.pp.calculate_qc_metrics(adata, inplace=True, percent_top=shares)
    return Sample(
        adata,
        openslide.OpenSlide(release / "wsis" / f"{sample}.tif"),
        meta["pixel_size_um_estimated"],
        meta,
        {
            feature["properties"]["tissue_id"]: shapely.from_geojson(json.dumps(feature["geometry"]))
            for feature in json.loads(text)["features"]
        },
    )
