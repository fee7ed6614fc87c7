"""Synapse (HTAN and others): the id of a folder, a project or a file, `syn51133602`; files with md5 (REST API).

Everything needs an account that has accepted the terms of the data, and a personal access token (view, download)
in SYNAPSE_AUTH_TOKEN. Files are handed out under signed addresses that expire within minutes, by another host, to
which the token is not sent; the address that redirects to them is the one that is downloaded, so that each attempt
gets a fresh one. Names, sizes and md5 are of a file's newest version.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

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
    post_json,
    safe_name,
)
from spotweave.transfer.files import Fetched, FetchSettings, Listed, Listing, Wanted

ACCESSION = r"syn\d+"
EXAMPLE = "syn51133602"
ADDRESS = (r"\b(syn\d{5,})\b", "{}")
WEB_PAGE = "https://www.synapse.org/Synapse:{}"
ACCOUNT = "SYNAPSE_AUTH_TOKEN"
HOST = "https://repo-prod.prod.sagebase.org"
STEPS = (
    "make an account on synapse.org, accept the terms on the page of the data, create a personal access token (view,"
    " download) and set SYNAPSE_AUTH_TOKEN to it"
)
MOST_FOLDERS = 2000


class _Tree(NamedTuple):
    """The files below an entity, and the id of each by its name."""

    listing: Listing
    ids: dict[str, str]


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files below a folder or a project, sorted; or the one file itself."""
    if not re.fullmatch(ACCESSION, accession):
        raise Refusal(f"{accession}: not an id of Synapse such as syn51133602")
    return _tree(accession, settings).listing


def locate(location: str, settings: FetchSettings) -> Located:
    """Address, size and md5 of `<folder>/<path>`."""
    accession, _, name = location.partition("/")
    file = find(list_files(accession, settings), name)
    entity = _tree(accession, settings).ids[file.name]
    number = str(expect(_ask(f"/repo/v1/entity/{entity}", settings, location), "dataFileHandleId", label=location))
    handles = entries(_ask(f"/repo/v1/entity/{entity}/filehandles", settings, location), "list", label=location)
    handle = next((one for one in handles if str(one.get("id")) == number), None)
    if handle is None:
        raise Refusal(f"{location}: Synapse shows this account no file behind it: {STEPS}")
    url = f"{HOST}/file/v1/file/{number}?fileAssociateType=FileEntity&fileAssociateId={entity}&redirect=true"
    checksum = checksum_of(handle.get("contentSize"), md5=handle.get("contentMd5"))
    return Located(url, safe_name(file.name), _token(location), checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file, held against the md5 and the size that Synapse states."""
    denied = f"Synapse does not hand it out to this account: {STEPS}"
    return fetch_located(wanted, folder, settings, locate, "synapse", denied)


def _token(label: str) -> dict[str, str]:
    header = bearer(os.environ.get(ACCOUNT, ""))
    if not header:
        raise Refusal(f"{label}: Synapse hands out nothing without an account: {STEPS}")
    return header


def _ask(path: str, settings: FetchSettings, label: str) -> Any:
    return get_json(HOST + path, settings, label=label, headers=_token(label), denied=STEPS)


def _children(parent: str, settings: FetchSettings, label: str) -> list[dict[str, Any]]:
    """What lies directly in a folder, page after page."""
    found: list[dict[str, Any]] = []
    token: str | None = None
    while True:
        question = {"parentId": parent, "includeTypes": ["file", "folder"], "nextPageToken": token}
        answer = post_json(
            f"{HOST}/repo/v1/entity/children", question, settings, label=label, headers=_token(label), denied=STEPS
        )
        found += entries(answer, "page", label=label)
        token = answer.get("nextPageToken")
        if not token:
            return found


@functools.cache
def _tree(accession: str, settings: FetchSettings) -> _Tree:
    label = f"Synapse {accession}"
    entity = _ask(f"/repo/v1/entity/{accession}", settings, label)
    if str(expect(entity, "concreteType", label=label)).endswith(".FileEntity"):
        ids = {expect(entity, "name", label=label): accession}
    else:
        ids = _walk(accession, settings, label)
    if not ids:
        raise Refusal(f"{label}: shows this account no files: {STEPS}", measured=0, threshold=1)
    files = tuple(Listed(name, f"{accession}/{name}") for name in sorted(ids))
    return _Tree(Listing(accession, files), ids)


def _walk(accession: str, settings: FetchSettings, label: str) -> dict[str, str]:
    """Id of each file below a folder, by its path."""
    ids: dict[str, str] = {}
    folders = [(accession, "")]
    for walked, (parent, path) in enumerate(folders, start=1):
        if walked > MOST_FOLDERS:
            raise Refusal(
                f"{label}: over {MOST_FOLDERS} folders; give the id of one further down",
                measured=walked,
                threshold=MOST_FOLDERS,
            )
        for child in _children(parent, settings, label):
            name = path + expect(child, "name", label=label)
            number = expect(child, "id", label=label)
            if str(expect(child, "type", label=label)).endswith(".Folder"):
                folders.append((number, f"{name}/"))
            else:
                ids[name] = number
    return ids
