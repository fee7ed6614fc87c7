"""Synapse (HTAN and others): the id of a folder or a project, `syn51133602`; files with size and md5 (REST API).

Everything needs an account that has accepted the terms of the data, and a personal access token (view, download)
in SYNAPSE_AUTH_TOKEN.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any

from spotweave.errors import Refusal
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Listing, Unreachable, Wanted
from spotweave.sources._api import Located, expect, fetch_located, find, get_json, post_json, safe_name, size_of

ACCESSION = r"syn\d+"
HOST = "https://repo-prod.prod.sagebase.org"
STEPS = (
    "make an account on synapse.org, accept the terms on the page of the data, create a personal access token (view,"
    " download) and set SYNAPSE_AUTH_TOKEN to it"
)
MOST_FOLDERS = 2000


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files below a folder or a project, or the one file itself."""
    if not re.fullmatch(ACCESSION, accession):
        raise Refusal(f"{accession}: not an id of Synapse such as syn51133602")
    return _tree(accession, settings)[0]


def locate(location: str, settings: FetchSettings) -> Located:
    """A signed address, the size and the md5 of `<folder>/<path>`."""
    accession, _, name = location.partition("/")
    listing, ids = _tree(accession, settings)
    file = find(listing, name)
    entity = _ask(
        f"/repo/v1/entity/{ids[file.name]}/bundle2",
        settings,
        location,
        {"includeFileHandles": True, "includeEntity": True},
    )
    handle = _handle(entity, location)
    answer = _ask(
        "/file/v1/fileHandle/batch",
        settings,
        location,
        {
            "includeFileHandles": False,
            "includePreSignedURLs": True,
            "requestedFiles": [
                {
                    "fileHandleId": handle["id"],
                    "associateObjectId": ids[file.name],
                    "associateObjectType": "FileEntity",
                }
            ],
        },
    )
    url = expect(answer, "requestedFiles", 0, "preSignedURL", label=location)
    checksum = Checksum(md5=handle.get("contentMd5"), size=size_of(handle.get("contentSize")))
    return Located(url, safe_name(file.name), {}, checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file, held against the md5 and the size that Synapse states."""
    return fetch_located(wanted, folder, settings, locate, "synapse")


def _ask(path: str, settings: FetchSettings, label: str, body: Any = None) -> Any:
    token = os.environ.get("SYNAPSE_AUTH_TOKEN", "")
    if not token:
        raise Refusal(f"{label}: Synapse hands out nothing without an account: {STEPS}")
    headers = {"Authorization": f"Bearer {token}"}
    if body is None:
        return get_json(HOST + path, settings, label=label, headers=headers, denied=STEPS)
    return post_json(HOST + path, body, settings, label=label, headers=headers, denied=STEPS)


def _handle(bundle: Any, label: str) -> Any:
    entity = expect(bundle, "entity", label=label)
    chosen = expect(entity, "dataFileHandleId", label=label)
    handles = [one for one in expect(bundle, "fileHandles", label=label) if str(one.get("id")) == str(chosen)]
    if not handles:
        raise Refusal(f"{label}: Synapse shows no file behind it: {STEPS}")
    return handles[0]


@functools.cache
def _tree(accession: str, settings: FetchSettings) -> tuple[Listing, dict[str, str]]:
    """The listing, and the id of each file, by walking the folders."""
    label = f"Synapse {accession}"
    ids: dict[str, str] = {}
    folders = [(accession, "")]
    walked = 0
    while folders:
        parent, path = folders.pop(0)
        walked += 1
        if walked > MOST_FOLDERS:
            raise Refusal(f"{label}: over {MOST_FOLDERS} folders; give the id of a folder further down")
        token: str | None = None
        while True:
            body = {"parentId": parent, "includeTypes": ["file", "folder"], "nextPageToken": token}
            answer = _ask("/repo/v1/entity/children", settings, label, body)
            for child in expect(answer, "page", label=label):
                name = path + expect(child, "name", label=label)
                if str(child.get("type", "")).endswith("Folder"):
                    folders.append((child["id"], f"{name}/"))
                else:
                    ids[name] = expect(child, "id", label=label)
            token = answer.get("nextPageToken")
            if not token:
                break
    files = tuple(Listed(name, f"{accession}/{name}") for name in sorted(ids))
    if not files:
        raise Unreachable(f"{label}: shows no files to this account: {STEPS}")
    return Listing(accession, files), ids
