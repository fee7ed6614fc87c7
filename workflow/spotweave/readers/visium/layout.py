"""What the files of Visium are called: by Space Ranger 1-4, and in copies in GEO, Zenodo and Mendeley Data."""

from __future__ import annotations

from spotweave.deposits.naming import (
    ARCHIVE,
    BREAK,
    MATRIX,
    NO_SLIDE,
    REST,
    TABLE,
    Late,
    Layout,
    Look,
    Parcel,
    Roles,
    slide,
)
from spotweave.visium import file_names as space_ranger

LAYOUT = Layout(
    roles=Roles(
        needed=("counts", "image"),
        optional=("spots", "features", "barcodes", "scalefactors", "alignment", "cytassist_image"),
        wanted=("spots",),
        elsewhere=("image", "cytassist_image"),
        left=("hires_image",),
    ),
    looks={
        "counts": (
            *space_ranger.COUNTS,
            Look("counts, h5ad", r"\.h5ad$"),
            Look("counts, HDF5", r"(?<!feature_slice)\.h5$"),
            Look("table of counts", rf"{BREAK}(counts?|expression|umis?|stdata|matrix){REST}{TABLE}"),
        ),
        "spots": (
            Look("positions, parquet", r"tissue_positions[^/]*\.parquet$"),
            Look("positions with a header", rf"tissue_positions(?!_list)[^/]*{TABLE}"),
            Look("positions of Space Ranger 1", rf"tissue_positions_list[^/]*{TABLE}"),
            Look("table of positions", rf"{BREAK}positions?{REST}{TABLE}"),
            Look("table of coordinates", rf"{BREAK}coord(inate)?s?{REST}{TABLE}"),
        ),
        "scalefactors": space_ranger.SCALEFACTORS,
        "alignment": (
            Look("Loupe alignment", r"alignment_file[^/]*\.json$"),
            Look("Loupe alignment", rf"{BREAK}(loupe|alignment|manual_?alignment){REST}\.json$"),
            Look("Loupe alignment, by slide and area", r"v\d{1,2}[a-z]\d{2}-\d{3}[_-][a-d]1?[^/]*\.json$"),
        ),
        "cytassist_image": space_ranger.CYTASSIST,
        "hires_image": space_ranger.HIRES,
        "image": slide(space_ranger.TISSUE_IMAGE),
    },
    signs=r"tissue_positions|scalefactors_json|tissue_(hires|lowres)_image|aligned_fiducials|detected_tissue_image"
    rf"|{BREAK}spatial(/|{ARCHIVE})",
    words=rf"{BREAK}visium{BREAK}",
    order=30,  # runs of Visium HD have all of its names
    parcels=(
        Parcel(rf"{BREAK}spatial{ARCHIVE}", frozenset({"spots", "scalefactors"})),
        Parcel(rf"filtered{MATRIX}[^/]*{ARCHIVE}", frozenset({"counts"})),
        Parcel(rf"{BREAK}outs{ARCHIVE}", space_ranger.RUN),
    ),
    never={"image": NO_SLIDE},
    own={"spots": space_ranger.POSITIONS},
    late=(
        space_ranger.CYTASSIST_BY_ITS_NEIGHBOUR._replace(beside=("image", space_ranger.TISSUE_IMAGE.pattern)),
        Late("spots", "no table of positions; the h5ad of the counts may hold them", r"\.h5ad$", shares="counts"),
    ),
)
