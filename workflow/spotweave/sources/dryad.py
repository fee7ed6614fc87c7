"""Dryad: a DOI such as `10.5061/dryad.x0k6djhmx`, or its address; files with size and digest (REST API v2).

Without a version (`…/versions/2`) the newest is taken, and its number logged: it changes, so a row should name one.
What there is can be listed by everyone; the bytes need a bearer token (a free account), in DRYAD_TOKEN. It lasts for
some hours.

A location is `<doi>/<path>` or `<doi>/versions/<version>/<path>`: the DOI ends at its second slash.
"""

from __future__ import annotations

import functools
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin

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
    said,
    spelled,
)
from spotweave.transfer.files import Checksum, Fetched, FetchSettings, Listed, Listing, Wanted

log = logging.getLogger("spotweave")

# Not all DOIs of Dryad name it: those of its former members are such as 10.25338/B89P86.
ACCESSION = r"10\.\d{4,9}/[\w.]+(/versions/\d+)?"
EXAMPLE = "10.5061/dryad.x0k6djhmx"
ADDRESS = (r"(10\.\d{4,9}/dryad\.[\w.]*\w)", "{}")
WEB_PAGE = "https://doi.org/{}"
ACCOUNT = "DRYAD_TOKEN"
SPELLING = (
    r"(?:(?:https?://)?(?:www\.)?datadryad\.org/(?:stash/)?dataset/)?(?:doi(?::|%3A)\s*|(?:https?://)?(?:dx\.)?doi\.org/)?"
    r"(?P<registrant>10\.\d{4,9})(?:/|%2F)(?P<suffix>[\w.]+)(?:/versions/(?P<version>\d+)(?![^/?#]))?"
)
HOST = "https://datadryad.org"
PAGE = 100
HASHES = {"md5": "md5", "sha-256": "sha256", "sha256": "sha256"}
DENIED = (
    "the token in DRYAD_TOKEN is missing or has expired: make one (datadryad.org, My account, API account; then POST"
    " its client_id and client_secret with grant_type=client_credentials to datadryad.org/oauth/token) and set"
    " DRYAD_TOKEN to it, or download by hand and use the source 'file'"
)


class _Dataset(NamedTuple):
    """The files of one version of a dataset, and the address of each by its name; a file under embargo has none."""

    listing: Listing
    urls: dict[str, str]


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of one version of a dataset; needs no token."""
    doi, version, name = _split(accession)
    if name or not doi:
        raise Refusal(f"{accession}: not a Dryad DOI such as 10.5061/dryad.x0k6djhmx")
    return _dataset(doi, version, settings).listing


def locate(location: str, settings: FetchSettings) -> Located:
    """Address, size and digest of `<doi>/<path>`."""
    doi, version, name = _split(location)
    if not name:
        raise Refusal(f"{location}: not a file of a Dryad dataset such as 10.5061/dryad.x0k6djhmx/name.zip")
    dataset = _dataset(doi, version, settings)
    file = find(dataset.listing, name)
    if file.name not in dataset.urls:
        raise Refusal(f"{location}: Dryad does not hand it out: it may be under embargo; ask its authors")
    if not _token():
        raise Refusal(f"{location}: {DENIED}")
    return Located(dataset.urls[file.name], safe_name(file.name), _token(), file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of a dataset, held against the digest and the size that Dryad states."""
    return fetch_located(wanted, folder, settings, locate, "dryad", DENIED)


def _split(text: str) -> tuple[str, str, str]:
    """DOI and version, in whichever spelling, and path of a file; empty where there is none."""
    found = spelled(text, SPELLING)
    if not found:
        return "", "", ""
    match, name = found
    return f"{match['registrant']}/{match['suffix']}", match["version"] or "", name


def _token() -> dict[str, str]:
    return bearer(os.environ.get(ACCOUNT, ""))


def _ask(url: str, settings: FetchSettings, label: str) -> Any:
    # A token that has expired is refused even where none is needed: what is public is asked for without.
    return get_json(url, settings, label=label, denied="it is not public: ask its authors")


@functools.cache
def _dataset(doi: str, version: str, settings: FetchSettings) -> _Dataset:
    accession = f"{doi}/versions/{version}" if version else doi
    label = f"Dryad dataset {accession}"
    url = f"{HOST}/api/v2/datasets/{quote('doi:' + doi, safe='')}"
    about = _ask(url, settings, label)
    if version:
        state = _version(f"{url}/versions", version, settings, label)
    else:
        state = expect(about, "_links", "stash:version", "href", label=label)
    files, urls = [], {}
    for entry in _pages(f"{_address(state, label)}/files?per_page={PAGE}", "stash:files", settings, label):
        name = expect(entry, "path", label=label)
        files.append(Listed(name, f"{accession}/{name}", _checksum(entry)))
        href = said(entry, "_links", "stash:download", "href")
        if href:
            urls[name] = _address(href, label)
    return _Dataset(Listing(accession, tuple(files), said(about, "license"), said(about, "title")), urls)


def _version(url: str, version: str, settings: FetchSettings, label: str) -> str:
    """The address of the version of that number."""
    found = _pages(f"{url}?per_page={PAGE}", "stash:versions", settings, label)
    numbers = {str(expect(entry, "versionNumber", label=label)): entry for entry in found}
    if version not in numbers:
        raise Refusal(
            f"{label}: does not exist; its versions are {', '.join(sorted(numbers, key=int))}", measured=0, threshold=1
        )
    return str(expect(numbers[version], "_links", "self", "href", label=label))


def _pages(url: str, kind: str, settings: FetchSettings, label: str) -> list[dict[str, Any]]:
    """All entries of a list, page after page, held against the number of entries that Dryad states."""
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    while url and url not in seen:
        seen.add(url)
        content = _ask(url, settings, label)
        found += entries(content, "_embedded", kind, label=label)
        following = said(content, "_links", "next", "href")
        url = _address(following, label) if following else ""
    total = content.get("total")
    if isinstance(total, int) and total != len(found):
        raise Refusal(
            f"{label}: it lists {len(found)} of {total} {kind}; name the files in the row",
            measured=len(found),
            threshold=total,
        )
    return found


def _address(href: str, label: str) -> str:
    """The address that a link names; the token that may go with it is for this host only."""
    url = urljoin(f"{HOST}/", href)
    if not url.startswith(f"{HOST}/"):
        raise Refusal(f"{label}: its links lead away from {HOST}: the repository's format has changed; report it")
    return url


def _checksum(entry: dict[str, Any]) -> Checksum:
    kind = HASHES.get(str(entry.get("digestType", "")).lower())
    return checksum_of(entry.get("size"), **({kind: entry.get("digest")} if kind else {}))
