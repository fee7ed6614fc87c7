"""Why nothing could tell that a damaged deposit came out with other data: one reason for every kind of difference.

`fuzz_differences.kinds` names what differs. A case that differs in a way for which no reason stands here, and of which
the record says nothing, fails the run: either the deposit does say it twice, then the library has to look, or it does
not, then the reason belongs here with what would have to be said twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Argument:
    """A kind of difference (a whole match), where it may come from, and why nothing could tell.

    `readers` and `roles` are those of the deposit and of the damaged file, `suffixes` its possible endings; empty: any.
    """

    kinds: str
    why: str
    readers: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()


MATRIX = ("counts", "features", "barcodes")
ARGUMENTS = (
    Argument(
        "counts",
        "a count is written once; no sum of a spot or a gene stands beside it (Xenium's sums do, and are compared)",
        ("st_v1", "visium", "visium_hd"),
        MATRIX,
    ),
    Argument("genes renamed", "a gene's name is written once; only a reference's list of names would tell", (), MATRIX),
    Argument("genes lost", "a gene left out leaves nothing behind; only a reference's list would tell", (), MATRIX),
    Argument("genes gained", "of what kind a feature is, is written once; only a reference's list tells", (), MATRIX),
    Argument("gene column gene_id", "which id a name has is written once; only a reference's list tells", (), MATRIX),
    Argument("gene column genome", "the name of the genome is written once", (), MATRIX),
    Argument(
        "spots (lost|gained)",
        "the barcode of a place off the tissue is written once; only Space Ranger's own list would tell",
        ("visium",),
        ("spots",),
    ),
    Argument(
        "(units|spots) lost",
        "without a table of spots the counts alone list them",
        ("st_v1",),
        ("counts",),
    ),
    Argument(
        "pixels moved within half the pitch",
        "nearer to its own place than to a neighbour's: real tables vary as much by rounding, ST arrays by printing",
        ("st_v1", "visium", "visium_hd"),
        ("spots", "counts"),
    ),
    Argument(
        "pixels moved|pixels moved within half the pitch|cell_area_um2 changed",
        "the outline of a cell is written once",
        ("visium_hd",),
        ("spots",),
        (".geojson", ".geojson.gz"),
    ),
    Argument(
        "pixels moved within half the pitch|pixels moved|[xy]_um changed|(cell|nucleus)_area_um2 changed",
        "centroid and areas of a cell are written once in the bundle's table; outlines are files of later steps",
        ("xenium",),
        ("cells",),
    ),
    Argument(
        "array_[xy] not given|pixels moved within half the pitch",
        "another whole table of counts of the same places, without their measured part",
        ("st_v1",),
        ("counts",),
    ),
    Argument(
        "colours",
        "pixels have no checksum in TIFF and JPEG, and the decoder warned of nothing",
        ("picture",),
        ("image",),
        (".tif", ".btf", ".jpg"),
    ),
    Argument(
        "another size",
        "a JPEG's header alone says how many rows there are: decoders stop there, warn of nothing that follows, and"
        " only decoding all of it once more would tell",
        ("picture",),
        ("image",),
        (".jpg",),
    ),
)


def why(reader: str, role: str, name: str, kind: str) -> str | None:
    """The reason for a kind of difference, None where none is stated.

    Parameters
    ----------
    reader
        Of the deposit; `picture` for a picture alone.
    role, name
        Of the damaged file.
    """
    for one in ARGUMENTS:
        is_of_it = (not one.readers or reader in one.readers) and (not one.roles or role in one.roles)
        if is_of_it and name.endswith(one.suffixes or ("",)) and re.fullmatch(one.kinds, kind):
            return one.why
    return None
