"""Plain http and https addresses: whatever a web server hands out; each row names its files."""

from __future__ import annotations

from pathlib import Path

from spotweave.addresses import redacted
from spotweave.errors import Refusal
from spotweave.transfer.files import Fetched, FetchSettings, Listing, Wanted
from spotweave.transfer.http import download, file_name

ACCESSION = r"https?://\S+"
EXAMPLE = "https://www.spatialresearch.org/wp-content/uploads/2016/07/HE_Rep1.jpg"


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Download one file into `folder`, under the last part of its address; nothing is sent if it is already there.

    Raises
    ------
    Refusal
        The file is gone (401, 403, 404, 410), is not the one of the row (size, hash), is not data (web page,
        wrong signature), or stays incomplete.
    Unreachable
        Network, time-out or server trouble; what has arrived is kept, and the next call goes on from there.
    """
    return download(wanted, folder, settings, url=wanted.location, name=file_name(wanted.location))


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """Web servers do not say what they have."""
    raise Refusal(f"{redacted(accession)}: a web server lists no files; give the address of each file in the row")
