"""What the files of Xenium are called by Onboard Analysis 1-4, and those of the H&E picture beside them."""

from __future__ import annotations

from spotweave.deposits.naming import ARCHIVE, BREAK, NO_SLIDE, PICTURE, REST, Layout, Look, Parcel, Roles, slide

RUN = frozenset({"counts", "cells", "experiment", "transcripts", "cell_boundaries", "nucleus_boundaries", "morphology"})


def _table(words: str, name: str) -> tuple[Look, ...]:
    """A table that Xenium writes as parquet and as CSV."""
    return tuple(Look(words, rf"{name}\.{suffix}$") for suffix in ("parquet", "csv"))


LAYOUT = Layout(
    roles=Roles(
        needed=("counts", "cells", "experiment", "image"),
        optional=(
            "features",
            "barcodes",
            "transcripts",
            "cell_boundaries",
            "nucleus_boundaries",
            "alignment",
            "morphology",
        ),
        wanted=("morphology",),
        elsewhere=("image", "morphology"),
    ),
    looks={
        "counts": (
            Look("counts of cells, HDF5", r"cell_feature_matrix[^/]*\.h5$"),
            Look("counts of cells, Market Exchange", r"cell_feature_matrix.*\.mtx$"),
            Look("counts, Market Exchange", r"matrix[^/]*\.mtx$"),
        ),
        "cells": _table("table of cells", rf"{BREAK}cells"),
        "experiment": (Look("description of the run", r"experiment[^/]*\.xenium$"), Look("the run", r"\.xenium$")),
        "transcripts": _table("transcripts", "transcripts"),
        "cell_boundaries": _table("outlines of cells", "cell_boundaries"),
        "nucleus_boundaries": _table("outlines of nuclei", "nucleus_boundaries"),
        "alignment": (
            Look("H&E alignment", r"he_imagealignment[^/]*\.csv$"),
            Look("image alignment", r"imagealignment[^/]*\.csv$"),
            Look("keypoints or alignment", rf"{BREAK}(keypoints|(he_)?alignment){REST}\.csv$"),
        ),
        "morphology": (
            Look("DAPI in focus", rf"{BREAK}morphology_focus\.ome\.tiff?$"),
            Look("DAPI in focus, the first of several channels", rf"{BREAK}morphology_focus_0000\.ome\.tiff?$"),
            Look("DAPI in focus, a channel of its own", rf"{BREAK}ch0000_dapi\.ome\.tiff?$"),
            Look("DAPI projected", rf"{BREAK}morphology_mip\.ome\.tiff?$"),
            # Of many GB: where there is nothing else.
            Look("DAPI stack", rf"{BREAK}morphology\.ome\.tiff?$"),
        ),
        "image": slide(Look("H&E image", rf"{BREAK}he_image{PICTURE}")),
    },
    signs=rf"experiment[^/]*\.xenium$|{BREAK}cell_feature_matrix|he_imagealignment\.csv$|xe_outs\.zip$",
    words=rf"{BREAK}xenium",
    order=10,
    parcels=(
        Parcel(rf"(?<!{BREAK}xe){BREAK}outs{ARCHIVE}", RUN),
        Parcel(rf"{BREAK}xe_outs{ARCHIVE}", RUN),
        Parcel(r"cell_feature_matrix\.(tar|tgz)$", frozenset({"counts"})),
    ),
    never={"image": NO_SLIDE, "alignment": rf"{BREAK}if_imagealignment"},
)
