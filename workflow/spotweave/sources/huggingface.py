"""Datasets on Hugging Face: `MahmoodLab/hest@<revision>`; files with size and, where large, sha256.

The hub is asked over its HTTP API (`/api/datasets/<name>/tree`, paged by the `Link` header) and not through its own
client: that one checks sizes only, keeps its own cache and patience, and knows no mirrors. Here a large file is held
against the sha256 it is stored under (`lfs.oid`); it is handed out by another host, to which the token is not sent.
Gated datasets need a token with accepted terms in HF_TOKEN. HF_ENDPOINT names another hub. Without a revision `main`
is taken, which changes: name a commit.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from spotweave.errors import Refusal
from spotweave.transfer.api import (
    Located,
    bearer,
    checksum_of,
    entries,
    expect,
    fetch_located,
    find,
    get_json,
    safe_name,
)
from spotweave.transfer.files import Fetched, FetchSettings, Listed, Listing, Wanted

ACCESSION = r"[\w.-]+/[\w.-]+(@[\w.-]+)?"
EXAMPLE = "MahmoodLab/hest@main"
ADDRESS = (r"huggingface\.co/datasets/([\w.-]+/[\w.-]+)(?:/(?:tree|blob)/([\w.-]+))?", "{}@{}")
WEB_PAGE = "https://huggingface.co/datasets/{}"
ACCOUNT = "HF_TOKEN"
HUB = "https://huggingface.co"
PAGE = 1000
STEPS = (
    "make an account on huggingface.co, accept the terms on the dataset's page (some are granted by hand), make a token"
    " (Settings, Access Tokens, read) and set HF_TOKEN to it"
)


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """All files of a dataset at one revision."""
    if not re.fullmatch(ACCESSION, accession):
        raise Refusal(f"{accession}: not a dataset on Hugging Face such as MahmoodLab/hest@main")
    return _tree(accession, settings)


def locate(location: str, settings: FetchSettings) -> Located:
    """Address, size and sha256 of `<owner>/<dataset>[@revision]/<path>`; only the file's folder is listed."""
    match = re.match(rf"({ACCESSION})/(.+)$", location)
    if not match:
        raise Refusal(f"{location}: not a file of a dataset such as MahmoodLab/hest@main/wsis/INT1.tif")
    accession, path = match[1], match[3]
    file = find(_tree(accession, settings, path.rpartition("/")[0]), path)
    repository, _, revision = accession.partition("@")
    url = f"{endpoint()}/datasets/{repository}/resolve/{revision or 'main'}/{quote(file.name)}"
    return Located(url, safe_name(file.name), _token(), file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file, held against the sha256 and the size that the hub states."""
    denied = f"the dataset is gated, or the token in HF_TOKEN is missing or not valid: {STEPS}"
    return fetch_located(wanted, folder, settings, locate, "huggingface", denied)


def endpoint() -> str:
    """The hub that is asked."""
    return os.environ.get("HF_ENDPOINT", HUB).rstrip("/")


def _token() -> dict[str, str]:
    return bearer(os.environ.get(ACCOUNT, ""))


@functools.cache
def _tree(accession: str, settings: FetchSettings, folder: str | None = None) -> Listing:
    """The files of a dataset, or of one folder of it ('' is the outermost), page after page."""
    repository, _, revision = accession.partition("@")
    label = f"Hugging Face dataset {accession}" + (f", folder {folder}" if folder else "")
    below = f"/{quote(folder)}" if folder else ""
    deep = "true" if folder is None else "false"
    base = f"{endpoint()}/api/datasets/{repository}/tree/{revision or 'main'}{below}?recursive={deep}&limit={PAGE}"
    files: list[Listed] = []
    cursor = ""
    while True:
        content, cursor = _page(base + cursor, settings, label)
        files += [_listed(entry, accession, label) for entry in content if entry.get("type") == "file"]
        if not cursor:
            return Listing(accession, tuple(files))


def _page(url: str, settings: FetchSettings, label: str) -> tuple[list[dict[str, Any]], str]:
    """One page of the tree, and the cursor of the next (`Link: <…cursor=…>; rel="next"`)."""
    headers: dict[str, str] = {}
    # The hub answers 401 also for what does not exist, if no token is sent.
    denied = f"does not exist, or is private or gated: correct the accession in the row, or {STEPS}"
    content = get_json(url, settings, label=label, headers=_token(), denied=denied, received=headers)
    link = next((value for name, value in headers.items() if name.lower() == "link"), "")
    cursor = re.search(r'[?&]cursor=([^&>]+)[^>]*>;\s*rel="next"', link)
    return entries(content, label=label), f"&cursor={cursor[1]}" if cursor else ""


def _listed(entry: dict[str, Any], accession: str, label: str) -> Listed:
    path = expect(entry, "path", label=label)
    lfs = entry.get("lfs") or {}
    return Listed(path, f"{accession}/{path}", checksum_of(lfs.get("size") or entry.get("size"), sha256=lfs.get("oid")))
