"""Where each file of a sample's store goes in the release: the folder names HEST-1k published."""

from __future__ import annotations

from collections.abc import Iterable

# File in the sample's store -> path in the release. What is pooled is under `pools/`, by the name of its grid.
RELEASE = {
    "st.h5ad": "st/{sample}.h5ad",
    "st_nuclei.h5ad": "st/{sample}.h5ad",  # instead, where nuclei are looked for
    "slide.tif": "wsis/{sample}.tif",
    "patches.h5": "patches/{sample}.h5",
    "tissue.geojson": "tissue_seg/{sample}_contours.geojson",
    "thumbnail.jpg": "thumbnails/{sample}_downscaled_fullres.jpeg",
    "patches.jpg": "patches_vis/{sample}_patch_vis.jpg",
    "spatial_plot.png": "spatial_plots/{sample}_spatial_plots.png",
    "pixel_size.png": "pixel_size_vis/{sample}_pixel_size_vis.png",
    "metadata.json": "metadata/{sample}.json",
    "provenance.json": "provenance/{sample}.json",
    "transcripts.parquet": "transcripts/{sample}_transcripts.parquet",
    "xenium_cell_seg.parquet": "xenium_seg/{sample}_xenium_cell_seg.parquet",
    "xenium_cell_seg.geojson": "xenium_seg/{sample}_xenium_cell_seg.geojson",
    "xenium_nucleus_seg.parquet": "xenium_seg/{sample}_xenium_nucleus_seg.parquet",
    "xenium_nucleus_seg.geojson": "xenium_seg/{sample}_xenium_nucleus_seg.geojson",
    "cells.h5ad": "cells/{sample}.h5ad",
    "bin_cell_map.parquet": "cells/{sample}_bin_cell_map.parquet",
    "registration.json": "registration/{sample}.json",
    "registration_field.npy": "registration/{sample}_field.npy",
    "registration.png": "registration_vis/{sample}_registration.png",
    "checkerboard.png": "registration_vis/{sample}_checkerboard.png",
    "tissue_marks.geojson": "tissue_seg/{sample}_marks.geojson",
    "biomarkers.parquet": "biomarkers/{sample}.parquet",
    "biomarkers_matrix.png": "biomarkers_vis/{sample}_matrix.png",
    "biomarkers_heatmaps.png": "biomarkers_vis/{sample}_heatmaps.png",
    "biomarkers_scatter.png": "biomarkers_vis/{sample}_scatter.png",
}
OF_BIOMARKERS = "biomarkers"
# What is made of a model's nuclei has its name with one of these endings.
OF_NUCLEI = ("_spots", "_cells")
# Folders of the store with a file for each grid, size of patches or model; `stem` and `suffix` are those of the file.
POOLS, NUCLEI, PATCHES = "pools", "nuclei", "patches_more"
MANY = {
    POOLS: "pooled/{sample}_{stem}{suffix}",
    NUCLEI: "nuclei_seg/{sample}_{stem}{suffix}",
    PATCHES: "patches_{stem}/{sample}{suffix}",
}
# A name that readers of HEST-1k know, for what CellViT made and for nothing else.
CELLVIT = "cellvit"
CELLVIT_SEG = "cellvit_seg/{sample}_cellvit_seg{suffix}"
NUCLEI_PICTURE = "nuclei_vis/{sample}_{stem}{suffix}"

# Patterns of the folders of a release.
_PATHS = (*RELEASE.values(), *MANY.values(), CELLVIT_SEG, NUCLEI_PICTURE)
FOLDERS = tuple(sorted({path.partition("/")[0].replace("{stem}", "*") for path in _PATHS}))


def store_name(path: Iterable[str]) -> str:
    """The name of a file in a sample's store, from the parts of any path to it."""
    *_, folder, name = ("", *path)
    return f"{folder}/{name}" if folder in MANY else name


def released(sample: str, name: str) -> str:
    """Path in the release of a file of a sample's store.

    Raises
    ------
    KeyError
        It is none that is released.
    """
    folder, _, file = name.rpartition("/")
    if not folder:
        return RELEASE[name].format(sample=sample)
    stem, dot, suffix = file.partition(".")
    pattern = MANY[folder]
    if folder == NUCLEI and suffix == "jpg":
        pattern = NUCLEI_PICTURE
    elif folder == NUCLEI and stem.split("-")[0] == CELLVIT and not stem.endswith(OF_NUCLEI):
        pattern = CELLVIT_SEG
    return pattern.format(sample=sample, stem=stem, suffix=dot + suffix)


def model_of(name: str) -> str | None:
    """The nuclei model that made a file of the store; None of files that none made."""
    folder, _, file = name.rpartition("/")
    stem = file.partition(".")[0]
    for ending in OF_NUCLEI:
        stem = stem.removesuffix(ending)
    return stem if folder == NUCLEI else None
