"""Human Cell Atlas: the id of a project; files with size and sha256 (Azul service).

The service first prepares a file (301 and Retry-After; asked for as JSON below `/fetch`) and then redirects to a
signed address that expires. So its own address is what is downloaded: each attempt gets an address that is fresh.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from spotweave.errors import Refusal
from spotweave.transfer.api import Located, checksum_of, entries, expect, fetch_located, find, get_json, safe_name
from spotweave.transfer.files import Fetched, FetchSettings, Listed, Listing, Unreachable, Wanted
from spotweave.transfer.http import LONGEST_WAIT_S

log = logging.getLogger("spotweave")

ACCESSION = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
EXAMPLE = "957261f7-2bd6-4358-a6ed-24ee080d5cfc"
ADDRESS = (r"humancellatlas\.org/(?:explore/)?projects/([0-9a-f-]{36})", "{}")
WEB_PAGE = "https://explore.data.humancellatlas.org/projects/{}"
HOST = "https://service.azul.data.humancellatlas.org"
PAGE = 500
READY, PREPARING = 302, 301
MOST_QUESTIONS = 60


class _Project(NamedTuple):
    """The files of a project, and the address of each by its name."""

    listing: Listing
    urls: dict[str, str]


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of a project, by name; files of the same name are told apart by a folder with their id."""
    if not re.fullmatch(ACCESSION, accession):
        raise Refusal(
            f"{accession}: not a project of the Human Cell Atlas such as 957261f7-2bd6-4358-a6ed-24ee080d5cfc"
        )
    return _project(accession, settings).listing


def locate(location: str, settings: FetchSettings) -> Located:
    """Address, size and sha256 of `<project>/<file>`, once the service has prepared the file."""
    accession, _, name = location.partition("/")
    file = find(list_files(accession, settings), name)
    url = _project(accession, settings).urls[file.name]
    _await(url, settings, location)
    # Should the service want to prepare it once more, it is to wait by itself: redirects are followed at once.
    return Located(f"{url}{'&' if '?' in url else '?'}wait=1", safe_name(file.name), {}, file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of a project, held against the sha256 and the size that the service states."""
    return fetch_located(wanted, folder, settings, locate, "hca")


def _await(url: str, settings: FetchSettings, label: str) -> None:
    """Wait until the service would redirect to the file."""
    step = url.replace("/repository/", "/fetch/repository/", 1)
    for _ in range(MOST_QUESTIONS):
        answer = get_json(step, settings, label=label, denied="it is not public", is_named=False)
        status = expect(answer, "Status", label=label)
        if status == READY:
            return
        if status != PREPARING:
            raise Unreachable(f"{label}: the service answers {status} in place of an address; run again later")
        step = expect(answer, "Location", label=label)
        wait_s = min(float(answer.get("Retry-After") or 0), LONGEST_WAIT_S)
        log.info("%s: is being prepared, waiting %.0f s", label, wait_s)
        time.sleep(wait_s)
    raise Unreachable(f"{label}: is still being prepared after {MOST_QUESTIONS} questions; run again later")


@functools.cache
def _project(accession: str, settings: FetchSettings) -> _Project:
    label = f"HCA project {accession}"
    filters = quote(json.dumps({"projectId": {"is": [accession]}}, separators=(",", ":")))
    page: str | None = f"{HOST}/index/files?filters={filters}&size={PAGE}"
    found: list[dict[str, Any]] = []
    while page:
        content = get_json(page, settings, label=label, denied="it is not public", is_named=page.startswith(f"{HOST}/"))
        for hit in entries(content, "hits", label=label):
            found += entries(hit, "files", label=label)
        page = expect(content, "pagination", "next", label=label)
    if not found:
        raise Refusal(f"{label}: has no files, or does not exist; correct the accession", measured=0, threshold=1)
    found.sort(key=lambda entry: (expect(entry, "name", label=label), expect(entry, "uuid", label=label)))
    often = Counter(entry["name"] for entry in found)
    files, urls = [], {}
    for entry in found:
        name = entry["name"] if often[entry["name"]] == 1 else f"{entry['uuid']}/{entry['name']}"
        url = entry.get("azul_url") or entry.get("url")
        if not url:
            log.warning("%s: %s is listed, but the service cannot hand it out", label, name)
            continue
        files.append(Listed(name, f"{accession}/{name}", checksum_of(entry.get("size"), sha256=entry.get("sha256"))))
        urls[name] = url
    return _Project(Listing(accession, tuple(files)), urls)
