"""NCBI GEO: series `GSE190811` and samples `GSM5732357`; files with size (`suppl/filelist.txt`), no checksum.

Files are asked for one by one: members of a series' RAW.tar lie singly in the folders of its samples. Where the tree
at ftp.ncbi.nlm.nih.gov (https; ftp:// hangs behind many firewalls) misses a file, the download page may have it.
"""

from __future__ import annotations

import functools
import html
import re
from pathlib import Path
from urllib.parse import quote, unquote

from spotweave.errors import Refusal
from spotweave.sources import Checksum, Fetched, FetchSettings, Listed, Listing, Wanted
from spotweave.sources._api import Located, fetch_located, find, get_text, safe_name, size_of

ACCESSION = r"(GSE|GSM)\d+"
TREE = "https://ftp.ncbi.nlm.nih.gov/geo"
PAGE = "https://www.ncbi.nlm.nih.gov/geo/download/"
NOT_A_FILE = {"", "filelist.txt", "Parent Directory"}


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """The files of a sample, or of a series: its own and those of its samples."""
    if not re.fullmatch(ACCESSION, accession):
        raise Refusal(f"{accession}: not a GEO series or sample such as GSE190811 or GSM5732357")
    return _folder(accession, settings)


def locate(location: str, settings: FetchSettings) -> Located:
    """Address and size of `<accession>/<file>`."""
    accession, _, name = location.partition("/")
    if not name:
        raise Refusal(f"{location}: not a file of GEO such as GSM5732357/name.h5")
    file = find(list_files(accession, settings), name)
    sample = re.match(r"GSM\d+", file.name)
    home = sample[0] if sample and accession.startswith("GSE") else accession
    listed_at_home = home == accession or any(
        one.name == file.name for one in _folder(home, settings, may_miss=True).files
    )
    url = (
        f"{folder_of(home)}{quote(file.name)}"
        if listed_at_home
        else f"{PAGE}?acc={home}&format=file&file={quote(file.name)}"
    )
    return Located(url, safe_name(file.name), {}, file.checksum)


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Bring one file, held against the size that GEO states."""
    return fetch_located(wanted, folder, settings, locate, "geo")


def folder_of(accession: str) -> str:
    """Address of an accession's supplementary files: the last three digits make the group."""
    kind, number = accession[:3], accession[3:]
    tree = {"GSE": "series", "GSM": "samples"}[kind]
    return f"{TREE}/{tree}/{kind}{number[:-3]}nnn/{accession}/suppl/"


@functools.cache
def _folder(accession: str, settings: FetchSettings, may_miss: bool = False) -> Listing:
    """The listing of one accession: filelist.txt, else the web server's own index."""
    label = f"GEO {accession}"
    try:
        files = _filelist(get_text(f"{folder_of(accession)}filelist.txt", settings, label=label), accession)
    except Refusal:
        try:
            files = _index(get_text(folder_of(accession), settings, label=label), accession)
        except Refusal as refusal:
            if may_miss:
                return Listing(accession, ())
            raise Refusal(
                f"{label}: does not exist or has no supplementary files; correct the accession in the row", measured=404
            ) from refusal
    return Listing(accession, tuple(files))


def _filelist(text: str, accession: str) -> list[Listed]:
    """`#Archive/File Name Time Size Type`, tab-separated: the archive first, then what it holds."""
    files = []
    for line in text.splitlines():
        fields = line.split("\t")
        if line.startswith("#") or len(fields) < 4:
            continue
        kind, name, size = fields[0], fields[1], fields[3]
        if kind.lower() in ("archive", "file") and name not in NOT_A_FILE:
            files.append(Listed(name, f"{accession}/{name}", Checksum(size=size_of(size))))
    return files


def _index(text: str, accession: str) -> list[Listed]:
    """Names in an index page of the web server; it rounds sizes, so there are none."""
    names = [unquote(html.unescape(name)) for name in re.findall(r'<a href="([^"?/]+)"', text)]
    return [Listed(name, f"{accession}/{name}") for name in dict.fromkeys(names) if name not in NOT_A_FILE]
