"""What the files of Visium HD are called by Space Ranger 3 and 4: bins of three sizes, and cells, side by side."""

from __future__ import annotations

import re

from spotweave.deposits.naming import ARCHIVE, BREAK, NO_SLIDE, TABLE, Layout, Look, Parcel, Roles, Units, slide
from spotweave.visium import file_names as space_ranger

OUTLINES = (Look("outlines of cells", r"(?<!annotated_)cell_segmentations[^/]*\.geojson$"),)
OUTS = Parcel(rf"{BREAK}outs{ARCHIVE}", space_ranger.RUN)


def unit_of(plain: str) -> str | None:
    """The bins or cells that a file belongs to, if its folder or its name says so."""
    bins = re.search(rf"{BREAK}(?:square_)?(002|008|016)um(?![a-z0-9])", plain)
    if bins:
        return f"square_{bins[1]}um"
    return "cell" if re.search(r"segmented_outputs|feature_cell_matrix|cell_segmentations", plain) else None


CELLS = {
    "counts": (
        Look("counts of cells, HDF5", r"filtered_feature_cell_matrix[^/]*\.h5$"),
        Look("counts of cells, Market Exchange", r"filtered_feature_cell_matrix.*\.mtx$"),
    ),
    "spots": OUTLINES,
    "cell_segmentations": (),
}

LAYOUT = Layout(
    roles=Roles(
        needed=("counts", "spots", "image"),
        optional=("features", "barcodes", "scalefactors", "cell_segmentations", "barcode_mappings", "cytassist_image"),
        elsewhere=("image", "cytassist_image"),
        left=("hires_image",),
    ),
    looks={
        "counts": space_ranger.COUNTS,
        "spots": (
            Look("positions, parquet", r"tissue_positions[^/]*\.parquet$"),
            Look("positions", rf"tissue_positions[^/]*{TABLE}"),
        ),
        "scalefactors": space_ranger.SCALEFACTORS,
        "cell_segmentations": OUTLINES,
        "barcode_mappings": (Look("map of barcodes", r"barcode_mappings[^/]*\.parquet$"),),
        "cytassist_image": space_ranger.CYTASSIST,
        "hires_image": space_ranger.HIRES,
        "image": slide(space_ranger.TISSUE_IMAGE),
    },
    signs=r"square_(002|008|016)um|binned_outputs|segmented_outputs|feature_slice\.h5$|cell_segmentations\.geojson$"
    r"|tissue_positions[^/]*\.parquet$|cloupe_008um",
    words=rf"{BREAK}visium[_ -]?hd{BREAK}",
    order=20,
    parcels=(
        Parcel(rf"{{unit}}(_outputs)?{ARCHIVE}", space_ranger.RUN),
        Parcel(rf"binned_outputs{ARCHIVE}", space_ranger.RUN),
        OUTS,
    ),
    never={"image": f"{NO_SLIDE}|{space_ranger.CALLED_IMAGE}"},
    own={"spots": space_ranger.POSITIONS},
    late=(space_ranger.CYTASSIST_BY_ITS_NEIGHBOUR,),
    units=Units(
        default="square_016um",
        unit_of=unit_of,
        shared=frozenset({"image", "barcode_mappings", "cell_segmentations"}),
        outside=frozenset({"cytassist_image"}),
        looks={"cell": CELLS},
        parcels={"cell": (Parcel(rf"segmented_outputs{ARCHIVE}", space_ranger.RUN), OUTS)},
    ),
)
