"""STimage-1K4M's folder: written from a dataset that was built, and read with care into one that other stages read.

    annotation/*                        labels by people: spot id, `sample_name`, `V2`, separated by tabs
    meta/meta_all_gene*.csv             one row a slide
    <ST|Visium|VisiumHD>/coord/<slide>_coord.csv       spot id, `yaxis`, `xaxis`, `r`: centre and radius in px
                         gene_exp/<slide>_count.csv    spots x genes
                         image/<slide>.png             of any format, whatever the name says
    spotweave_extra/                    ours: what the layout has no place for, um first

A spot id is `<slide>_<spot>`; the spot is a barcode, or x and y of the array (`10x13`). Layout: STimage-1K4M's
repository at 856ea13; Chen et al. 2024.
"""

from __future__ import annotations

import re
from typing import NamedTuple

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,149}")  # of a slide


class Printed(NamedTuple):
    """What the spots of a technology measure, um."""

    technology: str
    diameter_um: float
    pitch_um: float


# Folder -> its technology. Bins of Visium HD are those of 8 um; their squares count as discs of their width.
FOLDERS = {
    "ST": Printed("Spatial Transcriptomics", 100.0, 200.0),
    "Visium": Printed("Visium", 55.0, 100.0),
    "VisiumHD": Printed("Visium HD", 8.0, 8.0),
}
COORD = ("yaxis", "xaxis", "r")
META = (
    "slide",
    "species",
    "tissue",
    "pmid",
    "title",
    "abstract",
    "keywords",
    "involve_cancer",
    "tech",
    "spot_num",
    "gene_num",
)
SPECIES = {"Homo sapiens": "human", "Mus musculus": "mouse", "Rattus norvegicus": "rat"}
ANNOTATION = ("sample_name", "V2")
# Ours: the folder, and columns of its `slides.csv`, `spots/<slide>_spots.csv` and `genes/<slide>_genes.csv`.
EXTRA = "spotweave_extra"
SLIDES = ("slide", "donor", "pixel_size_um", "spot_diameter_um", "spot_pitch_um", "licence", "study_link")
SPOTS = ("x_um", "y_um", "array_row", "array_col")
GENES = ("gene_id",)
