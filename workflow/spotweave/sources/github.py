"""Files of GitHub repositories at one commit: `almaan/her2st@9f2260c6aa8347996955d53f0a5f06ac14c93470`.

A branch moves under the row: only a full commit is accepted. Large files kept with Git LFS are fetched from where
GitHub keeps them. 60 questions an hour are answered without a token in GITHUB_TOKEN.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from urllib.parse import quote

from spotweave.errors import Refusal
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Listing, Wanted
from spotweave.sources._api import Located, expect, fetch_located, find, get_json, get_text, safe_name, size_of

REPOSITORY = r"[\w.-]+/[\w.-]+"
ACCESSION = rf"{REPOSITORY}@[0-9a-f]{{40}}"
API = "https://api.github.com/repos"
RAW = "https://raw.githubusercontent.com"
MEDIA = "https://media.githubusercontent.com/media"
LFS_POINTER_BYTES = range(100, 200)


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """All files of a repository at one commit."""
    if not re.fullmatch(ACCESSION, accession):
        _refuse_moving(accession, settings)
    return _tree(accession, settings)


def locate(location: str, settings: FetchSettings) -> Located:
    """Address and size of `<owner>/<repository>@<commit>/<path>`; of a file in Git LFS also its sha256."""
    match = re.match(rf"({REPOSITORY}@[^/]+)/(.+)$", location)
    if not match:
        raise Refusal(f"{location}: not a file of a repository such as owner/name@commit/folder/file.tsv")
    file = find(list_files(match[1], settings), match[2])
    repository, commit = match[1].split("@")
    url = f"{RAW}/{repository}/{commit}/{quote(file.name)}"
    if file.checksum.size in LFS_POINTER_BYTES:
        text = get_text(url, settings, label=location)
        pointer = re.search(r"^oid sha256:([0-9a-f]{64})\nsize (\d+)$", text, re.MULTILINE)
        if text.startswith("version https://git-lfs") and pointer:
            checksum = Checksum(sha256=pointer[1], size=int(pointer[2]))
            return Located(f"{MEDIA}/{repository}/{commit}/{quote(file.name)}", safe_name(file.name), {}, checksum)
    return Located(url, safe_name(file.name), {}, file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file of a commit, held against the size that GitHub states."""
    return fetch_located(wanted, folder, settings, locate, "github")


def _token() -> dict[str, str]:
    token = os.environ.get("GITHUB_TOKEN", "")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _refuse_moving(accession: str, settings: FetchSettings) -> None:
    """Refuse a branch or a tag, and say which commit it is now."""
    match = re.fullmatch(rf"({REPOSITORY})(?:@(.+))?", accession)
    if not match:
        raise Refusal(f"{accession}: not a repository at a commit such as owner/name@<40 hexadecimal digits>")
    name = match[2] or "HEAD"
    content = get_json(f"{API}/{match[1]}/commits/{quote(name)}", settings, label=accession, headers=_token())
    commit = expect(content, "sha", label=accession)
    raise Refusal(f"{accession}: {name} moves; write {match[1]}@{commit}, so that the files stay the same")


@functools.cache
def _tree(accession: str, settings: FetchSettings) -> Listing:
    repository, commit = accession.split("@")
    label = f"GitHub {accession}"
    content = get_json(f"{API}/{repository}/git/trees/{commit}?recursive=1", settings, label=label, headers=_token())
    if content.get("truncated"):
        raise Refusal(f"{label}: too many files to be listed; name each file by its raw.githubusercontent.com address")
    files = []
    for entry in expect(content, "tree", label=label):
        if entry.get("type") == "blob":
            path = expect(entry, "path", label=label)
            files.append(Listed(path, f"{accession}/{path}", Checksum(size=size_of(entry.get("size")))))
    return Listing(accession, tuple(files))
