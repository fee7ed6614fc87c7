"""Files of GitHub repositories at one commit: `almaan/her2st@9f2260c6aa8347996955d53f0a5f06ac14c93470`.

A branch moves under the row: only a full commit is accepted, and what git itself knows of a file's bytes (its size and
the SHA-1 of its blob) is held against them. Of a large file kept with Git LFS the repository has a pointer; the file
is fetched from where GitHub keeps these, and held against the sha256 in the pointer. Without a token in GITHUB_TOKEN
60 questions an hour are answered; listing a commit takes one. A release's files are no part of a commit: give their
address in the row.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from spotweave.errors import Refusal
from spotweave.io import CHUNK_BYTES, remove
from spotweave.transfer.api import (
    Located,
    bearer,
    entries,
    expect,
    fetch_located,
    find,
    get_json,
    get_text,
    safe_name,
    size_of,
)
from spotweave.transfer.disk import record_path
from spotweave.transfer.files import Checksum, Fetched, FetchSettings, Listed, Listing, Unreachable, Wanted

REPOSITORY = r"[\w.-]+/[\w.-]+"
ACCESSION = r"[\w.-]+/[\w.-]+@[0-9a-f]{40}"
EXAMPLE = "almaan/her2st@9f2260c6aa8347996955d53f0a5f06ac14c93470"
ADDRESS = (r"github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?(?:/(?:tree|blob)/([0-9a-f]{40}))?(?:/|$)", "{}@{}")
INCOMPLETE = "add the commit, as in https://github.com/owner/name/tree/<40 hexadecimal digits>"
WEB_PAGE = "https://github.com/{}"
ACCOUNT = "GITHUB_TOKEN"
API = "https://api.github.com/repos"
RAW = "https://raw.githubusercontent.com"
MEDIA = "https://media.githubusercontent.com/media"
LFS_POINTER_BYTES = range(100, 200)
POINTER = re.compile(r"version https://git-lfs\S*\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\nsize (\d+)\n?")


class _Tree(NamedTuple):
    """The files of a commit, and the SHA-1 of each blob by its path."""

    listing: Listing
    blobs: dict[str, str]


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """All files of a repository at one commit."""
    if not re.fullmatch(ACCESSION, accession):
        _refuse_moving(accession, settings)
    return _tree(accession, settings).listing


def locate(location: str, settings: FetchSettings) -> Located:
    """Address and size of `<owner>/<repository>@<commit>/<path>`; of a file in Git LFS also its sha256."""
    accession, file = _file(location, settings)
    pointer = _pointer(accession, file, settings)
    return Located(
        f"{MEDIA if pointer else RAW}/{_path(accession, file)}", safe_name(file.name), {}, pointer or file.checksum
    )


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of a commit, held against the size and the SHA-1 of its blob, or the sha256 of its pointer."""
    fetched = fetch_located(wanted, folder, settings, locate, "github")
    accession, file = _file(wanted.location, settings)
    known = _tree(accession, settings).blobs[file.name]
    # The blob of a file in Git LFS is its pointer; the file has been held against the sha256 in it.
    if _pointer(accession, file, settings) is None and blob_sha1(fetched.path) != known:
        remove(fetched.path)
        remove(record_path(fetched.path))
        raise Refusal(
            f"{wanted.role}: {wanted.location}: not the file of the commit, whose blob has the SHA-1 {known}; if GitHub"
            " is asked by way of a mirror, check the mirror",
            threshold=known,
        )
    return fetched


def blob_sha1(path: Path) -> str:
    """The name git gives to a file's content: SHA-1 of `blob <size>`, a zero byte and the content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _file(location: str, settings: FetchSettings) -> tuple[str, Listed]:
    match = re.match(rf"({REPOSITORY}@[^/]+)/(.+)$", location)
    if not match:
        raise Refusal(f"{location}: not a file of a repository such as owner/name@commit/folder/file.tsv")
    return match[1], find(list_files(match[1], settings), match[2])


def _path(accession: str, file: Listed) -> str:
    return f"{accession.replace('@', '/')}/{quote(file.name)}"


@functools.cache
def _pointer(accession: str, file: Listed, settings: FetchSettings) -> Checksum | None:
    """What a file says as a Git LFS pointer; None if it is none."""
    if file.checksum.size not in LFS_POINTER_BYTES:
        return None
    try:
        text = get_text(f"{RAW}/{_path(accession, file)}", settings, label=f"GitHub {file.location}")
    except Refusal as refusal:
        if refusal.measured is None:  # no text
            return None
        raise
    match = POINTER.match(text)
    return Checksum(sha256=match[1], size=int(match[2])) if match else None


def _ask(url: str, settings: FetchSettings, label: str) -> Any:
    headers = bearer(os.environ.get(ACCOUNT, ""))
    try:
        return get_json(url, settings, label=label, headers=headers, denied="GITHUB_TOKEN is not valid: make a new one")
    except Refusal as refusal:
        if refusal.measured != 403:
            raise
        # What may not be seen is 404 here; 403 is the end of this hour's questions.
        raise Unreachable(
            f"{label}: GitHub answers no more questions for now; run again in an hour, or set GITHUB_TOKEN to any token"
        ) from None


def _refuse_moving(accession: str, settings: FetchSettings) -> None:
    """Refuse what is no full commit, and say which commit it is now."""
    match = re.fullmatch(rf"({REPOSITORY})(?:@([^@\s]+))?", accession)
    if not match:
        raise Refusal(f"{accession}: not a repository at a commit such as owner/name@<40 hexadecimal digits>")
    label = f"GitHub {accession}"
    name = f"&sha={quote(match[2], safe='')}" if match[2] else ""
    commits = _ask(f"{API}/{match[1]}/commits?per_page=1{name}", settings, label)
    commit = expect(commits, 0, "sha", label=label)
    raise Refusal(
        f"{accession}: names no full commit, so that its files could change; now it is {match[1]}@{commit}: write that"
    )


@functools.cache
def _tree(accession: str, settings: FetchSettings) -> _Tree:
    repository, commit = accession.split("@")
    label = f"GitHub {accession}"
    content = _ask(f"{API}/{repository}/git/trees/{commit}?recursive=1", settings, label)
    if content.get("truncated"):
        raise Refusal(f"{label}: too many files to be listed; name each file by its raw.githubusercontent.com address")
    files, blobs = [], {}
    for entry in entries(content, "tree", label=label):
        if entry.get("type") == "blob":
            path = expect(entry, "path", label=label)
            files.append(Listed(path, f"{accession}/{path}", Checksum(size=size_of(entry.get("size")))))
            blobs[path] = expect(entry, "sha", label=label)
    return _Tree(Listing(accession, tuple(files)), blobs)
