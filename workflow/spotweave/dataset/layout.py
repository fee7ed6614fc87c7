"""Where each file of a sample's store goes in the release: the folder names HEST-1k published."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# File in the sample's store -> path in the release. Those of `MANY` are in folders of their own, by their names.
RELEASE = {
    "st.h5ad": "st/{sample}.h5ad",
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
}


@dataclass(frozen=True)
class Many:
    """Files whose number the configuration sets: `folder` of the store, the release's path by the name of one."""

    folder: str
    ending: str
    path: str


POOLS, PATCHES_MORE = "pools", "patches_more"
MANY = (
    Many(POOLS, ".h5ad", "pooled/{sample}_{name}.h5ad"),
    Many(PATCHES_MORE, ".h5", "patches_{name}/{sample}.h5"),
)

# Names of the release's folders, or patterns of them.
FOLDERS = tuple(
    sorted(
        {path.partition("/")[0] for path in RELEASE.values()}
        | {many.path.partition("/")[0].format(name="*um_*px") for many in MANY}
    )
)


def store_name(path: Iterable[str]) -> str:
    """The name of a file in a sample's store, from the parts of any path to it."""
    *_, folder, name = ("", *path)
    return f"{folder}/{name}" if folder in {many.folder for many in MANY} else name


def released(sample: str, name: str) -> str:
    """Path in the release of a file of a sample's store.

    Raises
    ------
    KeyError
        It is none that is released.
    """
    for many in MANY:
        if name.startswith(f"{many.folder}/"):
            one = name.removeprefix(f"{many.folder}/").removesuffix(many.ending)
            return many.path.format(sample=sample, name=one)
    return RELEASE[name].format(sample=sample)


def stored(sample: str, path: str) -> str:
    """The inverse of `released`: the name in the store of a file of the release."""
    for name in RELEASE:
        if released(sample, name) == path:
            return name
    for many in MANY:
        before, after = many.path.format(sample=sample, name="\n").split("\n")
        if path.startswith(before) and path.endswith(after):
            return f"{many.folder}/{path.removeprefix(before).removesuffix(after)}{many.ending}"
    raise KeyError(path)
