"""Where each file of a sample's store goes in the release: the folder names HEST-1k published."""

from __future__ import annotations

# File in the sample's store -> path in the release.
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
}

FOLDERS = tuple(sorted({path.partition("/")[0] for path in RELEASE.values()}))


def released(sample: str) -> dict[str, str]:
    """Store file -> path in the release, for one sample."""
    return {store: path.format(sample=sample) for store, path in RELEASE.items()}
