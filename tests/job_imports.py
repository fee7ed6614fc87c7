"""What the jobs of a small sample may import: held by a test, and measured as what they cost at least."""

from __future__ import annotations

# Packages, and parts of scipy, whose import takes .05 CPU s or more beyond numpy, or pulls in one that does.
HEAVY = {
    *("anndata", "cv2", "huggingface_hub", "jsonschema", "matplotlib", "numba", "numpy", "openslide", "pandas"),
    *("pyarrow", "requests", "scanpy", "scipy", "scipy.optimize", "scipy.spatial", "scipy.stats", "skimage", "sklearn"),
    *("snakemake", "tifffile", "timm", "torch", "torchvision", "zarr"),
}
PICTURES = {"numpy", "tifffile"}
SHAPES = {*PICTURES, "cv2", "scipy", "scipy.spatial", "skimage"}
ANNDATA = {"anndata", "numpy", "pandas", "pyarrow", "scipy", "zarr"}
# Script -> entries of registries that the job of a small sample of spots loads, and what it may have imported then.
JOBS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "fetch_sample": (("sources.https",), {"requests"}),
    "describe_sample": ((), set()),
    "list_embeddings": ((), set()),
    "build_pyramid": ((), PICTURES),
    "fit_probe": (("protocols.strict", "probes.ridge.nested"), {"numpy"}),
    "extract_patches": ((), {"numpy", "cv2", "skimage", "tifffile"}),
    "fingerprint_sample": ((), {*PICTURES, "scipy", "skimage"}),
    "segment_tissue": (("tissue.methods.classical", "parquet"), {*SHAPES, "pyarrow"}),
    "align_array": (("placing.lattice", "matrices.reading"), {*SHAPES, "pandas", "pyarrow"}),
    "embed_patches": (("encoders.handcrafted",), {"numpy", "cv2", "scipy", "skimage"}),
    "read_expression": (("readers.st_v1.layout", "readers.st_v1.read"), ANNDATA),
    "assemble_sample": (("pooling.none",), {*ANNDATA, *PICTURES, "matplotlib", "skimage"}),
}
