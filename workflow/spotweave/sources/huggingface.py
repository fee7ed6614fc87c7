"""Datasets on Hugging Face: `MahmoodLab/hest@<revision>`; files with size and, where large, sha256.

The hub's own client checks sizes only; here the sha256 of a large file is held against the hub's. Gated datasets
need a token with accepted terms in HF_TOKEN. HF_ENDPOINT names another hub.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from spotweave.errors import Refusal
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Listing, Wanted
from spotweave.sources._api import Located, expect, fetch_located, find, get_json, safe_name, size_of

ACCESSION = r"[\w.-]+/[\w.-]+(@[\w.-]+)?"
PAGE = 1000
DENIED = (
    "the dataset is gated: accept its terms on its page, make a token (Settings, Access Tokens, read) and set HF_TOKEN"
)


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """All files of a dataset at one revision (`main` where none is named)."""
    if not re.fullmatch(ACCESSION, accession):
        raise Refusal(f"{accession}: not a dataset on Hugging Face such as MahmoodLab/hest@main")
    return _tree(accession, settings)


def locate(location: str, settings: FetchSettings) -> Located:
    """Address, size and sha256 of `<owner>/<dataset>[@revision]/<path>`; only the file's folder is listed."""
    match = re.match(rf"({ACCESSION})/(.+)$", location)
    if not match:
        raise Refusal(f"{location}: not a file of a dataset such as MahmoodLab/hest@main/wsis/INT1.tif")
    accession, path = match[1], match[3]
    folder = path.rpartition("/")[0]
    repository, _, revision = accession.partition("@")
    file = find(_tree(accession, settings, folder), path)
    url = f"{endpoint()}/datasets/{repository}/resolve/{revision or 'main'}/{quote(file.name)}"
    return Located(url, safe_name(file.name), _token(), file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file, held against the sha256 and the size that the hub states."""
    return fetch_located(wanted, folder, settings, locate, "huggingface")


def endpoint() -> str:
    """The hub that is asked."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _token() -> dict[str, str]:
    token = os.environ.get("HF_TOKEN", "")
    return {"Authorization": f"Bearer {token}"} if token else {}


@functools.cache
def _tree(accession: str, settings: FetchSettings, folder: str | None = None) -> Listing:
    """The files of a dataset, or of one folder of it, page after page."""
    repository, _, revision = accession.partition("@")
    label = f"Hugging Face dataset {accession}"
    below = "" if not folder else f"/{quote(folder)}"
    deep = "true" if folder is None else "false"
    base = f"{endpoint()}/api/datasets/{repository}/tree/{revision or 'main'}{below}?recursive={deep}&limit={PAGE}"
    files: list[Listed] = []
    cursor = ""
    while True:
        content, cursor = _page(base + cursor, settings, label)
        files += [_listed(entry, accession, label) for entry in content if entry.get("type") == "file"]
        if not cursor:
            return Listing(accession, tuple(files))


def _page(url: str, settings: FetchSettings, label: str) -> tuple[Any, str]:
    """One page of the tree, and the cursor of the next (`Link: <…cursor=…>; rel="next"`)."""
    headers: dict[str, str] = {}
    content = get_json(url, settings, label=label, headers=_token(), denied=DENIED, received=headers)
    link = re.search(r'[?&]cursor=([^&>]+)[^>]*>;\s*rel="next"', headers.get("Link", ""))
    return content, f"&cursor={link[1]}" if link else ""


def _listed(entry: Any, accession: str, label: str) -> Listed:
    path = expect(entry, "path", label=label)
    lfs = entry.get("lfs") or {}
    digest = str(lfs.get("oid", lfs.get("sha256", ""))).removeprefix("sha256:")
    size = size_of(lfs.get("size") or entry.get("size"))
    return Listed(path, f"{accession}/{path}", Checksum(sha256=digest or None, size=size))
