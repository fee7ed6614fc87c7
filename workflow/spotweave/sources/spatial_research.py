"""Spatial Research (the pages of the first Spatial Transcriptomics studies): `2016/07`, the month of an upload.

The site (WordPress) lists nothing and states neither checksums nor a licence: rows name its files, and should pin
them. It turns away clients that do not say what they are.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from spotweave.errors import Refusal
from spotweave.transfer.api import Located, fetch_located, safe_name
from spotweave.transfer.files import Fetched, FetchSettings, Listing, Wanted

ACCESSION = r"20\d{2}/(0[1-9]|1[0-2])"
EXAMPLE = "2016/07"
HOST = "https://www.spatialresearch.org/wp-content/uploads"


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The site has no listing."""
    raise Refusal(f"{accession}: www.spatialresearch.org lists no files; name each file in its column")


def locate(location: str, settings: FetchSettings) -> Located:
    """Address of `<year>/<month>/<file>`."""
    if not re.fullmatch(rf"{ACCESSION}/[^/]+", location):
        raise Refusal(f"{location}: not a file of www.spatialresearch.org such as 2016/07/HE_Rep1.jpg")
    return Located(f"{HOST}/{quote(location)}", safe_name(location.rpartition("/")[2]))


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file; nothing but its form can be checked where the row has no checksum."""
    return fetch_located(wanted, folder, settings, locate, "spatial_research")
