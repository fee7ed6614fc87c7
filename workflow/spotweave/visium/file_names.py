"""What Space Ranger calls its files, whatever the array: the words that the layouts of Visium and Visium HD share."""

from __future__ import annotations

from spotweave.deposits.naming import BREAK, MATRIX, MEX_TAIL, NO_SLIDE, PICTURE, TABLE, Late, Look

COUNTS = (
    Look("filtered counts, HDF5", rf"filtered{MATRIX}[^/]*\.h5$"),
    Look("filtered counts, Market Exchange", rf"filtered{MATRIX}{MEX_TAIL}"),
    Look("filtered counts, HDF5", r"(?<!un)filtered[^/]*\.h5$"),
    Look("filtered counts, Market Exchange", rf"(?<!un)filtered{MEX_TAIL}"),
    Look("raw counts, HDF5", rf"raw{MATRIX}[^/]*\.h5$"),
    Look("raw counts, Market Exchange", rf"raw{MATRIX}.*\.mtx$"),
    Look("counts, Market Exchange", r"matrix[^/]*\.mtx$"),
)
POSITIONS = rf"tissue_positions(_list)?(?P<more>[^/]*)(\.parquet$|{TABLE})"
SCALEFACTORS = (
    Look("scale factors", r"scalefactors_json[^/]*\.json$"),
    Look("scale factors", r"scale_?factors?[^/]*\.json$"),
)
TISSUE_IMAGE = Look("tissue image", rf"{BREAK}tissue_image{PICTURE}")
HIRES = (Look("reduced picture of Space Ranger", r"tissue_hires_image[^/]*\.(png|jpe?g)$"),)
CYTASSIST = (
    Look("CytAssist picture", r"cytassist_image[^/]*\.tiff?$"),
    Look("CytAssist picture", r"cytassist[^/_]*\.tiff?$"),
)
# What pipelines call `image` is the slide only where no CytAssist was used.
CALLED_IMAGE = rf"(?<!tissue)(?<!he)(?<!full){BREAK}image\.tiff?$"
# Beside `_tissue_image`, and in any HD sample, what is called `_image` is the CytAssist instrument's.
CYTASSIST_BY_ITS_NEIGHBOUR = Late("cytassist_image", "called image beside a tissue image", CALLED_IMAGE, never=NO_SLIDE)
RUN = frozenset({"counts", "spots", "scalefactors"})
