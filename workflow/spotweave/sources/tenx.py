"""10x Genomics' public datasets: `xenium/2.0.0/Xenium_V1_human_Pancreas_FFPE` (product, pipeline version, sample).

The servers list nothing and state no checksums; names follow a pattern per product, and what does not (the extension
of a picture) is found by asking for each. Large bundles may only be on the second host.
"""

from __future__ import annotations

import functools
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from spotweave.errors import Refusal
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Listing, Unreachable, Wanted
from spotweave.sources._api import Located, fetch_located, safe_name, size_of
from spotweave.sources.https import MIRRORS_VARIABLE, mirrored, session

ACCESSION = r"(spatial-exp|xenium)/\d+\.\d+\.\d+/[\w.-]+"
HOSTS = ("https://cf.10xgenomics.com/samples/", "https://s3-us-west-2.amazonaws.com/10x.files/samples/")
PICTURES = ("tif", "btf", "jpg", "png")
SUFFIXES = {
    "spatial-exp": (
        "filtered_feature_bc_matrix.h5",
        "raw_feature_bc_matrix.h5",
        "spatial.tar.gz",
        "alignment_file.json",
        "binned_outputs.tar.gz",
        "segmented_outputs.tar.gz",
        *(f"tissue_image.{suffix}" for suffix in PICTURES),
        *(f"image.{suffix}" for suffix in PICTURES),
    ),
    "xenium": (
        "outs.zip",
        "cell_feature_matrix.h5",
        "cells.parquet",
        "he_image.ome.tif",
        "he_imagealignment.csv",
        "gene_panel.json",
    ),
}
AT_ONCE = 4
THERE = requests.codes.ok
NOT_THERE = (403, 404)


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of a sample that answer when asked for."""
    if not re.fullmatch(ACCESSION, accession):
        raise Refusal(f"{accession}: not a 10x sample such as xenium/2.0.0/Xenium_V1_human_Pancreas_FFPE")
    return _sample(accession, settings)


def locate(location: str, settings: FetchSettings) -> Located:
    """Address and size of `<accession>/<file>`."""
    match = re.fullmatch(rf"({ACCESSION})/([^/]+)", location)
    if not match:
        raise Refusal(f"{location}: not a file of a 10x sample such as xenium/2.0.0/sample/sample_outs.zip")
    for host in HOSTS:
        size, is_there = _ask(f"{host}{location}", settings)
        if is_there:
            return Located(f"{host}{location}", safe_name(match[3]), {}, Checksum(size=size))
    raise Refusal(f"{location}: neither of 10x Genomics' servers has it; correct the name in the row", measured=404)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file, held against the size the server states."""
    return fetch_located(wanted, folder, settings, locate, "tenx")


@functools.cache
def _sample(accession: str, settings: FetchSettings) -> Listing:
    product, _, sample = accession.split("/")
    names = [f"{sample}_{suffix}" for suffix in SUFFIXES[product]]

    def look(name: str) -> tuple[str, int | None, bool]:
        for host in HOSTS:
            size, is_there = _ask(f"{host}{accession}/{name}", settings)
            if is_there:
                return name, size, True
        return name, None, False

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(look, names))
    files = tuple(Listed(name, f"{accession}/{name}", Checksum(size=size)) for name, size, there in answers if there)
    if not files:
        raise Refusal(
            f"{accession}: none of the {len(names)} names its files could have is there; correct the accession",
            measured=0,
            threshold=1,
        )
    return Listing(accession, files, "CC-BY-4.0")


def _ask(url: str, settings: FetchSettings) -> tuple[int | None, bool]:
    """Size of a file, and whether it is there."""
    with session(settings) as own:
        try:
            answer = own.head(
                mirrored(url, os.environ.get(MIRRORS_VARIABLE, "")), timeout=settings.timeout_s, allow_redirects=True
            )
        except requests.RequestException as error:
            raise Unreachable(f"{url}: cannot be reached ({type(error).__name__})") from None
    if answer.status_code == THERE:
        return size_of(answer.headers.get("Content-Length")), True
    if answer.status_code in NOT_THERE:
        return None, False
    raise Unreachable(f"{url}: the server answers {answer.status_code}; run again later")
