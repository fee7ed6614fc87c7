"""10x Genomics' public datasets: `xenium/2.0.0/Xenium_V1_human_Pancreas_FFPE` (product, pipeline version, sample).

The servers list nothing and state no checksums. A file is `<host>/<product>/<version>/<sample>/<sample>_<ending>`, and
the endings follow from product and version, except that of a picture: of several the first that is there is taken. A
CytAssist sample has its H&E picture as `_tissue_image` and the instrument's as `_image`, another one the H&E as
`_image`. What is there is found by asking for each name, one after the other: big files may only be on the second
host. Both answer 403 to clients that do not look like a browser. All is CC BY 4.0.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import NamedTuple

import requests

from spotweave.errors import Refusal
from spotweave.transfer.api import Located, fetch_located, safe_name, size_of
from spotweave.transfer.files import Checksum, Fetched, FetchSettings, Listed, Listing, Unreachable, Wanted
from spotweave.transfer.http import MIRRORS_VARIABLE, ask, mirrored, session

ACCESSION = r"(spatial-exp|xenium)/\d+\.\d+\.\d+/[\w.-]+"
EXAMPLE = "xenium/2.0.0/Xenium_V1_human_Pancreas_FFPE"
ADDRESS = (r"10x(?:genomics\.com|\.files)(?:/samples/((?:spatial-exp|xenium)/\d+\.\d+\.\d+/[\w.-]+))?", "{}")
INCOMPLETE = (
    "pages of 10x Genomics are closed to programs; give the address of one of the sample's files"
    " (https://cf.10xgenomics.com/samples/…), or spatial-exp/<version>/<sample>"
)
LOOK_AT = "its page below https://www.10xgenomics.com/datasets"
HOSTS = ("https://cf.10xgenomics.com/samples/", "https://s3-us-west-2.amazonaws.com/10x.files/samples/")
LICENCE = "CC-BY-4.0"


class Pattern(NamedTuple):
    """Endings of which the first that is there counts, and the first pipeline version (major) that writes them."""

    endings: tuple[str, ...]
    since: int = 1


PATTERNS = {
    "spatial-exp": (
        Pattern(("filtered_feature_bc_matrix.h5",)),
        Pattern(("raw_feature_bc_matrix.h5",)),
        Pattern(("spatial.tar.gz",)),
        Pattern(("alignment_file.json",)),
        Pattern(("tissue_image.btf", "tissue_image.tif", "tissue_image.jpg", "tissue_image.png"), 2),
        Pattern(("image.tif", "image.jpg", "image.btf", "image.png")),
        Pattern(("binned_outputs.tar.gz",), 3),
        Pattern(("square_002um_outputs.tar.gz",), 3),
        Pattern(("segmented_outputs.tar.gz",), 4),
    ),
    "xenium": (
        Pattern(("outs.zip",)),
        Pattern(("he_image.ome.tif", "he_image.tif")),
        Pattern(("he_imagealignment.csv",)),
        Pattern(("cell_feature_matrix.h5",), 3),
        Pattern(("cells.parquet",), 3),
    ),
}
NOT_THERE = (403, 404)


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of a sample that answer when asked for: at most 15 names at two hosts.

    Raises
    ------
    Refusal
        There is none.
    Unreachable
        A server is in trouble: what is there cannot be told from what is not.
    """
    if not re.fullmatch(ACCESSION, accession):
        raise Refusal(f"{accession}: not a 10x sample such as xenium/2.0.0/Xenium_V1_human_Pancreas_FFPE")
    return _sample(accession, settings)


def locate(location: str, settings: FetchSettings) -> Located:
    """Address and size of `<accession>/<file>`, which need not be one of the names that are listed."""
    match = re.fullmatch(rf"({ACCESSION})/([^/]+)", location)
    if not match:
        raise Refusal(f"{location}: not a file of a 10x sample such as xenium/2.0.0/sample/sample_outs.zip")
    with session(settings) as own:
        found = _seek(location, settings, own)
    if found is None:
        raise Refusal(
            f"{location}: neither of 10x Genomics' servers has it; correct the name in the row",
            measured=404,
            threshold=200,
        )
    url, size = found
    return Located(url, safe_name(match[3]), {}, Checksum(size=size))


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file, held against the size that the server states."""
    return fetch_located(wanted, folder, settings, locate, "tenx")


@functools.cache
def _sample(accession: str, settings: FetchSettings) -> Listing:
    product, version, sample = accession.split("/")
    patterns = [pattern for pattern in PATTERNS[product] if int(version.partition(".")[0]) >= pattern.since]
    files = []
    with session(settings) as own:
        for pattern in patterns:
            for ending in pattern.endings:
                name = f"{sample}_{ending}"
                found = _seek(f"{accession}/{name}", settings, own)
                if found:
                    files.append(Listed(name, f"{accession}/{name}", Checksum(size=found[1])))
                    break
    if not files:
        raise Refusal(
            f"{accession}: none of the names that its files could have is there; compare product, version and sample"
            " with a download address on the dataset's page",
            measured=0,
            threshold=1,
        )
    return Listing(accession, tuple(files), LICENCE)


def _seek(path: str, settings: FetchSettings, own: requests.Session) -> tuple[str, int | None] | None:
    """Address and size of a file at the first host that has it; None where neither does."""
    trouble = None
    for host in HOSTS:
        try:
            is_there, size = _ask(f"{host}{path}", settings, own)
        except Unreachable as error:
            trouble = trouble or error
            continue
        if is_there:
            return f"{host}{path}", size
    if trouble:
        raise trouble
    return None


def _ask(url: str, settings: FetchSettings, own: requests.Session) -> tuple[bool, int | None]:
    """Whether a file is there, and its size."""
    address = mirrored(url, os.environ.get(MIRRORS_VARIABLE, ""))
    answer = ask(own, "HEAD", address, label=url, timeout_s=settings.timeout_s)
    if answer.status_code in NOT_THERE:
        return False, None
    if answer.status_code != requests.codes.ok:
        raise Unreachable(f"{url}: the server answers {answer.status_code}; run again later")
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise Unreachable(f"{url}: a web page in place of the file, as robots are given; run again later")
    return True, size_of(answer.headers.get("Content-Length"))
